"""What the gateware is told of one tile of a group: the parts of its prediction."""

from __future__ import annotations

from predfuse.errors import InputError
from predfuse.hardware.block_work import BlockWork
from predfuse.hardware.cycle.archon.gateware import Machine
from predfuse.hardware.cycle.archon.predictor import Part, square_parts
from predfuse.integer.nodes import FusedBlock
from predfuse.integer.tiling import Span, Tile
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


def part_words(
    node: FusedBlock, work: BlockWork, tile: Tile, size: tuple[int, ...], first: int, machine: Machine, packer: Packer
) -> list[Word]:
    """The parts a tile is predicted in, from ``first`` on, of a feature map of ``size``."""
    words = []
    for index, (part, reading_cycles) in enumerate(predicted_parts(work, tile, machine)):
        top, left = part_corner(node, tile, part)
        row_first, row_end = _inside(top, size[0], machine.side)
        column_first, column_end = _inside(left, size[1], machine.side)
        words.append(
            packer.word(
                "part",
                first + index,
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
    return words


def part_corner(node: FusedBlock, tile: Tile, part: Part) -> tuple[int, int]:
    """Row and column of the first input pixel of a part."""
    top = (tile.rows.start + part.row) * node.stride - node.padding[0]
    return top, (tile.columns.start + part.column) * node.stride - node.padding[2]


def part_inputs(node: FusedBlock, tile: Tile, part: Part) -> tuple[Span, Span]:
    """Rows and columns of the feature map that a part needs."""
    (top, left), reach = part_corner(node, tile, part), node.kernel - node.stride
    rows = Span(top, top + part.rows * node.stride + reach).within(tile.input_rows)
    return rows, Span(left, left + part.columns * node.stride + reach).within(tile.input_columns)


def _inside(first: int, size: int, side: int) -> tuple[int, int]:
    """Which of ``side`` pixels from ``first`` on lie in an image of ``size``."""
    return min(max(-first, 0), side), min(max(size - first, 0), side)
