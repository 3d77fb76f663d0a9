"""A fused block of one image as the gateware runs it: words and steps in order, with what every step has to do."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from predfuse.arrays import Int16Array
from predfuse.graph.nodes import Shape
from predfuse.hardware.cycle.archon.gate_memory import PredictorRate, written_cycles
from predfuse.hardware.cycle.archon.gateware import Machine
from predfuse.integer.nodes import FusedBlock
from predfuse.integer.tiling import Tile
from predfuse.rtl.items import input_words, item_word, predicted_parts, prediction_words, residual_words
from predfuse.rtl.simulator import BEHIND, FINISH, LISTS, PREDICT, Measured
from predfuse.rtl.streams import GroupStream, emit_group
from predfuse.rtl.words import Packer, Word

ANY = np.iinfo(np.int64).min
"""Stands for pixels of a row that lie beyond the tile."""


@dataclass(frozen=True, eq=False)
class Step:
    """Something the gateware is started to do.

    Attributes:
        flags: What is started (``bench.cpp``).
        what: In words.
        expected: Cycles of the cycle model, and rows of the integer machine.
    """

    flags: int
    what: str
    expected: Measured


@dataclass(frozen=True)
class Compared:
    """One step as it was planned and as it went.

    Attributes:
        what: It was.
        planned_list_cycles: Of all passes.
        list_cycles: Measured.
        planned_predict_cycles: From the first input read to the last gate word written.
        predict_cycles: Measured.
        wrong_passes: Handed to the lists in another cycle than planned (count).
        wrong_pixels: Outputs that differ, or came where none was expected (count).
    """

    what: str
    planned_list_cycles: int
    list_cycles: int
    planned_predict_cycles: int
    predict_cycles: int
    wrong_passes: int
    wrong_pixels: int

    @property
    def differs(self) -> bool:
        """Whether anything went otherwise."""
        cycles = self.planned_list_cycles, self.planned_predict_cycles
        return cycles != (self.list_cycles, self.predict_cycles) or self.wrong_passes + self.wrong_pixels > 0


def compare(step: Step, measured: Measured) -> Compared:
    """What a step did beside what it should."""
    expected = step.expected
    shared = min(len(expected.begins), len(measured.begins))
    passes = sum(expected.begins[i] != measured.begins[i] for i in range(shared))
    passes += len(expected.begins) + len(measured.begins) - 2 * shared
    rows = min(len(expected.rows), len(measured.rows))
    pixels = int(((expected.rows[:rows] != measured.rows[:rows]) & (expected.rows[:rows] != ANY)).sum())
    pixels += int(expected.rows[rows:].size + measured.rows[rows:].size)
    lists, predictions = expected.list_cycles, expected.predict_cycles
    return Compared(step.what, lists, measured.list_cycles, predictions, measured.predict_cycles, passes, pixels)


class BlockPlan:
    """A block for the gateware: what all images share.

    Args:
        node: The block.
        in_shape: ``(C, H, W)`` of its input.
        machine: The gateware.

    Raises:
        InputError: The gateware does not hold the block.
    """

    def __init__(self, node: FusedBlock, in_shape: Shape, machine: Machine) -> None:
        self.node = node
        self._groups = [_Group(emit_group(node, in_shape, group, machine)) for group in range(node.groups)]

    def steps(self, x: Int16Array, y: Int16Array) -> list[Word | Step]:
        """Everything to do for some images: every group is told once, then image by image, tile by tile.

        Args:
            x: ``[N, C, H, W]`` int16 inputs of the block.
            y: ``[N, O, P, Q]`` int16 outputs that the integer machine gives for them.
        """
        steps: list[Word | Step] = []
        for group in self._groups:
            steps += group.stream.words
            for one_x, one_y in zip(x, y, strict=True):
                steps += group.steps(one_x, one_y)
        return steps


class _Group:
    """One group."""

    def __init__(self, stream: GroupStream) -> None:
        self.stream, self.node, self.work, self.machine = stream, stream.node, stream.work, stream.machine
        self.packer = Packer(self.machine)
        self.tiles = self.work.tiles(self.machine.tile_rows, self.machine.tile_columns)
        self.room = 2 * stream.gate_words <= self.machine.gate_words  # for the gate words of two tiles
        self.written: dict[tuple[int, str], int] = {}

    def steps(self, x: Int16Array, y: Int16Array) -> list[Word | Step]:
        stream, tiles = self.stream, self.tiles
        steps: list[Word | Step] = []
        predicted = False  # the tile's gate words are written
        for index, tile in enumerate(tiles):
            where = f"group {stream.group}, tile {index}"
            here, there = (index % 2 * stream.gate_words, (index + 1) % 2 * stream.gate_words) if self.room else (0, 0)
            if not predicted and len(stream.order):
                steps += self._prediction(tile, here, tile, 0, x)
                cycles = self._written_cycles(index, "alone")
                steps.append(Step(PREDICT, f"{where}, prediction", self._expected(0, cycles)))
            following = tiles[index + 1] if index + 1 < len(tiles) and len(stream.order) else None
            if following is not None and not self.room and len(self._parts(following)) > 1:
                following = None
            steps += input_words(self.node, self.work, stream.group, tile, x, self.machine)
            flags, cycles, how = LISTS, 0, "lists"
            if following is None:
                steps.append(item_word(self.machine, tile, 1, here, there, self.packer))
            else:
                steps += self._prediction(following, there, tile, here, x)
                flags |= PREDICT | (0 if self.room else BEHIND)
                how = "beside" if self.room else "behind"
                cycles = self._written_cycles(index + 1, how)
                how = f"lists, the next prediction {how}"
            steps.append(Step(flags, f"{where}, {how}", self._expected(stream.times.cycles, cycles)))
            steps += self._finish(tile, where, x, y)
            predicted = following is not None
        return steps

    def _parts(self, tile: Tile) -> list[tuple[int, int]]:
        rounds = -(-self.work.group_channels // self.machine.inputs)
        parts = predicted_parts(self.work, tile, self.machine)
        return [(reading, rounds * self.machine.turns(part.hidden_rows(self.work))) for part, reading in parts]

    def _prediction(self, tile: Tile, write_offset: int, now: Tile, read_offset: int, x: Int16Array) -> list[Word]:
        words = prediction_words(self.node, self.work, self.stream.group, tile, x, self.machine, self.packer)
        parts = len(predicted_parts(self.work, tile, self.machine))
        return [*words, item_word(self.machine, now, parts, read_offset, write_offset, self.packer)]

    def _written_cycles(self, index: int, how: str) -> int:
        """When the gate words of a tile are written, by the cycle model: alone, or beside or behind lists."""
        if (index, how) not in self.written:
            traffic, machine = self.stream.traffic, self.machine
            rate = PredictorRate(tuple(self._parts(self.tiles[index])), 1, machine.writes, machine.queue)
            reads = traffic.reads[:0] if how == "alone" else traffic.reads
            release = traffic.release if how == "behind" else None
            self.written[index, how] = written_cycles(traffic, rate, reads, release)
        return self.written[index, how]

    def _expected(self, list_cycles: int, predict_cycles: int) -> Measured:
        times = self.stream.times
        begins = tuple(int(cycle) for cycle in times.ends - times.list_cycles - 1) if list_cycles else ()
        rows = np.zeros((0, 2 + self.machine.tile_columns), np.int64)
        return Measured(list_cycles, predict_cycles, begins, rows)

    def _finish(self, tile: Tile, where: str, x: Int16Array, y: Int16Array) -> list[Word | Step]:
        node, outputs = self.node, self.work.group_outputs
        shuffled = node.out_channels // node.shuffle_groups
        first = self.stream.group * outputs
        places = [o % shuffled * node.shuffle_groups + o // shuffled for o in range(first, first + outputs)]
        words: list[Word | Step] = list(residual_words(places, tile, x, self.machine)) if node.residual else []
        rows = np.full((outputs * tile.rows.size, 2 + self.machine.tile_columns), ANY)
        rows[:, 0] = np.repeat(places, tile.rows.size)
        rows[:, 1] = np.tile(np.arange(tile.rows.size), outputs)
        pixels = y[places, tile.rows.start : tile.rows.stop, tile.columns.start : tile.columns.stop]
        rows[:, 2 : 2 + tile.columns.size] = pixels.reshape(-1, tile.columns.size)
        return [*words, Step(FINISH, f"{where}, outputs", Measured(0, 0, (), rows))]
