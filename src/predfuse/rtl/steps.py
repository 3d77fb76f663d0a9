"""A fused block as the gateware runs it: images of the global buffer, and what every start of the core has to do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
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
from predfuse.integer.tiling import Span, Tile
from predfuse.rtl.group import Group, WordFill
from predfuse.rtl.image import Image, ImageBuilder, Map, positions
from predfuse.rtl.items import part_corner, part_inputs, part_words, predicted_parts
from predfuse.rtl.starts import BEHIND, FINISH, LISTS, PREDICT, Measured, Step
from predfuse.rtl.streams import emit_group
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
        builder = ImageBuilder(self.machine, f"layer {self.node.name}")
        _Sequence(self.groups, builder, x, y).add()
        builder.close()
        return builder.images


@dataclass(frozen=True, eq=False)
class _Item:
    """A tile of an input, worked on by a group.

    Attributes:
        number: In the sequence of the block.
        group: Its group.
        image: Which input.
        index: Which tile.
    """

    number: int
    group: Group
    image: int
    index: int

    @property
    def tile(self) -> Tile:
        return self.group.tiles[self.index]

    @property
    def gate_offset(self) -> int:
        """Of its gate words."""
        return self.number % 2 * self.group.stream.gate_words if self.group.room else 0

    @property
    def part_first(self) -> int:
        """Of the parts it is predicted in."""
        return self.number % 2 * self.group.parts_at

    def __str__(self) -> str:
        return f"image {self.image}, group {self.group.stream.group}, tile {self.index}"


class _Sequence:
    """All items of a block. What an item needs is filled while the lists of the one before run, if there is room."""

    def __init__(self, groups: Sequence[Group], builder: ImageBuilder, x: Int16Array, y: Int16Array) -> None:
        self.builder, self.x, self.y, self.groups = builder, x, y, groups
        self.node, self.work, self.machine = groups[0].node, groups[0].work, groups[0].machine
        every = [
            (group, image, tile) for group in groups for image in range(len(x)) for tile in range(len(group.tiles))
        ]
        self.items = [_Item(number, *one) for number, one in enumerate(every)]
        self.told: list[WordFill] = []  # of the group at work or the one behind it: not filled yet
        self.apart = set[str]()  # memories that hold these two at once

    def add(self) -> None:
        """All of them to the builder."""
        self.told, predicted = self.groups[0].fills(), False
        for item in self.items:
            group, begins = item.group, item.number % (len(self.items) // len(self.groups)) == 0
            if begins:
                self._tell_rest(True, True)
            if not predicted and group.predicted:
                self.builder.add(partial(self._predict, item))
            if begins:
                self._tell_rest(False, not group.predicted)
                self._next_group(group)
            predicted = self._following(item) is not None
            self.builder.together(partial(self._work, item, tuple(self.told)))

    def _work(self, item: _Item, told: Sequence[WordFill]) -> None:
        """Lists and outputs of an item, and fills beside them."""
        self.told, following = list(told), self._following(item)
        self.builder.add(partial(self._lists, item, following))
        end = self.builder.fill_cycles + item.group.stream.times.cycles
        self.builder.add(partial(self._residual, item))
        fills = self.builder.fills
        self._ahead(item, following)
        self._tell_beside(end)
        # A fill waits for the one before: behind another fill, the residuals are there.
        self.builder.add(partial(self._finish, item, self.node.residual and self.builder.fills == fills))
        self._tell_beside(self.builder.fill_cycles + self.work.group_outputs * item.tile.rows.size)

    def _next_group(self, group: Group) -> None:
        """From here on words of the next group may be filled."""
        number = group.stream.group + 1
        if number < len(self.groups):
            self.told = self.groups[number].fills()
            self.apart = group.stream.places.apart(self.groups[number].stream.places)

    def _tell_beside(self, end: int) -> None:
        """Words for which there is room beside those at work, until the fills have taken so many cycles."""
        for fill in filter(self._beside, tuple(self.told)):
            if self.builder.fill_cycles + len(fill.words) > end:
                break
            self.told.remove(fill)
            self.builder.add(partial(self.builder.words, fill.words, fill.bits, False))

    def _tell_rest(self, predicts: bool, after: bool) -> None:
        """Words of a group that begins.

        Args:
            predicts: Those a prediction needs; else all that are left.
            after: Whether the core may still work for the group before, whose places some take.
        """
        chosen = [fill for fill in self.told if fill.predicts or not predicts]
        self.told = [fill for fill in self.told if fill not in chosen]
        for fill in sorted(chosen, key=lambda fill: not self._beside(fill)):
            self.builder.add(partial(self.builder.words, fill.words, fill.bits, after and not self._beside(fill)))

    def _beside(self, fill: WordFill) -> bool:
        return fill.memory is None or fill.memory in self.apart

    def _following(self, item: _Item) -> _Item | None:
        """The item that is predicted while the lists of this one run: of the same group."""
        if item.number + 1 == len(self.items) or not item.group.predicted:
            return None
        found = self.items[item.number + 1]
        alone = not item.group.room and len(item.group.parts(found.tile)) > 1
        return None if alone or found.group is not item.group else found

    def _predict(self, item: _Item) -> None:
        self._parts(item)
        expected = Measured(0, item.group.written_cycles(item.index, "alone"))
        self.builder.start(Step(PREDICT, f"{item}, prediction", expected, _NOTHING, _NOTHING), self._word(item, item))

    def _lists(self, item: _Item, following: _Item | None) -> None:
        group, times = item.group, item.group.stream.times
        self._planes(item)
        flags, cycles, how = LISTS, 0, "lists"
        if following is not None:
            self._parts(following)
            flags |= PREDICT | (0 if group.room else BEHIND)
            how = "beside" if group.room else "behind"
            cycles = group.written_cycles(following.index, how)
            how = f"lists, the next prediction {how}"
        begins = tuple(int(cycle) for cycle in times.ends - times.list_cycles - 1)
        expected = Measured(times.cycles, cycles, begins if times.cycles else ())
        step = Step(flags, f"{item}, {how}", expected, _NOTHING, _NOTHING)
        self.builder.start(step, self._word(item, following))

    def _residual(self, item: _Item) -> None:
        if self.node.residual:
            tile, group = item.tile, item.group
            own = self._source("residual", item, group.places, tile.rows, tile.columns)
            corner, first = (tile.rows.start, tile.columns.start), group.stream.places.first["outputs"]
            self.builder.planes(own, RESIDUAL, first, len(group.places), corner, tile.rows, tile.columns)

    def _ahead(self, item: _Item, following: _Item | None) -> None:
        """Fill for the items behind this one, into places that are free."""
        coming = self.items[item.number + 1 : item.number + 3]
        if coming:
            self.builder.add(partial(self._planes, coming[0]))
        for one in coming[following is not None :][:1]:
            if one.group.parts_at:
                self.builder.add(partial(self._parts, one))

    def _source(self, key: str, item: _Item, channels: Int64Array, rows: Span, columns: Span) -> Map:
        """The map that has these pixels: whole, or what a tile needs of it."""
        where, x = (key, item.image, item.group.stream.group), self.x[item.image]
        if item.group.whole:
            return self.builder.map(where, x[channels])
        cut = x[channels, rows.start : rows.stop, columns.start : columns.stop]
        return self.builder.map((*where, item.index), cut, rows.start, columns.start)

    def _input(self, item: _Item) -> Map:
        return self._source("input", item, item.group.channels, item.tile.input_rows, item.tile.input_columns)

    def _planes(self, item: _Item) -> None:
        """What the lists of an item multiply, into one of the two sets of planes."""
        if ("planes", item.number) in self.builder.filled:
            return
        self.builder.filled.add(("planes", item.number))
        node, tile, machine = self.node, item.tile, self.machine
        corner = (tile.rows.start * node.stride - node.padding[0], tile.columns.start * node.stride - node.padding[2])
        at = item.number % 2 << bits_for(machine.columns) | item.group.stream.places.first["columns"]
        own, channels = self._input(item), self.work.group_channels
        self.builder.planes(own, INPUT_PLANE, at, channels, corner, tile.input_rows, tile.input_columns)

    def _parts(self, item: _Item) -> None:
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

    def _word(self, item: _Item, predicted: _Item | None) -> Word:
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
        )

    def _finish(self, item: _Item, after: bool) -> None:
        group, tile, builder = item.group, item.tile, self.builder
        first, channels = int(group.places.min()), int(np.ptp(group.places)) + 1
        where, size = ("output", item.image, group.stream.group), (tile.rows.size, tile.columns.size)
        corner = tile.rows.start, tile.columns.start
        if group.whole:
            own = builder.output_map(where, channels, *self.work.out_shape[1:])
        else:
            own = builder.output_map((*where, item.index), channels, *size, *corner)
        at = positions(own, group.places - first, *corner, *size).ravel()
        rows, columns = slice(tile.rows.start, tile.rows.stop), slice(tile.columns.start, tile.columns.stop)
        pixels = self.y[item.image][group.places, rows, columns].astype(np.int64).ravel()
        step = Step(FINISH, f"{item}, outputs", Measured(), at, pixels)
        builder.start(step, self._word(item, None), (own, first, *corner, *size), after)
