"""Where a predictor's errors come from: its ternary weights or its 4-bit activations, measured by what they do."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from predfuse.models.layers import BottleneckUnit, Cnn
from predfuse.predictor.initialise import HIDDEN_QUANTILE, folded_weights, initial_predictor, input_exponent
from predfuse.predictor.ternary import ternary


@dataclass(frozen=True)
class BlockErrors:
    """What wrong masks do to one block that gets the inputs it has under true masks.

    All are squared errors of what its project convolution puts out, over the variance of that.

    Attributes:
        block: Name of the layer.
        weights: Ternary weights as the paper makes them of the block's, all activations floats.
        activations: The block's own weights, activations of few bits.
        both: The initial predictor: ternary weights on activations of few bits.
        own: The predictor the block has; None if it has none.
    """

    block: str
    weights: float
    activations: float
    both: float
    own: float | None


@torch.no_grad()
def predictor_errors(model: Cnn, images: Tensor, bits: int = 4) -> list[BlockErrors]:
    """The errors of every block's predictor, its own and those made of its weights.

    Args:
        model: A registered network, with predictors or without; left in evaluation mode.
        images: ``[N, C, H, W]``, normalised.
        bits: Of the predictors' activations.
    """
    found = []
    x = images
    for name, layer in model.eval().layers.named_children():
        if not isinstance(layer, BottleneckUnit):
            x = layer(x)
            continue
        found.append(_block_errors(name, layer, x, bits))
        own, layer.predictor = layer.predictor, None
        try:
            x = layer(x)
        finally:
            layer.predictor = own
    return found


def _block_errors(name: str, block: BottleneckUnit, x: Tensor, bits: int) -> BlockErrors:
    initial = initial_predictor(block, x, bits)
    low, high = initial.input_range
    step = 2.0 ** input_exponent(x, low, high)
    coarse = ((x / step).floor().clamp(low, high) + 0.5) * step
    expand, depthwise = (_ternary_folded(weight) for weight in folded_weights(block))
    rough = nn.functional.conv2d(x, expand, _shift(block.expand_norm), groups=block.groups)
    a = block.expand_norm(block.expand(coarse))
    return BlockErrors(
        block=name,
        weights=_damage(block, x, rough, _filtered(block, rough.relu(), depthwise)),
        activations=_damage(block, x, a, block.depthwise_norm(block.depthwise(_coarse_hidden(a, bits)))),
        both=_damage(block, x, *initial(x)),
        own=None if block.predictor is None else _damage(block, x, *block.predictor(x)),
    )


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


def _ternary_folded(weight: Tensor) -> Tensor:
    """Ternary weights times the mean magnitude of those that stay, per filter."""
    signs = ternary(weight)
    factor = (weight.abs() * signs.abs()).flatten(1).sum(1) / signs.abs().flatten(1).sum(1).clamp(min=1)
    return signs * factor.view(-1, *[1] * (weight.dim() - 1))


def _coarse_hidden(a: Tensor, bits: int) -> Tensor:
    """``relu(a)`` in few bits, its step a power of two per channel, as the first stage's shift makes it."""
    levels = 1 << bits
    flat = a.clamp(min=0).transpose(0, 1).flatten(1)
    top = torch.quantile(flat[:, :: max(1, flat.shape[1] // 100_000)], HIDDEN_QUANTILE, dim=1).clamp(min=1e-6)
    step = torch.exp2((top / levels).log2().ceil()).view(1, -1, 1, 1)
    return torch.where(a > 0, ((a / step).floor().clamp(0, levels - 1) + 0.5) * step, 0.0)


def _damage(block: BottleneckUnit, x: Tensor, score1: Tensor, score2: Tensor) -> float:
    """What project puts out with the masks ``score > 0`` instead of the true ones."""
    a, d = block.pre_activations(x)
    wanted = block.project(d.relu())
    gated = block.depthwise_norm(block.depthwise(a * (score1 > 0)))
    found = block.project(gated * (score2 > 0))
    spread = (wanted - wanted.mean((0, 2, 3), keepdim=True)).square().mean()
    return float((found - wanted).square().mean() / spread.clamp(min=1e-12))
