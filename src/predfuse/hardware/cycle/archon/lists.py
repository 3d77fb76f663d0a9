"""The lists of a group as the sequencer sends them, and the cycles that takes for every tile."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit

from predfuse.fusion.weights import SparseLists
from predfuse.graph.nodes import Array
from predfuse.hardware.cycle.archon.broadcast import NO_BANKS, Sequencer, broadcast_cycles
from predfuse.hardware.cycle.archon.gates import Gates
from predfuse.hardware.cycle.archon.work import BlockWork
from predfuse.integer.order import order_lists


@dataclass(frozen=True, eq=False)
class GroupLists:
    """Lists of one group, first those of the weights in the order o, c, k, then those of the biases.

    Attributes:
        indptr: ``[lists + 1]`` int64.
        channel: ``[entries]`` int64 middle channel within the group.
        tap: ``[entries]`` int64; ``taps`` stands for entries gated by mask 2 alone.
        weight_lists: How many weight lists there are.
    """

    indptr: Array
    channel: Array
    tap: Array
    weight_lists: int


def group_lists(work: BlockWork, group: int, *, biases: bool, empty: bool, lanes: int, banks: int) -> GroupLists:
    """The lists of a group.

    Args:
        work: The block.
        group: Which group.
        biases: Whether bias sums are lists.
        empty: Whether weight lists without entries are sent too (empty bias lists never are).
        lanes: Entries sent in a cycle, for which the compiler orders each list.
        banks: Banks of the gate memory the order avoids to meet, or ``NO_BANKS``.
    """
    channels = slice(group * work.group_middle, (group + 1) * work.group_middle)
    project = work.project[group * work.group_outputs : (group + 1) * work.group_outputs]
    indptr, channel, tap = _fill_lists(
        project,
        work.expand[channels],
        work.depthwise[channels],
        work.expand_bias[channels] & biases,
        work.depthwise_bias[channels] & biases,
    )
    if banks != NO_BANKS:
        # Both of an entry's indices move with it.
        ordered = order_lists(SparseLists(indptr, channel, tap), lanes, banks)
        channel, tap = ordered.channel, ordered.value
    lengths = np.diff(indptr)
    weight_lists = work.group_outputs * work.group_channels * work.taps
    kept = lengths > 0
    kept[:weight_lists] |= empty
    kept_lists = np.concatenate(([0], np.cumsum(lengths[kept])))
    return GroupLists(kept_lists, channel, tap, int(kept[:weight_lists].sum()))


def tile_cycles(work: BlockWork, group: int, lists: GroupLists, gates: Gates, sequencer: Sequencer) -> Array:
    """``[tiles]`` int64 cycles to send the lists of a group for every tile."""
    tiles = len(gates.second_any)
    if not sequencer.skips_entries:
        alive = np.ones(len(lists.channel), np.bool_)
        return np.full(tiles, broadcast_cycles(lists.indptr, lists.channel, alive, sequencer))
    channels = lists.channel + group * work.group_middle
    cycles = np.zeros(tiles, np.int64)
    for tile in range(tiles):
        flags = np.column_stack((gates.both_any[tile], gates.second_any[tile]))
        cycles[tile] = broadcast_cycles(lists.indptr, lists.channel, flags[channels, lists.tap], sequencer)
    return cycles


@njit(cache=True, nogil=True)
def _fill_lists(
    project: Array, expand: Array, depthwise: Array, expand_bias: Array, depthwise_bias: Array
) -> tuple[Array, Array, Array]:
    """Index pointers, channels and taps of all lists."""
    outputs, middle = project.shape
    columns, taps = expand.shape[1], depthwise.shape[1]
    lists = outputs * columns * taps + outputs * taps + outputs
    indptr = np.zeros(lists + 1, np.int64)
    total: Any = 0
    for m in range(middle):
        reads = project[:, m].sum()
        total += reads * (depthwise[m].sum() * (expand[m].sum() + expand_bias[m]) + depthwise_bias[m])
    channel, tap_of = np.empty(total, np.int64), np.empty(total, np.int64)
    row: Any = 0
    entry: Any = 0
    for kind in range(3):
        for output in range(outputs):
            read = np.flatnonzero(project[output])
            for column in range(columns if kind == 0 else 1):
                for tap in range(1 if kind == 2 else taps):
                    for local in read:
                        if kind == 0:
                            present = expand[local, column] and depthwise[local, tap]
                        elif kind == 1:
                            present = expand_bias[local] and depthwise[local, tap]
                        else:
                            present = depthwise_bias[local]
                        if present:
                            channel[entry] = local
                            tap_of[entry] = tap if kind < 2 else taps
                            entry += 1
                    row += 1
                    indptr[row] = entry
    return indptr, channel, tap_of
