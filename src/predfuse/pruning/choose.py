"""Which weights magnitude pruning removes, and how many of them after part of a ramp."""

from __future__ import annotations

import torch
from torch import Tensor


def cubic_sparsity(final: float, progress: float) -> float:
    """Sparsity after ``progress`` (0..1) of the ramp: ``final * (1 - (1 - progress)**3)``."""
    return final * (1 - (1 - min(max(progress, 0.0), 1.0)) ** 3)


def keep_largest(weight: Tensor, sparsity: float) -> Tensor:
    """0/1 mask that removes the ``round(sparsity * n)`` smallest magnitudes of ``weight``; ties go by position."""
    removed = round(sparsity * weight.numel())
    mask = torch.ones(weight.numel(), dtype=weight.dtype, device=weight.device)
    mask[weight.detach().abs().flatten().argsort(stable=True)[:removed]] = 0
    return mask.view_as(weight)
