"""Gate words: for a tile, a middle channel and a tap, one bit per PE that says whether both its masks are on.

A tile has at most 64 pixels, so a gate word is one 64-bit integer. Bit ``i * columns + j`` belongs to the PE in row
``i`` and column ``j`` of the tile.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit

from predfuse.errors import InputError
from predfuse.fusion.masks import ON
from predfuse.graph.nodes import Array
from predfuse.hardware.cycle.archon.work import BlockWork
from predfuse.integer.tiling import Tile

WORD_BITS = 64


@dataclass(frozen=True, eq=False)
class Gates:
    """What the masks of one image let through, tile by tile.

    Attributes:
        both_any: ``[tiles, M, K]`` bool: whether the gate word of a channel and tap has a bit set.
        second_any: ``[tiles, M]`` bool: likewise for the words of mask 2 alone.
        both_count: ``[M, K]`` int64: bits set over all tiles.
        second_count: ``[M]`` int64.
    """

    both_any: Array
    second_any: Array
    both_count: Array
    second_count: Array


def gates(work: BlockWork, mask1: Array, mask2: Array, tiles: Sequence[Tile]) -> Gates:
    """Form all gate words of one image.

    Args:
        work: The block.
        mask1: ``[M, H, W]`` states of the expand activations.
        mask2: ``[M, P, Q]`` states of the depthwise activations.
        tiles: That cover the output, at most 64 pixels each.

    Raises:
        InputError: The masks are not those of this block, or a tile is too large.
    """
    wanted = ((work.middle, *work.in_shape[1:]), (work.middle, *work.out_shape[1:]))
    if (mask1.shape, mask2.shape) != wanted:
        what = f"has masks {mask1.shape} and {mask2.shape}, expected {wanted[0]} and {wanted[1]}"
        raise InputError(f"layer {work.name}", what, "give the masks of this block")
    if max(tile.pixels for tile in tiles) > WORD_BITS:
        raise InputError("array", "has more than 64 PEs", "use at most 64 PEs per gate word")
    corners = np.array(
        [(tile.rows.start, tile.columns.start, tile.rows.size, tile.columns.size) for tile in tiles], np.int64
    )
    top, _, left, _ = work.padding
    _, rows, columns = work.out_shape
    height = (rows - 1) * work.stride + work.kernel
    width = (columns - 1) * work.stride + work.kernel
    first = _row_bits(mask1 == ON, work.stride, top, left, height, width)
    second = _row_bits(mask2 == ON, 1, 0, 0, rows, columns)
    result = Gates(
        both_any=np.zeros((len(tiles), work.middle, work.taps), np.bool_),
        second_any=np.zeros((len(tiles), work.middle), np.bool_),
        both_count=np.zeros((work.middle, work.taps), np.int64),
        second_count=np.zeros(work.middle, np.int64),
    )
    _fill(
        first, second, corners, work.kernel, work.stride,
        result.both_any, result.second_any, result.both_count, result.second_count,
    )  # fmt: skip
    return result


@njit(cache=True, nogil=True)
def _row_bits(on: Array, stride: int, top: int, left: int, height: int, width: int) -> Array:
    """``[M, height, stride, words]`` uint64: rows of the padded image, columns ``x % stride == phase`` as bits.

    Bit ``b`` of word ``w`` in phase ``f`` is padded column ``(64 w + b) * stride + f``. One spare word at the end.
    """
    channels, rows, columns = on.shape
    words = (width // stride + 1) // 64 + 2
    bits = np.zeros((channels, height, stride, words), np.uint64)
    for channel in range(channels):
        for row in range(rows):
            padded_row = row + top
            if padded_row >= height:
                break
            for column in range(columns):
                padded = column + left
                if padded >= width:
                    break
                if on[channel, row, column]:
                    index = padded // stride
                    bits[channel, padded_row, padded % stride, index >> 6] |= np.uint64(1) << np.uint64(index & 63)
    return bits


@njit(cache=True, nogil=True)
def _cut(row: Array, start: int, count: int) -> Any:
    """Bits ``start .. start + count`` of a row of words, as one word."""
    word, shift = start >> 6, np.uint64(start & 63)
    low = row[word] >> shift
    if shift:
        low |= row[word + 1] << (np.uint64(64) - shift)
    if count < 64:
        low &= (np.uint64(1) << np.uint64(count)) - np.uint64(1)
    return low


@njit(cache=True, nogil=True)
def ones(word: Any) -> Any:
    """Bits set in a 64-bit word."""
    x = np.uint64(word)
    x = x - ((x >> np.uint64(1)) & np.uint64(0x5555555555555555))
    x = (x & np.uint64(0x3333333333333333)) + ((x >> np.uint64(2)) & np.uint64(0x3333333333333333))
    x = (x + (x >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
    return np.int64((x * np.uint64(0x0101010101010101)) >> np.uint64(56))


@njit(cache=True, nogil=True)
def _fill(
    first: Array,
    second: Array,
    corners: Array,
    kernel: int,
    stride: int,
    both_any: Array,
    second_any: Array,
    both_count: Array,
    second_count: Array,
) -> None:
    tiles, channels, _ = both_any.shape
    rows_of_second = np.zeros(64, np.uint64)
    for channel in range(channels):
        for tile in range(tiles):
            top, left, rows, columns = corners[tile]
            word = np.uint64(0)
            for i in range(rows):
                rows_of_second[i] = _cut(second[channel, top + i, 0], left, columns)
                word |= rows_of_second[i] << np.uint64(i * columns)
            if word == 0:
                continue
            second_any[tile, channel] = True
            second_count[channel] += ones(word)
            for tap_row in range(kernel):
                for tap_column in range(kernel):
                    both = np.uint64(0)
                    for i in range(rows):
                        line = first[channel, (top + i) * stride + tap_row, tap_column % stride]
                        row = _cut(line, left + tap_column // stride, columns) & rows_of_second[i]
                        both |= row << np.uint64(i * columns)
                    if both != 0:
                        tap = tap_row * kernel + tap_column
                        both_any[tile, channel, tap] = True
                        both_count[channel, tap] += ones(both)


@njit(cache=True, nogil=True)
def count_ones(words: Array) -> Array:
    """Bits set in every 64-bit word, int64."""
    counts = np.empty(words.size, np.int64)
    for index in range(words.size):
        counts[index] = ones(words[index])
    return counts
