"""Averages of the weights a stage passes through, and statistics of the norms that belong to them.

Izmailov et al. 2018, "Averaging Weights Leads to Wider Optima and Better Generalization" (arXiv 1803.05407): the mean
of the weights along the last part of training, at a rate that stays large, does better on test images than the last
of them, though not on training images.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from predfuse.models.layers import Cnn, Norm


class WeightAverage:
    """Mean of a model's parameters at the steps that were added.

    Attributes:
        count: How many were.
    """

    def __init__(self, model: Cnn) -> None:
        self._parameters = dict(model.named_parameters())
        self._mean = {name: parameter.detach().clone() for name, parameter in self._parameters.items()}
        self.count = 0

    @torch.no_grad()
    def add(self) -> None:
        """Take the parameters the model has now into the mean."""
        self.count += 1
        torch._foreach_lerp_(list(self._mean.values()), list(self._parameters.values()), 1 / self.count)

    @torch.no_grad()
    def put(self) -> None:
        """Give the model the mean; the statistics of its norms are then those of other weights."""
        for name, parameter in self._parameters.items():
            parameter.copy_(self._mean[name])

    def tensors(self) -> dict[str, Tensor]:
        """The mean by name of the parameter, to be saved with :attr:`count`."""
        return dict(self._mean)

    @torch.no_grad()
    def restore(self, mean: Mapping[str, Tensor], count: int) -> None:
        """Go on from a saved mean."""
        for name, tensor in mean.items():
            self._mean[name].copy_(tensor)
        self.count = count


@torch.no_grad()
def recalibrate(model: Cnn, batches: Iterable[Tensor]) -> None:
    """Make the running statistics of the norms that are training the means over some batches of images."""
    norms = [layer for layer in model.modules() if isinstance(layer, Norm) and layer.training]
    momenta = [norm.momentum for norm in norms]
    for index, images in enumerate(batches):
        for norm in norms:
            norm.momentum = 1 / (index + 1)
        model(images)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
