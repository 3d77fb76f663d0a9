"""Load codes: what the memory of every bank is told, cycle by cycle, about the members of all passes of a group.

A code is the lane a member goes to, one cycle of waiting (``lanes``), or the end of a part of a divided pass
(``lanes + 1``). Which members a pass has is not told: maps are searched.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from predfuse.arrays import Int64Array, Mask, UInt8Array
from predfuse.hardware.cycle.archon.registers import NO_COLUMN, LaneRegisters, Passes, PassTimes

WEIGHT, EXPAND_BIAS, DEPTHWISE_BIAS = 0, 1, 2
"""Kinds of passes."""


def pass_kinds(passes: Passes, taps: int) -> Int64Array:
    """``[passes]`` int64 kind of each; ``taps`` stands for mask 2 alone."""
    alone = passes.tap[passes.indptr[:-1]] == taps
    kinds: Int64Array = np.where(passes.column != NO_COLUMN, WEIGHT, np.where(alone, DEPTHWISE_BIAS, EXPAND_BIAS))
    return kinds


def goes_on(passes: Passes, taps: int) -> Mask:
    """``[passes]`` bool: whether a pass has further members of the pass before, which was divided."""
    kinds = pass_kinds(passes, taps)
    tap = np.where(kinds == WEIGHT, passes.tap[passes.indptr[:-1]], 0)
    keys = np.stack((kinds, passes.column, tap, passes.first_output))
    same: Mask = np.zeros(len(kinds), np.bool_)
    same[1:] = (keys[:, 1:] == keys[:, :-1]).all(axis=0)
    return same


def load_codes(passes: Passes, times: PassTimes, bank: Int64Array, lanes: LaneRegisters, taps: int) -> list[UInt8Array]:
    """``[codes]`` uint8 of every bank.

    Args:
        passes: Of a group.
        times: Of the passes.
        bank: ``[channels]`` of the memories beside the lanes.
        lanes: What they were timed for.
        taps: Of the window.
    """
    owner, follows = bank[passes.channel], goes_on(passes, taps)
    most = int(times.load_cycles.sum()) + len(follows)
    codes, counts = np.empty((lanes.banks, most), np.uint8), np.zeros(lanes.banks, np.int64)
    _fill(passes.indptr, owner, times.lanes, times.read_cycles, follows, lanes.lanes, codes, counts)
    return [own[:count] for own, count in zip(codes, counts, strict=True)]


@njit(cache=True, nogil=True)
def _fill(
    indptr: Int64Array,
    owner: Int64Array,
    lane: Int64Array,
    read: Int64Array,
    follows: Mask,
    lanes: int,
    codes: UInt8Array,
    counts: Int64Array,
) -> None:
    banks, passes = codes.shape[0], indptr.size - 1
    clock = np.zeros(banks, np.int64)
    left = np.zeros(banks, np.int64)  # members in this part of a divided pass and in those to come
    for index in range(passes):
        if not follows[index]:
            left[:] = 0
            last = index + 1
            while last < passes and follows[last]:
                last += 1
            for member in range(indptr[index], indptr[last]):
                left[owner[member]] += 1
        clock[:] = 0
        for member in range(indptr[index], indptr[index + 1]):
            bank = owner[member]
            for _ in range(read[member] - clock[bank]):
                codes[bank, counts[bank]] = lanes
                counts[bank] += 1
            codes[bank, counts[bank]] = lane[member]
            counts[bank] += 1
            clock[bank] = read[member] + 1
            left[bank] -= 1
        for bank in range(banks):
            if left[bank] > 0:
                codes[bank, counts[bank]] = lanes + 1
                counts[bank] += 1
