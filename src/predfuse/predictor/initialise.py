"""Initial predictors from trained blocks: batch norms become offsets and shifts, ranges come from real inputs."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from predfuse.models.layers import BottleneckUnit, Cnn, padding_of
from predfuse.models.norms import Norm
from predfuse.predictor.format import PUBLISHED_FORMAT, PredictorFormat
from predfuse.predictor.trainable import (
    TrainablePredictor,
    nearest_power,
    power_bounds,
    ternary_step,
    whole_weights,
)

HIDDEN_QUANTILE = 0.995
"""The first stage's shift is the smallest that clips less than the rest of its positive outputs."""

SIGN_WIDTH = 4 / 1.702
"""Width of the sign loss for an error of deviation 1: 4 over the logistic slope nearest to the normal distribution."""

FRACTIONS = 8
"""Exponents that need not be whole are tried in steps of one part in this many."""


def input_exponent(x: Tensor, low: int, high: int, fractions: int = 1) -> float:
    """The exponent whose quantiser ``clamp(floor(x / 2**e), low, high)`` has the least squared error.

    Every code stands for the middle of its step.

    Args:
        x: Values to be quantised.
        low: Smallest code.
        high: Largest code.
        fractions: Exponents are multiples of one part in so many; 1: whole.
    """
    magnitude = float(x.abs().max())
    if magnitude == 0:
        return 0
    largest = int(torch.ceil(torch.log2(torch.tensor(magnitude))))
    errors = {}
    for number in range((largest - 8) * fractions, largest * fractions + 1):
        restored = mid_step(x, 2.0 ** (number / fractions), low, high)
        errors[number / fractions] = float((restored - x).square().mean())
    return min(errors, key=errors.__getitem__)


def mid_step(x: Tensor, step: float | Tensor, low: int, high: int) -> Tensor:
    """``x`` as its codes ``clamp(floor(x / step), low, high)`` stand for it: the middles of their steps."""
    return ((x / step).floor().clamp(low, high) + 0.5) * step


