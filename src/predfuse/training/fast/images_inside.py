"""The layout of the kernels for blocks without predictor: a row per channel, images innermost."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from predfuse.graph.nodes import Array
from predfuse.training.fast.plain_kernels import SKEW


@dataclass(frozen=True)
class ImagesInside:
    """Images of one size as rows ``[C, L]``: pixel after pixel, each with the values of all images, then some zeros.

    Attributes:
        images: Number of images.
        height: Of an image, in pixels.
        width: Likewise.
        kernel: Side of the depthwise filter, odd; padded with half of it.
        stride: Of the filter.
    """

    images: int
    height: int
    width: int
    kernel: int
    stride: int

    @property
    def pixels(self) -> int:
        """Pixels of all images."""
        return self.images * self.height * self.width

    def output_size(self, stride: int) -> tuple[int, int]:
        """Rows and columns the filter puts out."""
        return (self.height - 1) // stride + 1, (self.width - 1) // stride + 1

    @property
    def outputs(self) -> int:
        """Outputs of the filter over all images."""
        rows, columns = self.output_size(self.stride)
        return self.images * rows * columns

    @property
    def length(self) -> int:
        """Values of a row of inputs, a whole number of cache lines."""
        return _padded(self.pixels)

    @property
    def output_length(self) -> int:
        """Values of a row of outputs."""
        return _padded(self.outputs)

    @cached_property
    def inside(self) -> Array:
        """``[L]``, 1 on pixels."""
        marks: Array = (torch.arange(self.length) < self.pixels).float().numpy()
        return marks

    def flatten(self, x: Tensor, stride: int = 1) -> Tensor:
        """Rows of ``x [N, C, H, W]``; with a stride, of what the filter puts out."""
        rows, columns = self.output_size(stride)
        count = self.images * rows * columns
        flat = x.new_empty(x.shape[1], _padded(count))
        flat[:, count:] = 0
        flat[:, :count].view(-1, rows, columns, self.images).copy_(x.permute(1, 2, 3, 0))
        return flat

    def unflatten(self, flat: Tensor, stride: int = 1) -> Tensor:
        """The reverse of :meth:`flatten`, channels last in memory."""
        rows, columns = self.output_size(stride)
        picture = flat[:, : self.images * rows * columns].view(-1, rows, columns, self.images)
        return picture.permute(3, 0, 1, 2).contiguous(memory_format=torch.channels_last)


def _padded(count: int) -> int:
    return (count + 15) // 16 * 16 + SKEW
