"""The norms of blocks: PyTorch's batch norm, one that only scales, and one that shifts some of its channels."""

from __future__ import annotations

import torch
from torch import Tensor, nn

BATCH_NORM_EPS = 1e-5


class _Statistics(nn.Module):
    """What a norm of ``[C]`` channels learns and keeps, whatever it shifts."""

    running_mean: Tensor
    running_var: Tensor
    bias: Tensor

    def __init__(self, channels: int, eps: float = BATCH_NORM_EPS, momentum: float = 0.1) -> None:
        super().__init__()
        self.eps, self.momentum = eps, momentum
        self.weight = nn.Parameter(torch.ones(channels))
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))


class ScaleNorm(_Statistics):
    """Batch normalisation without shift: ``x * weight / sqrt(mean(x**2) + eps)`` per channel of ``[N, C, H, W]``.

    Trains on the mean square of the batch, evaluates with the running one. It folds like a batch norm whose mean and
    bias are 0 (``running_mean`` and ``bias`` say so), into a layer without bias.
    """

    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.register_buffer("bias", torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        square = x.square().mean((0, 2, 3)) if self.training else self.running_var
        if self.training:
            self.running_var.lerp_(square.detach(), self.momentum)
        return x * (self.weight * (square + self.eps).rsqrt()).view(1, -1, 1, 1)


class PartialNorm(_Statistics):
    """Batch normalisation of ``[N, C, H, W]`` that shifts some channels and only scales the others.

    With a channel's mask 1 it is a batch norm, with 0 a :class:`ScaleNorm`: its mean and bias stay 0.

    Attributes:
        shift_mask: ``[C]``, 1 where the channel has a shift.
    """

    shift_mask: Tensor

    def __init__(self, channels: int, eps: float = BATCH_NORM_EPS, momentum: float = 0.1) -> None:
        super().__init__(channels, eps, momentum)
        self.bias = nn.Parameter(torch.zeros(channels))
        self.register_buffer("shift_mask", torch.ones(channels))

    def forward(self, x: Tensor) -> Tensor:
        mean, var = self.running_mean, self.running_var
        if self.training:
            mean = x.mean((0, 2, 3)) * self.shift_mask
            var = (x - mean.view(1, -1, 1, 1)).square().mean((0, 2, 3))
            self.running_mean.lerp_(mean.detach(), self.momentum)
            self.running_var.lerp_(var.detach(), self.momentum)
        scale = self.weight * (var + self.eps).rsqrt()
        shift = self.bias * self.shift_mask - mean * scale
        return x * scale.view(1, -1, 1, 1) + shift.view(1, -1, 1, 1)

    @torch.no_grad()
    def shifts(self) -> Tensor:
        """What the folded layer adds, ``[C]``."""
        return self.bias - self.running_mean * self.weight * (self.running_var + self.eps).rsqrt()

    @torch.no_grad()
    def keep_shifts(self, mask: Tensor) -> None:
        """Only channels whose ``mask`` is 1 keep their shift; the others are normalised by their mean square."""
        self.running_var.add_((1 - mask) * self.running_mean.square())
        self.shift_mask.copy_(mask)
        self.running_mean.mul_(mask)
        self.bias.mul_(mask)


Norm = nn.BatchNorm2d | ScaleNorm | PartialNorm
"""What may follow a convolution inside a block."""
