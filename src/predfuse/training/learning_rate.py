"""The learning-rate schedule: linear warm-up, then half a cosine; and which parameters decay."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn


def cosine_rate(step: int, total: int, warmup_fraction: float) -> float:
    """Factor on the learning rate: linear warm-up from 0 to 1, then half a cosine down to 0."""
    warmup = warmup_fraction * total
    if step < warmup:
        return (step + 1) / (warmup + 1)
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1.0, total - warmup)))


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Trainable parameters outside the predictors: weights with decay; batch norms and biases without."""
    decayed: list[nn.Parameter] = []
    plain: list[nn.Parameter] = []
    for name, parameter in model.named_parameters():
        if parameter.requires_grad and ".predictor." not in name:
            (decayed if parameter.dim() > 1 else plain).append(parameter)
    return [{"params": decayed, "weight_decay": weight_decay}, {"params": plain, "weight_decay": 0.0}]


class CosineSchedule:
    """The learning rates of one stage's optimisers, each group of parameters from its own peak.

    A group's peak is the rate it was made with. It is kept in the group as ``peak``, so that optimisers that have been
    through a schedule start the next one from their peaks, not from where it ended.

    Args:
        optimizers: Of the stage, their states taken up already where it was interrupted.
        total: Steps of the stage.
        warmup_fraction: Share of them that warms up.
    """

    def __init__(self, optimizers: Sequence[torch.optim.Optimizer], total: int, warmup_fraction: float) -> None:
        self._total, self._warmup_fraction = total, warmup_fraction
        self._groups = [group for optimizer in optimizers for group in optimizer.param_groups]
        for group in self._groups:
            group.setdefault("peak", group["lr"])

    def set(self, step: int) -> float:
        """Set every group's rate for a step, counted from 0; returns that of the first group."""
        factor = cosine_rate(step, self._total, self._warmup_fraction)
        for group in self._groups:
            group["lr"] = group["peak"] * factor
        return float(factor * self._groups[0]["peak"])
