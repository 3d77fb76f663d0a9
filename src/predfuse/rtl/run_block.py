"""A fused block of one image on the gateware: its operations in order, its output, and cycles beside the plan."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from predfuse.graph.nodes import Array
from predfuse.hardware.cycle.archon.gate_memory import PredictorRate, written_cycles
from predfuse.integer.nodes import FusedBlock
from predfuse.integer.tiling import Tile
from predfuse.rtl.items import input_words, item_word, prediction_words, residual_words, tile_parts
from predfuse.rtl.simulator import BEHIND, FINISH, LISTS, PREDICT, Measured, Run, Simulator
from predfuse.rtl.streams import GroupStream, emit_group
from predfuse.rtl.words import Packer, Word


@dataclass(frozen=True)
class Cycles:
    """One thing that took time: planned by the cycle model, and measured (cycles)."""

    what: str
    planned: int
    measured: int


@dataclass
class BlockRun:
    """A block on the gateware.

    Attributes:
        output: ``[O, P, Q]`` int16.
        lists: Lists of every item.
        predictions: Predictions of every item, alone or beside the lists of the one before.
        passes: Passes handed to the lists in another cycle than planned (count).
    """

    output: Array
    lists: list[Cycles] = field(default_factory=list)
    predictions: list[Cycles] = field(default_factory=list)
    passes: int = 0

    @property
    def differences(self) -> int:
        """Items and passes whose cycles are not those planned."""
        return self.passes + sum(one.planned != one.measured for one in (*self.lists, *self.predictions))

    @property
    def list_cycles(self) -> int:
        return sum(one.measured for one in self.lists)


Handler = Callable[[Measured], None]
Operations = list["Word | tuple[Run, Handler]"]


def run_block(node: FusedBlock, x: Array, simulator: Simulator) -> BlockRun:
    """Run a block on its input ``x [C, H, W]`` int16: every group, tile by tile.

    Raises:
        InputError: The gateware does not hold the block.
    """
    shape = (int(x.shape[0]), int(x.shape[1]), int(x.shape[2]))
    result = BlockRun(np.zeros(node.output_shape([shape]), np.int16))
    operations: Operations = []
    for group in range(node.groups):
        operations += _Group(emit_group(node, shape, group, simulator.machine), x, result).operations()
    flat = [one[0] if isinstance(one, tuple) else one for one in operations]
    handlers = [one[1] for one in operations if isinstance(one, tuple)]
    for handler, measured in zip(handlers, simulator.run(flat), strict=True):
        handler(measured)
    return result


class _Group:
    """The operations of one group."""

    def __init__(self, stream: GroupStream, x: Array, result: BlockRun) -> None:
        self.stream, self.x, self.result = stream, x, result
        self.node, self.work, self.machine = stream.node, stream.work, stream.machine
        self.packer = Packer(self.machine)
        self.tiles = self.work.tiles(self.machine.tile_rows, self.machine.tile_columns)

    def operations(self) -> Operations:
        stream, tiles = self.stream, self.tiles
        operations: Operations = list(stream.words)
        room = 2 * stream.gate_words <= self.machine.gate_words
        predicted = False  # the tile's gate words are written
        for index, tile in enumerate(tiles):
            here, there = (index % 2 * stream.gate_words, (index + 1) % 2 * stream.gate_words) if room else (0, 0)
            if not predicted and len(stream.order):
                operations += self._prediction(tile, here, tile, 0)
                operations.append((Run(PREDICT), self._predicted(tile, "alone")))
            following = tiles[index + 1] if index + 1 < len(tiles) and len(stream.order) else None
            if following is not None and not room and len(self._parts(following)) > 1:
                following = None
            operations += input_words(self.node, self.work, stream.group, tile, self.x, self.machine)
            flags = LISTS
            if following is None:
                operations.append(item_word(self.machine, tile, 1, here, there, self.packer))
            else:
                operations += self._prediction(following, there, tile, here)
                flags |= PREDICT | (0 if room else BEHIND)
            operations.append((Run(flags), self._listed(index, following, room)))
            operations += self._finish(tile)
            predicted = following is not None
        return operations

    def _parts(self, tile: Tile) -> list[tuple[int, int]]:
        expanding = -(-self.work.group_channels // self.machine.inputs)
        return [(part.reading_cycles, expanding) for part in tile_parts(self.work, tile, self.machine)]

    def _prediction(self, tile: Tile, write_offset: int, now: Tile, read_offset: int) -> list[Word]:
        words = prediction_words(self.node, self.work, self.stream.group, tile, self.x, self.machine, self.packer)
        parts = len(tile_parts(self.work, tile, self.machine))
        return [*words, item_word(self.machine, now, parts, read_offset, write_offset, self.packer)]

    def _predicted(self, tile: Tile, how: str) -> Handler:
        stream, machine = self.stream, self.machine
        rate = PredictorRate(tuple(self._parts(tile)), 1, machine.writes, machine.queue)
        reads = stream.traffic.reads[:0] if how == "alone" else stream.traffic.reads
        release = stream.traffic.release if how == "behind" else None
        planned = written_cycles(stream.traffic, rate, reads, release)
        what = f"group {stream.group}, rows {tile.rows.start}, columns {tile.columns.start}, predicted {how}"

        def handle(measured: Measured) -> None:
            self.result.predictions.append(Cycles(what, planned, measured.predict_cycles))

        return handle

    def _listed(self, index: int, following: Tile | None, room: bool) -> Handler:
        times, group = self.stream.times, self.stream.group
        predicted = None if following is None else self._predicted(following, "beside" if room else "behind")
        begins = tuple(int(cycle) for cycle in times.ends - times.list_cycles - 1)

        def handle(measured: Measured) -> None:
            what = f"group {group}, tile {index}, lists"
            self.result.lists.append(Cycles(what, times.cycles, measured.list_cycles))
            wrong = [a != b for a, b in zip(begins, measured.begins, strict=False)]
            self.result.passes += sum(wrong) + abs(len(begins) - len(measured.begins))
            if predicted is not None:
                predicted(measured)

        return handle

    def _finish(self, tile: Tile) -> Operations:
        node, outputs = self.node, self.work.group_outputs
        shuffled = node.out_channels // node.shuffle_groups
        first = self.stream.group * outputs
        places = [o % shuffled * node.shuffle_groups + o // shuffled for o in range(first, first + outputs)]
        words: Operations = list(residual_words(places, tile, self.x, self.machine)) if node.residual else []

        def handle(measured: Measured) -> None:
            for channel, row, *pixels in measured.rows:
                line = self.result.output[channel, tile.rows.start + row]
                line[tile.columns.start : tile.columns.stop] = pixels[: tile.columns.size]

        return [*words, (Run(FINISH), handle)]
