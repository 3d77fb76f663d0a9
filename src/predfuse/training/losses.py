"""What the stages minimise: cross entropy to labels, to a teacher's scores, and distance from a guide's features."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from predfuse.models.layers import BottleneckUnit, Cnn, norm_names
from predfuse.predictor.errors import relative_error
from predfuse.predictor.gates import evaluation
from predfuse.predictor.layerwise import block_loss
from predfuse.training.config import DistilledConfig

Loss = Callable[[Cnn, Tensor, Tensor], Tensor]
"""Of a model, normalised images ``[N, C, H, W]`` and labels ``[N]``."""


def cross_entropy(smoothing: float) -> Loss:
    """The end-to-end loss as the stages take it."""

    def loss(model: Cnn, images: Tensor, labels: Tensor) -> Tensor:
        return nn.functional.cross_entropy(model(images), labels, label_smoothing=smoothing)

    return loss


def distillation(config: DistilledConfig, teacher: Cnn | None = None, guide: Cnn | None = None) -> Loss:
    """Cross entropy to the labels and to the softened scores of ``teacher``, and distance from ``guide``'s features.

    ``(1 - w) * CE(labels) + w * T^2 * KL(teacher / T || model / T)``, Hinton et al. 2015 (arXiv 1503.02531), section 2,
    plus ``v`` times :func:`feature_distance` of all blocks' outputs, the hints of Romero et al. 2015 (arXiv 1412.6550)
    without a regressor in between, for both networks have the same blocks. With ``distillation_ensemble`` the scores
    learnt from are the mean of ``teacher``'s and ``guide``'s. Neither of the two is trained; both stay in evaluation
    mode. The teacher's batch norms are folded here unless its blocks have kernels.

    Args:
        config: ``w`` (``distillation_weight``), ``T`` (``distillation_temperature``) and ``v`` (``feature_weight``).
        teacher: Needed if ``w`` is not 0.
        guide: Needed if ``v`` is not 0, or for an ensemble; runs with its blocks' kernels where it has some.
    """
    weight, temperature = config.distillation_weight, config.distillation_temperature
    if teacher is not None:
        teacher.eval().requires_grad_(False)
        if all(block.kernel is None for _, block in teacher.bottlenecks()):
            fold_norms(teacher)
    if guide is not None:
        guide.eval().requires_grad_(False)

    def loss(model: Cnn, images: Tensor, labels: Tensor) -> Tensor:
        scores, features = block_outputs(model, images)
        total = nn.functional.cross_entropy(scores, labels, label_smoothing=config.label_smoothing)
        # without no_grad: nothing in it asks for gradients, and its kernels run only where they are enabled
        guided, wanted = (None, []) if guide is None else block_outputs(guide, images)
        if weight:
            assert teacher is not None
            targets = [teacher(images)]
            if config.distillation_ensemble:
                assert guided is not None
                targets.append(guided)
            target = nn.functional.log_softmax(torch.stack(targets).mean(0) / temperature, 1)
            soft = nn.functional.log_softmax(scores / temperature, 1)
            divergence = nn.functional.kl_div(soft, target, reduction="batchmean", log_target=True)
            total = (1 - weight) * total + weight * temperature**2 * divergence
        if config.feature_weight:
            total = total + config.feature_weight * feature_distance(features, wanted)
        return total

    return loss


def with_signs(loss: Loss, share: float, model: Cnn) -> Loss:
    """``loss``, and the predictors' sign losses of their own blocks on the first images of the batch.

    As the layer-wise loss, but every block reads what it gets in the network as it is, predicted masks and all; see
    :func:`predfuse.predictor.layerwise.block_loss`. Only the predictors get gradients of it.

    Args:
        loss: Of the whole network; its gradients are not to reach the predictors (``surrogate`` of the blocks).
        share: Of the batch, 0 (excluded) to 1.
        model: The network it will be used for; hooks that stay in it keep what its blocks read last.
    """
    blocks = [block for _, block in model.bottlenecks() if block.predictor is not None]
    read: list[Tensor] = [torch.empty(0)] * len(blocks)

    def keep(index: int, _: nn.Module, arguments: tuple[Tensor, ...]) -> None:
        read[index] = arguments[0].detach()

    for index, block in enumerate(blocks):
        block.register_forward_pre_hook(partial(keep, index))

    def added(model: Cnn, images: Tensor, labels: Tensor) -> Tensor:
        count = max(1, round(share * len(images)))
        total = loss(model, images, labels)
        for block, x in zip(blocks, read, strict=True):
            with evaluation(block):
                total = total + block.layerwise(x[:count], block_loss)[0]
        return total

    return added


def block_outputs(model: Cnn, images: Tensor) -> tuple[Tensor, list[Tensor]]:
    """Scores ``[N, classes]`` of a model, and what each of its blocks puts out, ``[N, O, P, Q]``."""
    found = []

    def call(layer: nn.Module, *inputs: Tensor) -> Tensor:
        y: Tensor = layer(*inputs)
        if isinstance(layer, BottleneckUnit):
            found.append(y)
        return y

    return model.through(images, call), found


def feature_distance(found: Sequence[Tensor], wanted: Sequence[Tensor]) -> Tensor:
    """Mean over the blocks of the outputs' :func:`predfuse.predictor.errors.relative_error`."""
    return torch.stack([relative_error(x, target) for x, target in zip(found, wanted, strict=True)]).mean()


@torch.no_grad()
def fold_norms(model: Cnn) -> None:
    """Fold the norms of a model in evaluation mode, in place, into the convolutions before them."""
    for layer in model.layers:
        for name, norm in norm_names(layer).items():
            setattr(layer, name, fuse_conv_bn_eval(getattr(layer, name), getattr(layer, norm)))
            setattr(layer, norm, nn.Identity())
