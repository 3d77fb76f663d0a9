"""Where a chain of blocks has words, maps and commands in the global buffer: one filling of it after the other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from predfuse.errors import InputError
from predfuse.hardware.cycle.archon.gateware import RESIDUAL, Machine
from predfuse.hardware.cycle.archon.maps import added_together, row_pixels, together, window
from predfuse.hardware.cycle.archon.sequence.commands import After, Command, Data, Fill, Map, Parts, Pixels
from predfuse.hardware.cycle.archon.sequence.group import Records
from predfuse.hardware.cycle.archon.sequence.order import Item
from predfuse.hardware.cycle.archon.sequence.schedule import Scheduled, schedule
from predfuse.integer.tiling import Span


@dataclass(frozen=True, eq=False)
class Filling:
    """One filling of the global buffer.

    Attributes:
        data: In lines of their own, one behind the other from line 1 on.
        commands: The list that uses them, without its end.
        list_line: At which it begins, behind the data.
        output_line: From which on all lines are outputs.
        scheduled: The list in time.
    """

    data: tuple[Data, ...]
    commands: tuple[Command, ...]
    list_line: int
    output_line: int
    scheduled: Scheduled


class _FullError(Exception):
    """What is added does not fit beside what is there."""


class BufferBuilder:
    """Fillings one after the other: what is added goes into the one at hand, or begins the next.

    Data grow from line 1 on, so that no window begins before the buffer; outputs from the last line back; the command
    list follows the data.

    Args:
        machine: The gateware.

    Attributes:
        where: What is told, for messages.
    """

    def __init__(self, machine: Machine) -> None:
        self.machine, self.where = machine, "the chain"
        self.fillings: list[Filling] = []
        self.filled: dict[object, int] = {}  # what is in the memories of the core, or has left, and with which filling
        self.fills = self.fill_cycles = 0  # of all fillings, without those in which they wait
        self._whole = False  # what is added comes together with more
        self._begin()

    def _begin(self) -> None:
        self._low, self._high = 1, self.machine.buffer_lines
        self._data: list[Data] = []
        self._commands: list[Command] = []
        self._maps: dict[object, Map] = {}

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

    def require(self, ready: bool) -> None:
        """Take nothing more into the filling at hand if something is not ready before the next."""
        if not ready:
            raise _FullError

    def mark(self, *what: object) -> None:
        """Remember the filling in which something is done."""
        self.filled[what] = len(self.fillings)

    def done_before(self, *what: object) -> bool:
        """Whether something was done with an earlier filling."""
        return self.filled.get(what, len(self.fillings)) < len(self.fillings)

    def together(self, emit: Callable[[], None]) -> None:
        """Add some things into one filling, if one holds them: what is done beside something else is."""
        self._whole = True
        done = self._fits(emit)
        if not done and self._commands:
            self.close()
            done = self._fits(emit)
        self._whole = False
        if not done:
            emit()

    def _fits(self, emit: Callable[[], None]) -> bool:
        """Add to the filling at hand; if it does not fit, nothing."""
        before = self._low, self._high, self.fills, self.fill_cycles
        data, told, maps, filled = (len(own) for own in (self._data, self._commands, self._maps, self.filled))
        try:
            emit()
            self._require_room()
        except _FullError:
            self._low, self._high, self.fills, self.fill_cycles = before
            del self._data[data:], self._commands[told:]
            while len(self._maps) > maps:
                self._maps.popitem()
            while len(self.filled) > filled:
                self.filled.popitem()
            return False
        return True

    def _require_room(self) -> None:
        lists = -(-(len(self._commands) + 1) // self.machine.commands_of_a_line)
        if self._low + lists > self._high:
            raise _FullError

    def close(self) -> None:
        """End the filling at hand, if there is anything in it."""
        if self._commands:
            told = tuple(self._commands)
            scheduled = schedule(told, self.machine)
            self.fillings.append(Filling(tuple(self._data), told, self._low, self._high, scheduled))
            self._begin()

    def _place(self, data: Data, lines: int) -> None:
        """Put data into lines of their own."""
        self._low += lines
        self._require_room()
        self._data.append(data)

    def records(self, records: Records, after: After = After.NOTHING) -> None:
        """Records of a group and their fill, and what that waits for."""
        self._words(records, records, records.region, records.first, records.count, records.bits, after)

    def parts(self, parts: Parts, region: int, bits: int, after: After) -> None:
        """How an item is predicted, words of ``bits`` each, and their fill."""
        self._words(parts, parts.item, region, parts.item.part_first, parts.count, bits, after)

    def _words(
        self, data: Data, source: Records | Item, region: int, first: int, count: int, bits: int, after: After
    ) -> None:
        machine, at = self.machine, self._low * self.machine.line
        words = -(-bits // (16 * machine.buffer_pixels))
        pitch = words * machine.buffer_pixels
        self._place(data, -(-count * pitch // machine.line))
        pieces, span = (0, -(-words // machine.buffer_banks)), min(words, machine.buffer_banks)
        columns = 0, machine.line
        self.fill(Fill(source, after, region, first, count, at, pitch, pieces, machine.line, span, columns))

    def map(self, item: Item, residual: bool, channels: int, rows: Span, columns: Span) -> Map:
        """Pixels of a feature map for an item, once in every filling: all of the map or what the tile needs of it."""
        group, (_, height, width) = item.group, item.group.work.in_shape
        key: tuple[object, ...] = ("residual" if residual else "input", group.number)
        if group.whole:
            rows, columns = Span(0, height), Span(0, width)
        else:
            key = *key, item.index
        if key not in self._maps:
            found = self._new_map(self._low, rows, columns)
            self._place(Pixels(item, residual, found), channels * found.plane_pixels // self.machine.line)
            self._maps[key] = found
        return self._maps[key]

    def _new_map(self, line: int, rows: Span, columns: Span) -> Map:
        """A map that begins at a line."""
        width, row = self.machine.line, row_pixels(columns.size, self.machine)
        plane = -(-rows.size * row // width) * width
        return Map(line * width, rows.start, columns.start, rows.size, columns.size, row, plane)

    def output_map(self, item: Item) -> Map:
        """Room for the outputs of an item, or of its group, once in every filling."""
        group, tile, (_, height, width) = item.group, item.tile, item.group.work.out_shape
        rows, columns = (Span(0, height), Span(0, width)) if group.whole else (tile.rows, tile.columns)
        key = ("output", group.number) if group.whole else ("output", group.number, item.index)
        if key not in self._maps:
            lines = group.output_span[1] * self._new_map(0, rows, columns).plane_pixels // self.machine.line
            self._high -= lines
            self._require_room()
            self._maps[key] = self._new_map(self._high, rows, columns)
        return self._maps[key]

    def planes(
        self, item: Item, own: Map, region: int, index: int, count: int, corner: tuple[int, int], rows: Span,
        columns: Span, after: After = After.NOTHING,
    ) -> None:  # fmt: skip
        """Fill with a window of the first ``count`` channels of a map.

        Args:
            item: For which.
            own: The map.
            region: Of the core.
            index: There.
            count: Channels.
            corner: Row and column of the feature map at which the window begins.
            rows: Of the feature map that are in the window, and in the map; the others are 0.
            columns: Likewise.
            after: What it waits for.
        """
        shown = window(corner, rows, columns, own.left, self.machine)
        shown = (added_together if region == RESIDUAL else together)(shown, own.row_pixels, self.machine)
        at = own.pixel(corner[0] + shown.rows[0], corner[1]) if shown.columns[1] else own.at
        record, row = own.plane_pixels, own.row_pixels
        span, pitch, some = shown.span, shown.pitch, shown.together
        self.fill(
            Fill(item, after, region, index, count, at, record, shown.rows, row, span, shown.columns, pitch, some)
        )

    def fill(self, one: Fill) -> None:
        """A command to the fill unit."""
        self.fills += 1
        self.fill_cycles += one.accesses
        self.command(one)

    def command(self, one: Command) -> None:
        """A command behind the others."""
        self._commands.append(one)
