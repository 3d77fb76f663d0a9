"""Grouped convolutions and bottleneck blocks as a GPU likes them: the values of the layers of PyTorch, to rounding.

Tensors are ``[S, C, n, H, W]`` here: ``S`` parts of a batch with ``n`` images each, channels outside the images. A
grouped 1x1 convolution is then one batched product, of parts large enough to be worth a product and small enough to
keep the whole GPU busy, in the gradients of weights too. All between two products is elementwise or a sum along a
channel, of which ``torch.compile`` makes a few kernels.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn

from predfuse.graph.nodes import Activation
from predfuse.models.layers import BottleneckUnit
from predfuse.models.norms import Norm
from predfuse.predictor.layerwise import sign_loss
from predfuse.predictor.trainable import TrainablePredictor
from predfuse.training.fast.block_norms import norm_statistics, update_running

Function = Callable[..., Any]

PART_PIXELS = 512
"""Pixels a channel has in one part of the batch."""

RECOMPILE_LIMIT = 64
"""Shapes and kinds of block a run may have; PyTorch gives up compiling at 8."""


@dataclass(frozen=True)
class ChannelMajor:
    """Trains blocks and grouped convolutions in parts; see :class:`predfuse.models.layers.BlockKernel`.

    Where gradients go through a block's gates to the predictor (``surrogate``), the layers of PyTorch are used.

    Attributes:
        compiled: Whether the functions below are compiled, once for every shape and kind of block.
        part_pixels: Pixels a channel has in one part of the batch, at least; the whole batch may have fewer.
    """

    compiled: bool = False
    part_pixels: int = PART_PIXELS

    def project(self, block: BottleneckUnit, x: Tensor) -> Tensor:
        """What ``block.project`` puts out, before its norm; updates running statistics in training."""
        if block.predictor is not None and block.surrogate:
            return block.projected_layer_by_layer(x)
        return join(self._run(project)(block, split(x, self.part_pixels)))

    def layerwise(self, block: BottleneckUnit, x: Tensor) -> tuple[Tensor, Tensor]:
        """The layer-wise loss of a block in evaluation mode, and what ``block.project`` puts out under true masks."""
        with torch.enable_grad():
            loss, y = self._run(layerwise)(block, split(x, self.part_pixels))
        return loss, join(y)

    def convolve(self, conv: nn.Conv2d, x: Tensor) -> Tensor:
        """What a grouped 1x1 or a depthwise convolution without bias puts out, ``[N, O, P, Q]``."""
        return join(self._run(convolve)(conv, split(x, self.part_pixels)))

    def _run(self, function: Function) -> Function:
        return _compiled(function) if self.compiled else function


@lru_cache(maxsize=8)
def _compiled(function: Function) -> Function:
    import torch._dynamo  # takes seconds, which only those pay who compile

    torch._dynamo.config.recompile_limit = max(torch._dynamo.config.recompile_limit, RECOMPILE_LIMIT)
    result: Function = torch.compile(function, dynamic=False)
    return result


def split(x: Tensor, pixels: int) -> Tensor:
    """``[N, C, H, W]`` in parts ``[S, C, n, H, W]``, contiguous, of at least so many pixels if there are as many."""
    count, channels, height, width = x.shape
    images = next((n for n in range(1, count) if count % n == 0 and n * height * width >= pixels), count)
    return x.reshape(count // images, images, channels, height, width).transpose(1, 2).contiguous()


def join(parts: Tensor) -> Tensor:
    """``[N, C, H, W]`` of parts."""
    count, channels, images, height, width = parts.shape
    return parts.transpose(1, 2).reshape(count * images, channels, height, width)


def convolve(conv: nn.Conv2d, x: Tensor) -> Tensor:
    """A grouped 1x1 or a depthwise convolution without bias, of parts."""
    if conv.kernel_size == (1, 1):
        return _pointwise(x, conv.weight, conv.groups)
    return _depthwise(x, conv.weight, conv.stride[0], (conv.kernel_size[0] // 2,) * 4)


def fits(conv: nn.Conv2d) -> bool:
    """Whether a convolution is one :func:`convolve` computes and PyTorch is slow at."""
    kernel, side = conv.kernel_size[0], conv.kernel_size[0] // 2
    plain = conv.bias is None and conv.kernel_size == (kernel, kernel) and conv.padding == (side, side)
    pointwise = kernel == 1 and conv.stride == (1, 1) and conv.groups > 1
    depthwise = conv.groups == conv.in_channels == conv.out_channels and conv.stride[0] == conv.stride[1]
    return plain and conv.dilation == (1, 1) and (pointwise or (kernel > 1 and depthwise))


def project(block: BottleneckUnit, x: Tensor) -> Tensor:
    """What the project convolution of a block puts out, of and in parts."""
    masks: tuple[Tensor | None, Tensor | None] = (None, None)
    if block.predictor is not None:
        with torch.no_grad():
            z1, z2 = _scores(block.predictor, x)
            masks = z1 > 0, z2 > 0
    _, d = _pre_activations(block, x, masks[0])
    hidden = _activated(d, block.depthwise_activation, masks[1])
    return _pointwise(hidden, block.project.weight, block.groups)


def layerwise(block: BottleneckUnit, x: Tensor) -> tuple[Tensor, Tensor]:
    """:func:`predfuse.predictor.layerwise.block_loss` of a block, and its projection under true masks, of parts."""
    predictor = block.predictor
    assert predictor is not None
    with torch.no_grad():
        a, d = _pre_activations(block, x, None)
        y = _pointwise(_activated(d, block.depthwise_activation, None), block.project.weight, block.groups)
    z1, z2 = _scores(predictor, x)
    loss = sign_loss(z1, predictor.expand_width.transpose(0, 1), a)
    return loss + sign_loss(z2, predictor.depthwise_width.transpose(0, 1), d), y


def _pre_activations(block: BottleneckUnit, x: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
    """What the two activations see, of parts; the first is the true one without ``mask``."""
    a = _normalised(_pointwise(x, block.expand.weight, block.groups), block.expand_norm)
    h = _activated(a, block.expand_activation, mask)
    border = block.depthwise.kernel_size[0] // 2
    filtered = _depthwise(h, block.depthwise.weight, block.depthwise.stride[0], (border,) * 4)
    return a, _normalised(filtered, block.depthwise_norm)


def _scores(predictor: TrainablePredictor, x: Tensor) -> tuple[Tensor, Tensor]:
    """Scores of both gates as :meth:`TrainablePredictor.forward` gives them, of parts."""
    weight, offset = predictor.expand_whole()
    z1 = _pointwise(predictor.quantised(x), weight, predictor.groups) + offset.view(-1, 1, 1, 1)
    weight, offset = predictor.depthwise_whole()
    top, bottom, left, right = predictor.padding
    hidden = predictor.hidden(z1, image_dimensions=3)
    z2 = _depthwise(hidden, weight, predictor.stride, (left, right, top, bottom)) + offset.view(-1, 1, 1, 1)
    return z1, z2


def _pointwise(x: Tensor, weight: Tensor, groups: int) -> Tensor:
    """Grouped 1x1 convolution of parts with ``[M, C/groups, 1, 1]``."""
    parts, channels, *image = x.shape
    rows = x.reshape(parts * groups, channels // groups, -1)
    by_group = weight.view(1, groups, -1, channels // groups).expand(parts, -1, -1, -1)
    return torch.bmm(by_group.reshape(parts * groups, -1, channels // groups), rows).view(parts, -1, *image)


def _depthwise(x: Tensor, weight: Tensor, stride: int, border: tuple[int, ...]) -> Tensor:
    """Depthwise convolution of parts with ``[M, 1, k, k]``: a sum over its taps.

    Args:
        x: Input.
        weight: Filters.
        stride: Of the output.
        border: ``(left, right, top, bottom)`` pixels of zeros.
    """
    kernel = weight.shape[-1]
    padded = nn.functional.pad(x, border)
    height, width = ((side - kernel) // stride * stride + 1 for side in padded.shape[-2:])
    total = x.new_zeros(())
    for row in range(kernel):
        for column in range(kernel):
            part = padded[..., row : row + height : stride, column : column + width : stride]
            total = total + part * weight[:, 0, row, column].view(-1, 1, 1, 1)
    return total


def _normalised(x: Tensor, norm: Norm) -> Tensor:
    """Parts after the norm, whose running statistics are moved in training."""
    found = norm_statistics(norm)
    if found.from_batch:
        variance, mean = torch.var_mean(x, (0, 2, 3, 4), correction=0)
        found.variance = variance.double() + ((1 - found.shifted) * mean).square()
        found.mean = found.shifted * mean
        update_running(norm, found, x.numel() // x.shape[1])
    factor, shift = (each.to(x.dtype).view(-1, 1, 1, 1) for each in found.factor_and_shift(norm.weight, norm.bias))
    return x * factor + shift


def _activated(x: Tensor, activation: Activation, mask: Tensor | None) -> Tensor:
    if activation == "linear":
        return x
    if mask is not None:
        return torch.where(mask, x, 0.0)
    return x.clamp(min=0) if activation == "relu" else x.clamp(0, 6)
