"""What the gateware is told of one tile of a group: parts of its prediction, the pixels it reads, residuals."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from predfuse.arrays import Int16Array
from predfuse.errors import InputError
from predfuse.hardware.block_work import BlockWork
from predfuse.hardware.cycle.archon.gateware import INPUT_PLANE, PART_PLANE, RESIDUAL, Machine
from predfuse.hardware.cycle.archon.predictor import Part, square_parts
from predfuse.integer.nodes import FusedBlock
from predfuse.integer.tiling import Tile
from predfuse.rtl.words import Packer, Word


def predicted_parts(work: BlockWork, tile: Tile, machine: Machine) -> list[tuple[Part, int]]:
    """Parts a tile is predicted in, and the cycles in which the inputs of each are read.

    Raises:
        InputError: Not even one pixel fits, or there are too many parts.
    """
    rounds = machine.held // machine.inputs
    parts = square_parts(work, tile, machine.side, machine.unit_rows, machine.inputs, rounds)
    if len(parts) > machine.parts:
        raise InputError(f"layer {work.name}", f"is predicted in {len(parts)} parts", f"enlarge {machine.parts} parts")
    return [(part, _reading(work, part, index == 0, machine)) for index, part in enumerate(parts)]


def _reading(work: BlockWork, part: Part, first: bool, machine: Machine) -> int:
    """Cycles to read a rectangle of every channel, as the cycle model has it, a plane a cycle at most."""
    accesses = part.input_rows * -(-(part.input_columns + machine.buffer_words - 1) // machine.buffer_words)
    cycles = -(-work.group_channels * accesses // machine.buffer_banks) + machine.fill_cycles * first
    return max(cycles, work.group_channels + 1)


def item_word(
    machine: Machine, tile: Tile | None, parts: int, read_offset: int, write_offset: int, packer: Packer
) -> Word:
    """The item whose lists run and the parts of the one that is predicted meanwhile."""
    rows = machine.tile_rows if tile is None else tile.rows.size
    return packer.word("item", 0, read_offset=read_offset, write_offset=write_offset, rows=rows, parts=parts)


def prediction_words(
    node: FusedBlock, work: BlockWork, group: int, tile: Tile, x: Int16Array, machine: Machine, packer: Packer
) -> list[Word]:
    """Parts of a tile, and what the predictor reads of ``x [C, H, W]``."""
    words = []
    for index, (part, reading_cycles) in enumerate(predicted_parts(work, tile, machine)):
        top = (tile.rows.start + part.row) * node.stride - node.padding[0]
        left = (tile.columns.start + part.column) * node.stride - node.padding[2]
        row_first, row_end = _inside(top, x.shape[1], machine.side)
        column_first, column_end = _inside(left, x.shape[2], machine.side)
        words.append(
            packer.word(
                "part",
                index,
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
        )
        for c in range(work.group_channels):
            plane = x[group * work.group_channels + c]
            bits = pack_pixels(cut(plane, top, left, machine.side, machine.side))
            words.append(Word(PART_PLANE, 0, index * machine.held + c, bits))
    return words


def _inside(first: int, size: int, side: int) -> tuple[int, int]:
    """Which of ``side`` pixels from ``first`` on lie in an image of ``size``."""
    return min(max(-first, 0), side), min(max(size - first, 0), side)


def input_words(
    node: FusedBlock, work: BlockWork, group: int, tile: Tile, x: Int16Array, machine: Machine
) -> list[Word]:
    """What the lists of a tile multiply of ``x [C, H, W]``."""
    top = tile.rows.start * node.stride - node.padding[0]
    left = tile.columns.start * node.stride - node.padding[2]
    shape = machine.plane_rows, machine.plane_columns
    planes = x[group * work.group_channels : (group + 1) * work.group_channels]
    return [Word(INPUT_PLANE, 0, c, pack_pixels(cut(plane, top, left, *shape))) for c, plane in enumerate(planes)]


def residual_words(places: Iterable[int], tile: Tile, x: Int16Array, machine: Machine) -> list[Word]:
    """What is added to the outputs of a group, which lie at the channels ``places`` of ``x [C, H, W]``."""
    columns = slice(tile.columns.start, tile.columns.stop)
    return [
        Word(RESIDUAL, 0, output * machine.tile_rows + row, pack_pixels(x[place, tile.rows.start + row, columns]))
        for output, place in enumerate(places)
        for row in range(tile.rows.size)
    ]


def cut(plane: Int16Array, top: int, left: int, rows: int, columns: int) -> Int16Array:
    """``[rows, columns]`` pixels of a plane from ``(top, left)`` on, 0 outside."""
    result = np.zeros((rows, columns), np.int16)
    row, column = max(top, 0), max(left, 0)
    part = plane[row : max(top + rows, 0), column : max(left + columns, 0)]
    result[row - top : row - top + part.shape[0], column - left : column - left + part.shape[1]] = part
    return result


def pack_pixels(pixels: Int16Array) -> int:
    """Pixels of 16 bits, row by row, the first in the lowest bits."""
    return int.from_bytes(np.ascontiguousarray(pixels, "<i2").tobytes(), "little")
