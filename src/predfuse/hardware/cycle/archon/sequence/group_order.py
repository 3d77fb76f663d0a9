"""In which order the groups of a block come: lists of one beside the prediction of the next, both about as long.

Groups share nothing, so that any order gives the same outputs. What an order costs is estimated from pairs of groups
that follow each other; the schedule of the sequence then says what it takes.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from predfuse.arrays import Int64Array
from predfuse.hardware.cycle.archon.sequence.group import ALONE, Group
from predfuse.hardware.cycle.archon.sequence.places import places


def group_order(groups: Sequence[Group]) -> list[int]:
    """Places in ``groups`` in the order in which they are worked on.

    Args:
        groups: Of a block, in the order in which it has them.
    """
    return cheap_order(*_costs(groups))


def cheap_order(first: Int64Array, after: Int64Array, last: Int64Array) -> list[int]:
    """An order that no move of one place and no turned stretch makes cheaper, found from that of the numbers.

    Args:
        first: ``[places]`` int64: what it costs that one is the first.
        after: ``[places, places]`` int64: what it costs that the second follows the first.
        last: ``[places]`` int64: what it costs that one is the last.
    """
    best = list(range(len(first)))
    cost = _cost(best, first, after, last)
    while True:
        found = min(_neighbours(best), key=lambda order: _cost(order, first, after, last), default=best)
        if (lower := _cost(found, first, after, last)) >= cost:
            return best
        best, cost = found, lower


def _cost(order: Sequence[int], first: Int64Array, after: Int64Array, last: Int64Array) -> int:
    return int(first[order[0]] + after[order[:-1], order[1:]].sum() + last[order[-1]])


def _neighbours(order: list[int]) -> list[list[int]]:
    """All orders in which one group is elsewhere, or a stretch is turned round."""
    count = len(order)
    found = [order[:a] + order[a:b][::-1] + order[b:] for a in range(count) for b in range(a + 2, count + 1)]
    for a in range(count):
        rest = order[:a] + order[a + 1 :]
        found += [[*rest[:b], order[a], *rest[b:]] for b in range(count) if b != a]
    return found


def _costs(groups: Sequence[Group]) -> tuple[Int64Array, Int64Array, Int64Array]:
    """Cycles (estimated) before the lists of each group if it is the first, from its last lists to those of each other
    group, and from there to the end if it is the last."""
    count, machine = len(groups), groups[0].machine
    predicts = np.array([one.written_cycles(one.tiles[0], ALONE, one) if one.predicted else 0 for one in groups])
    lists = np.array([one.list_cycles for one in groups])
    ends = [[places(one.needs, one.needs["slots"], half, machine) for half in (0, 1)] for one in groups]
    after = np.zeros((count, count), np.int64)
    for i, one in enumerate(groups):
        for j, two in enumerate(groups):
            apart = ends[i][0].apart(ends[j][1])
            room = one.gate_words + two.gate_words <= machine.gate_words and apart >= {"channels", "slots"}
            waits = sum(fill.count for fill in two.fills if fill.memory not in apart)
            after[i, j] = waits + (max(lists[i], predicts[j]) if room else lists[i] + predicts[j])
    return predicts, after, lists
