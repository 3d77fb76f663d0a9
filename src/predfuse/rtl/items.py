"""What the gateware is told of one tile of a group: parts of its prediction, the pixels it reads, residuals."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from predfuse.errors import InputError
from predfuse.graph.nodes import Array
from predfuse.hardware.block_work import BlockWork
from predfuse.integer.nodes import FusedBlock
from predfuse.integer.tiling import Tile
from predfuse.rtl.machine import INPUT_PLANE, PART_PLANE, RESIDUAL, Machine
from predfuse.rtl.words import Packer, Word


@dataclass(frozen=True)
class Part:
    """Output pixels of a tile predicted at once.

    Attributes:
        row: First of them within the tile.
        column: Likewise.
        rows: How many.
        columns: How many.
        reading_cycles: To read its inputs.
    """

    row: int
    column: int
    rows: int
    columns: int
    reading_cycles: int


def tile_parts(work: BlockWork, tile: Tile, machine: Machine) -> list[Part]:
    """The fewest equal rectangles whose inputs fit the square hidden plane and the registers of the predictor.

    Raises:
        InputError: Not even one pixel fits, or there are too many parts.
    """
    kernel, stride = work.kernel, work.stride
    held = min(machine.side**2, machine.side**2 * machine.inputs // work.group_channels)

    def reach(size: int) -> int:
        return (size - 1) * stride + kernel

    if max(reach(tile.rows.size), reach(tile.columns.size)) <= machine.side and tile.input_pixels <= held:
        reading = _reading(work, tile.input_rows.size, tile.input_columns.size, True, machine)
        return [Part(0, 0, tile.rows.size, tile.columns.size, reading)]
    fitting: list[tuple[int, int, int]] = []
    for down in range(1, tile.rows.size + 1):
        for across in range(1, tile.columns.size + 1):
            high, wide = reach(-(-tile.rows.size // down)), reach(-(-tile.columns.size // across))
            if max(high, wide) <= machine.side and high * wide <= held:
                fitting.append((down * across, down, across))
    if not fitting or min(fitting)[0] > machine.parts:
        raise InputError(f"layer {work.name}", "has tiles the predictor of the gateware does not hold", "enlarge it")
    _, down, across = min(fitting)
    parts: list[Part] = []
    for row, last_row in _shares(tile.rows.size, down):
        for column, last_column in _shares(tile.columns.size, across):
            rows, columns = last_row - row, last_column - column
            reading = _reading(work, reach(rows), reach(columns), not parts, machine)
            parts.append(Part(row, column, rows, columns, reading))
    return parts


def _shares(total: int, parts: int) -> list[tuple[int, int]]:
    return [(total * part // parts, total * (part + 1) // parts) for part in range(parts)]


def _reading(work: BlockWork, rows: int, columns: int, first: bool, machine: Machine) -> int:
    """Cycles to read a rectangle of every channel, as the cycle model has it, a plane a cycle at most."""
    accesses = rows * -(-(columns + machine.buffer_words - 1) // machine.buffer_words)
    cycles = -(-work.group_channels * accesses // machine.buffer_banks) + machine.fill_cycles * first
    return max(cycles, work.group_channels + 1)


def item_word(
    machine: Machine, tile: Tile | None, parts: int, read_offset: int, write_offset: int, packer: Packer
) -> Word:
    """The item whose lists run and the parts of the one that is predicted meanwhile."""
    rows = machine.tile_rows if tile is None else tile.rows.size
    return packer.word("item", 0, read_offset=read_offset, write_offset=write_offset, rows=rows, parts=parts)


def prediction_words(
    node: FusedBlock, work: BlockWork, group: int, tile: Tile, x: Array, machine: Machine, packer: Packer
) -> list[Word]:
    """Parts of a tile, and what the predictor reads of ``x [C, H, W]``."""
    words = []
    for index, part in enumerate(tile_parts(work, tile, machine)):
        top = (tile.rows.start + part.row) * node.stride - node.padding[0]
        left = (tile.columns.start + part.column) * node.stride - node.padding[2]
        row_first, row_end = _inside(top, x.shape[1], machine.side)
        column_first, column_end = _inside(left, x.shape[2], machine.side)
        words.append(
            packer.word(
                "part",
                index,
                reading_cycles=part.reading_cycles,
                row_first=row_first,
                row_end=row_end,
                column_first=column_first,
                column_end=column_end,
                out_rows=part.rows,
                out_columns=part.columns,
                place=part.row * machine.tile_columns + part.column,
            )
        )
        for c in range(work.group_channels):
            plane = x[group * work.group_channels + c]
            bits = pack_pixels(cut(plane, top, left, machine.side, machine.side))
            words.append(Word(PART_PLANE, 0, index * machine.held + c, bits))
    return words


def _inside(first: int, size: int, side: int) -> tuple[int, int]:
    """Which of ``side`` pixels from ``first`` on lie in an image of ``size``."""
    return min(max(-first, 0), side), min(max(size - first, 0), side)


def input_words(node: FusedBlock, work: BlockWork, group: int, tile: Tile, x: Array, machine: Machine) -> list[Word]:
    """What the lists of a tile multiply of ``x [C, H, W]``."""
    top = tile.rows.start * node.stride - node.padding[0]
    left = tile.columns.start * node.stride - node.padding[2]
    shape = machine.plane_rows, machine.plane_columns
    planes = x[group * work.group_channels : (group + 1) * work.group_channels]
    return [Word(INPUT_PLANE, 0, c, pack_pixels(cut(plane, top, left, *shape))) for c, plane in enumerate(planes)]


def residual_words(places: Iterable[int], tile: Tile, x: Array, machine: Machine) -> list[Word]:
    """What is added to the outputs of a group, which lie at the channels ``places`` of ``x [C, H, W]``."""
    columns = slice(tile.columns.start, tile.columns.stop)
    return [
        Word(RESIDUAL, 0, output * machine.tile_rows + row, pack_pixels(x[place, tile.rows.start + row, columns]))
        for output, place in enumerate(places)
        for row in range(tile.rows.size)
    ]


def cut(plane: Array, top: int, left: int, rows: int, columns: int) -> Array:
    """``[rows, columns]`` pixels of a plane from ``(top, left)`` on, 0 outside."""
    result = np.zeros((rows, columns), np.int16)
    row, column = max(top, 0), max(left, 0)
    part = plane[row : max(top + rows, 0), column : max(left + columns, 0)]
    result[row - top : row - top + part.shape[0], column - left : column - left + part.shape[1]] = part
    return result


def pack_pixels(pixels: Array) -> int:
    """Pixels of 16 bits, row by row, the first in the lowest bits."""
    return int.from_bytes(np.ascontiguousarray(pixels, "<i2").tobytes(), "little")
