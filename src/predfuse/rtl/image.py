"""What a host puts into the global buffer: records and maps of pixels, and the list of commands that uses them."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from predfuse.arrays import Int16Array, Int64Array
from predfuse.errors import InputError
from predfuse.hardware.cycle.archon.gateware import COMMAND_BITS, Machine, commands
from predfuse.integer.tiling import Span
from predfuse.rtl.schedule import Command, Fill, Start
from predfuse.rtl.starts import Step
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
        commands: The list itself, without its end.
    """

    lines: Int16Array
    start_row: int
    read_row: int
    read_rows: int
    steps: tuple[Step, ...]
    commands: tuple[Command, ...]


@dataclass(frozen=True)
class Map:
    """A rectangle of some channels in the global buffer.

    Attributes:
        at: Its first pixel, counted from the begin of the buffer.
        top: Row of the feature map it begins at.
        left: Column of it.
        rows: How many it has.
        columns: Of them.
        row_pixels: From a row to the next, whole words.
        plane_pixels: From a channel to the next, whole lines.
    """

    at: int
    top: int
    left: int
    rows: int
    columns: int
    row_pixels: int
    plane_pixels: int


class _FullError(Exception):
    """What is added does not fit beside what is there."""


class ImageBuilder:
    """Images one after the other: what is added goes into the image at hand, or begins the next.

    Data grow from line 1 on, so that no window begins before the buffer; outputs from the last line back; the command
    list follows the data.

    Args:
        machine: The gateware.
        where: What is told, for messages.
    """

    def __init__(self, machine: Machine, where: str) -> None:
        self.machine, self.where = machine, where
        self.images: list[Image] = []
        self.filled: set[object] = set()  # what is in the memories of the core
        self.fills = self.fill_cycles = 0  # of all images, without those in which they wait
        self._known = commands(machine)
        self.packer = Packer(machine, self._known)  # of commands
        self._held = machine.commands_of_a_line
        self._whole = False  # what is added comes together with more
        self._begin()

    def _begin(self) -> None:
        self._low, self._high = 1, self.machine.buffer_lines
        self._data: list[Int16Array] = []
        self._commands: list[Command] = []
        self._maps: dict[object, Map] = {}
        self._steps: list[Step] = []

    def add(self, emit: Callable[[], None]) -> None:
        """Add what belongs together, whole.

        Raises:
            InputError: It is more than the global buffer holds.
        """
        if self._whole:
            emit()
        elif not self._fits(emit):
            if not self._commands:
                what = f"needs more than the {self.machine.buffer_lines} lines of the global buffer at once"
                raise InputError(self.where, what, "enlarge global_buffer.depth") from None
            self.close()
            self.add(emit)

    def together(self, emit: Callable[[], None]) -> None:
        """Add some things into one image, if an image holds them: what is done beside something else is."""
        self._whole = True
        done = self._fits(emit)
        if not done and self._commands:
            self.close()
            done = self._fits(emit)
        self._whole = False
        if not done:
            emit()

    def _fits(self, emit: Callable[[], None]) -> bool:
        """Add to the image at hand; if it does not fit, nothing."""
        names = ("_low", "_high", "_data", "_commands", "_maps", "_steps", "filled", "fills", "fill_cycles")
        before = {name: copy.copy(getattr(self, name)) for name in names}
        try:
            emit()
            self._require_room()
        except _FullError:
            for name, value in before.items():
                setattr(self, name, value)
            return False
        return True

    def _require_room(self) -> None:
        lists = -(-(len(self._commands) + 1) // self._held)
        if self._low + lists > self._high:
            raise _FullError

    def close(self) -> None:
        """End the image at hand, if there is anything in it."""
        if not self._commands:
            return
        machine, width, told = self.machine, self.machine.command_bits, [*map(_encoded, self._commands), 0b100]
        lists = [told[first : first + self._held] for first in range(0, len(told), self._held)]
        lines = [sum(one << width * place for place, one in enumerate(row)) for row in lists]
        data = [*self._data, *(_pixels(bits, machine.line)[None] for bits in lines)]
        read = machine.buffer_lines - self._high
        outputs = self._high * machine.line
        steps = tuple(replace(one, at=one.at - outputs * (one.at.size > 0)) for one in self._steps)
        self.images.append(Image(np.concatenate(data), self._low, self._high, read, steps, tuple(self._commands)))
        self._begin()

    def _place(self, pixels: Int16Array) -> int:
        """Put pixels into lines of their own; where they begin."""
        line, at = self.machine.line, self._low
        lines = -(-len(pixels) // line)
        self._low += lines
        self._require_room()
        padded = np.zeros(lines * line, np.int16)
        padded[: len(pixels)] = pixels
        self._data.append(padded.reshape(lines, line))
        return at * line

    def words(self, words: Sequence[Word], bits: int, after: bool) -> None:
        """Records of one region with ascending indices without a gap, and their fill, ``after`` the core is done."""
        machine, first = self.machine, words[0]
        count = -(-bits // (16 * machine.buffer_pixels))
        pitch = count * machine.buffer_pixels
        at = self._place(np.concatenate([_pixels(word.bits, pitch) for word in words]))
        self._fill(
            after, first.region, first.index, len(words), at,
            (0, -(-count // machine.buffer_banks)), machine.line, pitch, min(count, machine.buffer_banks),
            (0, machine.line),
        )  # fmt: skip

    def map(self, key: object, pixels: Int16Array, top: int = 0, left: int = 0) -> Map:
        """A rectangle ``[channels, rows, columns]`` of a feature map from ``(top, left)`` on, once in every image."""
        if key not in self._maps:
            channels, rows, columns = pixels.shape
            found = self._new_map(top, left, rows, columns)
            padded = np.zeros((channels, found.plane_pixels), np.int16)
            lines = padded[:, : rows * found.row_pixels].reshape(channels, rows, found.row_pixels)
            lines[:, :, :columns] = pixels
            self._maps[key] = replace(found, at=self._place(padded.ravel()))
        return self._maps[key]

    def _new_map(self, top: int, left: int, rows: int, columns: int) -> Map:
        """A map that has no place yet."""
        row = -(-columns // self.machine.buffer_pixels) * self.machine.buffer_pixels
        return Map(0, top, left, rows, columns, row, -(-rows * row // self.machine.line) * self.machine.line)

    def output_map(self, key: object, channels: int, rows: int, columns: int, top: int = 0, left: int = 0) -> Map:
        """Room for outputs, once in every image."""
        if key not in self._maps:
            found = self._new_map(top, left, rows, columns)
            self._high -= channels * found.plane_pixels // self.machine.line
            self._require_room()
            self._maps[key] = replace(found, at=self._high * self.machine.line)
        return self._maps[key]

    def planes(
        self, own: Map, region: int, index: int, count: int, corner: tuple[int, int], rows: Span, columns: Span,
        after: bool = False,
    ) -> None:  # fmt: skip
        """Fill with a window of the first ``count`` channels of a map.

        Args:
            own: The map.
            region: Of the core.
            index: There.
            count: Channels.
            corner: Row and column of the feature map at which the window begins.
            rows: Of the feature map that are in the window, and in the map; the others are 0.
            columns: Likewise.
            after: Whether the core has to be done.
        """
        top, left = corner
        first, end, begin, stop = rows.start - top, rows.stop - top, columns.start - left, columns.stop - left
        if first >= end or begin >= stop:
            first, end, begin, stop, at = 0, 1, 0, 0, own.at
        else:
            at = own.at + (top + first - own.top) * own.row_pixels + left - own.left
        span = -(-(at % self.machine.buffer_pixels + max(stop, 1)) // self.machine.buffer_pixels)
        self._fill(after, region, index, count, at, (first, end), own.row_pixels, own.plane_pixels, span, (begin, stop))

    def _fill(
        self,
        after: bool,
        region: int,
        index: int,
        count: int,
        at: int,
        pieces: tuple[int, int],
        piece_pixels: int,
        record_pixels: int,
        span: int,
        columns: tuple[int, int],
    ) -> None:
        self.fills += 1
        self.fill_cycles += count * (pieces[1] - pieces[0])
        row, bank, pixel = self._split(at)
        piece_rows, piece_banks, _ = self._split(piece_pixels)
        record_rows, record_banks, _ = self._split(record_pixels)
        told = self.packer.word(
            "fill", 0, region=region, index=index, count=count, row=row, bank=bank, piece_rows=piece_rows,
            piece_banks=piece_banks, record_rows=record_rows, record_banks=record_banks, pixel=pixel, span=span,
            piece_first=pieces[0], piece_end=pieces[1], column_first=columns[0], column_end=columns[1],
        ).bits  # fmt: skip
        word, record_words, piece_words = (
            one // self.machine.buffer_pixels for one in (at, record_pixels, piece_pixels)
        )
        self._commands.append(Fill(after, told, word, count, record_words, pieces[1] - pieces[0], piece_words, span))

    def _split(self, pixels: int) -> tuple[int, int, int]:
        """Line, bank and pixel of a place."""
        row, rest = divmod(pixels, self.machine.line)
        return row, *divmod(rest, self.machine.buffer_pixels)

    def start(
        self, step: Step, item: Word, store: tuple[Map, int, int, int, int, int] | None = None, after: bool = True
    ) -> None:
        """Start the core.

        Args:
            step: What for; its outputs lie where they do in the whole buffer.
            item: Of the core.
            store: Map for outputs, the channel it begins with, row and column of the tile and how many it has.
            after: Whether fills have to be done.
        """
        self._steps.append(step)
        known, bits, outputs = self._known, 0, {}
        if store is not None:
            own, channel, top, left, rows, columns = store
            at = own.at + (top - own.top) * own.row_pixels + left - own.left
            row, bank, pixel = self._split(at)
            next_rows, next_banks, _ = self._split(own.row_pixels)
            plane = own.plane_pixels // self.machine.line
            row = (row - channel * plane) % (1 << known["store"].fields[0][1])
            bits = self.packer.word(
                "store", 0, row=row, bank=bank, next_rows=next_rows, next_banks=next_banks, plane_rows=plane,
                pixel=pixel, columns=columns,
            ).bits  # fmt: skip
            words = self.machine.buffer_pixels
            outputs = {
                "word": at // words,
                "row_words": own.row_pixels // words,
                "span": -(-(pixel + columns) // words),
            }
            outputs |= {"rows": rows, "outputs": step.at.size // (rows * columns)}
        told = step.flags | (item.bits | bits << known["item"].bits) << known["flags"].bits
        cycles = max(step.expected.list_cycles, step.expected.predict_cycles)
        self._commands.append(Start(after, told, cycles, **outputs))


def _encoded(one: Command) -> int:
    """A command as it stands in the buffer."""
    return (1 if isinstance(one, Fill) else 2) | int(one.after) << 2 | one.bits << COMMAND_BITS


def positions(own: Map, channels: Int64Array, top: int, left: int, rows: int, columns: int) -> Int64Array:
    """``[channels, rows, columns]`` int64 where pixels of a map lie in the buffer."""
    row, column = np.arange(top - own.top, top - own.top + rows), np.arange(left - own.left, left - own.left + columns)
    at: Int64Array = own.at + channels[:, None, None] * own.plane_pixels + row[:, None] * own.row_pixels + column
    return at


def _pixels(bits: int, count: int) -> Int16Array:
    """A record as pixels of 16 bits, the lowest bits first."""
    return np.frombuffer(bits.to_bytes(2 * count, "little"), "<i2")
