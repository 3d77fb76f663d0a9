"""The order in which a chain of fused blocks is worked on: how each tile is predicted, where its gate words and sums
are, and in which start of the core its outputs leave."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace

from predfuse.hardware.cycle.archon.sequence.flow import Chain
from predfuse.hardware.cycle.archon.sequence.group import ALONE, BEHIND_LISTS, BESIDE_LISTS, Group
from predfuse.hardware.cycle.archon.sequence.places import MEMORIES
from predfuse.integer.tiling import Tile

PREDICTION, LISTS_START, OWN = "prediction", "lists", "own"
"""Outputs of a tile leave while the next is predicted alone, beside its lists, or in a start of their own."""


@dataclass(frozen=True, eq=False)
class Item:
    """A tile, worked on by a group. Starts of the core are numbered in order, three to an item.

    Attributes:
        number: In the sequence of the chain.
        block: Number of its block in the chain.
        group: Its group.
        index: Which tile.
        how: It is predicted: alone, or beside or behind the lists of the item before.
        high: At which end of the gate memory its words are.
        second: In which of two sets of words its sums are, and its residuals.
        begins: Whether its block begins with it, when the block before is done.
        leaves: With what its outputs leave.
    """

    number: int
    block: int
    group: Group
    index: int
    how: str
    high: bool
    second: bool
    begins: bool
    leaves: str = OWN

    @property
    def in_block(self) -> int:
        """Its number in the block, group by group as the block has them."""
        return self.group.index * len(self.group.tiles) + self.index

    @property
    def tile(self) -> Tile:
        return self.group.tiles[self.index]

    @property
    def gate_offset(self) -> int:
        """Of its gate words."""
        words = self.group.gate_words
        return self.group.machine.gate_words - words if self.high and words else 0

    @property
    def part_first(self) -> int:
        """Of the parts it is predicted in."""
        return self.number % 2 * self.group.parts_at

    @property
    def output_first(self) -> int:
        """Where the places of its outputs begin: sums and residuals."""
        machine = self.group.machine
        half = machine.outputs // machine.lists // 2 * machine.lists
        return (self.group.places.first["outputs"] + self.second * half) % machine.outputs

    @property
    def alone(self) -> int:
        """Number of the start that predicts it and runs no lists, if there is one."""
        return 3 * self.number

    @property
    def lists(self) -> int:
        """Number of the start of its lists."""
        return self.alone + 1

    @property
    def predicted(self) -> int:
        """Number of the start in which it is predicted."""
        return self.alone if self.how == ALONE else self.lists - 3

    @property
    def left(self) -> int:
        """Number of the start in which its outputs leave."""
        return self.alone + {OWN: 2, PREDICTION: 3, LISTS_START: 4}[self.leaves]

    def __str__(self) -> str:
        return f"group {self.group.index}, tile {self.index}"


def order(chain: Chain, ahead_from: Sequence[int]) -> list[Item]:
    """All items of a chain.

    The first tile of a block is predicted when all outputs of the block before have left, or beside its last lists
    where the block flows.

    Args:
        chain: Groups of every block, in order.
        ahead_from: Of every block: groups behind its first, or its second, are predicted beside the group before them,
            if that can be.
    """
    items: list[Item] = []
    coming = [
        (block, place, group, tile)
        for block, groups in enumerate(chain.blocks)
        for (place, group), tile in itertools.product(enumerate(groups), range(len(groups[0].tiles)))
    ]
    for number, (block, place, group, tile) in enumerate(coming):
        flows = chain.flows[block]
        before, begins = items[-1] if items else None, place == 0 == tile and not flows
        may = place > ahead_from[block] or flows
        how = ALONE if before is None or begins else _how(before, group, tile, may)
        high = before is not None and before.high == (how == BEHIND_LISTS)
        item = Item(number, block, group, tile, how, high, False, begins)
        other = replace(item, second=True)
        items.append(other if before is not None and not _apart(before, item) and _apart(before, other) else item)
    for number, (one, two) in enumerate(itertools.pairwise(items)):
        if two.begins:
            continue
        alone = two.group.predicted and two.how == ALONE
        items[number] = replace(one, leaves=PREDICTION if alone else LISTS_START if _apart(one, two) else OWN)
    return items


def _how(before: Item, group: Group, index: int, may: bool) -> str:
    """How a tile is predicted, as the cycle model has it, but alone where a memory has no room for two groups.

    Args:
        before: The item before.
        group: Of the tile.
        index: Of the tile.
        may: Whether another group than that of the item before may be predicted beside that.
    """
    if not (before.group.predicted and group.predicted):
        return ALONE
    last = before.group
    room = last.gate_words + group.gate_words <= group.machine.gate_words
    if before.group is group:
        return BESIDE_LISTS if room else ALONE if len(group.parts(group.tiles[index])) > 1 else BEHIND_LISTS
    ahead = may and last.places.apart(group.places) >= {"channels", "slots"}
    return BESIDE_LISTS if room and ahead else ALONE


def _apart(one: Item, two: Item) -> bool:
    """Whether the sums of two items have places of their own."""
    return _words(one).isdisjoint(_words(two))


def _words(item: Item) -> set[int]:
    """Of every list: where its sums are; behind the last word comes the first."""
    machine = item.group.machine
    first, words = item.output_first // machine.lists, machine.outputs // machine.lists
    return {(first + word) % words for word in range(-(-item.group.work.group_outputs // machine.lists))}


def last_uses(items: Sequence[Item]) -> list[dict[str, int]]:
    """Of every group: the last start that needs what it has in a memory, by the name of the memory."""
    ends = {item.group.number: item for item in items}.values()
    others = [name for name in (*MEMORIES, "slots", "records") if name not in ("channels", "outputs")]
    return [{"channels": end.predicted, "outputs": end.left} | dict.fromkeys(others, end.lists) for end in ends]
