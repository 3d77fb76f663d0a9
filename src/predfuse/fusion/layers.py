"""Fast layers on one image: BLAS for sums over channels, numba for depthwise windows.

They compute in the floating type of their arguments; ``tests/float_reference.py`` holds them to slow, obvious loops.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from numba import njit
from numpy.lib.stride_tricks import sliding_window_view

from predfuse.arrays import Array, FloatArray, Item
from predfuse.graph.nodes import Activation, Conv, Linear, Padding, Pool, window_size


def pointwise(x: FloatArray, weight: FloatArray, groups: int = 1, bias: FloatArray | None = None) -> FloatArray:
    """1x1 convolution: ``x [C, H, W]``, ``weight [O, C/groups]``, ``bias [O]`` -> ``[O, H, W]``."""
    channels, height, width = x.shape
    outputs, group_channels = weight.shape
    grouped = weight.reshape(groups, outputs // groups, group_channels)
    out: FloatArray = (grouped @ x.reshape(groups, channels // groups, -1)).reshape(outputs, height, width)
    if bias is not None:
        out += bias[:, None, None]
    return out


@dataclass(frozen=True)
class Window:
    """A sliding window over an image: sizes in pixels, ``padding`` as (top, bottom, left, right)."""

    kernel: tuple[int, int]
    stride: int
    padding: Padding
    dilation: int = 1

    def output_size(self, image: Array) -> tuple[int, int]:
        """Rows and columns of window positions over ``image [C, H, W]``."""
        top, bottom, left, right = self.padding
        rows = window_size(image.shape[1], self.kernel[0], self.stride, top, bottom, self.dilation)
        return rows, window_size(image.shape[2], self.kernel[1], self.stride, left, right, self.dilation)

    def pad(self, image: npt.NDArray[Item]) -> npt.NDArray[Item]:
        """``image [C, H, W]`` with zeros around it, exactly the pixels that some window covers."""
        top, _, left, _ = self.padding
        rows, columns = self.output_size(image)
        height = (rows - 1) * self.stride + (self.kernel[0] - 1) * self.dilation + 1
        width = (columns - 1) * self.stride + (self.kernel[1] - 1) * self.dilation + 1
        padded = np.zeros((image.shape[0], height, width), image.dtype)
        used = image[:, : max(height - top, 0), : max(width - left, 0)]
        padded[:, top : top + used.shape[1], left : left + used.shape[2]] = used
        return padded


def depthwise(
    x: FloatArray, weight: FloatArray, bias: FloatArray, stride: int, padding: Padding, dilation: int = 1
) -> FloatArray:
    """Depthwise convolution: ``x [M, H, W]``, ``weight [M, kh, kw]``, ``bias [M]`` -> ``[M, P, Q]``."""
    window = Window((weight.shape[1], weight.shape[2]), stride, padding, dilation)
    out = np.empty((x.shape[0], *window.output_size(x)), x.dtype)
    _depthwise(window.pad(x), np.ascontiguousarray(weight), bias, stride, dilation, out)
    return out


@njit(cache=True, nogil=True)
def _depthwise(
    padded: FloatArray, weight: FloatArray, bias: FloatArray, stride: int, dilation: int, out: FloatArray
) -> None:
    """Every tap adds one shifted copy of the whole padded image, as one long loop whatever the image size.

    The positions between rows and between strides are computed too, and left out when copying.
    """
    channels, rows, columns = out.shape
    width = padded.shape[2]
    reach = (rows - 1) * stride * width + (columns - 1) * stride + 1
    total = np.empty(reach, out.dtype)
    for channel in range(channels):
        pixels = padded[channel].ravel()
        total[:] = bias[channel]
        for row in range(weight.shape[1]):
            for column in range(weight.shape[2]):
                factor = weight[channel, row, column]
                if factor != 0:  # pruned weights cost nothing
                    offset = (row * width + column) * dilation
                    for position in range(reach):
                        total[position] += factor * pixels[offset + position]
        for i in range(rows):
            for j in range(columns):
                out[channel, i, j] = total[(i * width + j) * stride]


def convolve(x: FloatArray, conv: Conv) -> FloatArray:
    """A plain convolution without its activation: ``x [C, H, W]`` -> ``[O, P, Q]``."""
    kernel_rows, kernel_columns = conv.kernel
    if conv.kernel == (1, 1) and conv.stride == 1 and not any(conv.padding):
        return pointwise(x, conv.weight[:, :, 0, 0], conv.groups, conv.bias)
    if conv.groups == conv.in_channels == conv.out_channels:
        return depthwise(x, conv.weight[:, 0], conv.bias, conv.stride, conv.padding, conv.dilation)
    padded = Window(conv.kernel, conv.stride, conv.padding, conv.dilation).pad(x)
    span = (conv.dilation * (kernel_rows - 1) + 1, conv.dilation * (kernel_columns - 1) + 1)
    windows = sliding_window_view(padded, span, axis=(1, 2))
    windows = windows[:, :: conv.stride, :: conv.stride, :: conv.dilation, :: conv.dilation]
    rows, columns = windows.shape[1:3]
    columns_matrix = windows.transpose(0, 3, 4, 1, 2).reshape(conv.groups, -1, rows * columns)
    weight = conv.weight.reshape(conv.groups, conv.out_channels // conv.groups, -1)
    out: FloatArray = (weight @ columns_matrix).reshape(conv.out_channels, rows, columns)
    out += conv.bias[:, None, None]
    return out


def pool(x: FloatArray, node: Pool) -> FloatArray:
    """Pooling: ``x [C, H, W]`` -> ``[C, P, Q]``."""
    if node.kernel == 0:
        reduced: FloatArray = x.mean(axis=(1, 2)) if node.kind == "average" else x.max(axis=(1, 2))
        return reduced[:, None, None]
    window = (node.kind, node.kernel, node.stride, node.padding)
    out = pool_windows(x, *window, 0.0 if node.kind == "average" else -np.inf)
    if node.kind == "average":
        inside = node.count_padding or not any(node.padding)
        out /= node.kernel**2 if inside else pool_windows(np.ones_like(x), *window, 0.0)
    return out


def pool_windows(
    x: npt.NDArray[Item], kind: str, kernel: int, stride: int, padding: Padding, outside: float
) -> npt.NDArray[Item]:
    """Sum or maximum of every window, ``[C, H, W]`` -> ``[C, P, Q]``, ``outside`` standing beyond the border."""
    top, bottom, left, right = padding
    padded = np.pad(x, ((0, 0), (top, bottom), (left, right)), constant_values=outside)
    windows = sliding_window_view(padded, (kernel, kernel), axis=(1, 2))[:, ::stride, ::stride]
    reduced: npt.NDArray[Item] = windows.sum(axis=(3, 4)) if kind == "average" else windows.max(axis=(3, 4))
    return reduced


def linear(x: FloatArray, node: Linear) -> FloatArray:
    """A fully connected layer without its activation: any shape -> ``[O, 1, 1]``."""
    out: FloatArray = node.weight @ x.reshape(-1) + node.bias
    return out[:, None, None]


def shuffle(x: npt.NDArray[Item], groups: int) -> npt.NDArray[Item]:
    """Channel shuffle: output channel ``i*groups + j`` is input channel ``j*C/groups + i``; ``x [C, H, W]``."""
    if groups == 1:
        return x
    channels, height, width = x.shape
    mixed = x.reshape(groups, channels // groups, height, width).swapaxes(0, 1)
    return np.ascontiguousarray(mixed).reshape(x.shape)


def activate(x: FloatArray, activation: Activation) -> FloatArray:
    """The activation function, in the type of ``x``."""
    if activation == "linear":
        return x
    zero = x.dtype.type(0)
    return np.maximum(x, zero) if activation == "relu" else np.clip(x, zero, x.dtype.type(6))
