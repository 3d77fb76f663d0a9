"""What a host puts into the global buffer: records and maps of pixels, and the list of commands that uses them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from predfuse.arrays import Int16Array
from predfuse.hardware.cycle.archon.gateware import COMMAND_BITS, Machine, commands, records, together
from predfuse.hardware.cycle.archon.maps import PITCHES
from predfuse.hardware.cycle.archon.sequence.buffer import Filling
from predfuse.hardware.cycle.archon.sequence.commands import After, Command, Data, Fill, Parts, Pixels, Start, Store
from predfuse.hardware.cycle.archon.sequence.order import Item
from predfuse.hardware.cycle.archon.sequence.parts import part_corner, predicted_parts
from predfuse.hardware.cycle.archon.sequence.schedule import Clock
from predfuse.rtl.starts import Step
from predfuse.rtl.streams import GroupStream
from predfuse.rtl.words import Packer, Word


@dataclass(frozen=True, eq=False)
class Image:
    """One filling of the global buffer.

    Attributes:
        lines: ``[lines, pixels of a line]`` int16, for line 1 and those that follow it.
        start_row: Line of the command list.
        read_row: First line of the outputs, which take all lines from there on.
        read_rows: How many these are.
        steps: Starts of the core in the command list.
        planned: Where the cycles go.
        block: Number of the block, in its chain, that is at work when it begins; outputs of the one before may leave.
        blocks: Of every block whose items are worked on, by its number: where the cycles go before its first step.
    """

    lines: Int16Array
    start_row: int
    read_row: int
    read_rows: int
    steps: tuple[Step, ...]
    planned: Clock
    block: int
    blocks: tuple[tuple[int, Clock], ...]


class Encoder:
    """Writes down fillings of a chain of blocks.

    Args:
        streams: Its groups in words.
    """

    def __init__(self, streams: Sequence[GroupStream]) -> None:
        self._machine = streams[0].machine
        self._words = [_written_together(stream.words, self._machine) for stream in streams]
        self._records, self._known = Packer(self._machine), commands(self._machine)
        self._packer = Packer(self._machine, self._known)

    def lines(self, filling: Filling, inputs: Sequence[Int16Array]) -> Int16Array:
        """``[lines, pixels of a line]`` int16 of a filling, for the inputs ``[C, H, W]`` of all blocks."""
        machine, told = self._machine, [*map(self._command, filling.commands), 0b100]
        held, width = machine.commands_of_a_line, machine.command_bits
        rows = [told[first : first + held] for first in range(0, len(told), held)]
        bits = [sum(one << width * place for place, one in enumerate(row)) for row in rows]
        data = [self._data(one, inputs) for one in filling.data]
        return np.concatenate([_lines(one, machine) for one in (*data, *(_pixels(row, machine.line) for row in bits))])

    def _data(self, data: Data, inputs: Sequence[Int16Array]) -> Int16Array:
        """Pixels of one kind of data."""
        if isinstance(data, Pixels):
            own, group, x = data.own, data.item.group, inputs[data.item.block]
            channels = x[group.outputs] if data.residual else x[group.channels]
            rows, columns = slice(own.top, own.top + own.rows), slice(own.left, own.left + own.columns)
            planes = np.zeros((len(channels), own.plane_pixels), np.int16)
            shown = planes[:, : own.rows * own.row_pixels].reshape(len(channels), own.rows, own.row_pixels)
            shown[:, :, : own.columns] = channels[:, rows, columns]
            return planes.ravel()
        if isinstance(data, Parts):
            bits, words = records(self._machine)["part"].bits, self._part_words(data.item)
        else:
            own_words = self._words[data.group][data.region]
            bits, words = data.bits, [own_words[index] for index in range(data.first, data.first + data.count)]
        pixels = self._machine.buffer_pixels
        return np.concatenate([_pixels(word, -(-bits // (16 * pixels)) * pixels) for word in words])

    def _part_words(self, item: Item) -> list[int]:
        """The parts a tile is predicted in."""
        machine, work, tile = self._machine, item.group.work, item.tile
        words = []
        for part, reading_cycles in predicted_parts(work, tile, machine):
            top, left = part_corner(work, tile, part)
            row_first, row_end = _inside(top, work.in_shape[1], machine.side)
            column_first, column_end = _inside(left, work.in_shape[2], machine.side)
            word = self._records.word(
                "part",
                0,
                reading_cycles=reading_cycles,
                row_first=row_first,
                row_end=row_end,
                column_first=column_first,
                column_end=column_end,
                out_rows=part.rows,
                out_columns=part.columns,
                place=part.row * machine.tile_columns + part.column,
                turns=machine.turns(part.hidden_rows(work)),
            )
            words.append(word.bits)
        return words

    def _command(self, one: Command) -> int:
        """A command as it stands in the buffer."""
        if isinstance(one, Fill):
            kind = 3 if one.after in (After.LISTS, After.OUTPUTS) else 1
            return kind | int(one.after in (After.CORE, After.OUTPUTS)) << 2 | self._fill(one) << COMMAND_BITS
        known, item = self._known, self._item(one)
        store = 0 if one.store is None else self._store(one.store)
        bits = one.flags | (item | store << known["item"].bits) << known["flags"].bits
        return 2 | int(one.after) << 2 | bits << COMMAND_BITS

    def _fill(self, one: Fill) -> int:
        row, bank, pixel = self._split(one.begin)
        piece_rows, piece_banks, _ = self._split(one.access_pixels)
        record_rows, record_banks, _ = self._split(one.record_pixels)
        return self._packer.word(
            "fill", 0, region=one.region, index=one.index, count=one.count, row=row, bank=bank, piece_rows=piece_rows,
            piece_banks=piece_banks, record_rows=record_rows, record_banks=record_banks, pixel=pixel, span=one.span,
            piece_first=one.pieces[0], piece_end=one.pieces[1], column_first=one.columns[0], column_end=one.columns[1],
            pitch=one.pitch,
        ).bits  # fmt: skip

    def _item(self, one: Start) -> int:
        """The item whose lists run and the parts of the one that is predicted meanwhile."""
        item, predicted = one.item, one.predicted or one.item
        first = 0 if one.predicted is None else predicted.part_first
        parts = 1 if one.predicted is None else len(predicted.group.parts(predicted.tile))
        return self._packer.word(
            "item",
            0,
            read_offset=item.gate_offset,
            write_offset=predicted.gate_offset,
            rows=item.tile.rows.size,
            part_first=first,
            part_end=first + parts,
            planes=item.number % 2,
            half=item.group.places.half,
            predict_half=predicted.group.places.half,
            set=int(item.second),
        ).bits

    def _store(self, one: Store) -> int:
        row, bank, pixel = self._split(one.at)
        some, words = one.together(self._machine), one.own.row_pixels // self._machine.buffer_pixels
        next_rows, next_banks, _ = self._split(some * one.own.row_pixels)
        plane = one.own.plane_pixels // self._machine.line
        # The map begins with the first channel of the outputs; addresses are those channel 0 would have.
        row = (row - one.item.group.output_span[0] * plane) % (1 << self._known["store"].fields[0][1])
        return self._packer.word(
            "store", 0, row=row, bank=bank, next_rows=next_rows, next_banks=next_banks, plane_rows=plane, pixel=pixel,
            columns=one.columns.size, pitch=PITCHES.index(words) + 1 if some > 1 else 0,
        ).bits  # fmt: skip

    def _split(self, pixels: int) -> tuple[int, int, int]:
        """Line, bank and pixel of a place."""
        row, rest = divmod(pixels, self._machine.line)
        return row, *divmod(rest, self._machine.buffer_pixels)


def _written_together(words: Sequence[Word], machine: Machine) -> Mapping[int, Mapping[int, int]]:
    """Words of the write port for the records of a group, by region and index: some records of every bank."""
    found: dict[int, dict[int, int]] = defaultdict(lambda: defaultdict(int))
    known = {record.region: (record.bits, together(machine)[name]) for name, record in records(machine).items()}
    for word in words:
        bits, some = known[word.region]
        index, place = divmod(word.index, some)
        found[word.region][index] |= word.bits << bits * (word.bank * some + place)
    return {region: dict(own) for region, own in found.items()}


def _inside(first: int, size: int, side: int) -> tuple[int, int]:
    """Which of ``side`` pixels from ``first`` on lie in an image of ``size``."""
    return min(max(-first, 0), side), min(max(size - first, 0), side)


def _pixels(bits: int, count: int) -> Int16Array:
    """A record as pixels of 16 bits, the lowest bits first."""
    return np.frombuffer(bits.to_bytes(2 * count, "little"), "<i2")


def _lines(pixels: Int16Array, machine: Machine) -> Int16Array:
    """``[lines, pixels of a line]`` whole lines, the rest 0."""
    padded = np.zeros(-(-len(pixels) // machine.line) * machine.line, np.int16)
    padded[: len(pixels)] = pixels
    return padded.reshape(-1, machine.line)
