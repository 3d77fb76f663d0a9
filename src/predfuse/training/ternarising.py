"""Making the blocks' filters ternary, each up to one factor: what a ternary predictor can follow without error.

A predictor's ternary copy of expand and depthwise is wrong where a filter's weights differ in magnitude, and that, not
its 4-bit activations, is where most of its errors come from (see docs/zoo.md). Filters whose weights are ``-s``, 0
and ``s`` leave only the activations; the factor ``s`` of a filter goes into the batch norm that follows.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from predfuse.models.layers import Cnn
from predfuse.predictor.ternary import ternary_step

NEAREST = 0.5
"""Threshold for the ternary weights nearest to given ones: 0, or the filter's factor where that is no further off."""


def ternary_filters(weight: Tensor, threshold: float) -> Tensor:
    """The ternary filters nearest to ``weight [M, ...]`` with weights kept by magnitude.

    Args:
        weight: Filters, those of one channel in the first dimension.
        threshold: A weight stays if it exceeds this fraction of the mean magnitude of its filter's non-zero weights.

    Returns:
        The signs of those that stay times their mean magnitude, per filter.
    """
    magnitude = weight.abs()
    alive = magnitude > threshold * ternary_step(weight, magnitude > 0)
    return weight.sign() * alive * ternary_step(weight, alive)


class Ternariser:
    """Pulls the expand and depthwise filters of a model's blocks towards ternary ones, between optimiser steps.

    The proximal step of Bai, Wang, Liberty 2019, "ProxQuant" (arXiv 1810.00861), with the squared distance as
    regulariser. It has no state but the weights themselves.
    """

    def __init__(self, model: Cnn, threshold: float) -> None:
        self._threshold = threshold
        blocks = [block for _, block in model.bottlenecks()]
        self._layers: list[nn.Conv2d] = [layer for block in blocks for layer in (block.expand, block.depthwise)]

    @torch.no_grad()
    def pull(self, strength: float, distance: float = 0.0) -> None:
        """Go a part of the way from the weights to the nearest ternary ones, if they are too far from them.

        Args:
            strength: The part, 0 to 1; 1: they are ternary afterwards.
            distance: Nothing is done where :meth:`distance` is no more than this.
        """
        ternary = self._nearest()
        part = strength * (self._distance(ternary) > distance) if distance else strength
        for layer, target in zip(self._layers, ternary, strict=True):
            layer.weight.lerp_(target, part)

    @torch.no_grad()
    def distance(self) -> Tensor:
        """Squared distance from the nearest ternary filters, over the squared weights; a scalar where the model is."""
        return self._distance(self._nearest())

    def _nearest(self) -> list[Tensor]:
        return [ternary_filters(layer.weight, self._threshold) for layer in self._layers]

    def _distance(self, ternary: list[Tensor]) -> Tensor:
        weights = [layer.weight for layer in self._layers]
        apart, whole = (_squares(tensors) for tensors in (torch._foreach_sub(weights, ternary), weights))
        return apart / whole.clamp(min=1e-12)


def _squares(tensors: Sequence[Tensor]) -> Tensor:
    """Sum of the squares of all values."""
    return torch.stack([tensor.square().sum() for tensor in tensors]).sum()


def pull_strength(progress: float) -> float:
    """How far to pull after a part (0..1) of the time in which the pull grows: its cube."""
    return float(min(max(progress, 0.0), 1.0) ** 3)
