"""Fast layers on one image: BLAS for sums over channels, numba for depthwise windows.

They compute what :mod:`predfuse.fusion.reference` computes, in the floating type of their arguments.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.lib.stride_tricks import sliding_window_view

from predfuse.ir import Activation, Array, Conv, Linear, Padding, Pool, window_size


def pointwise(x: Array, weight: Array, groups: int = 1, bias: Array | None = None) -> Array:
    """1x1 convolution: ``x [C, H, W]``, ``weight [O, C/groups]``, ``bias [O]`` -> ``[O, H, W]``."""
    channels, height, width = x.shape
    outputs, group_channels = weight.shape
    grouped = weight.reshape(groups, outputs // groups, group_channels)
    out: Array = (grouped @ x.reshape(groups, channels // groups, -1)).reshape(outputs, height, width)
    if bias is not None:
        out += bias[:, None, None]
    return out


def depthwise(x: Array, weight: Array, bias: Array, stride: int, padding: Padding, dilation: int = 1) -> Array:
    """Depthwise convolution: ``x [M, H, W]``, ``weight [M, kh, kw]``, ``bias [M]`` -> ``[M, P, Q]``."""
    top, bottom, left, right = padding
    rows = window_size(x.shape[1], weight.shape[1], stride, top, bottom, dilation)
    columns = window_size(x.shape[2], weight.shape[2], stride, left, right, dilation)
    out = np.empty((x.shape[0], rows, columns), x.dtype)
    _depthwise(np.ascontiguousarray(x), np.ascontiguousarray(weight), bias, stride, top, left, dilation, out)
    return out


@njit(cache=True, nogil=True)
def _depthwise(
    x: Array, weight: Array, bias: Array, stride: int, top: int, left: int, dilation: int, out: Array
) -> None:
    channels, height, width = x.shape
    _, kernel_rows, kernel_columns = weight.shape
    _, rows, columns = out.shape
    for channel in range(channels):
        out[channel] = bias[channel]
        for tap_row in range(kernel_rows):
            for tap_column in range(kernel_columns):
                factor = weight[channel, tap_row, tap_column]
                if factor == 0:  # pruned weights cost nothing
                    continue
                offset = tap_column * dilation - left
                first = max(0, (-offset + stride - 1) // stride)
                last = min(columns, (width - 1 - offset) // stride + 1)
                for i in range(rows):
                    row = i * stride + tap_row * dilation - top
                    if 0 <= row < height:
                        for j in range(first, last):
                            out[channel, i, j] += factor * x[channel, row, j * stride + offset]


def convolve(x: Array, conv: Conv) -> Array:
    """A plain convolution without its activation: ``x [C, H, W]`` -> ``[O, P, Q]``."""
    kernel_rows, kernel_columns = conv.kernel
    if conv.kernel == (1, 1) and conv.stride == 1 and not any(conv.padding):
        return pointwise(x, conv.weight[:, :, 0, 0], conv.groups, conv.bias)
    if conv.groups == conv.in_channels == conv.out_channels:
        return depthwise(x, conv.weight[:, 0], conv.bias, conv.stride, conv.padding, conv.dilation)
    top, bottom, left, right = conv.padding
    padded = np.pad(x, ((0, 0), (top, bottom), (left, right)))
    span = (conv.dilation * (kernel_rows - 1) + 1, conv.dilation * (kernel_columns - 1) + 1)
    windows = sliding_window_view(padded, span, axis=(1, 2))
    windows = windows[:, :: conv.stride, :: conv.stride, :: conv.dilation, :: conv.dilation]
    rows, columns = windows.shape[1:3]
    columns_matrix = windows.transpose(0, 3, 4, 1, 2).reshape(conv.groups, -1, rows * columns)
    weight = conv.weight.reshape(conv.groups, conv.out_channels // conv.groups, -1)
    out: Array = (weight @ columns_matrix).reshape(conv.out_channels, rows, columns)
    out += conv.bias[:, None, None]
    return out


def pool(x: Array, node: Pool) -> Array:
    """Pooling: ``x [C, H, W]`` -> ``[C, P, Q]``."""
    if node.kernel == 0:
        reduced: Array = x.mean(axis=(1, 2)) if node.kind == "average" else x.max(axis=(1, 2))
        return reduced[:, None, None]
    out = _pool_windows(x, node, 0.0 if node.kind == "average" else -np.inf)
    if node.kind == "average":
        inside = node.count_padding or not any(node.padding)
        out /= node.kernel**2 if inside else _pool_windows(np.ones_like(x), node, 0.0)
    return out


def _pool_windows(x: Array, node: Pool, outside: float) -> Array:
    """Sum or maximum of every window, ``outside`` standing beyond the border."""
    top, bottom, left, right = node.padding
    padded = np.pad(x, ((0, 0), (top, bottom), (left, right)), constant_values=outside)
    windows = sliding_window_view(padded, (node.kernel, node.kernel), axis=(1, 2))[:, :: node.stride, :: node.stride]
    reduced: Array = windows.sum(axis=(3, 4)) if node.kind == "average" else windows.max(axis=(3, 4))
    return reduced


def linear(x: Array, node: Linear) -> Array:
    """A fully connected layer without its activation: any shape -> ``[O, 1, 1]``."""
    out: Array = node.weight @ x.reshape(-1) + node.bias
    return out[:, None, None]


def shuffle(x: Array, groups: int) -> Array:
    """Channel shuffle: output channel ``i*groups + j`` is input channel ``j*C/groups + i``; ``x [C, H, W]``."""
    if groups == 1:
        return x
    channels, height, width = x.shape
    mixed = x.reshape(groups, channels // groups, height, width).swapaxes(0, 1)
    return np.ascontiguousarray(mixed).reshape(x.shape)


def activate(x: Array, activation: Activation) -> Array:
    """The activation function, in the type of ``x``."""
    if activation == "linear":
        return x
    zero = x.dtype.type(0)
    return np.maximum(x, zero) if activation == "relu" else np.clip(x, zero, x.dtype.type(6))
