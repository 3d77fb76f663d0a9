"""Cycles of the predictor: on the PEs' adders or on its own, layer by layer or tile by tile."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numba import njit

from predfuse.arrays import Int64Array
from predfuse.errors import InputError
from predfuse.hardware.block_work import BlockWork
from predfuse.hardware.design import Structures
from predfuse.hardware.fusable import held_pixels
from predfuse.hardware.spec import ArchonSpec
from predfuse.integer.tiling import Tile


@dataclass(frozen=True, eq=False)
class PredictTime:
    """Cycles of both stages.

    Attributes:
        expand_cycles: First stage.
        depthwise_cycles: Second stage; of a dedicated predictor what it takes longer than the first, beside which it
            runs.
        parts: Of a dedicated predictor, of every part of the tile: cycles to read its inputs, and to expand a round of
            channels.
        tap_cycles: Of its second stage for a round, at least.
    """

    expand_cycles: int
    depthwise_cycles: int
    parts: tuple[tuple[int, int], ...] = ()
    tap_cycles: int = 1

    @property
    def cycles(self) -> int:
        return self.expand_cycles + self.depthwise_cycles


def _ceil(amount: int, step: int) -> int:
    return -(-amount // step)


def dot_product_cycles(channels: int, terms: int, lanes: int) -> int:
    """Cycles for ``channels`` sums of ``terms`` ternary terms: several sums at once where they fit, never in part."""
    at_once = lanes // terms
    return _ceil(channels, at_once) if at_once else channels * _ceil(terms, lanes)


def layer_predict_time(work: BlockWork, spec: ArchonSpec) -> PredictTime:
    """The whole layer on the PEs' adders, one stage after the other; halos are kept, not computed again."""
    lanes, pixels = spec.pe.predictor_lanes, spec.design.tile_rows * spec.design.tile_columns
    _, height, width = work.in_shape
    _, rows, columns = work.out_shape
    if spec.design.predictor_packing == "full":
        per_cycle = spec.array.pes * lanes
        expand = work.middle * work.group_channels * height * width // per_cycle
        return PredictTime(expand, work.middle * work.taps * rows * columns // per_cycle)
    tile = (spec.design.tile_rows, spec.design.tile_columns)
    images = spec.array.pes // pixels  # PEs of a pixel take channels in turn
    in_tiles = _ceil(height, tile[0]) * _ceil(width, tile[1])
    out_tiles = _ceil(rows, tile[0]) * _ceil(columns, tile[1])
    expand = in_tiles * work.groups * dot_product_cycles(_ceil(work.group_middle, images), work.group_channels, lanes)
    return PredictTime(expand, out_tiles * dot_product_cycles(_ceil(work.middle, images), work.taps, lanes))


def tile_predict_time(work: BlockWork, words: Int64Array, tile: Tile, spec: ArchonSpec) -> PredictTime:
    """One group of one tile, its halo computed again.

    The inputs of a tile are read from the global buffer into the predictor first: it holds one set of them.

    Args:
        work: The block.
        words: ``[channels]`` gate words written for every middle channel, in the order of prediction.
        tile: Output pixels and the input pixels they need.
        spec: The machine.

    Raises:
        InputError: A dedicated predictor cannot even hold the inputs of one output pixel.
    """
    own = spec.design.structures
    if spec.design.predictor == "shared":
        lanes, pes = spec.pe.predictor_lanes, spec.array.pes
        pixels = spec.design.tile_rows * spec.design.tile_columns
        share = _ceil(len(words), pes // pixels)
        expand = _ceil(tile.input_pixels, pixels) * dot_product_cycles(share, work.group_channels, lanes)
        expand += _input_cycles(work, tile.input_rows.size, tile.input_columns.size, spec)
        depthwise = dot_product_cycles(share, work.taps, lanes)
        if own is not None:
            depthwise = max(depthwise, _ceil(int(words.sum()), own.gate_writes))
        return PredictTime(expand + spec.design.fill_cycles, depthwise)
    assert own is not None  # checked with the specification
    at_once = channels_at_once(work, own)
    rounds = np.add.reduceat(words, np.arange(0, len(words), at_once)) if len(words) else words
    terms, taps = _ceil(work.group_channels, own.predictor_inputs), _tap_rounds(work, own)
    writing = np.maximum(taps, -(-rounds // own.gate_writes))
    first, total, parts = 0, 0, []
    square = spec.design.streams == "gateware"
    for index, part in enumerate(predicted_parts(work, tile, own, square)):
        rows, columns = part.input_rows, part.input_columns
        reading = _input_cycles(work, rows, columns, spec) + (spec.design.fill_cycles if index == 0 else 0)
        turns = _ceil(part.hidden_rows(work), unit_rows(own)) if square else _ceil(rows * columns, own.predictor_units)
        expanding = terms * turns
        parts.append((reading, expanding))
        first += reading + expanding * len(rounds)
        total += reading + int(_follow(writing, expanding))
    return PredictTime(first, total - first, tuple(parts), taps)


def _tap_rounds(work: BlockWork, own: Structures) -> int:
    """Cycles of the second stage for a channel: a square of taps at once, the hidden plane shifted in between."""
    side = math.isqrt(own.predictor_taps)
    return _ceil(work.kernel, side) ** 2 if work.taps > own.predictor_taps else 1


@njit(cache=True, nogil=True)
def _follow(writing: Int64Array, expanding: int) -> Any:
    """Cycles until all gate words are handed over.

    The second stage takes a hidden plane while the first fills the other one.
    """
    expanded = 0  # when the first stage is done with the round
    written = before = 0  # when the second stage is done with the round before, and the one before that
    for index in range(writing.size):
        expanded = max(expanded, before) + expanding
        before, written = written, max(expanded, written) + writing[index]
    return written


def _input_cycles(work: BlockWork, rows: int, columns: int, spec: ArchonSpec) -> int:
    """Cycles to read a rectangle of every input channel of a group from the global buffer."""
    return _ceil(work.group_channels * rectangle_accesses(rows, columns, spec), spec.global_buffer.banks)


def rectangle_accesses(rows: int, columns: int, spec: ArchonSpec) -> int:
    """Accesses for one channel of a rectangle of pixels, whose rows begin anywhere in a word."""
    words = min(spec.array_words_per_access, spec.access_words)
    return rows * _ceil(columns + words - 1, words)


@dataclass(frozen=True)
class Part:
    """Output pixels of a tile predicted at once.

    Attributes:
        row: First of them within the tile.
        column: Likewise.
        rows: How many.
        columns: How many.
        input_rows: Rows of input pixels read for it.
        input_columns: Likewise.
    """

    row: int
    column: int
    rows: int
    columns: int
    input_rows: int
    input_columns: int

    def hidden_rows(self, work: BlockWork) -> int:
        """Rows of hidden pixels, borders of the image among them."""
        return (self.rows - 1) * work.stride + work.kernel


def unit_rows(own: Structures) -> int:
    """Rows of a square hidden plane that the units expand at once: a plane of more is walked in turns."""
    side = math.isqrt(own.hidden_plane_pixels)
    return max(1, min(side, own.predictor_units // side))


def predicted_parts(work: BlockWork, tile: Tile, own: Structures, square: bool = False) -> list[Part]:
    """The parts a dedicated predictor takes a tile in: one if it holds the tile, else equal rectangles.

    Args:
        work: The block.
        tile: The tile.
        own: Of the machine.
        square: Whether the hidden plane is a square; else it takes any shape.
    """
    if square:
        return square_parts(work, tile, math.isqrt(own.hidden_plane_pixels), unit_rows(own), own.predictor_inputs, 2)
    hidden = own.hidden_plane_pixels, own.hidden_plane_pixels
    return tile_parts(work, tile, hidden, held_pixels(work.group_channels, own))


def square_parts(work: BlockWork, tile: Tile, side: int, rows: int, inputs: int, rounds: int) -> list[Part]:
    """The parts of a tile for a square hidden plane of which some rows are expanded at once.

    Args:
        work: The block.
        tile: The tile.
        side: Of the square.
        rows: A unit a pixel; further rows take another turn.
        inputs: Terms a unit adds in a round.
        rounds: Whose inputs a unit holds: of several turns, or of one turn with many input channels.
    """
    turns = max(1, rounds // _ceil(work.group_channels, inputs))
    return tile_parts(work, tile, (min(side, turns * rows), side), rows * side * inputs // work.group_channels)


def tile_parts(work: BlockWork, tile: Tile, hidden: tuple[int, int], held: int) -> list[Part]:
    """The fewest equal rectangles of output pixels that fit (larger strides and kernels have larger halos).

    Args:
        work: The block.
        tile: The tile.
        hidden: Rows and columns of hidden pixels at most, borders of the image among them.
        held: Input pixels of all channels the registers hold.

    Raises:
        InputError: Not even one output pixel fits.
    """
    size = tile.rows.size, tile.columns.size
    reach = [(own - 1) * work.stride + work.kernel for own in size]
    if reach[0] <= hidden[0] and reach[1] <= hidden[1] and tile.input_pixels <= held:
        return [Part(0, 0, *size, tile.input_rows.size, tile.input_columns.size)]
    parts = _divided(*size, work.stride, work.kernel, hidden, held)
    if not parts:
        what = f"hold {held} pixels of layer {work.name}, one output pixel needs {work.taps}"
        raise InputError("design.structures: predictor and hidden plane", what, "enlarge them")
    return list(parts)


@lru_cache
def _divided(rows: int, columns: int, stride: int, kernel: int, hidden: tuple[int, int], held: int) -> tuple[Part, ...]:
    """The fewest equal rectangles that fit; none if not even one output pixel does."""

    def reach(size: int) -> int:
        return (size - 1) * stride + kernel

    fitting: list[tuple[Part, ...]] = []
    for down in range(1, rows + 1):
        for across in range(1, columns + 1):
            if reach(_ceil(rows, down)) <= hidden[0] and reach(_ceil(columns, across)) <= hidden[1]:
                parts = tuple(
                    Part(row, column, end - row, last - column, reach(end - row), reach(last - column))
                    for row, end in _shares(rows, down)
                    for column, last in _shares(columns, across)
                )
                if max(part.input_rows * part.input_columns for part in parts) <= held:
                    fitting.append(parts)
    # Of as many, those of the fewest rows: a row begins anywhere in a word of the buffer.
    cost = {parts: (len(parts), [(part.input_rows, part.input_columns) for part in parts]) for parts in fitting}
    return min(fitting, key=cost.__getitem__, default=())


def _shares(total: int, parts: int) -> list[tuple[int, int]]:
    return [(total * part // parts, total * (part + 1) // parts) for part in range(parts)]


def channels_at_once(work: BlockWork, own: Structures) -> int:
    """Middle channels a dedicated predictor works on at once."""
    return max(1, min(own.predictor_channels, own.predictor_inputs // work.group_channels))
