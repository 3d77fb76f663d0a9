"""What one image really costs: survivors and non-zero activations under the windows of a layer."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit

from predfuse.fusion.masks import OFF, ON, SATURATED
from predfuse.fusion.weights import EntryCounts
from predfuse.ir import Array, Bottleneck, Conv, Linear


@dataclass(frozen=True)
class BlockMeasure:
    """Operations of one block for one image.

    Attributes:
        fused_additions: Fused weights both masks let through, over all output pixels.
        bias_additions: Entries of the bias and saturation lists their masks let through.
        nonzero_multiplications: Of expand, depthwise, project: non-zero weight times non-zero activation.
    """

    fused_additions: int
    bias_additions: int
    nonzero_multiplications: tuple[int, int, int]


def measure_block(block: Bottleneck, entries: EntryCounts, x: Array, mask1: Array, mask2: Array) -> BlockMeasure:
    """Count the operations of a block for one image from its input and its masks.

    With ``n[m,k]`` the number of output pixels p where mask 2 is on at p and mask 1 at the pixel under tap k::

        fused_additions = sum_{m,k} n[m,k] * (fused weights of m at tap k)

    and likewise for the bias lists. An activation counts as non-zero where its mask does not switch it off.

    Args:
        block: The block.
        entries: Its :func:`predfuse.fusion.weights.entry_counts`.
        x: ``[C, H, W]``.
        mask1: ``[M, H, W]``.
        mask2: ``[M, P, Q]``.
    """
    window = (block.kernel, block.kernel, block.stride, block.padding[0], block.padding[2], 1)
    on1, on2 = _as_bytes(mask1 == ON), _as_bytes(mask2 == ON)
    both_on = _window_counts(on1, on2, *window)
    additions = int((both_on * entries.weights).sum())
    biases = int((both_on * entries.expand_bias).sum())
    biases += int((on2.sum(axis=(1, 2), dtype=np.int64) * entries.depthwise_bias).sum())
    if entries.expand_saturated.any():
        saturated = _window_counts(_as_bytes(mask1 == SATURATED), on2, *window)
        biases += int((saturated * entries.expand_saturated).sum())
    if entries.depthwise_saturated.any():
        saturated = (mask2 == SATURATED).sum(axis=(1, 2))
        biases += int((saturated * entries.depthwise_saturated).sum())
    alive1, alive2 = _as_bytes(mask1 != OFF), _as_bytes(mask2 != OFF)
    live = _window_counts(alive1, np.ones_like(alive2), *window)
    group_weights = (block.expand_weight != 0).reshape(block.groups, -1, block.group_channels).sum(axis=1)
    projects = (block.project_weight != 0).reshape(block.groups, -1, block.middle_channels // block.groups).sum(axis=1)
    return BlockMeasure(
        additions,
        biases,
        (
            int((group_weights.ravel() * np.count_nonzero(x, axis=(1, 2))).sum()),
            int((live * (block.depthwise_weight != 0).reshape(live.shape)).sum()),
            int((projects.ravel() * alive2.sum(axis=(1, 2), dtype=np.int64)).sum()),
        ),
    )


def nonzero_multiplications(node: Conv | Linear, x: Array) -> int:
    """Multiplications of a plain layer for one image whose weight and activation are both non-zero.

    Args:
        node: The layer.
        x: ``[C, H, W]``.
    """
    if isinstance(node, Linear):
        return int(((node.weight != 0).sum(axis=0) * (x.ravel() != 0)).sum())
    _, rows, columns = node.output_shape([(x.shape[0], x.shape[1], x.shape[2])])
    window = (*node.kernel, node.stride, node.padding[0], node.padding[2], node.dilation)
    everywhere = np.ones((x.shape[0], rows, columns), np.uint8)
    counts = _window_counts(_as_bytes(x != 0), everywhere, *window)
    weights = (node.weight != 0).reshape(node.groups, -1, *node.weight.shape[1:]).sum(axis=1)
    return int((counts * weights.reshape(counts.shape)).sum())


def _as_bytes(flags: Array) -> Array:
    return np.ascontiguousarray(flags).view(np.uint8)


@njit(cache=True, nogil=True)
def _window_counts(
    image: Array, gates: Array, kernel_rows: int, kernel_columns: int, stride: int, top: int, left: int, dilation: int
) -> Array:
    """``[C, K]``: output pixels whose gate is 1 and whose pixel under tap k is 1; both uint8, 0 or 1."""
    channels, height, width = image.shape
    _, rows, columns = gates.shape
    counts = np.zeros((channels, kernel_rows * kernel_columns), np.int64)
    for channel in range(channels):
        for tap_row in range(kernel_rows):
            for tap_column in range(kernel_columns):
                offset = tap_column * dilation - left
                first = max(0, (-offset + stride - 1) // stride)
                last = min(columns, (width - 1 - offset) // stride + 1)
                total = 0
                for i in range(rows):
                    row = i * stride + tap_row * dilation - top
                    if 0 <= row < height:
                        for j in range(first, last):
                            total += image[channel, row, j * stride + offset] & gates[channel, i, j]
                counts[channel, tap_row * kernel_columns + tap_column] = total
    return counts