def _line(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Per-channel least squares ``y = slope * x + intercept`` over ``[N, M, H, W]``; both results ``[M]``."""
    x_mean, y_mean = x.mean((0, 2, 3)), y.mean((0, 2, 3))
    x_centred, y_centred = x - x_mean.view(1, -1, 1, 1), y - y_mean.view(1, -1, 1, 1)
    variance = x_centred.square().mean((0, 2, 3))
    slope = (x_centred * y_centred).mean((0, 2, 3)) / variance.clamp(min=1e-12)
    return slope, y_mean - slope * x_mean


def _offset(score: Tensor, target: Tensor, largest: float) -> Tensor:
    """Offset ``[M]`` that makes ``score + offset`` change sign where ``target`` does.

    A channel whose score says nothing about the target (all weights zero, say) gets the target's usual sign.
    """
    slope, intercept = _line(score, target)
    usable = slope > 1e-9
    constant = torch.where(target.mean((0, 2, 3)) > 0, largest, -largest)
    return torch.where(usable, (intercept / slope.clamp(min=1e-9)).clamp(-largest, largest), constant)


def _latent(weight: Tensor, largest: int) -> Tensor:
    """Weights ``[M, ...]`` in units of their filter's step."""
    return weight / filter_step(weight, largest).clamp(min=1e-12)


def filter_step(weight: Tensor, largest: int) -> Tensor:
    """What a predictor's weight 1 stands for in each filter, ``[M, 1, ...]``.

    Args:
        weight: The filters, ``[M, ...]``.
        largest: Magnitude of a predictor's weights. 1: the mean magnitude of those that stay by the paper's recipe. 2
            or 4: the step that leaves the least squared error.
    """
    if largest == 1:
        return ternary_step(weight, whole_weights(weight, 1).abs())
    return _least_error_step(weight.abs().flatten(1), largest).view(-1, *[1] * (weight.dim() - 1))


def _least_error_step(magnitude: Tensor, largest: int) -> Tensor:
    """The step ``[M]`` of which the nearest powers of two leave the least squared error of ``magnitude [M, n]``.

    As the step grows, the powers chosen change only where a magnitude lies halfway between two of them. Between such
    steps one choice is best with the step of its least squares, and the best of all of these is what is looked for.
    """
    changes = torch.cat([magnitude / bound for bound in power_bounds(largest)], 1).sort(1).values
    between = torch.cat([changes[:, :1] / 2, (changes[:, 1:] + changes[:, :-1]) / 2], 1)
    best, step = magnitude.new_zeros(len(magnitude)), magnitude.new_zeros(len(magnitude))
    for tried in between.unbind(1):
        powers = nearest_power(magnitude / tried.clamp(min=1e-30).view(-1, 1), largest)
        along, length = (magnitude * powers).sum(1), powers.square().sum(1).clamp(min=1)
        gained = along.square() / length  # the squared error is that of no step at all, less this
        better = gained > best
        best, step = torch.where(better, gained, best), torch.where(better, along / length, step)
    return step


def _slope(norm: Norm | nn.Identity) -> Tensor:
    """Factor ``[M, 1, 1, 1]`` the batch norm multiplies with, in evaluation; 1 where it is folded already."""
    if isinstance(norm, nn.Identity):
        return torch.ones(())
    assert norm.running_var is not None
    return (norm.weight / (norm.running_var + norm.eps).sqrt()).view(-1, 1, 1, 1)


def hidden_top(score: Tensor) -> Tensor:
    """What few positive values of each channel exceed (:data:`HIDDEN_QUANTILE`), ``[M]`` of ``[N, M, H, W]``."""
    flat = score.clamp(min=0).transpose(0, 1).flatten(1)
    return torch.quantile(flat[:, :: max(1, flat.shape[1] // 100_000)], HIDDEN_QUANTILE, dim=1)


def _width(score: Tensor, target: Tensor, largest: int) -> Tensor:
    """Half-width ``[1, M, 1, 1]`` of a gate's surrogate gradient and of the sign loss, at least 2 steps of the score.

    Ternary scores: their spread. Those of larger weights, which are closer to the target: the spread of what their
    least-squares line leaves of it, in units of the score, times what makes the logistic function of the sign loss the
    probability of the target's sign. A loss wider than that moves the weights away from the block's.

    Args:
        score: Of the predictor, ``[N, M, H, W]``.
        target: What its sign is to be that of.
        largest: Magnitude of the predictor's weights.
    """
    spread = score.std((0, 2, 3), unbiased=False)
    if largest > 1:
        slope, intercept = (each.view(1, -1, 1, 1) for each in _line(score, target))
        left = (target - slope * score - intercept).std((0, 2, 3), unbiased=False)
        spread = spread.minimum(SIGN_WIDTH * left / slope.flatten().clamp(min=1e-9))
    return spread.clamp(min=2.0).view(1, -1, 1, 1)


def empty_predictor(block: BottleneckUnit, format: PredictorFormat = PUBLISHED_FORMAT) -> TrainablePredictor:
    """A predictor of the block's shape with everything zero."""
    return TrainablePredictor(
        block.expand.out_channels,
        block.expand.in_channels // block.groups,
        block.depthwise.kernel_size[0],
        block.depthwise.stride[0],
        block.groups,
        format,
        padding_of(block.depthwise),
    )


@torch.no_grad()
def fit_predictor(
    predictor: TrainablePredictor,
    expand_weight: Tensor,
    depthwise_weight: Tensor,
    x: Tensor,
    a: Tensor,
    d: Tensor,
) -> None:
    """Fill a predictor from a trained block and what the block does on some images.

    Weights are the whole numbers nearest to the block's (ternary ones by the paper's recipe) with the sign of the
    batch-norm slope folded in; offsets come from the least-squares line between the score and the true pre-activation,
    so that the sign changes where the batch norm's does; shifts from the range of the first stage.

    Args:
        predictor: Of the block's shape.
        expand_weight: ``[M, C/groups, 1, 1]``, batch norm folded.
        depthwise_weight: ``[M, 1, k, k]``, batch norm folded.
        x: Inputs of the block, ``[N, C, H, W]``.
        a: What its first activation sees under the true masks, ``[N, M, H, W]``.
        d: What its second activation sees, ``[N, M, P, Q]``.
    """
    whole = predictor.format.scales == "power-of-two"
    weight = predictor.format.largest_weight
    predictor.expand_weight.copy_(_latent(expand_weight, weight))
    predictor.depthwise_weight.copy_(_latent(depthwise_weight, weight))
    predictor.input_exponent.fill_(input_exponent(x, *predictor.input_range, 1 if whole else FRACTIONS))
    predictor.expand_offset.zero_()
    predictor.depthwise_offset.zero_()

    largest = float(weight * predictor.hidden_max * predictor.expand_weight.shape[1])
    predictor.expand_offset.copy_(_offset(predictor.expand_score(x), a, largest))
    z1 = predictor.expand_score(x)
    shift = (hidden_top(z1) + 1).div(predictor.hidden_max + 1).clamp(min=1).log2()
    predictor.shift.copy_(shift.ceil() if whole else shift)
    predictor.expand_width.copy_(_width(z1, a, weight))

    largest = float(weight * predictor.hidden_max * predictor.depthwise_weight[0].numel())
    q1 = predictor.hidden(z1)
    predictor.depthwise_offset.copy_(_offset(predictor.depthwise_score(q1), d, largest))
    predictor.depthwise_width.copy_(_width(predictor.depthwise_score(q1), d, weight))


@torch.no_grad()
def initial_predictor(
    block: BottleneckUnit, x: Tensor, format: PredictorFormat = PUBLISHED_FORMAT
) -> TrainablePredictor:
    """A predictor for ``block`` (in evaluation mode) from its trained weights and inputs ``x [N, C, H, W]``."""
    predictor = empty_predictor(block, format).to(block.expand.weight)
    fit_predictor(predictor, *folded_weights(block), x, *block.pre_activations(x))
    return predictor


@torch.no_grad()
def folded_weights(block: BottleneckUnit) -> tuple[Tensor, Tensor]:
    """Expand and depthwise weights of a block times the slopes of the batch norms after them."""
    return block.expand.weight * _slope(block.expand_norm), block.depthwise.weight * _slope(block.depthwise_norm)


@torch.no_grad()
def insert_predictors(model: Cnn, images: Tensor, format: PredictorFormat = PUBLISHED_FORMAT) -> None:
    """Give every block of ``model`` an initial predictor, calibrated on normalised ``images [N, C, H, W]``.

    Every block is calibrated on the inputs it gets while all blocks before it use their true masks.

    Args:
        model: The network.
        images: ``[N, C, H, W]``, normalised.
        format: Of the predictors.
    """
    training = model.training
    found = []

    def call(layer: nn.Module, *inputs: Tensor) -> Tensor:
        if isinstance(layer, BottleneckUnit):
            found.append((layer, initial_predictor(layer, inputs[0], format)))
        result: Tensor = layer(*inputs)
        return result

    model.eval().through(images, call)
    for block, predictor in found:
        block.predictor = predictor
    model.train(training)


def attach_empty_predictors(model: Cnn, format: PredictorFormat = PUBLISHED_FORMAT) -> None:
    """Give every block an uninitialised predictor, to be filled from a checkpoint."""
    for _, block in model.bottlenecks():
        block.predictor = empty_predictor(block, format)
