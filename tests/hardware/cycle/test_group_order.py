"""Groups come in a cheap order: the cheapest of few, never a dearer one than their own; blocks flow where that pays."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
from hypothesis import given, settings, strategies as st

from predfuse.hardware.cycle.archon.sequence.flow import Sources, lateness
from predfuse.hardware.cycle.archon.sequence.group_order import BARELY, Costs, Joint, cheap_orders

COSTS = st.integers(0, 300)


@given(st.integers(1, 7).flatmap(lambda n: st.lists(COSTS, min_size=n * (n + 2), max_size=n * (n + 2))))
def test_an_order_is_a_cheap_one(numbers: list[int]) -> None:
    count = int(len(numbers) ** 0.5)  # of n (n + 2), n
    first, last = numbers[:count], numbers[count : 2 * count]
    after = [numbers[(2 + place) * count : (3 + place) * count] for place in range(count)]

    def cost(order: tuple[int, ...]) -> int:
        return first[order[0]] + sum(after[a][b] for a, b in itertools.pairwise(order)) + last[order[-1]]

    (order,) = cheap_orders([Costs(np.array(first), np.array(after).reshape(count, count), np.array(last))], [])
    found = tuple(order)
    assert sorted(found) == list(range(count))
    assert cost(found) <= cost(tuple(range(count)))
    if count <= 3:  # every order is a step from every other
        assert cost(found) == min(map(cost, itertools.permutations(range(count))))
    for a, b in itertools.combinations(range(count + 1), 2):
        assert cost(found) <= cost(found[:a] + found[a:b][::-1] + found[b:])


SOME = st.frozensets(st.integers(0, 3), max_size=4)
READ = st.builds(Sources, SOME.filter(bool), SOME)


def _late(before: Sequence[int], order: Sequence[int], read: Sequence[Sources], tiles: tuple[int, int]) -> int:
    """By the numbers of the items: by how many those come too late that an item reads."""
    first = [number for number in before for _ in range(tiles[0])]
    second = [number for number in order for _ in range(tiles[1])]
    late = [-10]
    for at, number in enumerate(second[:3], len(first)):
        for item, maker in enumerate(first):
            late += [item + 3 - at] * (maker in read[number].inputs)
            late += [item + 2 - at] * (maker in read[number].added)
    return max(late)


@given(
    st.permutations(range(4)), st.permutations(range(4)),
    st.lists(READ, min_size=4, max_size=4),
    st.tuples(st.integers(1, 3), st.integers(1, 3)),
)  # fmt: skip
def test_outputs_come_so_many_items_too_late(
    before: list[int], order: list[int], read: list[Sources], tiles: tuple[int, int]
) -> None:
    assert lateness(before, order, read, tiles) == _late(before, order, read, tiles)


@settings(max_examples=40)
@given(st.integers(0, 2**32 - 1))
def test_two_blocks_flow_where_that_is_cheaper(seed: int) -> None:
    """Four groups that each read one of the block before."""
    rng = np.random.default_rng(seed)
    costs = [Costs(rng.integers(0, 99, 4), rng.integers(0, 99, (4, 4)), rng.integers(0, 99, 4)) for _ in range(2)]
    read = [Sources({int(number)}, set()) for number in rng.permutation(4)]
    joint = Joint(rng.integers(0, 99, (4, 4)), read, (1, 1))

    def cost(one: Sequence[int], two: Sequence[int]) -> int:
        late = _late(one, two, read, (1, 1))
        alone = int(costs[0].last[one[-1]] + costs[1].first[two[0]])
        between = alone if late > 0 else int(joint.beside[one[-1], two[0]]) + BARELY * (late == 0)
        pairs = [
            int(own.after[a, b])
            for own, order in zip(costs, (one, two), strict=True)
            for a, b in itertools.pairwise(order)
        ]
        return int(costs[0].first[one[0]]) + sum(pairs) + between + int(costs[1].last[two[-1]])

    one, two = cheap_orders(costs, [joint])
    assert sorted(one) == sorted(two) == list(range(4))
    numbers = list(range(4))
    assert cost(one, two) <= cost(numbers, numbers)
    for a, b in itertools.combinations(range(5), 2):  # no turned stretch is cheaper
        assert cost(one, two) <= cost([*one[:a], *one[a:b][::-1], *one[b:]], two)
        assert cost(one, two) <= cost(one, [*two[:a], *two[a:b][::-1], *two[b:]])
