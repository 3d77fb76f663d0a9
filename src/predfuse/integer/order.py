"""The order of list entries: lanes that read one bank of the mask memory in the same cycle would conflict.

Sums do not depend on the order of their entries, so the compiler is free to choose it.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from predfuse.errors import InputError
from predfuse.fusion.weights import SparseLists
from predfuse.graph.nodes import Array


def order_lists(lists: SparseLists, lanes: int, banks: int) -> SparseLists:
    """The same lists, entries ordered so that any ``lanes`` neighbours lie in different banks, as far as possible.

    Lists keep their order and may share a cycle, so neighbours across their borders count. Always the bank with most
    entries left is taken that the last ``lanes - 1`` entries did not use, or, where all are used, the one used
    longest ago; ties go to the lowest bank. Within a bank entries keep their order.

    Args:
        lists: The lists; entry of middle channel ``m`` lies in bank ``m % banks``.
        lanes: Entries broadcast per cycle.
        banks: Banks of the mask memory.

    Raises:
        InputError: ``lanes`` or ``banks`` below 1.
    """
    if lanes < 1 or banks < 1:
        raise InputError("layout", f"{lanes} lanes, {banks} banks", "use 1 or more")
    order = np.empty(len(lists), np.int64)
    _order(lists.indptr, (lists.channel % banks).astype(np.int64), lanes, banks, order)
    return SparseLists(lists.indptr, lists.channel[order], lists.value[order])


@njit(cache=True, nogil=True)
def _order(indptr: Array, bank: Array, lanes: int, banks: int, order: Array) -> None:
    last_used = np.full(banks, -lanes, np.int64)  # position at which a bank was last read
    left = np.zeros(banks, np.int64)
    first = np.zeros(banks + 1, np.int64)
    for row in range(indptr.size - 1):
        start, stop = indptr[row], indptr[row + 1]
        if start == stop:
            continue
        # Entries of the row grouped by bank, in order.
        left[:] = 0
        for entry in range(start, stop):
            left[bank[entry]] += 1
        first[0] = 0
        for index in range(banks):
            first[index + 1] = first[index] + left[index]
        grouped = np.empty(stop - start, np.int64)
        fill = first[:-1].copy()
        for entry in range(start, stop):
            grouped[fill[bank[entry]]] = entry
            fill[bank[entry]] += 1
        taken = first[:-1].copy()
        for position in range(start, stop):
            chosen = -1
            for index in range(banks):
                if left[index] == 0:
                    continue
                if chosen < 0:
                    chosen = index
                    continue
                free, chosen_free = position - last_used[index] >= lanes, position - last_used[chosen] >= lanes
                if free != chosen_free:
                    if free:
                        chosen = index
                elif free:
                    if left[index] > left[chosen]:
                        chosen = index
                elif last_used[index] < last_used[chosen]:
                    chosen = index
            order[position] = grouped[taken[chosen]]
            taken[chosen] += 1
            left[chosen] -= 1
            last_used[chosen] = position


def conflicts(lists: SparseLists, lanes: int, banks: int) -> int:
    """Entries whose bank one of the ``lanes - 1`` entries before them reads too (lists following each other)."""
    bank = lists.channel.astype(np.int64) % banks
    clash = np.zeros(len(bank), bool)
    for distance in range(1, min(lanes, len(bank))):
        clash[distance:] |= bank[distance:] == bank[:-distance]
    return int(clash.sum())
