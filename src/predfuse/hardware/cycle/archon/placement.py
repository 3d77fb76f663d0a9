"""Giving the channels of a pass to lanes so that the channels of a list lie in different lanes, and to banks.

A list takes as many cycles as it has channels in its fullest lane, so that the best placement colours the graph of
channels that meet in a list. Done by the compiler, once: greedy, then tabu search from the lists that are too long.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from predfuse.arrays import Int64Array, UInt64Array
from predfuse.hardware.cycle.archon.bits import ones

TABU_MOVES = 100
"""Moves of the search; three times as many gain another 2 % on lists of 10 entries in 16 lanes."""
TENURE, SPREAD = 5, 8
"""A channel may not return to a lane for this many moves, and a few more at random."""


@njit(cache=True, nogil=True)
def place(outputs: UInt64Array, lanes: int, registers: int) -> Int64Array:
    """``[members]`` the lane of every channel, at most ``registers`` in a lane.

    Args:
        outputs: ``[members]`` uint64, bit ``o`` set where the channel is in the list of output ``o``.
        lanes: Lanes.
        registers: Channels a lane holds; ``lanes * registers`` or fewer members.
    """
    members = outputs.size
    degree = np.zeros(members, np.int64)
    every = np.uint64(0)
    for word in outputs:
        every |= word
    width: Any = 0  # outputs up to the last that has a list
    while width < 64 and every >> np.uint64(width):
        width += 1
    lists = np.zeros((members, width), np.int64)
    for member in range(members):
        for output in range(width):
            if (outputs[member] >> np.uint64(output)) & np.uint64(1):
                lists[member, degree[member]] = output
                degree[member] += 1
    lane, load = _greedy(lists, degree, lanes, registers)
    _search(outputs, lists, degree, lane, load, registers)
    return lane


@njit(cache=True, nogil=True)
def _greedy(lists: Int64Array, degree: Int64Array, lanes: int, registers: int) -> tuple[Int64Array, Int64Array]:
    """Channels of most outputs first, each where it lengthens the lists least; lanes, and ``load [outputs, lanes]``."""
    lane = np.zeros(degree.size, np.int64)
    load = np.zeros((lists.shape[1], lanes), np.int64)
    held = np.zeros(lanes, np.int64)
    longest = np.zeros(lists.shape[1], np.int64)
    for member in np.argsort(-degree, kind="mergesort"):
        best, best_growth, best_meets = -1, 1 << 60, 1 << 60
        for candidate in range(lanes):
            if held[candidate] == registers:
                continue
            growth = meets = 0  # cycles the lists get longer, and entries met in this lane
            for index in range(degree[member]):
                output = lists[member, index]
                growth += load[output, candidate] + 1 > longest[output]
                meets += load[output, candidate]
            tie = growth == best_growth and meets == best_meets
            if (
                growth < best_growth
                or (growth == best_growth and meets < best_meets)
                or (tie and held[candidate] < held[best])
            ):
                best, best_growth, best_meets = candidate, growth, meets
        lane[member] = best
        held[best] += 1
        for index in range(degree[member]):
            output = lists[member, index]
            load[output, best] += 1
            longest[output] = max(longest[output], load[output, best])
    return lane, load


@njit(cache=True, nogil=True)
def _search(
    outputs: UInt64Array, lists: Int64Array, degree: Int64Array, lane: Int64Array, load: Int64Array, registers: int
) -> None:
    """Improve ``lane``: always take one channel out of a lane in which a list has too many, to where it is best.

    It moves into a free register or changes places; what counts is the sum of squares of ``load``, which falls as
    lists spread out. The best placement met is kept.
    """
    width, lanes = load.shape
    fewest = np.zeros(width, np.int64)  # cycles a list takes at least
    for output in range(width):
        fewest[output] = (load[output].sum() + lanes - 1) // lanes
    slot = np.full((lanes, registers), -1, np.int64)
    held = np.zeros(lanes, np.int64)
    for member in range(lane.size):
        slot[lane[member], held[lane[member]]] = member
        held[lane[member]] += 1
    best, best_cycles = lane.copy(), _cycles(load)
    free_at = np.zeros((lane.size, lanes), np.int64)  # move from which a channel may enter a lane again
    crowded = np.zeros(width * lanes, np.int64)
    random = np.uint64(0x9E3779B97F4A7C15)
    for move in range(1, TABU_MOVES + 1):
        count = 0
        for output in range(width):
            for candidate in range(lanes):
                if load[output, candidate] > fewest[output]:
                    crowded[count] = output * lanes + candidate
                    count += 1
        if count == 0:
            break
        random = _next(random)
        chosen = crowded[np.int64(random % np.uint64(count))]
        output, source = chosen // lanes, chosen % lanes
        gain, member, target, place = 1 << 60, -1, -1, -1
        for index in range(held[source]):
            candidate = slot[source, index]
            if not (outputs[candidate] >> np.uint64(output)) & np.uint64(1):
                continue
            leaving: Any = 0
            for term in range(degree[candidate]):
                leaving -= 2 * load[lists[candidate, term], source] - 1
            for other in range(lanes):
                if other == source:
                    continue
                entering = leaving
                for term in range(degree[candidate]):
                    entering += 2 * load[lists[candidate, term], other] + 1
                barred = free_at[candidate, other] > move
                for position in range(held[other] + (held[other] < registers)):
                    change = entering
                    taboo = barred
                    if position < held[other]:
                        partner = slot[other, position]
                        for term in range(degree[partner]):
                            shared = lists[partner, term]
                            change += 2 * (load[shared, source] - load[shared, other]) + 2
                        # Lists both are in do not change.
                        change -= 4 * ones(outputs[candidate] & outputs[partner])
                        taboo = taboo or free_at[partner, source] > move
                    random = _next(random)
                    # Ties are broken at random.
                    change = 4 * change + np.int64(random >> np.uint64(62)) + (1 << 40 if taboo else 0)
                    if change < gain:
                        gain, member, target, place = change, candidate, other, position
        if member < 0:
            continue
        random = _next(random)
        _exchange(slot, held, lane, load, lists, degree, member, target, place)
        free_at[member, source] = move + TENURE + np.int64(random % np.uint64(SPREAD))
        cycles = _cycles(load)
        if cycles < best_cycles:
            best_cycles = cycles
            best[:] = lane
    lane[:] = best


@njit(cache=True, nogil=True)
def _exchange(
    slot: Int64Array,
    held: Int64Array,
    lane: Int64Array,
    load: Int64Array,
    lists: Int64Array,
    degree: Int64Array,
    member: int,
    target: int,
    place: int,
) -> None:
    """Move ``member`` to ``place`` of lane ``target``; whoever was there takes its place."""
    source = lane[member]
    index = 0
    while slot[source, index] != member:
        index += 1
    if place < held[target]:
        partner = slot[target, place]
        slot[source, index] = partner
        lane[partner] = source
        for term in range(degree[partner]):
            load[lists[partner, term], target] -= 1
            load[lists[partner, term], source] += 1
    else:
        held[source] -= 1
        slot[source, index] = slot[source, held[source]]
        held[target] += 1
    slot[target, place] = member
    lane[member] = target
    for term in range(degree[member]):
        load[lists[member, term], source] -= 1
        load[lists[member, term], target] += 1


@njit(cache=True, nogil=True)
def _cycles(load: Int64Array) -> Any:
    total = 0
    for output in range(load.shape[0]):
        total += load[output].max()
    return total


@njit(cache=True, nogil=True)
def _next(state: Any) -> Any:
    """The next number of a 64-bit xorshift generator."""
    state ^= state << np.uint64(13)
    state ^= state >> np.uint64(7)
    state ^= state << np.uint64(17)
    return state


@njit(cache=True, nogil=True)
def assign_banks(indptr: Int64Array, channel: Int64Array, channels: int, banks: int) -> Int64Array:
    """``[channels]`` a bank for every channel: those of a pass in different banks, as far as possible.

    Channels of most passes first, each into the bank where it meets fewest of its passes; banks fill evenly.

    Args:
        indptr: ``[passes + 1]``; pass ``i`` has the channels ``channel[indptr[i]:indptr[i + 1]]``.
        channel: ``[members]``.
        channels: How many there are.
        banks: How many there are.
    """
    passes = indptr.size - 1
    often = np.zeros(channels + 1, np.int64)
    for member in channel:
        often[member + 1] += 1
    first = np.cumsum(often)
    filled = first[:-1].copy()
    of_channel = np.empty(channel.size, np.int64)  # passes of every channel
    for index in range(passes):
        for member in range(indptr[index], indptr[index + 1]):
            of_channel[filled[channel[member]]] = index
            filled[channel[member]] += 1
    load = np.zeros((passes, banks), np.int64)
    held = np.zeros(banks, np.int64)
    capacity = (channels + banks - 1) // banks
    bank = np.zeros(channels, np.int64)
    for member in np.argsort(-often[1:], kind="mergesort"):
        best, best_meets = -1, 1 << 60
        for candidate in range(banks):
            if held[candidate] == capacity:
                continue
            meets = 0
            for index in range(first[member], first[member + 1]):
                meets += load[of_channel[index], candidate] ** 2
            if meets < best_meets or (meets == best_meets and held[candidate] < held[best]):
                best, best_meets = candidate, meets
        bank[member] = best
        held[best] += 1
        for index in range(first[member], first[member + 1]):
            load[of_channel[index], best] += 1
    return bank
