"""Layer-wise learning: every predictor learns the true signs of its own block, no gradient leaves the block."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from predfuse.errors import InputError
from predfuse.models.layers import BottleneckUnit, Cnn
from predfuse.predictor.gates import Gate, Observation, observe
from predfuse.predictor.trainable import TrainablePredictor

BATCH_SIZE, LEARNING_RATE = 32, 0.02
"""Of tuning; the rate falls to 0 along half a cosine."""


def sign_loss(score: Tensor, width: Tensor, target: Tensor) -> Tensor:
    """Logistic loss of predicting ``target > 0`` from ``score``, weighted by ``|target|`` (mean weight 1).

    The half point makes score 0, which the gate reads as off, as far from on as 1 is from off.
    """
    weight = target.abs()
    margin = (score - 0.5) / width * torch.where(target > 0, 4.0, -4.0)
    return (torch.nn.functional.softplus(-margin) * weight).mean() / weight.mean().clamp(min=1e-12)


def block_loss(predictor: TrainablePredictor, x: Tensor, a: Tensor, d: Tensor) -> Tensor:
    """Sum of both stages' sign losses of one block.

    Args:
        predictor: The block's predictor.
        x: Input of the block, ``[N, C, H, W]``.
        a: What its first activation sees under the true masks, ``[N, M, H, W]``.
        d: What its second activation sees, ``[N, M, P, Q]``.
    """
    z1, z2 = predictor(x)
    return sign_loss(z1, predictor.expand_width, a) + sign_loss(z2, predictor.depthwise_width, d)


def tune(
    predictor: TrainablePredictor,
    batch: Callable[[list[int]], tuple[Tensor, Tensor, Tensor]],
    images: int,
    steps: int,
    *,
    batch_size: int = BATCH_SIZE,
    generator: torch.Generator,
    progress: Callable[[float], None] | None = None,
) -> None:
    """Teach one predictor the signs of its block in Adam steps.

    Args:
        predictor: Of the block.
        batch: Input and both pre-activations under the true masks of these images (as of :func:`block_loss`).
        images: How many there are.
        steps: How many steps; 0 leaves the predictor as it is.
        batch_size: Images of a step.
        generator: Of the order of the images.
        progress: Called with the loss after every step.
    """
    optimizer = torch.optim.Adam(predictor.parameters(), LEARNING_RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, max(1, steps))
    order: list[int] = []
    for _ in range(steps):
        while len(order) < batch_size:
            order += torch.randperm(images, generator=generator).tolist()
        with torch.no_grad():
            x, a, d = batch(order[:batch_size])
        order = order[batch_size:]
        optimizer.zero_grad()
        with torch.enable_grad():
            loss = block_loss(predictor, x, a, d)
            loss.backward()
        optimizer.step()
        schedule.step()
        if progress is not None:
            progress(float(loss.detach()))


def layerwise_loss(model: nn.Module, images: Tensor) -> Tensor:
    """Sum over the blocks of both stages' sign losses, the blocks fed by the network with true masks.

    Needs no labels. Only the predictors get gradients.

    Args:
        model: A registered network whose blocks have predictors, in evaluation mode, or any model after
            :func:`predfuse.predictor.prepare.prepare` (run in evaluation mode here).
        images: ``[N, C, H, W]``, normalised.

    Raises:
        InputError: The model has no predictors.

    Source:
        docs/explanation/zoo.md, Recipe.

    Example:
        >>> predfuse.layerwise_loss(prepared, images).backward()
    """
    if isinstance(model, Cnn):
        return _registered_loss(model, images)
    losses: list[Tensor] = []

    def add(gate: Gate, seen: Observation) -> None:
        with torch.enable_grad():
            losses.append(block_loss(gate.predictor, seen.x, seen.a, seen.d))

    observe(model, images, add)
    if not losses:
        raise InputError(f"model {type(model).__name__}", "has no predictors", "prepare it first")
    return torch.stack(losses).sum()


def _registered_loss(model: Cnn, images: Tensor) -> Tensor:
    total = images.new_zeros(())

    def call(layer: nn.Module, *inputs: Tensor) -> Tensor:
        nonlocal total
        if isinstance(layer, BottleneckUnit) and layer.predictor is not None:
            loss, y = layer.layerwise(inputs[0], block_loss)
            total = total + loss
            return y
        with torch.no_grad():
            result: Tensor = layer(*inputs)
        return result

    model.through(images, call)
    return total
