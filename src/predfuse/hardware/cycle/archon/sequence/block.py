"""All items of a chain of blocks in order: what each needs is filled while the lists of the one before run, if there is
room.

Words of a group are filled beside the lists of any group before it, also of another block; pixels of a block come when
the block before is done.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from itertools import pairwise, takewhile

from predfuse.hardware.cycle.archon.gateware import INPUT_PLANE, PART_PLANE, RESIDUAL, bits_for, records
from predfuse.hardware.cycle.archon.sequence.buffer import BufferBuilder, Filling
from predfuse.hardware.cycle.archon.sequence.commands import (
    BEHIND,
    FINISH,
    LISTS,
    PREDICT,
    After,
    Map,
    Parts,
    Start,
    Store,
)
from predfuse.hardware.cycle.archon.sequence.group import ALONE, BEHIND_LISTS, Group, Records
from predfuse.hardware.cycle.archon.sequence.group_order import group_order
from predfuse.hardware.cycle.archon.sequence.order import OWN, Item, last_uses, order
from predfuse.hardware.cycle.archon.sequence.parts import part_corner, part_inputs, predicted_parts
from predfuse.hardware.cycle.archon.sequence.waiting import BEGIN, Waiting

Fillings = list[list[Filling]]
"""Of the global buffer, block by block."""


def in_order(blocks: Sequence[Sequence[Group]]) -> list[list[Group]]:
    """The groups of a chain in the order in which they are worked on, and numbered so.

    Args:
        blocks: Groups of every block, as it has them.
    """
    found, count = [], 0
    for groups in blocks:
        found.append([replace(groups[at], number=number) for number, at in enumerate(group_order(groups), count)])
        count += len(groups)
    return found


def chain_fillings(blocks: Sequence[Sequence[Group]]) -> Fillings:
    """Everything the gateware does for one input of a chain of blocks.

    Args:
        blocks: Groups of every block, in order.

    Raises:
        InputError: The global buffer does not hold a tile, or the predictor cannot take one.
    """
    # With one tile a group, the words to predict the second may have to come before any lists: that may cost more.
    late = [int(len(groups[0].tiles) == 1 < len(groups)) for groups in blocks]
    found = [_fillings(blocks, [0] * len(blocks))]
    if any(late):
        found.append(_fillings(blocks, late))
        better = [int(_cycles(one) > _cycles(two)) for one, two in zip(*found, strict=True)]
        if better not in ([0] * len(blocks), late):
            found.append(_fillings(blocks, better))
    return min(found, key=lambda fillings: sum(map(_cycles, fillings)))


def _cycles(fillings: Sequence[Filling]) -> int:
    return sum(one.scheduled.clock.total for one in fillings)


def _fillings(blocks: Sequence[Sequence[Group]], ahead_from: Sequence[int]) -> Fillings:
    builder = BufferBuilder(blocks[0][0].machine)
    ends = [*_Sequence(blocks, builder, ahead_from).add(), len(builder.fillings)]
    return [builder.fillings[first:end] for first, end in pairwise([0, *ends])]


class _Sequence:
    """All items of a chain on their way to a builder."""

    def __init__(self, blocks: Sequence[Sequence[Group]], builder: BufferBuilder, ahead_from: Sequence[int]) -> None:
        self.builder, self.machine = builder, builder.machine
        self.items = order(blocks, ahead_from)
        self.waiting = Waiting([group for groups in blocks for group in groups], last_uses(self.items))

    def add(self) -> list[int]:
        """All of them to the builder; fillings before every block but the first (count)."""
        start, before, ends = BEGIN, None, []
        for item in self.items:
            if item.begins:
                self.builder.close()
                self.builder.where = f"layer {item.group.work.name}"
                ends.append(len(self.builder.fillings))
            number, following = item.group.number, self._following(item)
            self._tell_rest(number, True, start)
            if item.group.predicted and item.how == ALONE:
                self.builder.add(partial(self._predict, item, before))
                start, before = item.alone, None
            self._tell_rest(number, False, start)
            if following is not None:
                self._tell_rest(following.group.number, True, start)
            self.builder.together(partial(self._work, item, following, before, self.waiting.left))
            start, before = (item.left, None) if item.leaves == OWN else (item.lists, item)
        self.builder.close()
        return ends[1:]

    def _work(
        self, item: Item, following: Item | None, before: Item | None, left: tuple[tuple[int, Records], ...]
    ) -> None:
        """Lists of an item, and fills beside them; outputs of the one before, or its own."""
        self.waiting.left = left
        self.builder.add(partial(self._planes, item))
        if following is not None:
            self.builder.add(partial(self._parts, following))
        self.builder.add(partial(self._lists, item, following, before))
        begun = self.builder.fill_cycles
        self.builder.add(partial(self._residual, item))
        fills = self.builder.fills
        self._ahead(item, following)
        end = begun + max(item.group.list_cycles, self._predict_cycles(item, following))
        for fill in self.waiting.beside(item.group.number, item.lists, end - self.builder.fill_cycles):
            self.builder.add(partial(self.builder.records, fill))
        if item.leaves == OWN:
            # A fill waits for the one before: behind another fill, the residuals are there.
            self.builder.add(partial(self._finish, item, item.group.work.residual and self.builder.fills == fills))

    def _tell_rest(self, group: int, predicts: bool, start: int) -> None:
        """Words of a group that begins, or those with which it is predicted."""
        for fill, after in self.waiting.rest(group, predicts, start):
            self.builder.add(partial(self.builder.records, fill, after))

    def _following(self, item: Item) -> Item | None:
        """The item that is predicted while the lists of this one run."""
        found = self.items[item.number + 1] if item.number + 1 < len(self.items) else None
        return None if found is None or found.how == ALONE else found

    def _predict_cycles(self, item: Item, following: Item | None) -> int:
        """Of the prediction beside the lists of an item."""
        return 0 if following is None else following.group.written_cycles(following.tile, following.how, item.group)

    def _predict(self, item: Item, before: Item | None) -> None:
        self._parts(item)
        cycles = item.group.written_cycles(item.tile, ALONE, item.group)
        self._start(PREDICT, item, item, before, predict_cycles=cycles)

    def _lists(self, item: Item, following: Item | None, before: Item | None) -> None:
        flags = LISTS
        if following is not None:
            flags |= PREDICT | (BEHIND if following.how == BEHIND_LISTS else 0)
        cycles = item.group.list_cycles, self._predict_cycles(item, following)
        self._start(flags, item, following, before, True, *cycles)

    def _finish(self, item: Item, after: bool) -> None:
        self._start(FINISH, item, None, item, after)

    def _start(
        self, flags: int, item: Item, predicted: Item | None, leaving: Item | None, after: bool = True,
        list_cycles: int = 0, predict_cycles: int = 0,
    ) -> None:  # fmt: skip
        """Start the core; beside it, outputs of an item may leave."""
        store = None
        if leaving is not None:
            store = Store(leaving, self.builder.output_map(leaving), leaving.tile.rows, leaving.tile.columns)
            flags |= FINISH
        self.builder.command(Start(flags, item, predicted, store, after, list_cycles, predict_cycles))

    def _residual(self, item: Item) -> None:
        if item.group.work.residual:
            tile, count = item.tile, item.group.work.group_outputs
            own = self.builder.map(item, True, count, tile.rows, tile.columns)
            corner = tile.rows.start, tile.columns.start
            self.builder.planes(item, own, RESIDUAL, item.output_first, count, corner, tile.rows, tile.columns)

    def _ahead(self, item: Item, following: Item | None) -> None:
        """Fill for the items behind this one, into places that are free."""
        coming = list(takewhile(lambda one: not one.begins, self.items[item.number + 1 : item.number + 3]))
        if coming:
            self.builder.add(partial(self._planes, coming[0]))
        for one in coming[following is not None :]:
            if one.group.parts_at:
                self.builder.add(partial(self._parts, one))

    def _input(self, item: Item) -> Map:
        return self.builder.map(
            item, False, item.group.work.group_channels, item.tile.input_rows, item.tile.input_columns
        )

    def _planes(self, item: Item) -> None:
        """What the lists of an item multiply, into one of the two sets of planes."""
        if ("planes", item.number) in self.builder.filled:
            return
        self.builder.filled["planes", item.number] = None
        work, tile = item.group.work, item.tile
        corner = (tile.rows.start * work.stride - work.padding[0], tile.columns.start * work.stride - work.padding[2])
        at = item.number % 2 << bits_for(self.machine.columns) | item.group.places.first["columns"]
        inputs = tile.input_rows, tile.input_columns
        self.builder.planes(item, self._input(item), INPUT_PLANE, at, work.group_channels, corner, *inputs)

    def _parts(self, item: Item) -> None:
        """How an item is predicted, and the inputs for that; after the core is done where others are in their place."""
        if ("parts", item.number) in self.builder.filled or not item.group.predicted:
            return
        self.builder.filled["parts", item.number] = None
        work, machine, tile = item.group.work, self.machine, item.tile
        parts, record = predicted_parts(work, tile, machine), records(machine)["part"]
        after = After.NOTHING if item.group.parts_at else After.CORE
        self.builder.parts(Parts(item, len(parts)), record.region, record.bits, after)
        for part, (own, _) in enumerate(parts, item.part_first):
            corner, inputs, at = part_corner(work, tile, own), part_inputs(work, tile, own), part * machine.held
            channels = work.group_channels
            self.builder.planes(item, self._input(item), PART_PLANE, at, channels, corner, *inputs, after)
