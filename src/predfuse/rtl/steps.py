"""A fused block as the gateware runs it: images of the global buffer, and what every start of the core has to do."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from functools import partial

import numpy as np

from predfuse.arrays import Int16Array, Int64Array
from predfuse.graph.nodes import Shape
from predfuse.hardware.cycle.archon.gate_memory import PredictorRate, written_cycles
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
from predfuse.rtl.image import Image, ImageBuilder, Map, positions
from predfuse.rtl.items import part_corner, part_words, predicted_parts
from predfuse.rtl.starts import BEHIND, FINISH, LISTS, PREDICT, Measured, Step
from predfuse.rtl.streams import GroupStream, emit_group
from predfuse.rtl.words import Packer, Word

_NOTHING = np.zeros(0, np.int64)


class BlockPlan:
    """A block for the gateware: what all its inputs share.

    Args:
        node: The block.
        in_shape: ``(C, H, W)`` of its input.
        machine: The gateware.

    Raises:
        InputError: The gateware does not hold the block.
    """

    def __init__(self, node: FusedBlock, in_shape: Shape, machine: Machine) -> None:
        self.node, self.machine = node, machine
        self._groups = [_Group(emit_group(node, in_shape, group, machine)) for group in range(node.groups)]

    def images(self, x: Int16Array, y: Int16Array) -> list[Image]:
        """Everything to do for some inputs: every group is told once, then input by input, tile by tile.

        Args:
            x: ``[N, C, H, W]`` int16 inputs of the block.
            y: ``[N, O, P, Q]`` int16 outputs that the integer machine gives for them.

        Raises:
            InputError: The global buffer does not hold a tile.
        """
        builder = ImageBuilder(self.machine, f"layer {self.node.name}")
        for group in self._groups:
            group.tell(builder)
            for number, (one_x, one_y) in enumerate(zip(x, y, strict=True)):
                _Items(group, builder, number, one_x, one_y).add()
        builder.close()
        return builder.images


def written_together(words: Sequence[Word], machine: Machine) -> dict[int, list[Word]]:
    """Words of a group by region, those of all banks in one, in ascending order."""
    found: dict[int, dict[int, int]] = defaultdict(lambda: defaultdict(int))
    bits = {record.region: record.bits for record in records(machine).values()}
    for word in words:
        found[word.region][word.index] |= word.bits << word.bank * bits[word.region]
    return {region: [Word(region, 0, *one) for one in sorted(own.items())] for region, own in found.items()}


class _Group:
    """One group."""

    def __init__(self, stream: GroupStream) -> None:
        self.stream, self.node, self.work, self.machine = stream, stream.node, stream.work, stream.machine
        self.tiles = self.work.tiles(self.machine.tile_rows, self.machine.tile_columns)
        self.room = 2 * stream.gate_words <= self.machine.gate_words  # for the gate words of two tiles
        most = max(len(predicted_parts(self.work, tile, self.machine)) for tile in self.tiles)
        self.parts_at = self.machine.parts // 2 if 2 * most <= self.machine.parts else 0  # of every second tile
        self.packer = Packer(self.machine)
        outputs, shuffled = self.work.group_outputs, self.node.out_channels // self.node.shuffle_groups
        first = stream.group * outputs
        places = [o % shuffled * self.node.shuffle_groups + o // shuffled for o in range(first, first + outputs)]
        self.places = np.array(places, np.int64)
        self.whole = self._whole()
        self._written: dict[tuple[int, str], int] = {}

    def _whole(self) -> bool:
        """Whether the feature maps of an input take at most half of the global buffer; else they come tile by tile."""
        work, machine = self.work, self.machine
        channels = {work.in_shape: work.group_channels, work.out_shape: int(np.ptp(self.places)) + 1}
        pixels = [(count, shape[1] * (shape[2] + machine.buffer_pixels)) for shape, count in channels.items()]
        lines = sum(count * (plane // machine.line + 1) for count, plane in pixels)
        return lines * (1 + self.node.residual) <= machine.buffer_lines // 2

    def tell(self, builder: ImageBuilder) -> None:
        """Its words, once the core is done with those of the group before."""
        machine, bits = self.machine, {record.region: record.bits for record in records(self.machine).values()}
        most = machine.buffer_lines * machine.line // 4  # pixels at once
        for region, words in written_together(self.stream.words, machine).items():
            width = bits[region] * machine.copies(region)
            some = max(1, most // (-(-width // (16 * machine.buffer_pixels)) * machine.buffer_pixels))
            for first in range(0, len(words), some):
                builder.add(partial(builder.words, words[first : first + some], width, True))

    def parts(self, tile: Tile) -> list[tuple[int, int]]:
        """Cycles in which the inputs of each part are read, and those a channel takes."""
        rounds = -(-self.work.group_channels // self.machine.inputs)
        parts = predicted_parts(self.work, tile, self.machine)
        return [(reading, rounds * self.machine.turns(part.hidden_rows(self.work))) for part, reading in parts]

    def written_cycles(self, index: int, how: str) -> int:
        """When the gate words of a tile are written, by the cycle model: alone, or beside or behind lists."""
        if (index, how) not in self._written:
            traffic, machine = self.stream.traffic, self.machine
            rate = PredictorRate(tuple(self.parts(self.tiles[index])), 1, machine.writes, machine.queue)
            reads = traffic.reads[:0] if how == "alone" else traffic.reads
            release = traffic.release if how == "behind" else None
            self._written[index, how] = written_cycles(traffic, rate, reads, release)
        return self._written[index, how]

    def following(self, index: int) -> int | None:
        """The tile that is predicted while the lists of this one run."""
        found = index + 1 if index + 1 < len(self.tiles) and len(self.stream.order) else None
        alone = found is not None and not self.room and len(self.parts(self.tiles[found])) > 1
        return None if alone else found


class _Items:
    """The tiles of one input of a group. What a tile needs is filled while the lists of the one before run."""

    def __init__(self, group: _Group, builder: ImageBuilder, number: int, x: Int16Array, y: Int16Array) -> None:
        self.group, self.builder, self.number, self.x, self.y = group, builder, number, x, y
        self.node, self.work, self.machine = group.node, group.work, group.machine
        span = slice(group.stream.group * self.work.group_channels, (group.stream.group + 1) * self.work.group_channels)
        self.channels = np.arange(x.shape[0])[span]

    def add(self) -> None:
        """All of them to the builder."""
        group, predicted = self.group, False
        self.builder.filled.clear()
        for index in range(len(group.tiles)):
            if not predicted and len(group.stream.order):
                self.builder.add(partial(self._predict, index))
            self.builder.add(partial(self._lists, index))
            predicted = group.following(index) is not None

    def _where(self, index: int) -> str:
        return f"image {self.number}, group {self.group.stream.group}, tile {index}"

    def _gate_offset(self, index: int) -> int:
        return index % 2 * self.group.stream.gate_words if self.group.room else 0

    def _predict(self, index: int) -> None:
        self._parts(index)
        expected = Measured(0, self.group.written_cycles(index, "alone"))
        self._start(PREDICT, f"{self._where(index)}, prediction", expected, index, index)

    def _lists(self, index: int) -> None:
        group, times, following = self.group, self.group.stream.times, self.group.following(index)
        self._planes(index)
        flags, cycles, how = LISTS, 0, "lists"
        if following is not None:
            self._parts(following)
            flags |= PREDICT | (0 if group.room else BEHIND)
            how = "beside" if group.room else "behind"
            cycles = group.written_cycles(following, how)
            how = f"lists, the next prediction {how}"
        begins = tuple(int(cycle) for cycle in times.ends - times.list_cycles - 1)
        expected = Measured(times.cycles, cycles, begins if times.cycles else ())
        self._start(flags, f"{self._where(index)}, {how}", expected, index, following)
        if self.node.residual:
            tile = group.tiles[index]
            own = self._source("residual", index, group.places, tile.rows, tile.columns)
            size = tile.rows.size, tile.columns.size
            self.builder.planes(own, RESIDUAL, 0, len(group.places), (tile.rows.start, tile.columns.start), size)
        told = self.builder.told
        self._ahead(index, following)
        # A fill waits for the one before: behind another fill, the residuals are there.
        self._finish(index, self.node.residual and self.builder.told == told)

    def _ahead(self, index: int, following: int | None) -> None:
        """Fill for the tile behind this one, into places that are free."""
        if index + 1 == len(self.group.tiles):
            return
        self._planes(index + 1)
        predicted = index + 1 if following is None else self.group.following(index + 1)
        if predicted is not None and self.group.parts_at:
            self._parts(predicted)

    def _source(self, key: str, index: int, channels: Int64Array, rows: Span, columns: Span) -> Map:
        """The map that has these pixels: whole, or what a tile needs of it."""
        where = key, self.number, self.group.stream.group
        if self.group.whole:
            return self.builder.map(where, self.x[channels])
        cut = self.x[channels, rows.start : rows.stop, columns.start : columns.stop]
        return self.builder.map((*where, index), cut, rows.start, columns.start)

    def _input(self, index: int) -> Map:
        tile = self.group.tiles[index]
        return self._source("input", index, self.channels, tile.input_rows, tile.input_columns)

    def _planes(self, index: int) -> None:
        """What the lists of a tile multiply, into one of the two sets of planes."""
        if ("planes", index) in self.builder.filled:
            return
        self.builder.filled.add(("planes", index))
        node, tile, machine = self.node, self.group.tiles[index], self.machine
        corner = (tile.rows.start * node.stride - node.padding[0], tile.columns.start * node.stride - node.padding[2])
        at = index % 2 << bits_for(machine.columns)
        shape = machine.plane_rows, machine.plane_columns
        self.builder.planes(self._input(index), INPUT_PLANE, at, len(self.channels), corner, shape)

    def _parts(self, index: int) -> None:
        """How a tile is predicted, and the inputs for that; after the core is done where others are in their place."""
        if ("parts", index) in self.builder.filled or not len(self.group.stream.order):
            return
        self.builder.filled.add(("parts", index))
        node, work, machine, tile = self.node, self.work, self.machine, self.group.tiles[index]
        first = index % 2 * self.group.parts_at
        words = part_words(node, work, tile, work.in_shape[1:], first, machine, self.group.packer)
        after = not self.group.parts_at
        self.builder.words(words, records(machine)["part"].bits, after)
        for part, (own, _) in enumerate(predicted_parts(work, tile, machine), first):
            corner, size, at = part_corner(node, tile, own), (machine.side, machine.side), part * machine.held
            self.builder.planes(self._input(index), PART_PLANE, at, len(self.channels), corner, size, after)

    def _item(self, index: int, predicted: int | None) -> Word:
        """The tile whose lists run and the parts of the one that is predicted meanwhile."""
        first = 0 if predicted is None else predicted % 2 * self.group.parts_at
        parts = 1 if predicted is None else len(self.group.parts(self.group.tiles[predicted]))
        return self.builder.packer.word(
            "item",
            0,
            read_offset=self._gate_offset(index),
            write_offset=self._gate_offset(index + 1 if predicted is None else predicted),
            rows=self.group.tiles[index].rows.size,
            part_first=first,
            part_end=first + parts,
            planes=index % 2,
        )

    def _start(self, flags: int, what: str, expected: Measured, index: int, predicted: int | None) -> None:
        self.builder.start(Step(flags, what, expected, _NOTHING, _NOTHING), self._item(index, predicted))

    def _finish(self, index: int, after: bool) -> None:
        group, tile, builder = self.group, self.group.tiles[index], self.builder
        first, channels = int(group.places.min()), int(np.ptp(group.places)) + 1
        where, size = ("output", self.number, group.stream.group), (tile.rows.size, tile.columns.size)
        corner = tile.rows.start, tile.columns.start
        if group.whole:
            own = builder.output_map(where, channels, *self.work.out_shape[1:])
        else:
            own = builder.output_map((*where, index), channels, *size, *corner)
        at = positions(own, group.places - first, *corner, *size).ravel()
        pixels = self.y[group.places, tile.rows.start : tile.rows.stop, tile.columns.start : tile.columns.stop]
        step = Step(FINISH, f"{self._where(index)}, outputs", Measured(), at, pixels.astype(np.int64).ravel())
        builder.start(step, self._item(index, None), (own, first, *corner, size[1]), after)
