"""One group of a fused block by its sizes: what it has in every memory, its fills, its tiles, its predictions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from predfuse.arrays import Int64Array
from predfuse.hardware.block_work import BlockWork
from predfuse.hardware.cycle.archon.gate_memory import GateTraffic, PredictorRate, written_cycles
from predfuse.hardware.cycle.archon.gateware import MEMORIES, Machine, bits_for, records, together
from predfuse.hardware.cycle.archon.maps import row_pixels
from predfuse.hardware.cycle.archon.sequence.parts import predicted_parts
from predfuse.hardware.cycle.archon.sequence.places import Places, places
from predfuse.integer.tiling import Tile

FOR_PREDICTION = ("map", "bases", "channel", "group")
"""Records that a prediction needs, in the order in which they are filled."""
FOR_LISTS = ("rule", "depthwise", "column", "expand", "slot", "project", "pass", "code")
"""Those that come behind them."""
ALONE, BESIDE_LISTS, BEHIND_LISTS = "alone", "beside", "behind"
"""How a tile is predicted: before its lists, while those of the tile before run, or into the places these give free."""
RECORDS_AT_ONCE = 128
"""Words of a fill, so that what waits for it does not wait long."""


@dataclass(frozen=True)
class Records:
    """Words of the write port, each with some records of one kind, that are filled at once.

    Attributes:
        group: Whose they are.
        name: Of the records.
        region: Of the core.
        first: The first word.
        count: How many.
        bits: Of each.
        memory: Where they go.
    """

    group: int
    name: str
    region: int
    first: int
    count: int
    bits: int
    memory: str

    @property
    def predicts(self) -> bool:
        """Whether a prediction needs them."""
        return self.name in FOR_PREDICTION


@dataclass(frozen=True, eq=False)
class Group:
    """What all tiles of a group share.

    Attributes:
        work: The block.
        number: Of the group, in its chain of blocks.
        index: Of it in its block.
        machine: The gateware.
        needs: Records it has of each kind of ``MEMORIES``, by the memory, in the fullest bank.
        list_cycles: Of its lists on a tile.
        gate_words: Of a tile in the fullest bank.
        traffic: Of the gate memory on a tile; None if no channel is predicted.
    """

    work: BlockWork
    number: int
    index: int
    machine: Machine
    needs: Mapping[str, int]
    list_cycles: int
    gate_words: int
    traffic: GateTraffic | None
    _written: dict[tuple[object, ...], int] = field(default_factory=dict, repr=False)

    @cached_property
    def places(self) -> Places:
        """Where its words are."""
        return places(self.needs, self.needs["slots"], self.number % 2, self.machine)

    @cached_property
    def tiles(self) -> tuple[Tile, ...]:
        return self.work.tiles(self.machine.tile_rows, self.machine.tile_columns)

    @cached_property
    def parts_at(self) -> int:
        """Where the parts of every second tile begin; 0 where all tiles have the same."""
        most = max(len(self.parts(tile)) for tile in self.tiles)
        return self.machine.parts // 2 if 2 * most <= self.machine.parts else 0

    @cached_property
    def outputs(self) -> Int64Array:
        """``[outputs]`` int64: channels of the feature map that its outputs are."""
        return output_channels(self.work, self.index)

    @cached_property
    def output_span(self) -> tuple[int, int]:
        """The first of these channels, and how many there are from it to the last."""
        return _span(self.outputs)

    @property
    def channels(self) -> slice:
        """Of the input that it reads."""
        count = self.work.group_channels
        return slice(self.index * count, (self.index + 1) * count)

    @cached_property
    def whole(self) -> bool:
        """Whether the feature maps of an input take at most half of the global buffer; else they come tile by tile."""
        return keeps_maps(self.work, self.index, self.machine)

    @property
    def predicted(self) -> bool:
        """Whether it has channels to predict."""
        return self.needs["channels"] > 0

    @cached_property
    def fills(self) -> tuple[Records, ...]:
        """Its words: what a prediction needs first."""
        machine, own = self.machine, self.places
        most = machine.buffer_lines * machine.line // 4  # pixels at once
        taps = bits_for(machine.taps + 2)
        # Where records lie that are no part of a memory of their own, and how many there are.
        fixed = {
            "map": (own.halves << taps, machine.taps + 2),
            "bases": (own.half << taps, machine.taps + 1),
            "group": (own.half, 1),
            "slot": (own.slot_first, self.needs["slots"]),
        }
        found = []
        for name in (*FOR_PREDICTION, *FOR_LISTS):
            memory, some = MEMORIES.get(name, "records"), together(machine)[name]
            first, count = fixed[name] if name in fixed else (own.first[memory], self.needs[memory])
            begin, end = first // some, -(-(first + count) // some)
            record, bits = records(machine)[name], records(machine)[name].bits * machine.copies(name)
            pixels = -(-bits // (16 * machine.buffer_pixels)) * machine.buffer_pixels
            step = min(max(1, most // pixels), RECORDS_AT_ONCE)
            for at in range(begin, end, step):
                found.append(Records(self.number, name, record.region, at, min(step, end - at), bits, memory))
        return tuple(found)

    def parts(self, tile: Tile) -> tuple[tuple[int, int], ...]:
        """Cycles in which the inputs of each part are read, and those a channel takes."""
        rounds = -(-self.work.group_channels // self.machine.inputs)
        parts = predicted_parts(self.work, tile, self.machine)
        return tuple((reading, rounds * self.machine.turns(part.hidden_rows(self.work))) for part, reading in parts)

    def written_cycles(self, tile: Tile, how: str, last: Group) -> int:
        """When the gate words of a tile are written: alone, beside or behind lists of a group."""
        parts = self.parts(tile)
        key = parts, how, last.number
        if key not in self._written:
            machine, traffic = self.machine, self.traffic
            assert traffic is not None and last.traffic is not None  # both are predicted
            rate = PredictorRate(parts, 1, machine.writes, machine.queue)
            reads = traffic.reads[:0] if how == ALONE else last.traffic.reads
            release = traffic.release if how == BEHIND_LISTS else None
            self._written[key] = written_cycles(traffic, rate, reads, release)
        return self._written[key]


def output_channels(work: BlockWork, number: int) -> Int64Array:
    """``[outputs]`` int64: channels of the feature map that the outputs of a group are."""
    count, shuffle = work.group_outputs, work.shuffle_groups
    own = np.arange(number * count, (number + 1) * count)
    shuffled = len(work.project) // shuffle
    found: Int64Array = own % shuffled * shuffle + own // shuffled
    return found


def _span(channels: Int64Array) -> tuple[int, int]:
    """The first of some channels, and how many there are from it to the last."""
    first = int(channels.min())
    return first, int(channels.max()) - first + 1


def keeps_maps(work: BlockWork, number: int, machine: Machine) -> bool:
    """Whether the feature maps of a group take at most half of the global buffer; else they come tile by tile."""
    channels = {work.in_shape: work.group_channels, work.out_shape: _span(output_channels(work, number))[1]}
    lines = 0
    for (_, rows, columns), count in channels.items():
        row = max(columns + machine.buffer_pixels, row_pixels(columns, machine))
        lines += count * (rows * row // machine.line + 1)
    return lines * (1 + work.residual) <= machine.buffer_lines // 2
