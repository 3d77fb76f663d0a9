"""The fast machine's loops, in numba; all arithmetic is exact because the compiler sized every width."""

from __future__ import annotations

import numpy as np
from numba import njit

from predfuse.arrays import Int8Array, Int16Array, Int32Array, Int64Array

LINEAR, RELU, RELU6 = 0, 1, 2
"""Codes of the activations."""


@njit(cache=True, nogil=True)
def convolve(
    x: Int16Array,
    weight: Int16Array,
    bias: Int64Array,
    stride: int,
    top: int,
    left: int,
    dilation: int,
    groups: int,
    out: Int64Array,
) -> None:
    """``out [O, P, Q]`` int64 = ``bias`` + windows of ``x [C, H, W]`` int16 times ``weight [O, C/groups, kh, kw]``."""
    _, height, width = x.shape
    outputs, group_channels, kernel_rows, kernel_columns = weight.shape
    _, rows, columns = out.shape
    for output in range(outputs):
        first_channel = output // (outputs // groups) * group_channels
        out[output] = bias[output]
        for local in range(group_channels):
            image = x[first_channel + local]
            for tap_row in range(kernel_rows):
                for tap_column in range(kernel_columns):
                    factor = np.int64(weight[output, local, tap_row, tap_column])
                    if factor == 0:  # pruned weights cost nothing
                        continue
                    offset = tap_column * dilation - left
                    first = max(0, (-offset + stride - 1) // stride)
                    last = min(columns, (width - 1 - offset) // stride + 1)
                    for i in range(rows):
                        row = i * stride + tap_row * dilation - top
                        if 0 <= row < height:
                            for j in range(first, last):
                                out[output, i, j] += factor * image[row, j * stride + offset]


@njit(cache=True, nogil=True)
def finish(
    accumulator: Int64Array, shift: Int8Array, activation: int, ceiling: int, highest: int, out: Int16Array
) -> int:
    """Rounding shift per channel, activation, saturation: ``[O, N]`` int64 -> ``out [O, N]`` int16; returns the count.

    Args:
        accumulator: ``[O, N]``.
        shift: ``[O]``.
        activation: ``LINEAR``, ``RELU`` or ``RELU6``.
        ceiling: Where ReLU6 ends.
        highest: Largest output; the smallest is one more below zero.
        out: Filled.
    """
    saturated = 0
    for channel in range(accumulator.shape[0]):
        bits = np.int64(shift[channel])
        half = (np.int64(1) << bits) >> np.int64(1)
        for index in range(accumulator.shape[1]):
            value = (accumulator[channel, index] + half) >> bits
            if activation != LINEAR:
                value = max(value, 0)
                if activation == RELU6:
                    value = min(value, ceiling)
            limited = min(max(value, -highest - 1), highest)
            saturated += limited != value
            out[channel, index] = limited
    return saturated


@njit(cache=True, nogil=True)
def fused_convolution(
    indptr: Int64Array,
    channel: Int32Array,
    value: Int32Array,
    bias_indptr: Int64Array,
    bias_channel: Int32Array,
    bias_value: Int32Array,
    outer_indptr: Int64Array,
    outer_channel: Int32Array,
    outer_value: Int32Array,
    expand_exponent: Int8Array,
    depthwise_exponent: Int8Array,
    output_bias: Int64Array,
    x: Int16Array,
    gates1: Int8Array,
    gates2: Int8Array,
    groups: int,
    kernel: int,
    stride: int,
    strip: int,
    out: Int64Array,
) -> None:
    """Accumulators ``out [O, P, Q]`` int64 of a fused block.

    ``x [C, h, w]`` int16 and ``gates1 [M, h, w]`` are padded, ``gates2 [M, P, Q]``; gates are int8, all bits set
    where on. Lists hold int32 values (see :class:`predfuse.fusion.weights.FusedWeights`). Pixels are worked on in
    strips of ``strip`` rows, so that the gates of one group and tap stay in the cache while all its lists run over
    them.
    """
    outputs, rows, columns = out.shape
    taps = kernel * kernel
    group_outputs = outputs // groups
    group_channels = x.shape[0] // groups
    group_middle = gates2.shape[0] // groups
    both = np.zeros((group_middle, strip * columns), np.int8)
    window = np.zeros((group_channels, strip * columns), np.int32)
    sums = np.empty(strip * columns, np.int32)
    for start in range(0, rows, strip):
        height = min(strip, rows - start)
        pixels = height * columns
        for output in range(outputs):
            first_middle = output // group_outputs * group_middle
            sums[:pixels] = 0
            for entry in range(outer_indptr[output], outer_indptr[output + 1]):
                factor = outer_value[entry]
                for i in range(height):
                    for j in range(columns):
                        sums[i * columns + j] += factor & gates2[outer_channel[entry], start + i, j]
            exponent = np.int64(depthwise_exponent[output])
            for i in range(height):
                for j in range(columns):
                    total = output_bias[output] + (np.int64(sums[i * columns + j]) << exponent)
                    out[output, start + i, j] = total
        for group in range(groups):
            first_middle = group * group_middle
            for tap in range(taps):
                row, column = tap // kernel, tap % kernel
                for local in range(group_middle):
                    for i in range(height):
                        source = gates1[first_middle + local, (start + i) * stride + row]
                        target = gates2[first_middle + local, start + i]
                        for j in range(columns):
                            both[local, i * columns + j] = source[j * stride + column] & target[j]
                for local in range(group_channels):
                    for i in range(height):
                        pixel_row = x[group * group_channels + local, (start + i) * stride + row]
                        for j in range(columns):
                            window[local, i * columns + j] = pixel_row[j * stride + column]
                for output in range(group * group_outputs, (group + 1) * group_outputs):
                    result = out[output, start : start + height].reshape(pixels)
                    for local in range(group_channels):
                        list_row = (output * group_channels + local) * taps + tap
                        first, last = indptr[list_row], indptr[list_row + 1]
                        if first == last:
                            continue
                        _gated_sum(channel, value, first, last, first_middle, both, pixels, sums)
                        factors = window[local]
                        for pixel in range(pixels):
                            result[pixel] += np.int64(sums[pixel]) * factors[pixel]
                    first, last = bias_indptr[output * taps + tap], bias_indptr[output * taps + tap + 1]
                    if first < last:
                        _gated_sum(bias_channel, bias_value, first, last, first_middle, both, pixels, sums)
                        exponent = np.int64(expand_exponent[output])
                        for pixel in range(pixels):
                            result[pixel] += np.int64(sums[pixel]) << exponent


@njit(cache=True, nogil=True, inline="always")
def _gated_sum(
    channel: Int32Array,
    value: Int32Array,
    first: int,
    last: int,
    first_middle: int,
    both: Int8Array,
    pixels: int,
    sums: Int32Array,
) -> None:
    """``sums[p]`` = sum of the list's values whose gate is on at pixel ``p``."""
    sums[:pixels] = 0
    for entry in range(first, last):
        gates = both[channel[entry] - first_middle]
        factor = value[entry]
        for pixel in range(pixels):
            sums[pixel] += factor & gates[pixel]
