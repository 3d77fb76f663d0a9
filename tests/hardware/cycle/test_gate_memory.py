"""Gate words written beside lists: random traffic against planes, queues and banks moved by hand."""

from __future__ import annotations

from collections import deque

import numpy as np
from hypothesis import given, settings, strategies as st
from strategies import SEEDS

from predfuse.hardware.cycle.archon.gate_memory import GateTraffic, PredictorRate, written_cycles


def slow_cycles(traffic: GateTraffic, rate: PredictorRate, places: list[int]) -> int:
    """One cycle after the other: hand over, write, expand; every plane goes from free to full to free."""
    clock = 0
    for reading, expanding in rate.parts:
        clock += reading
        rounds = [deque(part.tolist()) for part in np.split(traffic.banks, traffic.ends[:-1])]
        queues = [0] * traffic.reads.shape[1]
        free, full = 2, deque[int]()
        expand_left, next_round = 0, 0
        present, taken = -1, 0
        finished = 0
        while finished < len(rounds) or any(queues):
            if present < 0 and full and clock >= places[full[0]]:
                present, taken = full.popleft(), 0
            if expand_left == 0 and next_round < len(rounds) and free:
                free, expand_left = free - 1, expanding
            if present >= 0:
                taken += 1
                moved, kept = set[int](), deque[int]()
                for bank in rounds[present]:
                    if len(moved) < rate.writes and bank not in moved and queues[bank] < rate.queue_words:
                        queues[bank] += 1
                        moved.add(bank)
                    else:
                        kept.append(bank)
                rounds[present] = kept
            for bank, words in enumerate(queues):
                if words and not (clock < len(traffic.reads) and traffic.reads[clock, bank]):
                    queues[bank] -= 1
            clock += 1
            if expand_left:
                expand_left -= 1
                if expand_left == 0:
                    full.append(next_round)
                    next_round += 1
            if present >= 0 and not rounds[present] and taken >= rate.tap_cycles:
                present, free, finished = -1, free + 1, finished + 1
    return clock


@settings(max_examples=150)
@given(SEEDS, st.integers(1, 8), st.integers(1, 4), st.tuples(*[st.integers(1, 4)] * 4), st.integers(1, 2))
def test_written_cycles(seed: int, rounds: int, banks: int, sizes: tuple[int, int, int, int], parts: int) -> None:
    expanding, tap_cycles, writes, queue_words = sizes
    rng = np.random.default_rng(seed)
    words = rng.integers(1, 10, rounds)
    traffic = GateTraffic(
        reads=rng.random((rng.integers(0, 80), banks)) < rng.random(),
        banks=rng.integers(0, banks, words.sum()),
        ends=np.cumsum(words),
        release=np.sort(rng.integers(0, 60, rounds)),
    )
    rate = PredictorRate(((int(rng.integers(0, 9)), expanding),) * parts, tap_cycles, writes, queue_words)
    assert written_cycles(traffic, rate, traffic.reads) == slow_cycles(traffic, rate, [0] * rounds)
    assert written_cycles(traffic, rate, traffic.reads, traffic.release) == slow_cycles(
        traffic, rate, traffic.release.tolist()
    )
