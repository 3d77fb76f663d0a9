"""Layers on the dense and sparse machines whose sizes do not divide: PEs beyond the edge stay idle.

The published model allows only factors that divide a dimension. A real machine may round a dimension up to what its
PEs take at once, or to a number that tiles better, where that takes less time or energy.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numba import njit

from predfuse.arrays import Int64Array

SLACK = 1.05
"""Sizes that take up to this factor of the fewest cycles are considered."""
MOST_SIZES = 10
"""Sizes considered, those of fewest cycles first."""
MULTIPLES = (1, 2, 4, 8)
"""Loops left in time are rounded up to a multiple of one of these."""


@lru_cache(maxsize=4096)
def rounded_up(m: int, c: int, q: int, s: int, rows: int, columns: int) -> Int64Array:
    """The sizes of a layer as they are, then rounded up in every promising way.

    Args:
        m: Outputs of a group; all, where it is depthwise.
        c: Input channels of a group.
        q: Output columns.
        s: Kernel width.
        rows: Of PEs: share kernel width, outputs and input channels.
        columns: Of PEs: share output columns and outputs.

    Returns:
        ``[n, 3]``: outputs, input channels and output columns.
    """
    return _rounded_up(m, c, q, s, rows, columns)


@njit(cache=True, nogil=True, error_model="numpy")
def _rounded_up(m: int, c: int, q: int, s: int, rows: int, columns: int) -> Int64Array:
    s_rows = 1
    for part in range(1, min(s, rows) + 1):
        if s % part == 0:
            s_rows = part
    left = rows // s_rows
    best = [(0, 0, 0, 0)]  # cycles and sizes, fewest first, the same sizes once
    best.clear()
    for q_columns in range(1, min(q, columns) + 1):
        q_turns = -(-q // q_columns)
        for m_columns in range(1, min(m, columns // q_columns) + 1):
            for m_rows in range(1, min(m, left) + 1):
                at_once = m_columns * m_rows
                for c_rows in range(1, min(c, left // m_rows) + 1):
                    for m_multiple in MULTIPLES:
                        m_turns = _turns(m, at_once, m_multiple)
                        for c_multiple in MULTIPLES:
                            c_turns = _turns(c, c_rows, c_multiple)
                            cycles = m_turns * c_turns * q_turns
                            if len(best) < MOST_SIZES or cycles <= best[-1][0]:
                                _enter(best, (cycles, m_turns * at_once, c_turns * c_rows, q_turns * q_columns))
    sizes = np.empty((len(best) + 1, 3), np.int64)
    sizes[0, 0], sizes[0, 1], sizes[0, 2] = m, c, q
    count = 1
    for cycles, m_size, c_size, q_size in best:
        if cycles <= SLACK * best[0][0] and (m_size != m or c_size != c or q_size != q):
            sizes[count, 0], sizes[count, 1], sizes[count, 2] = m_size, c_size, q_size
            count += 1
    return sizes[:count]


@njit(cache=True, nogil=True, error_model="numpy")
def _turns(size: int, at_once: int, multiple: int) -> int:
    """Turns for so many channels, a multiple of some number."""
    return -((-size // at_once) // multiple) * multiple


@njit(cache=True, nogil=True, error_model="numpy")
def _enter(best: list[tuple[int, int, int, int]], size: tuple[int, int, int, int]) -> None:
    """Put a size in its place, unless it is there with no more cycles; the last one goes where there are too many."""
    for index in range(len(best)):
        if best[index][1:] == size[1:]:
            if best[index][0] <= size[0]:
                return
            best.pop(index)
            break
    place = 0
    while place < len(best) and best[place] < size:
        place += 1
    best.insert(place, size)
    if len(best) > MOST_SIZES:
        best.pop()
