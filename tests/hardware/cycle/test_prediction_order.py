"""Channels that are not predicted behind lists come in an order from which their places follow."""

from __future__ import annotations

import numpy as np
from hypothesis import given, strategies as st

from predfuse.hardware.cycle.archon.prediction_order import prediction_order


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 9)), max_size=40))
def test_places_follow_from_the_channels_of_every_bank(channels: list[tuple[int, int]]) -> None:
    bank, release = (np.array([one[at] for one in channels], np.int64) for at in (0, 1))
    order = prediction_order(release, bank, behind=False)
    held: dict[int, list[int]] = {}
    for channel, (own, _) in enumerate(channels):
        held.setdefault(own, []).append(channel)
    # Whoever knows how many channels every bank has goes through the slots, bank by bank.
    counts = {own: len(members) for own, members in held.items()}
    places = [(own, slot) for slot in range(40) for own in sorted(counts) if slot < counts[own]]
    assert [held[own][slot] for own, slot in places] == order.tolist()


@given(st.lists(st.integers(0, 9), max_size=40))
def test_behind_lists_channels_come_as_they_are_released(release: list[int]) -> None:
    order = prediction_order(np.array(release, np.int64), np.zeros(len(release), np.int64), behind=True)
    assert order.tolist() == sorted(range(len(release)), key=lambda channel: (release[channel], channel))
