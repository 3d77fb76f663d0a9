"""In which order the groups of a chain of blocks come: lists of one beside the prediction of the next, both about as
long; and those early whose outputs the next block reads first, so that it may flow.

Groups of a block share nothing, so that any order gives the same outputs. What an order costs is estimated from pairs
of groups that follow each other; the schedule of the sequence then says what it takes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import chain, pairwise

import numpy as np

from predfuse.arrays import Int64Array
from predfuse.hardware.cycle.archon.sequence.flow import INPUTS_BEHIND, Chain, Sources, lateness, sources
from predfuse.hardware.cycle.archon.sequence.group import ALONE, Group
from predfuse.hardware.cycle.archon.sequence.places import places

BARELY = 12
"""Cycles (estimated) that inputs take which come just in time: nothing runs beside their fill."""


@dataclass(frozen=True, eq=False)
class Costs:
    """Of the orders of a block (cycles).

    Attributes:
        first: ``[groups]`` int64: that one is the first.
        after: ``[groups, groups]`` int64: that the second follows the first.
        last: ``[groups]`` int64: that one is the last.
    """

    first: Int64Array
    after: Int64Array
    last: Int64Array

    def inside(self, order: Sequence[int]) -> int:
        """Of an order, without its ends."""
        return int(self.after[order[:-1], order[1:]].sum())


@dataclass(frozen=True, eq=False)
class Joint:
    """Between a block and the next, which reads what it makes.

    Attributes:
        beside: ``[groups, groups of the next]`` int64: that the next flows, the second behind the first (cycles).
        read: By every group of the next.
        tiles: Of a group of the block, and of the next.
    """

    beside: Int64Array
    read: Sequence[Sources]
    tiles: tuple[int, int]


def in_order(blocks: Sequence[Sequence[Group]], reads: Sequence[bool]) -> Chain:
    """The groups of a chain in the order in which they are worked on, and numbered so.

    Args:
        blocks: Groups of every block, as it has them.
        reads: Whether a block reads what the one before makes, and finds it in the global buffer.
    """
    joints = [
        _joint(before, groups) if reading else None
        for (before, groups), reading in zip(pairwise(blocks), reads[1:], strict=True)
    ]
    orders = cheap_orders([_costs(groups) for groups in blocks], joints)
    flows = [
        joint is not None and lateness(before, order, joint.read, joint.tiles) <= 0
        for (before, order), joint in zip(pairwise(orders), joints, strict=True)
    ]
    found, count = [], 0
    for groups, order in zip(blocks, orders, strict=True):
        found.append(tuple(replace(groups[at], number=number) for number, at in enumerate(order, count)))
        count += len(groups)
    return Chain(tuple(found), (False, *flows))


def cheap_orders(costs: Sequence[Costs], joints: Sequence[Joint | None]) -> list[list[int]]:
    """Orders that no move of one group and no turned stretch makes cheaper, found from those of the numbers or from
    those in which blocks flow.

    Args:
        costs: Of every block.
        joints: From every block to the next; None where that does not read what the block makes.
    """
    numbers = [list(range(len(own.first))) for own in costs]
    found = [_improved(begin, costs, joints) for begin in (numbers, _flowing(costs, joints))]
    return min(found, key=lambda orders: _cost(orders, costs, joints))


def _improved(begin: Sequence[list[int]], costs: Sequence[Costs], joints: Sequence[Joint | None]) -> list[list[int]]:
    orders, better = list(begin), True
    while better:
        better = False
        for block in range(len(orders)):

            def cost(order: list[int], block: int = block) -> int:
                return _cost([*orders[:block], order, *orders[block + 1 :]], costs, joints, block)

            while cost(found := min(_neighbours(orders[block]), key=cost, default=orders[block])) < cost(orders[block]):
                orders[block], better = found, True
    return orders


def _cost(
    orders: Sequence[list[int]], costs: Sequence[Costs], joints: Sequence[Joint | None], block: int | None = None
) -> int:
    """Of all blocks, or of what the order of one has a part in."""
    own = range(len(orders)) if block is None else (block,)
    begins = {at for number in own for at in (number - 1, number)}
    inside = sum(costs[number].inside(orders[number]) for number in own)
    return inside + sum(_between(orders, costs, joints, number) for number in begins)


def _between(orders: Sequence[list[int]], costs: Sequence[Costs], joints: Sequence[Joint | None], number: int) -> int:
    """What it costs from the last lists of a block to the first of the next; there may be only one of them."""
    last = int(costs[number].last[orders[number][-1]]) if number >= 0 else 0
    if number + 1 == len(orders):
        return last
    alone = last + int(costs[number + 1].first[orders[number + 1][0]])
    joint = joints[number] if number >= 0 else None
    if joint is None:
        return alone
    before, order = orders[number], orders[number + 1]
    late = lateness(before, order, joint.read, joint.tiles)
    return alone if late > 0 else int(joint.beside[before[-1], order[0]]) + (BARELY if late == 0 else 0)


def _flowing(costs: Sequence[Costs], joints: Sequence[Joint | None]) -> list[list[int]]:
    """Orders in which what the next block reads first comes early, and first what reads little."""
    first = [_read_first(joint) for joint in (None, *joints)]
    early: list[list[int]] = [
        [] if joint is None else sorted({number for one in own for number in joint.read[one].inputs})
        for joint, own in zip(joints, first[1:], strict=True)
    ]
    early.append([])
    return [
        list(dict.fromkeys(chain(one, two, range(len(own.first)))))
        for one, two, own in zip(first, early, costs, strict=True)
    ]


def _read_first(joint: Joint | None) -> list[int]:
    """Some groups that together read few of the block before."""
    chosen: list[int] = []
    known: set[int] = set()
    left = [] if joint is None else list(enumerate(joint.read))
    while left and len(chosen) < INPUTS_BEHIND:
        at, own = min(left, key=lambda one: len(known | one[1].inputs))
        left.remove((at, own))
        chosen.append(at)
        known |= own.inputs
    return chosen


def _neighbours(order: list[int]) -> list[list[int]]:
    """All orders in which one group is elsewhere, or a stretch is turned round."""
    count = len(order)
    found = [order[:a] + order[a:b][::-1] + order[b:] for a in range(count) for b in range(a + 2, count + 1)]
    for a in range(count):
        rest = order[:a] + order[a + 1 :]
        found += [[*rest[:b], order[a], *rest[b:]] for b in range(count) if b != a]
    return found


def _costs(groups: Sequence[Group]) -> Costs:
    """Estimated from pairs of groups."""
    lists = np.array([one.list_cycles for one in groups])
    return Costs(_predicts(groups), _beside(groups, groups), lists)


def _joint(before: Sequence[Group], groups: Sequence[Group]) -> Joint:
    read = [sources(before, group) for group in groups]
    return Joint(_beside(before, groups), read, (len(before[0].tiles), len(groups[0].tiles)))


def _predicts(groups: Sequence[Group]) -> Int64Array:
    """``[groups]`` int64: cycles of the prediction of a first tile."""
    return np.array([one.written_cycles(one.tiles[0], ALONE, one) if one.predicted else 0 for one in groups])


def _beside(groups: Sequence[Group], others: Sequence[Group]) -> Int64Array:
    """``[groups, others]`` int64: cycles (estimated) from the last lists of each to those of each other."""
    machine, predicts = groups[0].machine, _predicts(others)
    low, high = (
        [places(one.needs, one.needs["slots"], half, machine) for one in own]
        for half, own in enumerate((groups, others))
    )
    found = np.zeros((len(groups), len(others)), np.int64)
    for i, one in enumerate(groups):
        for j, two in enumerate(others):
            apart = low[i].apart(high[j])
            room = one.gate_words + two.gate_words <= machine.gate_words and apart >= {"channels", "slots"}
            waits = sum(fill.count for fill in two.fills if fill.memory not in apart)
            found[i, j] = waits + (max(one.list_cycles, predicts[j]) if room else one.list_cycles + predicts[j])
    return found
