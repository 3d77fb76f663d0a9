"""The parts a tile is predicted in on the gateware, and which input pixels each needs."""

from __future__ import annotations

from predfuse.errors import InputError
from predfuse.hardware.block_work import BlockWork
from predfuse.hardware.cycle.archon.gateware import Machine
from predfuse.hardware.cycle.archon.predictor import Part, square_parts
from predfuse.integer.tiling import Span, Tile


def machine_parts(work: BlockWork, tile: Tile, machine: Machine) -> list[Part]:
    """The parts of a tile, however many.

    Raises:
        InputError: Not even one pixel fits.
    """
    rounds = machine.held // machine.inputs
    return square_parts(work, tile, machine.side, machine.unit_rows, machine.inputs, rounds)


def predicted_parts(work: BlockWork, tile: Tile, machine: Machine) -> list[tuple[Part, int]]:
    """Parts a tile is predicted in, and the cycles in which the inputs of each are read.

    Raises:
        InputError: Not even one pixel fits, or there are too many parts.
    """
    parts = machine_parts(work, tile, machine)
    if len(parts) > machine.parts:
        raise InputError(f"layer {work.name}", f"is predicted in {len(parts)} parts", f"enlarge {machine.parts} parts")
    return [(part, _reading(work, part, index == 0, machine)) for index, part in enumerate(parts)]


def _reading(work: BlockWork, part: Part, first: bool, machine: Machine) -> int:
    """Cycles to read a rectangle of every channel through all banks, a plane a cycle at most."""
    accesses = part.input_rows * -(-(part.input_columns + machine.buffer_words - 1) // machine.buffer_words)
    cycles = -(-work.group_channels * accesses // machine.buffer_banks) + machine.fill_cycles * first
    return max(cycles, work.group_channels + 1)


def part_corner(work: BlockWork, tile: Tile, part: Part) -> tuple[int, int]:
    """Row and column of the first input pixel of a part."""
    top = (tile.rows.start + part.row) * work.stride - work.padding[0]
    return top, (tile.columns.start + part.column) * work.stride - work.padding[2]


def part_inputs(work: BlockWork, tile: Tile, part: Part) -> tuple[Span, Span]:
    """Rows and columns of the feature map that a part needs."""
    (top, left), reach = part_corner(work, tile, part), work.kernel - work.stride
    rows = Span(top, top + part.rows * work.stride + reach).within(tile.input_rows)
    return rows, Span(left, left + part.columns * work.stride + reach).within(tile.input_columns)
