"""In how many cycles the members of a pass travel from the banks to their lanes, and lanes for which these are few."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from predfuse.arrays import Int64Array, UInt64Array


@njit(cache=True, nogil=True)
def load_cycles(
    bank: Int64Array, turn: Int64Array, lane: Int64Array, sizes: tuple[int, int, int], read: Int64Array
) -> int:
    """Cycles in which the members of a pass travel to their lanes; sets when each is ``read``.

    A bank of the project memory sends its members one after the other, in their order, each with its gate word; a bank
    of the gate memory reads one and a lane takes one in a cycle. The compiler decides which banks wait: those with
    most left send first, of equal ones the first.
    """
    lanes, loads, banks = sizes
    members = bank.size
    order = np.argsort(bank, kind="mergesort")
    left = np.zeros(banks, np.int64)
    for member in range(members):
        left[bank[member]] += 1
    stop = np.cumsum(left)
    lane_taken, gate_taken = np.zeros(lanes, np.int64), np.zeros(banks, np.int64)  # the last cycle it was
    cycles = total = 0
    while total < members:
        cycles += 1
        moved = 0
        for sender in np.argsort(-left, kind="mergesort"):
            if left[sender] == 0 or moved == loads:
                break
            member = order[stop[sender] - left[sender]]
            gate = (sender + turn[member]) % banks
            if lane_taken[lane[member]] < cycles and gate_taken[gate] < cycles:
                lane_taken[lane[member]] = gate_taken[gate] = cycles
                read[member] = cycles - 1
                left[sender] -= 1
                moved += 1
        total += moved
    return cycles


@njit(cache=True, nogil=True)
def spread(
    bank: Int64Array,
    turn: Int64Array,
    outputs: UInt64Array,
    lane: Int64Array,
    sizes: tuple[int, int, int],
    registers: int,
    read: Int64Array,
) -> int:
    """Move the members of a pass to other ``lane``s as long as that makes its loads shorter and no list longer.

    A member moves to a free register, or changes places with another; the first that helps is taken.

    Args:
        bank: ``[members]`` that sends each.
        turn: ``[members]`` from there to the bank of its gate word.
        outputs: ``[members]`` bit ``o`` set where it is in the list of output ``o``.
        lane: ``[members]`` as the lists have them best; changed.
        sizes: Lanes, loads a cycle, banks.
        registers: Members a lane holds.
        read: ``[members]`` set to the cycle in which each is read.

    Returns:
        Cycles of the loads.
    """
    lanes, _, banks = sizes
    members = bank.size
    sends, gates, held = np.zeros(banks, np.int64), np.zeros(banks, np.int64), np.zeros(lanes, np.int64)
    width: Any = 0  # outputs up to the last that has a list
    for member in range(members):
        sends[bank[member]] += 1
        gates[(bank[member] + turn[member]) % banks] += 1
        held[lane[member]] += 1
        while width < 64 and outputs[member] >> np.uint64(width):
            width += 1
    fewest = max((members + lanes - 1) // lanes, sends.max(), gates.max())
    load = np.zeros((width, lanes), np.int64)
    for member in range(members):
        _enter(load, outputs[member], lane[member], 1)
    longest = np.zeros(width, np.int64)
    for output in range(width):
        longest[output] = load[output].max()
    cycles = load_cycles(bank, turn, lane, sizes, read)
    found = True
    while found and cycles > fewest:
        found = False
        for member in range(members):
            for other in range(member + 1, members + lanes):  # behind the members: free registers, lane by lane
                source, target = lane[member], lane[other] if other < members else other - members
                if target == source or (other >= members and held[target] == registers):
                    continue
                partner = outputs[other] if other < members else np.uint64(0)
                if not _fits(load, longest, outputs[member], partner, source, target):
                    continue
                lane[member] = target
                if other < members:
                    lane[other] = source
                now = load_cycles(bank, turn, lane, sizes, read)
                if now >= cycles:
                    lane[member] = source
                    if other < members:
                        lane[other] = target
                    continue
                cycles, found = now, True
                for word, step in ((outputs[member], 1), (partner, -1)):
                    _enter(load, word, target, step)
                    _enter(load, word, source, -step)
                held[target] += other >= members
                held[source] -= other >= members
            if cycles == fewest:
                break
    return load_cycles(bank, turn, lane, sizes, read)


@njit(cache=True, nogil=True)
def _enter(load: Int64Array, outputs: Any, lane: Any, step: int) -> None:
    """Add a member to a lane in all lists that it is in, or with -1 take it away."""
    for output in range(load.shape[0]):
        if (outputs >> np.uint64(output)) & np.uint64(1):
            load[output, lane] += step


@njit(cache=True, nogil=True)
def _fits(load: Int64Array, longest: Int64Array, outputs: Any, partner: Any, source: Any, target: Any) -> Any:
    """Whether no list is longer when a member goes from one lane to another, and its partner the other way."""
    for output in range(load.shape[0]):
        change = np.int64((outputs >> np.uint64(output)) & np.uint64(1))
        change -= np.int64((partner >> np.uint64(output)) & np.uint64(1))
        if load[output, target] + change > longest[output] or load[output, source] - change > longest[output]:
            return False
    return True
