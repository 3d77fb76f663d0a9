"""One group of a fused block as it is told to the gateware: its words as fills, its tiles, its predictions."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from predfuse.hardware.cycle.archon.gate_memory import PredictorRate, written_cycles
from predfuse.hardware.cycle.archon.gateware import MEMORIES, Machine, records, together
from predfuse.integer.tiling import Tile
from predfuse.rtl.items import predicted_parts
from predfuse.rtl.streams import GroupStream
from predfuse.rtl.words import Packer, Word

MEMORY_OF = {**MEMORIES, "group": "records", "bases": "records"}
"""Memory a record lies in."""
PREDICTOR_REGIONS = 0, 4, 7, 13
"""What a prediction needs; the rest is for the lists."""
ALONE, BESIDE_LISTS, BEHIND_LISTS = "alone", "beside", "behind"
"""How a tile is predicted: before its lists, while those of the tile before run, or into the places these give free."""
RECORDS_AT_ONCE = 128
"""Of a fill, so that what waits for it does not wait long."""


@dataclass(frozen=True)
class WordFill:
    """Records of one region.

    Attributes:
        words: With ascending indices without a gap.
        bits: Of each.
        predicts: Whether a prediction needs them.
        memory: Where they go.
    """

    words: tuple[Word, ...]
    bits: int
    predicts: bool
    memory: str


def written_together(words: Sequence[Word], machine: Machine) -> dict[int, list[Word]]:
    """Words of the write port for the records of a group, by region, in ascending order: some records of every bank."""
    found: dict[int, dict[int, int]] = defaultdict(lambda: defaultdict(int))
    known = {record.region: (record.bits, together(machine)[name]) for name, record in records(machine).items()}
    for word in words:
        bits, some = known[word.region]
        index, place = divmod(word.index, some)
        found[word.region][index] |= word.bits << bits * (word.bank * some + place)
    return {region: [Word(region, 0, *one) for one in sorted(own.items())] for region, own in found.items()}


class Group:
    """What all tiles of a group share.

    Args:
        stream: Its words and times.
    """

    def __init__(self, stream: GroupStream) -> None:
        self.stream, self.node, self.work, self.machine = stream, stream.node, stream.work, stream.machine
        self.tiles = self.work.tiles(self.machine.tile_rows, self.machine.tile_columns)
        most = max(len(predicted_parts(self.work, tile, self.machine)) for tile in self.tiles)
        self.parts_at = self.machine.parts // 2 if 2 * most <= self.machine.parts else 0  # of every second tile
        self.packer = Packer(self.machine)
        outputs, shuffled = self.work.group_outputs, self.node.out_channels // self.node.shuffle_groups
        first = stream.group * outputs
        places = [o % shuffled * self.node.shuffle_groups + o // shuffled for o in range(first, first + outputs)]
        self.places = np.array(places, np.int64)
        span = stream.group * self.work.group_channels
        self.channels = np.arange(span, span + self.work.group_channels)
        self.whole = self._whole()
        self._written: dict[tuple[int, str, int], int] = {}

    def _whole(self) -> bool:
        """Whether the feature maps of an input take at most half of the global buffer; else they come tile by tile."""
        work, machine = self.work, self.machine
        channels = {work.in_shape: work.group_channels, work.out_shape: int(np.ptp(self.places)) + 1}
        pixels = [(count, shape[1] * (shape[2] + machine.buffer_pixels)) for shape, count in channels.items()]
        lines = sum(count * (plane // machine.line + 1) for count, plane in pixels)
        return lines * (1 + self.node.residual) <= machine.buffer_lines // 2

    @property
    def predicted(self) -> bool:
        """Whether it has channels to predict."""
        return len(self.stream.order) > 0

    def fills(self) -> list[WordFill]:
        """Its words: what a prediction needs first."""
        machine = self.machine
        known = {
            record.region: (record.bits * machine.copies(name), MEMORY_OF.get(name, ""))
            for name, record in records(machine).items()
        }
        most = machine.buffer_lines * machine.line // 4  # pixels at once
        found = []
        for region, words in written_together(self.stream.words, machine).items():
            width, memory = known[region]
            some = max(1, most // (-(-width // (16 * machine.buffer_pixels)) * machine.buffer_pixels))
            some = min(some, RECORDS_AT_ONCE)
            for first in range(0, len(words), some):
                part = tuple(words[first : first + some])
                found.append(WordFill(part, width, region in PREDICTOR_REGIONS, memory))
        return sorted(found, key=lambda fill: not fill.predicts)

    def parts(self, tile: Tile) -> list[tuple[int, int]]:
        """Cycles in which the inputs of each part are read, and those a channel takes."""
        rounds = -(-self.work.group_channels // self.machine.inputs)
        parts = predicted_parts(self.work, tile, self.machine)
        return [(reading, rounds * self.machine.turns(part.hidden_rows(self.work))) for part, reading in parts]

    def written_cycles(self, index: int, how: str, last: Group) -> int:
        """When the gate words of a tile are written, by the cycle model: alone, beside or behind lists of a group."""
        key = index, how, last.stream.group
        if key not in self._written:
            traffic, machine = self.stream.traffic, self.machine
            rate = PredictorRate(tuple(self.parts(self.tiles[index])), 1, machine.writes, machine.queue)
            reads = traffic.reads[:0] if how == ALONE else last.stream.traffic.reads
            release = traffic.release if how == BEHIND_LISTS else None
            self._written[key] = written_cycles(traffic, rate, reads, release)
        return self._written[key]
