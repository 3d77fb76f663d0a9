"""Commands of a list, with what each is for: fills of memories from the global buffer, and starts of the core."""

from __future__ import annotations

import enum
from collections.abc import Iterator
from dataclasses import dataclass

from predfuse.hardware.cycle.archon.gateware import Machine
from predfuse.hardware.cycle.archon.maps import row_accesses, stored_rows
from predfuse.hardware.cycle.archon.sequence.group import Records
from predfuse.hardware.cycle.archon.sequence.order import Item
from predfuse.integer.tiling import Span


class After(enum.IntEnum):
    """What a fill waits for: outputs have left, lists are done, or all of the core is; mostly the longer the later."""

    NOTHING = 0
    OUTPUTS = 1
    LISTS = 2
    CORE = 3


LISTS, PREDICT, BEHIND, FINISH = 1, 2, 4, 8
"""What a start starts: lists, predictions, these behind the lists, finishing."""


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

    def pixel(self, row: int, column: int) -> int:
        """Where a pixel of the first channel is."""
        return self.at + (row - self.top) * self.row_pixels + column - self.left


@dataclass(frozen=True)
class Parts:
    """How an item is predicted: a word of the write port a part.

    Attributes:
        item: Which.
        count: Of its parts.
    """

    item: Item
    count: int


@dataclass(frozen=True)
class Pixels:
    """What a map in the global buffer shows.

    Attributes:
        item: The first that reads it.
        residual: Whether it is what is added to the outputs, not what the group reads.
        own: The map.
    """

    item: Item
    residual: bool
    own: Map


Data = Records | Parts | Pixels


@dataclass(frozen=True)
class Fill:
    """A command to the fill unit.

    Attributes:
        source: Words of a group, or whose pixels and parts they are.
        after: What it waits for: nothing, outputs that leave, lists, or all that the core does.
        region: Of the core.
        index: There.
        count: Records.
        at: Pixel of the buffer with which the first begins.
        record_pixels: From one to the next.
        pieces: First and end of the rows, or parts of a word, of each.
        piece_pixels: From one of these to the next.
        span: Words of an access.
        columns: First and end of its pixels that are not 0.
        pitch: Of rows that come in one access (:class:`predfuse.hardware.cycle.archon.maps.Window`).
        together: How many these are.
    """

    source: Records | Item
    after: After
    region: int
    index: int
    count: int
    at: int
    record_pixels: int
    pieces: tuple[int, int]
    piece_pixels: int
    span: int
    columns: tuple[int, int]
    pitch: int = 0
    together: int = 1

    @property
    def accesses(self) -> int:
        """Of the global buffer, one a cycle."""
        return self.count * self._of_record

    @property
    def _of_record(self) -> int:
        return row_accesses(self.pieces, self.together)

    @property
    def begin(self) -> int:
        """Pixel of the buffer with which the first access begins, before rows outside the map."""
        return self.at - self.pieces[0] % self.together * self.piece_pixels

    @property
    def access_pixels(self) -> int:
        """From an access of a record to the next."""
        return self.together * self.piece_pixels

    def masks(self, machine: Machine) -> Iterator[int]:
        """Banks of every access, as bits."""
        steps = self.begin, self.record_pixels, self.access_pixels
        word, record, access = (one // machine.buffer_pixels for one in steps)
        for index in range(self.count):
            for place in range(self._of_record):
                yield bank_mask(word + index * record + place * access, self.span, machine.buffer_banks)


@dataclass(frozen=True)
class Store:
    """Where outputs of an item go.

    Attributes:
        item: Which.
        own: The map.
        rows: Of the feature map.
        columns: Of it.
    """

    item: Item
    own: Map
    rows: Span
    columns: Span

    @property
    def at(self) -> int:
        """The first pixel."""
        return self.own.pixel(self.rows.start, self.columns.start)

    def together(self, machine: Machine) -> int:
        """Rows that leave in a cycle."""
        return stored_rows(self.own.row_pixels, machine)

    def masks(self, machine: Machine) -> Iterator[int]:
        """Banks of every access for every output, as bits."""
        pixels, some = machine.buffer_pixels, self.together(machine)
        row = self.own.row_pixels // pixels
        span = (some - 1) * row + -(-(self.at % pixels + self.columns.size) // pixels)
        words = (self.at // pixels + first * row for first in range(0, self.rows.size, some))
        accesses = [bank_mask(word, span, machine.buffer_banks) for word in words]
        for _ in range(self.item.group.work.group_outputs):
            yield from accesses


@dataclass(frozen=True)
class Start:
    """A start of the core.

    Attributes:
        flags: What is started.
        item: Whose lists run, or whose outputs leave alone.
        predicted: Which item is predicted.
        store: Of outputs that leave.
        after: Whether it waits for fills.
        list_cycles: Of all passes.
        predict_cycles: From the first input read to the last gate word written.
    """

    flags: int
    item: Item
    predicted: Item | None
    store: Store | None
    after: bool
    list_cycles: int = 0
    predict_cycles: int = 0

    @property
    def cycles(self) -> int:
        """Of lists and predictions, the longer; 0 where outputs leave beside nothing."""
        return max(self.list_cycles, self.predict_cycles)


Command = Fill | Start


def bank_mask(word: int, span: int, banks: int) -> int:
    """Banks of words in a row, as bits."""
    first = word % banks
    bits = (1 << span) - 1 << first
    return (bits | bits >> banks) & ((1 << banks) - 1)
