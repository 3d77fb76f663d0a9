"""The sequencer against a slow one that walks through every cycle."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from predfuse.errors import InputError
from predfuse.hardware.cycle.archon.broadcast import NO_BANKS, Sequencer, broadcast_cycles


def slow_cycles(lists: list[list[tuple[int, bool]]], limits: Sequencer) -> int:
    """Fill one cycle after the other with as many entries ``(channel, alive)`` as the rules allow."""
    queue = [[c for c, alive in entries if alive or not limits.skips_entries] for entries in lists]
    if limits.skips_lists:
        queue = [entries for entries in queue if entries]
    cycles = 0
    while queue:
        cycles += 1
        lanes = finished = present = 0
        banks: Counter[int] = Counter()
        beginning = False  # only the first list of a cycle may be the rest of one begun before
        while queue and present < limits.shared:
            entries = queue[0]
            if not entries:
                if finished:
                    break
                queue.pop(0)
                present, finished, beginning = present + 1, finished + 1, True
                continue
            if beginning:
                lanes = -(-lanes // limits.granule) * limits.granule
            if lanes >= limits.lanes:
                break
            bank = entries[0] % limits.banks if limits.banks else 0
            blocked = bool(limits.banks) and banks[bank] == limits.ports
            if present and (blocked or (len(entries) == 1 and finished)):
                # The list has been given a place, if not a lane, in this cycle: the fast version begins it there.
                break
            present += 1
            while entries and lanes < limits.lanes:
                bank = entries[0] % limits.banks if limits.banks else 0
                if limits.banks and banks[bank] == limits.ports:
                    break
                if len(entries) == 1 and finished:
                    break
                banks[bank] += 1
                lanes += 1
                entries.pop(0)
            if entries:
                break
            queue.pop(0)
            finished, beginning = finished + 1, True
    return cycles


LISTS = st.lists(st.lists(st.tuples(st.integers(0, 11), st.booleans()), max_size=9), max_size=12)
LIMITS = st.builds(
    Sequencer,
    lanes=st.integers(4, 9),
    shared=st.integers(1, 3),
    granule=st.integers(1, 4),
    banks=st.sampled_from((NO_BANKS, 1, 2, 3, 8)),
    ports=st.integers(1, 2),
    skips_entries=st.booleans(),
    skips_lists=st.booleans(),
)


@given(LISTS, LIMITS)
def test_equals_the_slow_sequencer(lists: list[list[tuple[int, bool]]], limits: Sequencer) -> None:
    indptr = np.cumsum([0] + [len(entries) for entries in lists])
    flat = [entry for entries in lists for entry in entries]
    channel = np.array([c for c, _ in flat], np.int64)
    alive = np.array([a for _, a in flat], np.bool_)
    assert broadcast_cycles(indptr, channel, alive, limits) == slow_cycles(lists, limits)


def test_published_example() -> None:
    # Lists of 7, 0 and 13 entries through six lanes: 2, 1 and 3 cycles.
    indptr, channel = np.array([0, 7, 7, 20]), np.arange(20)
    assert broadcast_cycles(indptr, channel, np.ones(20, bool), Sequencer(lanes=6)) == 6
    assert broadcast_cycles(indptr, channel, np.ones(20, bool), Sequencer(lanes=6, skips_lists=True)) == 5
    # With lists sharing cycles only the 20 entries count, and that at most one list is finished in a cycle.
    assert broadcast_cycles(indptr, channel, np.ones(20, bool), Sequencer(lanes=6, shared=3, skips_lists=True)) == 4


@pytest.mark.parametrize("field", ["lanes", "shared", "granule", "ports"])
def test_refuses_nothing_to_send_with(field: str) -> None:
    with pytest.raises(InputError, match=field):
        Sequencer(**{"lanes": 4, field: 0})
