"""Lists of the published machine against the fused weights, and against sending them entry by entry."""

from __future__ import annotations

import numpy as np
from hypothesis import given, strategies as st
from strategies import BlockCase, bottlenecks

from predfuse.fusion.weights import fuse
from predfuse.hardware.block_work import bias_entries, block_work, list_entries
from predfuse.hardware.cycle.archon.group_plan import broadcast_cycles, list_lengths


@given(bottlenecks())
def test_lengths_are_those_of_the_fused_weights(case: BlockCase) -> None:
    work = block_work(case.block, case.x.shape)
    fused = fuse(case.block)
    weights = np.diff(fused.weights.indptr).reshape(len(work.project), work.group_channels, work.taps)
    expand_biases = np.diff(fused.expand_bias.indptr).reshape(len(work.project), work.taps)
    biases = np.column_stack((expand_biases, np.diff(fused.depthwise_bias.indptr)))
    entries, (first, second) = list_entries(work), bias_entries(work)
    for group in range(work.groups):
        outputs = slice(group * work.group_outputs, (group + 1) * work.group_outputs)
        channels = slice(group * work.group_middle, (group + 1) * work.group_middle)
        of_weights, of_biases = list_lengths(work, group)
        assert (of_weights == weights[outputs]).all()
        assert (of_biases == biases[outputs].ravel()).all()
        assert of_weights.sum() == entries[channels].sum()
        assert of_biases.sum() == first[channels].sum() + second[channels].sum()


def slow_cycles(lengths: list[int], lanes: int) -> int:
    """Send entry by entry; the end of a list ends the cycle, and an empty list takes one to say so."""
    cycles = 0
    for length in lengths:
        left = length
        while True:
            cycles += 1
            left -= min(left, lanes)
            if left == 0:
                break
    return cycles


@given(st.lists(st.integers(0, 30), max_size=20), st.integers(1, 9))
def test_cycles_are_those_of_sending_entry_by_entry(lengths: list[int], lanes: int) -> None:
    assert broadcast_cycles(np.array(lengths, np.int64), lanes) == slow_cycles(lengths, lanes)


def test_published_example() -> None:
    # Lists of 7, 0 and 13 entries through six lanes: 2, 1 and 3 cycles.
    assert broadcast_cycles(np.array([7, 0, 13]), lanes=6) == 6
