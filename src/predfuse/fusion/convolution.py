"""The fused convolution given its masks: over the stored lists in numba, and without lists.

Both return the output before shuffle and residual, ``[O, P, Q]``; see :func:`finish_block` for those. Integer arguments
are computed in int64, exactly; floats in float64, or in float32 where weights and input are float32.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from predfuse.arrays import Array, FloatArray, Int8Array, Int32Array, Int64Array, Mask, UInt8Array
from predfuse.errors import InputError
from predfuse.fusion import layers
from predfuse.fusion.masks import ON, RELU6_CEILING, SATURATED, apply_mask
from predfuse.fusion.weights import FusedWeights, SparseLists
from predfuse.graph.nodes import Bottleneck


def fused_convolution(fused: FusedWeights, x: Array, mask1: Int8Array, mask2: Int8Array) -> Array:
    """Every list entry against the gates of the whole image: what the masks let through is summed, multiplied once.

    Args:
        fused: The block's fused weights.
        x: ``[C, H, W]``, floating for floating weights, integer for integer weights.
        mask1: ``[M, H, W]`` states of the expand activations.
        mask2: ``[M, P, Q]`` states of the depthwise activations.

    Raises:
        InputError: Shapes or types do not fit the block.
    """
    window = layers.Window((fused.kernel, fused.kernel), fused.stride, fused.padding)
    _require_fitting(fused, window, x, mask1, mask2)
    dtype = fused.output_bias.dtype
    rows, columns = mask2.shape[1:]
    y = np.empty((fused.out_channels, rows * columns), dtype)
    y[:] = fused.output_bias[:, None]
    on2 = _gates(mask2, ON)
    _add_channel_lists(*_arrays(fused.depthwise_bias), on2, y)
    if len(fused.depthwise_saturated):
        _add_channel_lists(*_arrays(fused.depthwise_saturated), _gates(mask2, SATURATED), y)
    padded = window.pad(x.astype(dtype, copy=False))
    on1 = window.pad(_gates(mask1, ON))
    weights, biases, taps = _arrays(fused.weights), _arrays(fused.expand_bias), fused.gated_taps
    geometry = (fused.groups, fused.kernel, fused.stride)
    _add_window_lists(*weights, *biases, padded, on1, on2, taps, *geometry, y)
    if len(fused.expand_saturated):
        saturated1 = window.pad(_gates(mask1, SATURATED))
        nothing = SparseLists(np.zeros_like(fused.weights.indptr), fused.weights.channel[:0], fused.weights.value[:0])
        biases = _arrays(fused.expand_saturated)
        _add_window_lists(*_arrays(nothing), *biases, padded, saturated1, on2, taps, *geometry, y)
    return y.reshape(fused.out_channels, rows, columns)


def fused_convolution_unstored(block: Bottleneck, x: FloatArray, mask1: Int8Array, mask2: Int8Array) -> FloatArray:
    """The fused convolution of a block whose fused weights are too many to store (unpruned, wide).

    For every output pixel and tap the sums ``S[o, c]`` of the survivors are formed from their factors, by one matrix
    product per group, and each is multiplied once, as in :func:`fused_convolution_reference`.

    Args:
        block: The block, floating weights.
        x: ``[C, H, W]`` in the type of the weights.
        mask1: ``[M, H, W]`` states of the expand activations.
        mask2: ``[M, P, Q]`` states of the depthwise activations.
    """
    _, rows, columns = mask2.shape
    top, _, left, _ = block.padding
    # Bias and ceilings of the first stage are two more input channels, worth 1 where on and where saturated.
    extended = np.concatenate((block.expand_weight, block.expand_bias[:, None]), axis=1).astype(x.dtype)
    # The second stage's own terms need no window.
    constants = apply_mask(np.broadcast_to(block.depthwise_bias[:, None, None], mask2.shape), mask2)
    y = layers.pointwise(constants.astype(x.dtype), block.project_weight, block.groups, block.project_bias)
    middle, outputs = block.middle_channels // block.groups, block.out_channels // block.groups
    channels = block.group_channels
    for group in range(block.groups):
        m = slice(group * middle, (group + 1) * middle)
        o = slice(group * outputs, (group + 1) * outputs)
        project = np.ascontiguousarray(block.project_weight[o].T)
        expand, taps = extended[m], block.depthwise_weight[m]
        image = x[group * channels : (group + 1) * channels]
        for i, j in np.ndindex(rows, columns):
            on2 = np.flatnonzero(mask2[m, i, j] == ON)
            for kh, kw in np.ndindex(block.kernel, block.kernel):
                row, column = i * block.stride + kh - top, j * block.stride + kw - left
                if not (0 <= row < x.shape[1] and 0 <= column < x.shape[2]):
                    continue
                state1 = mask1[m][on2, row, column]
                both = on2[state1 == ON]
                sums = (project[both] * taps[both, kh, kw, None]).T @ expand[both]
                y[o, i, j] += sums[:, :channels] @ image[:, row, column] + sums[:, channels]
                saturated = on2[state1 == SATURATED]
                if saturated.size:
                    y[o, i, j] += x.dtype.type(RELU6_CEILING) * (taps[saturated, kh, kw] @ project[saturated])
    return y


def finish_block(block: Bottleneck, y: FloatArray, x: FloatArray) -> FloatArray:
    """Shuffle the output ``y [O, P, Q]`` and add the residual, if the block has them."""
    shuffled = layers.shuffle(y, block.shuffle_groups)
    if block.residual:
        shuffled = shuffled + x
    return shuffled


def _require_fitting(fused: FusedWeights, window: layers.Window, x: Array, mask1: Int8Array, mask2: Int8Array) -> None:
    where = f"layer {fused.name}"
    inputs = (fused.groups * fused.group_channels, *x.shape[1:])
    wanted = (inputs, (fused.middle_channels, *x.shape[1:]), (fused.middle_channels, *window.output_size(x)))
    if (x.shape, mask1.shape, mask2.shape) != wanted:
        what = f"input {x.shape} with masks {mask1.shape} and {mask2.shape}"
        raise InputError(where, what, "give the masks of this block for this input")
    if (x.dtype.kind == "f") != (fused.output_bias.dtype.kind == "f"):
        raise InputError(where, f"{x.dtype} input with {fused.output_bias.dtype} weights", "quantise both or neither")


def _arrays(lists: SparseLists) -> tuple[Int64Array, Int32Array, Array]:
    return lists.indptr, lists.channel, lists.value


def _gates(mask: Int8Array, state: int) -> UInt8Array:
    """uint8, 1 where the mask has that state."""
    return np.equal(mask, state).view(np.uint8)


@njit(cache=True, nogil=True)
def _add_channel_lists(indptr: Int64Array, channel: Int32Array, value: Array, gates: UInt8Array, y: Array) -> None:
    """``y[o, p] += sum over list o of value * gates[channel, p]``; ``gates [M, P, Q]``, ``y [O, P * Q]``."""
    for output in range(y.shape[0]):
        for entry in range(indptr[output], indptr[output + 1]):
            gate = gates[channel[entry]].ravel()
            for pixel in range(y.shape[1]):
                y[output, pixel] += value[entry] * gate[pixel]


@njit(cache=True, nogil=True)
def _add_window_lists(
    indptr: Int64Array,
    channel: Int32Array,
    value: Array,
    bias_indptr: Int64Array,
    bias_channel: Int32Array,
    bias_value: Array,
    x: Array,
    gates1: UInt8Array,
    gates2: UInt8Array,
    gated_taps: Mask,
    groups: int,
    kernel: int,
    stride: int,
    y: Array,
) -> None:
    """Add to ``y [O, P * Q]`` the lists of all taps: sums of gated values times ``x``, and sums of gated biases.

    ``x [C, h, w]`` and ``gates1 [M, h, w]`` are padded; ``gates2 [M, P, Q]``. Taps are the outer loop, so that the
    gates of one group and tap stay in the cache while all its lists run over them, whole images at a time.
    """
    middle_channels, rows, columns = gates2.shape
    outputs, pixels = y.shape
    taps = kernel * kernel
    group_outputs = outputs // groups
    group_channels = x.shape[0] // groups
    group_middle = middle_channels // groups
    # Gates as numbers of the values' type: a multiplication that vectorises where a branch would not.
    both = np.empty((middle_channels, pixels), y.dtype)
    window = np.empty((group_channels, pixels), y.dtype)
    sums = np.empty(pixels, y.dtype)
    for group in range(groups):
        for tap in range(taps):
            row, column = tap // kernel, tap % kernel
            for middle in range(group * group_middle, (group + 1) * group_middle):
                if gated_taps[middle, tap]:
                    for i in range(rows):
                        for j in range(columns):
                            gate = gates1[middle, i * stride + row, j * stride + column] & gates2[middle, i, j]
                            both[middle, i * columns + j] = gate
            for local in range(group_channels):
                for i in range(rows):
                    for j in range(columns):
                        source = x[group * group_channels + local, i * stride + row, j * stride + column]
                        window[local, i * columns + j] = source
            for output in range(group * group_outputs, (group + 1) * group_outputs):
                for local in range(group_channels):
                    first = (output * group_channels + local) * taps + tap
                    start, end = indptr[first], indptr[first + 1]
                    if start == end:
                        continue
                    factor, gates = value[start], both[channel[start]]
                    for pixel in range(pixels):
                        sums[pixel] = factor * gates[pixel]
                    for entry in range(start + 1, end):
                        factor, gates = value[entry], both[channel[entry]]
                        for pixel in range(pixels):
                            sums[pixel] += factor * gates[pixel]
                    for pixel in range(pixels):
                        y[output, pixel] += sums[pixel] * window[local, pixel]
                for entry in range(bias_indptr[output * taps + tap], bias_indptr[output * taps + tap + 1]):
                    factor, gates = bias_value[entry], both[bias_channel[entry]]
                    for pixel in range(pixels):
                        y[output, pixel] += factor * gates[pixel]
