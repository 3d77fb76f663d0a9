"""Reads an image of the global buffer back as the gateware does: every write of a fill, every start of the core.

Written from the tables of docs/explanation/rtl.md, and shares no code with what makes the images.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
from rtl.decode import _Bits, _clog2

from predfuse.arrays import Int16Array


@dataclass(frozen=True)
class Write:
    """One write, of some records of all banks of a region at once, by which fill; ``after`` the core is done, after
    ``lists`` are, after outputs have ``left``, or while it works."""

    region: int
    index: int
    bits: int
    after: bool
    lists: bool = False
    left: bool = False
    fill: int = 0


@dataclass(frozen=True)
class Start:
    """One start of the core.

    Attributes:
        after: Whether fills are done.
        flags: Lists, predictions, these behind the lists, finishing, from the lowest bit on.
        rows: Of the tile.
        parts: First and end of those predicted.
        planes: Which of two sets of input planes.
        half: Which of two groups.
        predict_half: Likewise, of the prediction.
        second: Whether sums of the lists are in the second set.
        offsets: Of gate words read and written.
        pitch: 0 where rows of outputs leave one by one, 1 to 3 where they leave together, 2, 4 or 8 words apart.
        store: Line, bank and pixel of the first output; lines and banks from row to row, lines from channel to channel;
            pixels of a row.
    """

    after: bool
    flags: int
    rows: int
    parts: tuple[int, int]
    planes: int
    half: int
    predict_half: int
    second: int
    offsets: tuple[int, int]
    pitch: int
    store: tuple[int, int, int, int, int, int, int]


def read_image(lines: Int16Array, start_row: int, sizes: Mapping[str, int]) -> Iterator[Write | Start]:
    """What the machine does, in order."""
    banks, width = sizes["BUFFER_BANKS"], sizes["BUFFER_PIXELS"]
    size = max(sizes["FILL"], 4 + sizes["ITEM"] + sizes["STORE"]) + 3
    flat = np.zeros(sizes["BUFFER_LINES"] * banks * width + 2 * banks * width, np.uint16)
    flat[banks * width :][: lines.size] = lines.ravel()
    row, fills = start_row, 0
    while True:
        text = flat[row * banks * width : (row + 1) * banks * width].tobytes()
        line = _Bits(int.from_bytes(text, "little"))
        row += 1
        for _ in range(16 * banks * width // size):
            command = _Bits(line.take(size))
            kind, after = command.take(2), command.take(1) == 1
            if kind == 0:
                return
            if kind == 2:
                yield _start(command, sizes, after)
            else:
                fills += 1
                writes = _fill(command, flat, sizes, after and kind == 1)
                waits = {"lists": kind == 3 and not after, "left": kind == 3 and after}
                yield from (replace(write, fill=fills, **waits) for write in writes)


def _start(command: _Bits, sizes: Mapping[str, int], after: bool) -> Start:
    gate, part = _clog2(sizes["GATE_WORDS"]), _clog2(sizes["PARTS"])
    line, bank = _clog2(sizes["BUFFER_LINES"]), _clog2(sizes["BUFFER_BANKS"])
    flags, offsets = command.take(4), (command.take(gate), command.take(gate))
    rows, parts = command.take(_clog2(sizes["TILE_ROWS"] + 1)), (command.take(part), command.take(part + 1))
    planes, half, predict_half, second = (command.take(1) for _ in range(4))
    first = command.take(line), command.take(bank)
    steps = command.take(line), command.take(bank), command.take(line)
    pixel, columns = command.take(_clog2(sizes["BUFFER_PIXELS"])), command.take(_clog2(sizes["TILE_COLUMNS"] + 1))
    store = (*first, pixel, *steps, columns)
    return Start(after, flags, rows, parts, planes, half, predict_half, second, offsets, command.take(2), store)


def _fill(command: _Bits, flat: np.ndarray, sizes: Mapping[str, int], after: bool) -> Iterator[Write]:
    banks, width = sizes["BUFFER_BANKS"], sizes["BUFFER_PIXELS"]
    line, bank, whole = _clog2(sizes["BUFFER_LINES"]), _clog2(banks), banks * width
    region, index, count = command.take(5), command.take(16), command.take(16)
    at, piece_pitch, record_pitch = (command.take(line) * whole + command.take(bank) * width for _ in range(3))
    at += command.take(_clog2(width))
    span = command.take(_clog2(banks + 1))
    high, wide = (2 * (sizes[name] - 1) + sizes["KERNEL"] for name in ("TILE_ROWS", "TILE_COLUMNS"))
    pieces = max(high, sizes["SIDE"], -(-sizes["DATA"] // (16 * whole)))
    first, end = command.take(_clog2(pieces + 1)), command.take(_clog2(pieces + 1))
    left, right = command.take(_clog2(whole + 1)), command.take(_clog2(whole + 1))
    pitch = command.take(_clog2(sizes["PITCHES"] + 1))
    # Where in a record a piece begins.
    places = {14: wide, 15: sizes["SIDE"], 17: sizes["TILE_COLUMNS"]}.get(region, whole)
    together = _rows_together(1 << pitch, sizes) if pitch else 1
    for record in range(count):
        bits = 0
        for number, base in enumerate(range(first - first % together, end, together)):
            begin = at + record * record_pitch + number * piece_pitch
            # No more than the banks that were asked for is there, and each of these once.
            assert span <= banks
            there = flat[begin : (begin // width + span) * width]
            rows = range(max(first, base), min(end, base + together))
            for piece in rows:
                pixels = there[(piece - base) * (width << pitch) :].tolist()[:whole]
                value = sum(pixel << 16 * p for p, pixel in enumerate(pixels) if left <= p < right)
                bits |= value << 16 * places * piece
            if region == 17:  # every row has a word of its own
                at_once = sizes["FINISHED_ROWS"]
                assert base // at_once == (base + together - 1) // at_once
                for piece in rows:
                    word = bits >> 16 * places * piece & (1 << 16 * places) - 1
                    yield Write(region, (index + record) * sizes["TILE_ROWS"] + piece, word, after)
                bits = 0
        if region != 17:
            yield Write(region, index + record, bits, after)


def _rows_together(words: int, sizes: Mapping[str, int]) -> int:
    """Rows of a map so many words apart that come in an access, by the table."""
    near = -(-(sizes["TILE_COLUMNS"] + sizes["KERNEL"] + sizes["BUFFER_PIXELS"] - 2) // sizes["BUFFER_PIXELS"])
    room = [n for n in (1, 2, 4, 8, 16) if (n - 1) * words + min(words + 1, near) <= sizes["BUFFER_BANKS"] or n == 1]
    high = max(2 * (sizes["TILE_ROWS"] - 1) + sizes["KERNEL"], sizes["SIDE"])
    return max(n for n in room if n <= sizes["ACCESS_ROWS"] and n < 2 * high)
