"""How rows of feature maps lie in the global buffer of the gateware, and how many one access of the fill unit brings.

Rows that come together lie 2, 4 or 8 words apart. An access brings the rows of a plane from one multiple of their
number to the next, so that every row has one place in the fill unit; those outside the map are left out there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from predfuse.integer.tiling import Span

if TYPE_CHECKING:
    from predfuse.hardware.cycle.archon.gateware import Machine


PITCHES = 2, 4, 8
"""Words from row to row at which several come in an access: where the smaller are too far, so are the larger."""


def rows_at(words: int, machine: Machine) -> int:
    """Rows so many words apart that an access brings: of a window of a tile at stride 1 they fit the banks, and half of
    them are fewer than a plane has."""
    pixels, rows, most = machine.buffer_pixels, machine.access_rows, max(machine.plane_rows, machine.side)
    near = -(-(machine.tile_columns + machine.kernel - 1 + pixels - 1) // pixels)
    while rows > 1 and ((rows - 1) * words + min(words + 1, near) > machine.buffer_banks or rows // 2 >= most):
        rows //= 2
    return rows


def stored_rows(row: int, machine: Machine) -> int:
    """Rows of a tile that leave in a cycle: those of the machine where an access of the buffer takes them, else one.

    Args:
        row: From a row of the map to the next (pixels).
        machine: The gateware.
    """
    pixels, words, some = machine.buffer_pixels, row // machine.buffer_pixels, machine.finished_rows
    most = -(-(machine.tile_columns + pixels - 1) // pixels)  # words of a row of a tile
    fits = words in PITCHES and (some - 1) * words + most <= machine.buffer_banks
    return some if fits else 1


def pitches(machine: Machine) -> int:
    """So many of these distances there are at which an access brings several."""
    return sum(rows_at(words, machine) > 1 for words in PITCHES)


def row_pixels(columns: int, machine: Machine) -> int:
    """From a row of a map to the next: whole words, one more where several rows then come in an access."""
    words = -(-columns // machine.buffer_pixels)
    power = 1 << (words - 1).bit_length()
    padded = power == words + 1 and power in PITCHES and rows_at(power, machine) > 1
    return (power if padded else words) * machine.buffer_pixels


def row_accesses(rows: tuple[int, int], together: int) -> int:
    """Accesses for rows from the first to the end, from one multiple of how many come together to the next."""
    first, end = rows
    return -(-end // together) - first // together


@dataclass(frozen=True)
class Window:
    """What a plane of the core is of a map.

    Attributes:
        rows: First and end of those of the plane that are read.
        columns: First and end of its pixels in each that are not 0.
        span: Words of an access.
        pitch: Of rows that come together: 0 one by one, else 1, 2 or 3 for 2, 4 or 8 words.
        together: Rows of an access.
    """

    rows: tuple[int, int]
    columns: tuple[int, int]
    span: int
    pitch: int = 0
    together: int = 1

    @property
    def accesses(self) -> int:
        """Of the global buffer."""
        return row_accesses(self.rows, self.together)

    @property
    def words(self) -> int:
        """Read by them, also those between and beside the rows that are wanted."""
        return self.accesses * self.span


def window(corner: tuple[int, int], rows: Span, columns: Span, left: int, machine: Machine) -> Window:
    """A window of a map, read row by row.

    Args:
        corner: Row and column of the feature map at which the window begins.
        rows: Of the feature map that are in the window, and in the map; the others are 0.
        columns: Likewise.
        left: Column of the feature map with which the map begins.
        machine: The gateware.
    """
    shown = columns.start - corner[1], columns.stop - corner[1]
    if not rows.size or not columns.size:
        return Window((0, 1), (0, 0), 1)
    span = -(-((corner[1] - left) % machine.buffer_pixels + shown[1]) // machine.buffer_pixels)
    return Window((rows.start - corner[0], rows.stop - corner[0]), shown, span)


def together(one: Window, row: int, machine: Machine) -> Window:
    """The same window with several rows in an access, where that takes fewer.

    Args:
        one: Read row by row.
        row: From a row of the map to the next (pixels).
        machine: The gateware.
    """
    words = row // machine.buffer_pixels
    some, (first, end) = rows_at(words, machine), one.rows
    if words not in PITCHES or some == 1:
        return one
    begins = range(first - first % some, end, some)
    span = max((min(end, begin + some) - 1 - begin) * words for begin in begins) + one.span
    if span > machine.buffer_banks or len(begins) == end - first:
        return one
    return Window(one.rows, one.columns, span, PITCHES.index(words) + 1, some)


def added_together(one: Window, row: int, machine: Machine) -> Window:
    """The same for what is added to outputs: several rows in an access only where no more of them come at once than
    rows of a tile leave at once, for so many can be written at once.

    Args:
        one: Read row by row.
        row: From a row of the map to the next (pixels).
        machine: The gateware.
    """
    return (
        together(one, row, machine) if rows_at(row // machine.buffer_pixels, machine) <= machine.finished_rows else one
    )
