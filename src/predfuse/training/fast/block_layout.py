"""The flat layout of the block kernels: a row per channel, taps of a filter as offsets into it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from predfuse.graph.nodes import Array

CACHED_VALUES = 4096
"""About as many values of a channel are worked on at once; some ten arrays of them fit the second-level cache."""


@dataclass(frozen=True)
class Layout:
    """Images of one size as flat rows.

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
    def border(self) -> int:
        """Zeros after every line, and lines of zeros after every image."""
        return self.kernel // 2

    @property
    def pitch(self) -> int:
        """Values from one line to the next."""
        return self.width + self.border

    @property
    def image_length(self) -> int:
        """Values from one image to the next."""
        return (self.height + self.border) * self.pitch

    @property
    def margin(self) -> int:
        """Zeros before the first image and after the last."""
        return self.border * (self.pitch + 1)

    @property
    def length(self) -> int:
        """Values of a row."""
        return self.images * self.image_length + 2 * self.margin

    @property
    def output_length(self) -> int:
        """Values of a row of outputs: they lie where the filter reads."""
        return self.length

    @property
    def images_at_once(self) -> int:
        """Images worked on before the next ones."""
        return max(1, CACHED_VALUES // self.image_length)

    @property
    def pixels(self) -> int:
        """Pixels of all images."""
        return self.images * self.height * self.width

    @property
    def output_size(self) -> tuple[int, int]:
        """Rows and columns the filter puts out."""
        return (self.height - 1) // self.stride + 1, (self.width - 1) // self.stride + 1

    @property
    def outputs(self) -> int:
        """Outputs of the filter over all images."""
        rows, columns = self.output_size
        return self.images * rows * columns

    @cached_property
    def taps(self) -> Array:
        """``[k*k]`` offsets of the filter's taps."""
        steps = torch.arange(self.kernel) - self.border
        offsets: Array = (steps.view(-1, 1) * self.pitch + steps).flatten().numpy()
        return offsets

    @cached_property
    def inside(self) -> Array:
        """``[L]``, 1 on pixels."""
        return self._marked(1)

    @cached_property
    def output_inside(self) -> Array:
        """``[L]``, 1 where the filter has an output."""
        return self._marked(self.stride)

    def _marked(self, stride: int) -> Array:
        marks = torch.zeros(1, self.length)
        self.picture(marks)[:, :, ::stride, ::stride] = 1
        result: Array = marks[0].numpy()
        return result

    def picture(self, rows: Tensor) -> Tensor:
        """View ``[C, N, H, W]`` of the pixels in rows ``[C, L]``."""
        channels = rows.shape[0]
        images = rows[:, self.margin : self.length - self.margin]
        images = images.view(channels, self.images, self.height + self.border, self.pitch)
        return images[:, :, : self.height, : self.width]

    def flatten(self, x: Tensor, stride: int = 1) -> Tensor:
        """Rows ``[C, L]`` of ``x [N, C, H, W]``; with a stride, of what the filter puts out, at the places it reads."""
        rows = x.new_zeros(x.shape[1], self.length)
        self.picture(rows)[:, :, ::stride, ::stride] = x.transpose(0, 1)
        return rows

    def unflatten(self, rows: Tensor, stride: int = 1) -> Tensor:
        """The reverse of :meth:`flatten`, channels last in memory."""
        return (
            self.picture(rows)[:, :, ::stride, ::stride].transpose(0, 1).contiguous(memory_format=torch.channels_last)
        )
