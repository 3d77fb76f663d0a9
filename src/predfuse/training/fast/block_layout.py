"""The layout of the block loops: a row per channel, its pixels line by line, images innermost."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from predfuse.training.fast.native import call, pointer

LANES = 8
"""Values of a vector; images are padded with images of zeros to whole ones."""

SKEW = 80
"""Values between rows, so that those of some channels do not share cache sets."""


@dataclass(frozen=True)
class Layout:
    """Images of one size as rows ``[C, pitch]``.

    Attributes:
        images: Number of images.
        height: Of an image, in pixels.
        width: Of the images, in pixels; likewise.
        kernel: Side of the depthwise filter, odd; padded with half of it.
        stride: Of the filter.
    """

    images: int
    height: int
    width: int
    kernel: int
    stride: int

    @property
    def padded_images(self) -> int:
        """Images of a row."""
        return -(-self.images // LANES) * LANES

    def size(self, stride: int = 1) -> tuple[int, int]:
        """Rows and columns of the images; with the filter's stride, of what it puts out."""
        return (self.height - 1) // stride + 1, (self.width - 1) // stride + 1

    def length(self, stride: int = 1) -> int:
        """Values of a row without what lies between rows."""
        rows, columns = self.size(stride)
        return rows * columns * self.padded_images

    @property
    def pixels(self) -> int:
        """Pixels of all images."""
        return self.images * self.height * self.width

    @property
    def outputs(self) -> int:
        """Outputs of the filter over all images."""
        rows, columns = self.size(self.stride)
        return self.images * rows * columns

    @cached_property
    def inside(self) -> Tensor:
        """``[width * padded_images]``, of any line of pixels: 1 where there is an image."""
        return (torch.arange(self.padded_images) < self.images).float().repeat(self.width)

    def rows(self, channels: int, stride: int = 1) -> Tensor:
        """Rows of zeros."""
        return torch.zeros(channels, self.length(stride) + SKEW)

    def pixels_of(self, rows: Tensor) -> Tensor:
        """``[C, pixels]`` of rows, without what pads; a view where nothing does."""
        return rows[:, : self.length()].view(len(rows), -1, self.padded_images)[..., : self.images].flatten(1)

    def flatten(self, x: Tensor, stride: int = 1) -> Tensor:
        """Rows of ``x [N, C, H, W]``; with the filter's stride, of what it puts out."""
        rows = self.rows(x.shape[1], stride)
        self._copy("flatten", x.contiguous(memory_format=torch.channels_last), rows, rows, stride)
        return rows

    def unflatten(self, rows: Tensor, stride: int = 1) -> Tensor:
        """The reverse of :meth:`flatten`, channels last in memory."""
        x = torch.empty(self.images, len(rows), *self.size(stride), memory_format=torch.channels_last)
        self._copy("unflatten", rows, x, rows, stride)
        return x

    def _copy(self, loop: str, source: Tensor, target: Tensor, rows: Tensor, stride: int) -> None:
        height, width = self.size(stride)
        numbers = (self.images, self.padded_images, height * width, *rows.shape)
        call(loop, pointer(source), pointer(target), *map(ctypes.c_int64, numbers))
