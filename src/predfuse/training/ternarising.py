"""Making the blocks' filters ternary, each up to one factor: what a ternary predictor can follow without error.

A predictor's ternary copy of expand and depthwise is wrong where a filter's weights differ in magnitude, and that, not
its 4-bit activations, is where most of its errors come from (see docs/zoo.md). Filters whose weights are ``-s``, 0
and ``s`` leave only the activations; the factor ``s`` of a filter goes into the batch norm that follows.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from predfuse.models.layers import Cnn
from predfuse.predictor.trainable import ternary_step

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
        """Go a part of the way from the weights to the nearest ternary ones, where they are too far from them.

        Args:
            strength: The part, 0 to 1; 1: they are ternary afterwards.
            distance: Filters stay whose squared distance from ternary ones is no more than this part of their squared
                weights. It is of every filter by itself: a norm follows, so that the size of a filter says nothing of
                its weight in the network.
        """
        for layer in self._layers:
            target = ternary_filters(layer.weight, self._threshold)
            far = _squares(layer.weight - target) > distance * _squares(layer.weight)
            layer.weight.lerp_(target, strength * far.to(target.dtype))

    @torch.no_grad()
    def distance(self) -> float:
        """Mean over the filters of their squared distance from the nearest ternary ones, over their squared weights."""
        found = []
        for layer in self._layers:
            apart = layer.weight - ternary_filters(layer.weight, self._threshold)
            found.append((_squares(apart) / _squares(layer.weight).clamp(min=1e-12)).flatten())
        return float(torch.cat(found).mean()) if found else 0.0


def _squares(filters: Tensor) -> Tensor:
    """Sum of the squared weights of each filter, ``[M, 1, ...]``."""
    return filters.square().flatten(1).sum(1).view(-1, *[1] * (filters.dim() - 1))


def pull_strength(progress: float) -> float:
    """How far to pull after a part (0..1) of the time in which the pull grows: its cube."""
    return float(min(max(progress, 0.0), 1.0) ** 3)
