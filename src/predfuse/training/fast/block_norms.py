"""The statistics of a block's inner norms, whatever kind of norm they are."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from predfuse.models.norms import Norm, PartialNorm, ScaleNorm


@dataclass
class NormStatistics:
    """A norm's statistics in 64-bit floats, all ``[M]``.

    Attributes:
        mean: What it takes off: 0 where it has no shift.
        variance: What it divides by, without ``eps``.
        shifted: 1 where it has a shift, else 0.
        eps: Added to the variance.
        from_batch: Whether these are of the batch.
    """

    mean: Tensor
    variance: Tensor
    shifted: Tensor
    eps: float
    from_batch: bool

    @property
    def deviation(self) -> Tensor:
        return (self.variance + self.eps).sqrt()

    def factor_and_shift(self, gamma: Tensor, beta: Tensor) -> tuple[Tensor, Tensor]:
        """The norm as ``factor * x + shift``, both ``[M]`` in 64-bit floats, from its parameters."""
        factor = gamma.double() / self.deviation
        return factor, beta.double() * self.shifted - self.mean * factor


def norm_statistics(norm: Norm) -> NormStatistics:
    """The running statistics; those of the batch are filled in where the norm trains."""
    assert norm.running_mean is not None and norm.running_var is not None
    if isinstance(norm, PartialNorm):
        shifted = norm.shift_mask.double()
    else:
        shifted = torch.full_like(norm.weight, 0.0 if isinstance(norm, ScaleNorm) else 1.0, dtype=torch.float64)
    return NormStatistics(norm.running_mean.double(), norm.running_var.double(), shifted, norm.eps, norm.training)


@torch.no_grad()
def update_running(norm: Norm, found: NormStatistics, count: int) -> None:
    """Move the running statistics towards those of a batch of ``count`` values a channel, as the norm itself does."""
    assert norm.running_mean is not None and norm.running_var is not None and norm.momentum is not None
    variance = found.variance
    if isinstance(norm, nn.BatchNorm2d):
        variance = variance * (count / max(1, count - 1))
        if norm.num_batches_tracked is not None:
            norm.num_batches_tracked.add_(1)
    norm.running_mean.lerp_(found.mean.to(norm.running_mean.dtype), norm.momentum)
    norm.running_var.lerp_(variance.to(norm.running_var.dtype), norm.momentum)
