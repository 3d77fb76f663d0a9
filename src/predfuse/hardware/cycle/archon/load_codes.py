"""Load codes: what the memory of every bank is told, cycle by cycle, about the members of all passes of a group.

A code is the lane a member goes to, one cycle of waiting (``lanes``), or the end of a part of a divided pass
(``lanes + 1``). Which members a pass has is not told: maps are searched.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from predfuse.arrays import Int64Array, Mask, UInt8Array
from predfuse.hardware.cycle.archon.passes import Passes
from predfuse.hardware.cycle.archon.registers import LaneRegisters, PassTimes


def load_codes(passes: Passes, times: PassTimes, bank: Int64Array, lanes: LaneRegisters) -> list[UInt8Array]:
    """``[codes]`` uint8 of every bank.

    Args:
        passes: Of a group.
        times: Of the passes.
        bank: ``[channels]`` of the memories beside the lanes.
        lanes: What they were timed for.
    """
    owner, follows = bank[passes.channel], passes.goes_on
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
