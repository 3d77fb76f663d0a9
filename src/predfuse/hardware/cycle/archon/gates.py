"""Gates of one image: how often both masks, or the second alone, let a middle channel through."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit

from predfuse.arrays import Int8Array, Int64Array, Mask
from predfuse.errors import InputError
from predfuse.fusion.masks import ON
from predfuse.hardware.block_work import BlockWork


@dataclass(frozen=True, eq=False)
class Gates:
    """What the masks of one image let through.

    Attributes:
        both_count: ``[M, K]`` int64: output pixels at which mask 2 is on, and mask 1 under a tap.
        second_count: ``[M]`` int64: output pixels at which mask 2 is on.
    """

    both_count: Int64Array
    second_count: Int64Array


def gates(work: BlockWork, mask1: Int8Array, mask2: Int8Array) -> Gates:
    """Count the gates of one image.

    Args:
        work: The block.
        mask1: ``[M, H, W]`` states of the expand activations.
        mask2: ``[M, P, Q]`` states of the depthwise activations.

    Raises:
        InputError: The masks are not those of this block.
    """
    wanted = ((work.middle, *work.in_shape[1:]), (work.middle, *work.out_shape[1:]))
    if (mask1.shape, mask2.shape) != wanted:
        what = f"has masks {mask1.shape} and {mask2.shape}, expected {wanted[0]} and {wanted[1]}"
        raise InputError(f"layer {work.name}", what, "give the masks of this block")
    both = np.zeros((work.middle, work.taps), np.int64)
    _count(mask1 == ON, mask2 == ON, work.kernel, work.stride, work.padding[0], work.padding[2], both)
    return Gates(both, np.count_nonzero(mask2 == ON, axis=(1, 2)))


@njit(cache=True, nogil=True)
def _count(first: Mask, second: Mask, kernel: int, stride: int, top: int, left: int, both: Int64Array) -> None:
    channels, height, width = first.shape
    _, rows, columns = second.shape
    for channel in range(channels):
        for tap_row in range(kernel):
            for tap_column in range(kernel):
                count: Any = 0
                # Columns ``j`` whose ``j * stride + tap_column - left`` lies within the image.
                begin = max(0, -((tap_column - left) // stride))
                end = min(columns, (width - 1 + left - tap_column) // stride + 1)
                for i in range(rows):
                    row = i * stride + tap_row - top
                    if row < 0 or row >= height:
                        continue
                    for j in range(begin, end):
                        count += second[channel, i, j] & first[channel, row, j * stride + tap_column - left]
                both[channel, tap_row * kernel + tap_column] = count
