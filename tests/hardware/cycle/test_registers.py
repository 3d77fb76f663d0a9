"""Lane registers and lists against slow versions that walk through every cycle and every fused weight."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, strategies as st
from strategies import SEEDS, BlockCase, bottlenecks

from predfuse.arrays import Array
from predfuse.errors import InputError
from predfuse.hardware.block_work import bias_entries, block_work, list_entries
from predfuse.hardware.cycle.archon.placement import assign_banks, place
from predfuse.hardware.cycle.archon.registers import (
    LaneRegisters,
    Passes,
    channel_banks,
    fullest_bank,
    group_passes,
    pass_times,
    release_cycles,
    split_passes,
    split_rows,
)


def slow_lists(members: list[set[int]], lane: list[int], parallel: int) -> int:
    """Send the lists of a pass: every cycle each multiplier takes one entry per lane of its present list."""
    outputs = sorted(set().union(*members)) if members else []
    waiting = [
        [[lane[m] for m, read in enumerate(members) if output in read] for output in outputs if output % parallel == i]
        for i in range(parallel)
    ]
    cycles = 0
    while any(waiting):
        cycles += 1
        for lists in waiting:
            if not lists:
                continue
            for sent in set(lists[0]):
                lists[0].remove(sent)
            if not lists[0]:
                lists.pop(0)
    return cycles


def slow_loads(banks: list[int], taps: list[int], lanes: list[int], loads: int, total: int) -> int:
    """Load members: every cycle up to ``loads``; a bank sends its next one, those with most left first, if neither its
    lane nor its bank of the gate memory is taken."""
    queues = {bank: [m for m, other in enumerate(banks) if other == bank] for bank in sorted(set(banks))}
    cycles = 0
    while any(queues.values()):
        cycles += 1
        lanes_taken: set[int] = set()
        gates_taken: set[int] = set()
        for bank in sorted(queues, key=lambda bank: -len(queues[bank])):
            if not queues[bank] or len(lanes_taken) == loads:
                break
            lane, gate = lanes[queues[bank][0]], (bank + taps[queues[bank][0]]) % total
            if lane not in lanes_taken and gate not in gates_taken:
                queues[bank].pop(0)
                lanes_taken.add(lane)
                gates_taken.add(gate)
    return cycles


def random_passes(rng: np.random.Generator, passes: int, channels: int, outputs: int) -> Passes:
    lengths = rng.integers(1, channels + 1, passes)
    channel = [np.sort(rng.choice(channels, length, replace=False)) for length in lengths]
    words = [int(rng.integers(1, 1 << outputs)) for _ in range(lengths.sum())]
    return Passes(
        np.concatenate(([0], np.cumsum(lengths))),
        np.concatenate(channel),
        np.array(words, np.uint64),
        rng.integers(0, 5, lengths.sum()),
        np.arange(passes),
        np.zeros(passes, np.int64),
    )


@given(
    SEEDS,
    st.integers(1, 6),
    st.integers(1, 8),
    st.integers(1, 3),
    st.integers(1, 4),
    st.integers(1, 6),
    st.sampled_from((0, 30, 57)),
)
def test_pass_times(seed: int, passes: int, lanes: int, parallel: int, loads: int, banks: int, first: int) -> None:
    rng = np.random.default_rng(seed)
    case = random_passes(rng, passes, channels=10, outputs=7)
    case = replace(case, outputs=case.outputs << np.uint64(first))  # the last of 64 outputs among them
    sizes = LaneRegisters(lanes, -(-10 // lanes), parallel, loads, banks)
    times = pass_times(case, sizes)
    bank = assign_banks(case.indptr, case.channel, 10, banks)
    assert np.bincount(bank, minlength=banks).max() <= -(-10 // banks)
    expected_lists, expected_loads = [], []
    for index in range(passes):
        span = slice(case.indptr[index], case.indptr[index + 1])
        members = [{o for o in range(64) if int(word) >> o & 1} for word in case.outputs[span]]
        lane = place(case.outputs[span], sizes.lanes, sizes.registers)
        assert np.bincount(lane).max() <= sizes.registers
        expected_lists.append(slow_lists(members, lane.tolist(), parallel))
        source, tap = bank[case.channel[span]].tolist(), case.tap[span].tolist()
        expected_loads.append(slow_loads(source, tap, lane.tolist(), loads, banks))
    assert times.list_cycles.tolist() == expected_lists
    assert times.load_cycles.tolist() == expected_loads
    assert channel_banks(case, banks).tolist() == bank[: case.channel.max() + 1].tolist()
    # Two sets of registers: while the lists of a pass run, the next is loaded; both sets change hands together.
    clock, ends = expected_loads[0], []
    for index in range(passes):
        ends.append(clock + expected_lists[index])
        clock += max(expected_lists[index], expected_loads[index + 1] if index + 1 < passes else 0)
    assert times.cycles == clock and times.ends.tolist() == ends
    last = {int(c): ends[i] for i in range(passes) for c in case.channel[case.indptr[i] : case.indptr[i + 1]]}
    assert release_cycles(case, times, 12).tolist() == [last.get(channel, 0) for channel in range(12)]
    held = Counter(((bank[case.channel] + case.tap) % banks).tolist())
    assert fullest_bank(bank[case.channel], case.tap, banks) == max(held.values())


def test_placement_finds_a_colouring() -> None:
    # Twelve channels, each in one of the lists 3i, 3i+1, 3i+2 with the two beside it: four lanes of three suffice.
    words = np.array([0b111 << (3 * (i // 3)) for i in range(12)], np.uint64)
    lane = place(words, 3, 4)
    assert all(len(set(lane[i : i + 3].tolist())) == 3 for i in range(0, 12, 3))


def test_search_is_better_than_greedy() -> None:
    rng = np.random.default_rng(3)
    words = np.array(
        [sum(1 << int(o) for o in np.flatnonzero(rng.random(24) < 0.2)) or 1 for _ in range(52)], np.uint64
    )
    lane = place(words, 16, 4)

    def cycles(lane: Array) -> int:
        lists = [[lane[m] for m in range(52) if int(words[m]) >> o & 1] for o in range(24)]
        return sum(max(Counter(members).values(), default=0) for members in lists)

    in_order = np.arange(52) % 16
    fewest = sum(-(-sum(int(word) >> o & 1 for word in words) // 16) for o in range(24))
    assert cycles(lane) <= fewest + 3 < cycles(in_order)


@given(bottlenecks(), st.integers(1, 4))
def test_passes_have_the_entries_of_the_lists(case: BlockCase, slice_outputs: int) -> None:
    work = block_work(case.block, case.x.shape)
    weights, biases = list_entries(work), bias_entries(work)
    for group in range(work.groups):
        span = slice(group * work.group_middle, (group + 1) * work.group_middle)
        entries = weights[span].sum() + biases[0][span].sum() + biases[1][span].sum()
        passes = group_passes(work, group, slice_outputs, row_words=2, capacity=3)
        assert sum(int(word).bit_count() for word in passes.outputs) == entries
        assert max((int(word).bit_count() for word in passes.outputs), default=0) <= 2
        assert np.diff(passes.indptr).max(initial=0) <= 3
        assert passes.indptr[-1] == len(passes.channel) == len(passes.outputs) == len(passes.tap)
        assert len(passes.column) == len(passes.indptr) - 1


@given(st.lists(st.integers(1, (1 << 64) - 1), min_size=1, max_size=20), st.integers(1, 9))
def test_rows_share_the_outputs_of_a_channel(words: list[int], row_words: int) -> None:
    count = len(words)
    indptr = np.array([0, count // 2, count])
    whole = Passes(indptr, np.arange(count), np.array(words, np.uint64), np.arange(count) % 3, *[np.arange(2)] * 2)
    rows = split_rows(whole, row_words)
    for channel, word in enumerate(words):
        own = [int(part) for part in rows.outputs[rows.channel == channel]]
        assert sum(own) == word and all(a & b == 0 for i, a in enumerate(own) for b in own[:i])
        assert len(own) == -(-word.bit_count() // row_words)
        assert all(0 < part.bit_count() <= row_words for part in own)
    cut = rows.indptr[1]
    assert set(rows.channel[:cut].tolist()) == set(range(count // 2)) and rows.indptr[-1] == len(rows.channel)
    assert (rows.tap == rows.channel % 3).all()


def test_split_passes_evenly() -> None:
    passes = Passes(np.array([0, 7, 9]), np.arange(9), np.ones(9, np.uint64), np.zeros(9, int), *[np.arange(2)] * 2)
    assert split_passes(passes, 3).indptr.tolist() == [0, 2, 4, 7, 9]


def test_refuses_more_channels_than_registers() -> None:
    passes = Passes(np.array([0, 5]), np.arange(5), np.ones(5, np.uint64), np.zeros(5, int), *[np.arange(1)] * 2)
    with pytest.raises(InputError, match="a pass has 5 members, the lanes hold 4"):
        pass_times(passes, LaneRegisters(2, 2, 1, 1, 1))
