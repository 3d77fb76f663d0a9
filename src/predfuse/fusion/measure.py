"""What one image really costs: survivors and non-zero activations under the windows of a layer."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit

from predfuse.arrays import FloatArray, Int8Array, Int64Array, Mask, UInt8Array
from predfuse.fusion import layers
from predfuse.fusion.masks import OFF, ON, SATURATED
from predfuse.fusion.weights import EntryCounts
from predfuse.graph.nodes import Bottleneck, Conv, Linear


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


def measure_block(
    block: Bottleneck, entries: EntryCounts, x: FloatArray, mask1: Int8Array, mask2: Int8Array
) -> BlockMeasure:
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
    window = layers.Window((block.kernel, block.kernel), block.stride, block.padding)
    live_taps = (block.depthwise_weight != 0).reshape(block.middle_channels, -1)
    on2 = _as_bytes(mask2 == ON)
    both_on = _window_counts(_as_bytes(mask1 == ON), on2, window, live_taps)
    additions = int((both_on * entries.weights).sum())
    biases = int((both_on * entries.expand_bias).sum())
    biases += int((on2.sum(axis=(1, 2), dtype=np.int64) * entries.depthwise_bias).sum())
    if entries.expand_saturated.any():
        saturated = _window_counts(_as_bytes(mask1 == SATURATED), on2, window, live_taps)
        biases += int((saturated * entries.expand_saturated).sum())
    if entries.depthwise_saturated.any():
        biases += int(((mask2 == SATURATED).sum(axis=(1, 2)) * entries.depthwise_saturated).sum())
    alive2 = _as_bytes(mask2 != OFF)
    live = _window_counts(_as_bytes(mask1 != OFF), np.ones_like(alive2), window, live_taps)
    group_weights = (block.expand_weight != 0).reshape(block.groups, -1, block.group_channels).sum(axis=1)
    projects = (block.project_weight != 0).reshape(block.groups, -1, block.middle_channels // block.groups).sum(axis=1)
    return BlockMeasure(
        additions,
        biases,
        (
            int((group_weights.ravel() * np.count_nonzero(x, axis=(1, 2))).sum()),
            int(live.sum()),
            int((projects.ravel() * alive2.sum(axis=(1, 2), dtype=np.int64)).sum()),
        ),
    )


def nonzero_multiplications(node: Conv | Linear, x: FloatArray) -> int:
    """Multiplications of a plain layer for one image whose weight and activation are both non-zero.

    Args:
        node: The layer.
        x: ``[C, H, W]``.
    """
    if isinstance(node, Linear):
        return int(((node.weight != 0).sum(axis=0) * (x.ravel() != 0)).sum())
    window = layers.Window(node.kernel, node.stride, node.padding, node.dilation)
    everywhere = np.ones((x.shape[0], *window.output_size(x)), np.uint8)
    weights = (node.weight != 0).reshape(node.groups, -1, *node.weight.shape[1:]).sum(axis=1)
    weights = weights.reshape(x.shape[0], -1)
    return int((_window_counts(_as_bytes(x != 0), everywhere, window, weights != 0) * weights).sum())


def _as_bytes(flags: Mask) -> UInt8Array:
    return np.ascontiguousarray(flags).view(np.uint8)


def _window_counts(image: UInt8Array, gates: UInt8Array, window: layers.Window, taps: Mask) -> Int64Array:
    """``[C, K]`` int64: output pixels whose gate is 1 and whose pixel under tap k is 1, where ``taps [C, K]`` is true.

    ``image [C, H, W]`` and ``gates [C, P, Q]`` are uint8, 0 or 1.
    """
    return _count(window.pad(image), gates, taps, window.kernel[1], window.stride, window.dilation)


@njit(cache=True, nogil=True)
def _count(
    padded: UInt8Array, gates: UInt8Array, taps: Mask, kernel_columns: int, stride: int, dilation: int
) -> Int64Array:
    """One long loop per tap over the gates spread out like the padded image, with zeros between them."""
    channels, rows, columns = gates.shape
    width = padded.shape[2]
    reach = (rows - 1) * stride * width + (columns - 1) * stride + 1
    spread = np.zeros(reach, np.uint8)
    counts = np.zeros(taps.shape, np.int64)
    for channel in range(channels):
        pixels = padded[channel].ravel()
        for i in range(rows):
            for j in range(columns):
                spread[(i * width + j) * stride] = gates[channel, i, j]
        for tap in range(taps.shape[1]):
            if taps[channel, tap]:
                offset = (tap // kernel_columns * width + tap % kernel_columns) * dilation
                total = 0
                for position in range(reach):
                    total += spread[position] & pixels[offset + position]
                counts[channel, tap] = total
    return counts
