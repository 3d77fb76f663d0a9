"""The layer-wise loss: every predictor learns the true signs of its own block, no gradient leaves the block."""

from __future__ import annotations

import torch
from torch import Tensor

from predfuse.models.layers import BottleneckUnit, Cnn


def _sign_loss(score: Tensor, width: Tensor, target: Tensor) -> Tensor:
    """Logistic loss of predicting ``target > 0`` from ``score``, weighted by ``|target|`` (mean weight 1).

    The half point makes score 0, which the gate reads as off, as far from on as 1 is from off.
    """
    weight = target.abs()
    margin = (score - 0.5) / width * torch.where(target > 0, 4.0, -4.0)
    return (torch.nn.functional.softplus(-margin) * weight).mean() / weight.mean().clamp(min=1e-12)


def layerwise_loss(model: Cnn, images: Tensor) -> Tensor:
    """Sum over the blocks of both stages' sign losses, the blocks fed by the network with true masks.

    Args:
        model: A network whose blocks have predictors, in evaluation mode.
        images: ``[N, C, H, W]``, normalised.
    """
    total = images.new_zeros(())
    x = images
    for layer in model.layers:
        if isinstance(layer, BottleneckUnit) and layer.predictor is not None:
            predictor = layer.predictor
            with torch.no_grad():
                a, d = layer.pre_activations(x)
            z1, z2 = predictor(x)
            total = total + _sign_loss(z1, predictor.expand_width, a) + _sign_loss(z2, predictor.depthwise_width, d)
            with torch.no_grad():
                x = layer.project_true(x, d)
        else:
            with torch.no_grad():
                x = layer(x)
    return total
