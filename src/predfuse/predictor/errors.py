"""Where a predictor's errors come from: its weights or its activations of few bits, measured by what they do."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from predfuse.models.layers import BottleneckUnit, Cnn
from predfuse.predictor.format import PUBLISHED_FORMAT, PredictorFormat
from predfuse.predictor.initialise import filter_step, folded_weights, hidden_top, initial_predictor, mid_step
from predfuse.predictor.trainable import whole_weights


@dataclass(frozen=True)
class BlockErrors:
    """What wrong masks do to one block that gets the inputs it has under true masks.

    All are squared errors of what its project convolution puts out, over the variance of that.

    Attributes:
        block: Name of the layer.
        weights: The predictor's weights as they are made of the block's, all activations floats.
        activations: The block's own weights, activations of few bits.
        both: The initial predictor: its weights on activations of few bits.
        own: The predictor the block has; None if it has none.
    """

    block: str
    weights: float
    activations: float
    both: float
    own: float | None


@torch.no_grad()
def predictor_errors(model: Cnn, images: Tensor, format: PredictorFormat = PUBLISHED_FORMAT) -> list[BlockErrors]:
    """The errors of every block's predictor, its own and those made of its weights.

    Args:
        model: A registered network, with predictors or without; left in evaluation mode.
        images: ``[N, C, H, W]``, normalised.
        format: Of the predictors made of its weights.
    """
    found = []
    names = {block: name for name, block in model.bottlenecks()}

    def call(layer: nn.Module, *inputs: Tensor) -> Tensor:
        if not isinstance(layer, BottleneckUnit):
            result: Tensor = layer(*inputs)
            return result
        found.append(_block_errors(names[layer], layer, inputs[0], format))
        return layer.under_true_masks(inputs[0], layer.pre_activations(inputs[0])[1])

    model.eval().through(images, call)
    return found


def _block_errors(name: str, block: BottleneckUnit, x: Tensor, format: PredictorFormat) -> BlockErrors:
    initial = initial_predictor(block, x, format)
    coarse = mid_step(x, 2.0 ** int(initial.input_exponent), *initial.input_range)
    expand, depthwise = (_whole_folded(weight, format.largest_weight) for weight in folded_weights(block))
    rough = nn.functional.conv2d(x, expand, _shift(block.expand_norm), groups=block.groups)
    near = block.expand_norm(block.expand(coarse))
    a, d = block.pre_activations(x)
    wanted = block.project(d.relu())

    def damage(score1: Tensor, score2: Tensor) -> float:
        gated = block.depthwise_norm(block.depthwise(a * (score1 > 0)))
        return float(relative_error(block.project(gated * (score2 > 0)), wanted))

    return BlockErrors(
        block=name,
        weights=damage(rough, _filtered(block, rough.relu(), depthwise)),
        activations=damage(near, block.depthwise_norm(block.depthwise(_coarse_hidden(near, format.bits)))),
        both=damage(*initial(x)),
        own=None if block.predictor is None else damage(*block.predictor(x)),
    )


def relative_error(x: Tensor, wanted: Tensor) -> Tensor:
    """Squared error over the variance of what is wanted about its channels' means, both ``[N, O, P, Q]``."""
    spread = (wanted - wanted.mean((0, 2, 3), keepdim=True)).square().mean().clamp(min=1e-12)
    return (x - wanted).square().mean() / spread


def _filtered(block: BottleneckUnit, h: Tensor, weight: Tensor) -> Tensor:
    """The depthwise convolution with other weights, batch norm folded into them."""
    layer = block.depthwise
    shift = _shift(block.depthwise_norm)
    return nn.functional.conv2d(h, weight, shift, layer.stride, layer.padding, groups=layer.groups)


def _shift(norm: nn.Module) -> Tensor:
    """What a norm in evaluation mode adds, ``[M]``."""
    mean = norm.running_mean
    assert isinstance(mean, Tensor)
    shift: Tensor = norm(torch.zeros_like(mean).view(1, -1, 1, 1)).flatten()
    return shift


def _whole_folded(weight: Tensor, largest: int) -> Tensor:
    """A predictor's weights times what its weight 1 stands for, per filter."""
    step = filter_step(weight, largest)
    return whole_weights(weight / step.clamp(min=1e-12), largest) * step


def _coarse_hidden(a: Tensor, bits: int) -> Tensor:
    """``relu(a)`` in few bits, its step a power of two per channel, as the first stage's shift makes it."""
    levels = 1 << bits
    step = torch.exp2((hidden_top(a).clamp(min=1e-6) / levels).log2().ceil()).view(1, -1, 1, 1)
    return torch.where(a > 0, mid_step(a, step, 0, levels - 1), 0.0)
