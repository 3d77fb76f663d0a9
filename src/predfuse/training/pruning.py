"""Magnitude pruning of the blocks: per-layer masks that grow along a cubic schedule."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from predfuse.models.layers import Cnn


def cubic_sparsity(final: float, progress: float) -> float:
    """Sparsity after ``progress`` (0..1) of the ramp: ``final * (1 - (1 - progress)**3)``."""
    return final * (1 - (1 - min(max(progress, 0.0), 1.0)) ** 3)


def keep_largest(weight: Tensor, sparsity: float) -> Tensor:
    """0/1 mask that removes the ``round(sparsity * n)`` smallest magnitudes of ``weight``; ties go by position."""
    removed = round(sparsity * weight.numel())
    mask = torch.ones(weight.numel(), dtype=weight.dtype)
    mask[weight.detach().abs().flatten().argsort(stable=True)[:removed]] = 0
    return mask.view_as(weight)


def prunable_layers(model: Cnn) -> dict[str, tuple[nn.Conv2d, str]]:
    """The blocks' convolutions by parameter name, each with its kind, ``"pointwise"`` or ``"depthwise"``."""
    found: dict[str, tuple[nn.Conv2d, str]] = {}
    for name, block in model.bottlenecks():
        found[f"{name}.expand"] = (block.expand, "pointwise")
        found[f"{name}.depthwise"] = (block.depthwise, "depthwise")
        found[f"{name}.project"] = (block.project, "pointwise")
    return found


class Pruner:
    """Holds the masks of a model's pruned layers and keeps their weights at zero."""

    def __init__(self, model: Cnn) -> None:
        self._layers = prunable_layers(model)
        self._masks: dict[str, Tensor] = {}

    @torch.no_grad()
    def prune(self, pointwise_sparsity: float, depthwise_sparsity: float) -> None:
        """Choose new masks by magnitude and apply them."""
        for name, (conv, kind) in self._layers.items():
            sparsity = pointwise_sparsity if kind == "pointwise" else depthwise_sparsity
            self._masks[name] = keep_largest(conv.weight, sparsity)
        self.apply()

    @torch.no_grad()
    def hold_zeros(self) -> None:
        """Take the zeros the weights have now as the masks."""
        self._masks = {name: (conv.weight != 0).to(conv.weight.dtype) for name, (conv, _) in self._layers.items()}

    @torch.no_grad()
    def apply(self) -> None:
        """Set the pruned weights to zero again, after an optimiser step."""
        for name, mask in self._masks.items():
            self._layers[name][0].weight.mul_(mask)

    @torch.no_grad()
    def sparsity(self) -> dict[str, float]:
        """Fraction of zero weights of each kind."""
        zeros = {"pointwise": 0, "depthwise": 0}
        total = {"pointwise": 0, "depthwise": 0}
        for conv, kind in self._layers.values():
            zeros[kind] += int((conv.weight == 0).sum())
            total[kind] += conv.weight.numel()
        return {kind: zeros[kind] / max(1, total[kind]) for kind in zeros}
