"""Blocks that flow into each other: the first tile of one is predicted beside the last lists of the one before.

For that its inputs have to be there: they are outputs of some groups of the block before, which come early enough.
"""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import dataclass

from predfuse.hardware.cycle.archon.sequence.group import Group

INPUTS_BEHIND, ADDED_BEHIND = 3, 2
"""An item reads outputs of items at least so many before it: as inputs, and as what is added to its outputs.

Outputs leave beside the lists of the next item, and are there when these are done; a prediction runs beside the lists
of the item before its own, and has its inputs when these begin; what is added comes beside an item's own lists.
"""


@dataclass(frozen=True)
class Chain:
    """Fused blocks that follow each other.

    Attributes:
        blocks: Groups of every block in the order in which they are worked on.
        flows: Whether a block begins beside the last lists of the one before; where its first tile is not predicted
            beside lists, it begins without waiting for the core.
    """

    blocks: tuple[tuple[Group, ...], ...]
    flows: tuple[bool, ...]


@dataclass(frozen=True)
class Sources:
    """Which groups of the block before a group reads, by their numbers there.

    Attributes:
        inputs: As inputs.
        added: What is added to its outputs.
    """

    inputs: Set[int]
    added: Set[int]


def sources(before: Sequence[Group], group: Group) -> Sources:
    """What a group reads.

    Args:
        before: Groups of the block before, all of them.
        group: Of a block whose input that block makes.
    """
    maker = {int(channel): one.index for one in before for channel in one.outputs}
    inputs = range(*group.channels.indices(len(maker)))
    added = group.outputs.tolist() if group.work.residual else []
    return Sources({maker[channel] for channel in inputs}, {maker[channel] for channel in added})


def lateness(before: Sequence[int], order: Sequence[int], read: Sequence[Sources], tiles: tuple[int, int]) -> int:
    """How many items too late the outputs come that the first items of a block read; 0 or less, and it may flow.

    Args:
        before: Groups of the block before in the order in which they are worked on, by their numbers there.
        order: Those of the block likewise.
        read: By every group of the block, in the order of the numbers.
        tiles: Of a group of the block before, and of the block.
    """
    ends = {number: (place + 1) * tiles[0] for place, number in enumerate(before)}
    count = len(before) * tiles[0]
    late = []
    for item in range(min(INPUTS_BEHIND, len(order) * tiles[1])):
        own, begin = read[order[item // tiles[1]]], count + item + 1
        late += [ends[number] + INPUTS_BEHIND - begin for number in own.inputs]
        late += [ends[number] + ADDED_BEHIND - begin for number in own.added]
    return max(late)
