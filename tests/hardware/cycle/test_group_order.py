"""Groups come in a cheap order: the cheapest of few, never a dearer one than their own."""

from __future__ import annotations

import itertools

import numpy as np
from hypothesis import given, strategies as st

from predfuse.hardware.cycle.archon.sequence.group_order import cheap_order

COSTS = st.integers(0, 300)


@given(st.integers(1, 7).flatmap(lambda n: st.lists(COSTS, min_size=n * (n + 2), max_size=n * (n + 2))))
def test_an_order_is_a_cheap_one(numbers: list[int]) -> None:
    count = int(len(numbers) ** 0.5)  # of n (n + 2), n
    first, last = numbers[:count], numbers[count : 2 * count]
    after = [numbers[(2 + place) * count : (3 + place) * count] for place in range(count)]

    def cost(order: tuple[int, ...]) -> int:
        return first[order[0]] + sum(after[a][b] for a, b in itertools.pairwise(order)) + last[order[-1]]

    found = tuple(cheap_order(np.array(first), np.array(after), np.array(last)))
    assert sorted(found) == list(range(count))
    assert cost(found) <= cost(tuple(range(count)))
    if count <= 3:  # every order is a step from every other
        assert cost(found) == min(map(cost, itertools.permutations(range(count))))
    for a, b in itertools.combinations(range(count + 1), 2):
        assert cost(found) <= cost(found[:a] + found[a:b][::-1] + found[b:])
