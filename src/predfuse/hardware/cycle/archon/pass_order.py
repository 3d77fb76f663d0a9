"""The order of passes that takes fewest cycles, each loaded beside the lists of the one before.

From pass to pass it takes the longer of the lists of one and the loads of the next: a travelling salesman's problem
that Gilmore and Gomory (Operations Research 12, 1964) solve exactly, for each town is left with one number and entered
with another.
"""

from __future__ import annotations

import numpy as np

from predfuse.arrays import Int64Array


def cheapest_order(load_cycles: Int64Array, list_cycles: Int64Array) -> Int64Array:
    """``[passes]`` int64 in which order they take fewest cycles.

    The first is loaded by itself, and the lists of the last run by themselves: a pass that takes nothing closes the
    circle. Who follows whom is best where the passes by their lists, and by their loads, are in the same order. Circles
    that are left are joined by exchanges of the followers of neighbours in that order, the cheapest first.

    Args:
        load_cycles: ``[passes]`` int64.
        list_cycles: ``[passes]`` int64.
    """
    out, into = np.append(list_cycles, 0), np.append(load_cycles, 0)
    by_out, by_into = np.argsort(out, kind="stable"), np.argsort(into, kind="stable")
    left, entered = out[by_out], into[by_into]  # sorted, those of one place follow each other
    place = np.argsort(by_out, kind="stable")
    circle = list(range(len(out)))  # of every place: another of the circle it is in, or itself

    def of(one: int) -> int:
        while circle[one] != one:
            one = circle[one]
        return one

    for one, follower in enumerate(place[by_into].tolist()):
        circle[of(one)] = of(follower)
    costs = np.maximum(0, np.minimum(left[1:], entered[1:]) - np.maximum(left[:-1], entered[:-1]))
    exchanged = []
    for one in np.argsort(costs, kind="stable").tolist():
        if of(one) != of(one + 1):
            circle[of(one)] = of(one + 1)
            exchanged.append(one)
    # Where the loads are the longer, the exchanges from the last place on come first; else those from the first.
    longer = sorted((one for one in exchanged if entered[one] >= left[one]), reverse=True)
    shorter = sorted(one for one in exchanged if entered[one] < left[one])
    follower = by_into.copy()
    for one in (*longer, *shorter):
        follower[[one, one + 1]] = follower[[one + 1, one]]
    order, at = np.empty(len(list_cycles), np.int64), len(list_cycles)
    for number in range(len(order)):
        at = follower[place[at]]
        order[number] = at
    return order
