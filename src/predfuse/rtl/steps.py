"""A fused block as the gateware runs it: images of the global buffer, and what every start of the core has to do."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np

from predfuse.arrays import Int16Array, Int64Array
from predfuse.graph.nodes import Shape
from predfuse.hardware.cycle.archon.gateware import (
    INPUT_PLANE,
    PART_PLANE,
    RESIDUAL,
    Machine,
    bits_for,
    records,
)
from predfuse.integer.nodes import FusedBlock
from predfuse.integer.tiling import Span
from predfuse.rtl.group import ALONE, BEHIND_LISTS, Group, WordFill
from predfuse.rtl.image import Image, ImageBuilder, Map, positions
from predfuse.rtl.items import part_corner, part_inputs, part_words, predicted_parts
from predfuse.rtl.order import OWN, Item, last_uses, order
from predfuse.rtl.schedule import schedule
from predfuse.rtl.starts import BEHIND, FINISH, LISTS, PREDICT, Measured, Step
from predfuse.rtl.streams import emit_group
from predfuse.rtl.waiting import BEGIN, Waiting
from predfuse.rtl.words import Word

_NOTHING = np.zeros(0, np.int64)


class BlockPlan:
    """A block for the gateware: what all its inputs share.

    Args:
        node: The block.
        in_shape: ``(C, H, W)`` of its input.
        machine: The gateware.

    Attributes:
        groups: Of the block.

    Raises:
        InputError: The gateware does not hold the block.
    """

    def __init__(self, node: FusedBlock, in_shape: Shape, machine: Machine) -> None:
        self.node, self.machine = node, machine
        self.groups = [Group(emit_group(node, in_shape, group, machine)) for group in range(node.groups)]

    def images(self, x: Int16Array, y: Int16Array) -> list[Image]:
        """Everything to do for some inputs: every group is told once, then input by input, tile by tile.

        Args:
            x: ``[N, C, H, W]`` int16 inputs of the block.
            y: ``[N, O, P, Q]`` int16 outputs that the integer machine gives for them.

        Raises:
            InputError: The global buffer does not hold a tile.
        """
        # With one tile a group, the words to predict the second are filled before any lists: that may cost more.
        choices = 2 if len(x) * len(self.groups[0].tiles) == 1 < len(self.groups) else 1
        found = [self._images(x, y, ahead_from) for ahead_from in range(choices)]
        return min(found, key=lambda images: sum(schedule(one.commands, self.machine).total for one in images))

    def _images(self, x: Int16Array, y: Int16Array, ahead_from: int) -> list[Image]:
        builder = ImageBuilder(self.machine, f"layer {self.node.name}")
        _Sequence(self.groups, builder, x, y, ahead_from).add()
        builder.close()
        return builder.images


class _Sequence:
    """All items of a block. What an item needs is filled while the lists of the one before run, if there is room."""

    def __init__(
        self, groups: Sequence[Group], builder: ImageBuilder, x: Int16Array, y: Int16Array, ahead_from: int
    ) -> None:
        self.builder, self.x, self.y = builder, x, y
        self.node, self.work, self.machine = groups[0].node, groups[0].work, groups[0].machine
        self.items = order(groups, len(x), ahead_from)
        self.waiting = Waiting(groups, last_uses(self.items, len(groups)))

    def add(self) -> None:
        """All of them to the builder."""
        start, before = BEGIN, None
        for item in self.items:
            number, following = item.group.stream.group, self._following(item)
            self._tell_rest(number, True, start)
            if item.group.predicted and item.how == ALONE:
                self.builder.add(partial(self._predict, item, before))
                start, before = item.alone, None
            self._tell_rest(number, False, start)
            if following is not None:
                self._tell_rest(following.group.stream.group, True, start)
            self.builder.together(partial(self._work, item, following, before, self.waiting.left))
            start, before = (item.left, None) if item.leaves == OWN else (item.lists, item)

    def _work(
        self, item: Item, following: Item | None, before: Item | None, left: tuple[tuple[int, WordFill], ...]
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
        end = begun + max(item.group.stream.times.cycles, self._predict_cycles(item, following))
        for fill in self.waiting.beside(item.group.stream.group, item.lists, end - self.builder.fill_cycles):
            self.builder.add(partial(self.builder.words, fill.words, fill.bits, False))
        if item.leaves == OWN:
            # A fill waits for the one before: behind another fill, the residuals are there.
            self.builder.add(partial(self._finish, item, self.node.residual and self.builder.fills == fills))

    def _tell_rest(self, group: int, predicts: bool, start: int) -> None:
        """Words of a group that begins, or those with which it is predicted."""
        for fill, after in self.waiting.rest(group, predicts, start):
            self.builder.add(partial(self.builder.words, fill.words, fill.bits, after))

    def _following(self, item: Item) -> Item | None:
        """The item that is predicted while the lists of this one run."""
        found = self.items[item.number + 1] if item.number + 1 < len(self.items) else None
        return None if found is None or found.how == ALONE else found

    def _predict_cycles(self, item: Item, following: Item | None) -> int:
        """Of the prediction beside the lists of an item."""
        return 0 if following is None else following.group.written_cycles(following.index, following.how, item.group)

    def _predict(self, item: Item, before: Item | None) -> None:
        self._parts(item)
        expected = Measured(0, item.group.written_cycles(item.index, ALONE, item.group))
        self._start(PREDICT, f"{item}, prediction", expected, self._word(item, item), before)

    def _lists(self, item: Item, following: Item | None, before: Item | None) -> None:
        times, flags, how = item.group.stream.times, LISTS, "lists"
        if following is not None:
            flags |= PREDICT | (BEHIND if following.how == BEHIND_LISTS else 0)
            whose = "" if following.group is item.group else " of the next group"
            how = f"lists, the next prediction{whose} {following.how}"
        begins = tuple(int(cycle) for cycle in times.ends - times.list_cycles - 1)
        expected = Measured(times.cycles, self._predict_cycles(item, following), begins if times.cycles else ())
        self._start(flags, f"{item}, {how}", expected, self._word(item, following), before)

    def _finish(self, item: Item, after: bool) -> None:
        self._start(FINISH, f"{item}, outputs", Measured(), self._word(item, None), item, after)

    def _start(
        self, flags: int, what: str, expected: Measured, word: Word, leaving: Item | None, after: bool = True
    ) -> None:
        """Start the core; beside it, outputs of an item may leave."""
        if leaving is None:
            return self.builder.start(Step(flags, what, expected, _NOTHING, _NOTHING), word)
        group, tile, builder = leaving.group, leaving.tile, self.builder
        first, channels = int(group.places.min()), int(np.ptp(group.places)) + 1
        where, size = ("output", leaving.image, group.stream.group), (tile.rows.size, tile.columns.size)
        corner = tile.rows.start, tile.columns.start
        if group.whole:
            own = builder.output_map(where, channels, *self.work.out_shape[1:])
        else:
            own = builder.output_map((*where, leaving.index), channels, *size, *corner)
        at = positions(own, group.places - first, *corner, *size).ravel()
        rows, columns = slice(tile.rows.start, tile.rows.stop), slice(tile.columns.start, tile.columns.stop)
        pixels = self.y[leaving.image][group.places, rows, columns].astype(np.int64).ravel()
        what = what if flags == FINISH else f"{what}; outputs of {leaving}"
        return builder.start(
            Step(flags | FINISH, what, expected, at, pixels), word, (own, first, *corner, *size), after
        )

    def _residual(self, item: Item) -> None:
        if self.node.residual:
            tile, group = item.tile, item.group
            own = self._source("residual", item, group.places, tile.rows, tile.columns)
            corner = tile.rows.start, tile.columns.start
            self.builder.planes(own, RESIDUAL, item.output_first, len(group.places), corner, tile.rows, tile.columns)

    def _ahead(self, item: Item, following: Item | None) -> None:
        """Fill for the items behind this one, into places that are free."""
        coming = self.items[item.number + 1 : item.number + 3]
        if coming:
            self.builder.add(partial(self._planes, coming[0]))
        for one in coming[following is not None :]:
            if one.group.parts_at:
                self.builder.add(partial(self._parts, one))

    def _source(self, key: str, item: Item, channels: Int64Array, rows: Span, columns: Span) -> Map:
        """The map that has these pixels: whole, or what a tile needs of it."""
        where, x = (key, item.image, item.group.stream.group), self.x[item.image]
        if item.group.whole:
            return self.builder.map(where, x[channels])
        cut = x[channels, rows.start : rows.stop, columns.start : columns.stop]
        return self.builder.map((*where, item.index), cut, rows.start, columns.start)

    def _input(self, item: Item) -> Map:
        return self._source("input", item, item.group.channels, item.tile.input_rows, item.tile.input_columns)

    def _planes(self, item: Item) -> None:
        """What the lists of an item multiply, into one of the two sets of planes."""
        if ("planes", item.number) in self.builder.filled:
            return
        self.builder.filled.add(("planes", item.number))
        node, tile, machine = self.node, item.tile, self.machine
        corner = (tile.rows.start * node.stride - node.padding[0], tile.columns.start * node.stride - node.padding[2])
        at = item.number % 2 << bits_for(machine.columns) | item.group.stream.places.first["columns"]
        own, channels = self._input(item), self.work.group_channels
        self.builder.planes(own, INPUT_PLANE, at, channels, corner, tile.input_rows, tile.input_columns)

    def _parts(self, item: Item) -> None:
        """How an item is predicted, and the inputs for that; after the core is done where others are in their place."""
        if ("parts", item.number) in self.builder.filled or not item.group.predicted:
            return
        self.builder.filled.add(("parts", item.number))
        node, work, machine, tile = self.node, self.work, self.machine, item.tile
        first, packer = item.part_first, item.group.packer
        words = part_words(node, work, tile, work.in_shape[1:], first, machine, packer)
        after = not item.group.parts_at
        self.builder.words(words, records(machine)["part"].bits, after)
        for part, (own, _) in enumerate(predicted_parts(work, tile, machine), first):
            corner, inputs, at = part_corner(node, tile, own), part_inputs(node, tile, own), part * machine.held
            self.builder.planes(self._input(item), PART_PLANE, at, work.group_channels, corner, *inputs, after)

    def _word(self, item: Item, predicted: Item | None) -> Word:
        """The item whose lists run and the parts of the one that is predicted meanwhile."""
        first = 0 if predicted is None else predicted.part_first
        parts = 1 if predicted is None else len(predicted.group.parts(predicted.tile))
        return self.builder.packer.word(
            "item",
            0,
            read_offset=item.gate_offset,
            write_offset=(predicted or item).gate_offset,
            rows=item.tile.rows.size,
            part_first=first,
            part_end=first + parts,
            planes=item.number % 2,
            half=item.group.stream.places.half,
            predict_half=(predicted or item).group.stream.places.half,
            set=int(item.second),
        )
