"""The trainable predictor: float simulation of the integer predictor, exact in its forward pass.

Forward it computes precisely the integers of :class:`predfuse.graph.nodes.Predictor` ("arithmetic: predictor"; all
values stay below 2**24, where float32 is exact). Backward it uses straight-through estimators: the identity for whole
weights, rounding and flooring, and a triangular bump for the gate.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from predfuse.errors import InputError
from predfuse.graph.nodes import Padding, Predictor
from predfuse.predictor.format import PUBLISHED_FORMAT, PredictorFormat

TERNARY_THRESHOLD = 0.7
"""Ternary weights keep what exceeds this fraction of the filter's mean magnitude (reference recipe of the paper)."""


class _WholeWeights(torch.autograd.Function):
    """Ternary weights, or the nearest of 0 and powers of two; gradient passes unchanged."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, largest: int) -> Tensor:
        magnitude = weight.abs()
        if largest > 1:
            return weight.sign() * nearest_power(magnitude, largest)
        threshold = TERNARY_THRESHOLD * magnitude.flatten(1).mean(1).view(-1, *[1] * (weight.dim() - 1))
        return weight.sign() * (magnitude > threshold)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient, None


def nearest_power(magnitude: Tensor, largest: int) -> Tensor:
    """Round each magnitude to the nearest of 0, 1, 2, ... ``largest`` (powers of two); halfway to the smaller."""
    steps = [magnitude > bound for bound in power_bounds(largest)]
    weight = steps[0].to(magnitude.dtype)
    for reached in steps[1:]:
        weight = torch.where(reached, 2 * weight, weight)
    return weight


def power_bounds(largest: int) -> list[float]:
    """What lies halfway between 0, 1, 2, ... ``largest``: 0.5, 1.5, 3, ..."""
    return [0.5, *(1.5 * (1 << power) for power in range(largest.bit_length() - 1))]


class _Round(torch.autograd.Function):
    """Round to the nearest integer; gradient passes unchanged."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.round()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return gradient


class _Quantise(torch.autograd.Function):
    """``clamp(floor(x * scale), low, high)``; gradient ``scale`` inside the range, 0 outside."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: Tensor, low: int, high: int) -> Tensor:
        scaled = x * scale
        ctx.save_for_backward(scaled, scale)
        ctx.low, ctx.high = low, high
        return scaled.floor().clamp_(low, high)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None]:
        scaled, scale = ctx.saved_tensors
        return _quantise_gradient(gradient, scaled, scale, ctx.low, ctx.high), None, None, None


def _quantise_gradient(gradient: Tensor, scaled: Tensor, scale: Tensor, low: int, high: int) -> Tensor:
    # one pass for gradient * ((scaled >= low) & (scaled < high + 1)): torch's bounds are both exclusive
    below_low = float(np.nextafter(np.float32(low), np.float32(-np.inf)))
    inside: Tensor = torch.ops.aten.hardtanh_backward(gradient, scaled, below_low, high + 1)
    return inside.mul_(scale)


class _Gate(torch.autograd.Function):
    """``a * (score > 0)``; the score's gradient is that of a step smoothed to a triangle of half-width ``width``."""

    @staticmethod
    def forward(ctx: Any, a: Tensor, score: Tensor, width: Tensor) -> Tensor:
        ctx.save_for_backward(a, score, width)
        return _where_positive(a, score)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None]:
        a, score, width = ctx.saved_tensors
        inverse = 1 / width
        bump = (score * inverse).abs_().neg_().add_(1).clamp_(min=0).mul_(inverse)
        return _where_positive(gradient, score), bump.mul_(gradient).mul_(a), None


def _where_positive(x: Tensor, score: Tensor) -> Tensor:
    """``x * (score > 0)`` in one pass without a mask in between."""
    result: Tensor = torch.ops.aten.threshold_backward(x, score, 0)
    return result


def whole_weights(latent: Tensor, largest: int) -> Tensor:
    """A predictor's weights of latent ones ``[M, ...]``, with straight-through gradient.

    Args:
        latent: In units of the filter's step.
        largest: 1: the sign of what exceeds 0.7 times the filter's mean magnitude, else 0. 2 or 4: the nearest of 0,
            1, 2 (and 4), with sign.
    """
    result: Tensor = _WholeWeights.apply(latent, largest)  # type: ignore[no-untyped-call]
    return result


def ternary_step(weight: Tensor, alive: Tensor) -> Tensor:
    """Mean magnitude of each filter's weights that stay, ``[M, 1, ...]``; 0 where none does."""
    step = (weight.abs() * alive).flatten(1).sum(1) / alive.flatten(1).sum(1).clamp(min=1)
    return step.view(-1, *[1] * (weight.dim() - 1))


def _rounded(x: Tensor) -> Tensor:
    result: Tensor = _Round.apply(x)  # type: ignore[no-untyped-call]
    return result


def _quantise(x: Tensor, scale: Tensor, low: int, high: int) -> Tensor:
    result: Tensor = _Quantise.apply(x, scale, low, high)  # type: ignore[no-untyped-call]
    return result


def _power_of_two(exponent: Tensor, like: Tensor) -> Tensor:
    return torch.ldexp(torch.ones_like(exponent, dtype=like.dtype), exponent)


class TrainablePredictor(nn.Module):
    """Predicts the two masks of one block from its input, without multiplications.

    Attributes:
        padding: ``(top, bottom, left, right)`` pixels of the depthwise stage; half the kernel by default.
        expand_weight: Latent ``[M, C/groups, 1, 1]``, in units of the step of its filter.
        expand_offset: Latent ``[M]``, in units of ``t1``.
        depthwise_weight: Latent ``[M, 1, k, k]``.
        depthwise_offset: Latent ``[M]``, in units of ``t2``.
        input_exponent: Power of two of the input quantiser, one per block.
        shift: ``[M]`` right shifts of the first stage.
        format: What its numbers are.
        expand_width, depthwise_width: ``[1, M, 1, 1]`` half-widths of the gates' surrogate gradients.
    """

    expand_width: Tensor
    depthwise_width: Tensor
    input_exponent: Tensor
    shift: Tensor

    def __init__(
        self,
        middle: int,
        group_channels: int,
        kernel: int,
        stride: int,
        groups: int,
        format: PredictorFormat = PUBLISHED_FORMAT,
        padding: Padding | None = None,
    ) -> None:
        super().__init__()
        self.stride, self.groups, self.format = stride, groups, format
        self.padding: Padding = (kernel // 2,) * 4 if padding is None else padding
        self.expand_weight = nn.Parameter(torch.zeros(middle, group_channels, 1, 1))
        self.expand_offset = nn.Parameter(torch.zeros(middle))
        self.depthwise_weight = nn.Parameter(torch.zeros(middle, 1, kernel, kernel))
        self.depthwise_offset = nn.Parameter(torch.zeros(middle))
        exponents = torch.int32 if format.scales == "power-of-two" else torch.float32
        self.register_buffer("input_exponent", torch.zeros((), dtype=exponents))
        self.register_buffer("shift", torch.zeros(middle, dtype=exponents))
        self.register_buffer("expand_width", torch.ones(1, middle, 1, 1))
        self.register_buffer("depthwise_width", torch.ones(1, middle, 1, 1))

    @property
    def input_range(self) -> tuple[int, int]:
        """Smallest and largest quantised input (-8 and 7 for 4 bits)."""
        return -(1 << (self.format.bits - 1)), (1 << (self.format.bits - 1)) - 1

    @property
    def hidden_max(self) -> int:
        """Largest quantised first-stage output (15 for 4 bits)."""
        return (1 << self.format.bits) - 1

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Scores of both gates, integers in float: ``z1 [N, M, H, W]`` and ``z2 [N, M, P, Q]``; on where > 0."""
        z1 = self.expand_score(x)
        return z1, self.depthwise_score(self.hidden(z1))

    def quantised(self, x: Tensor) -> Tensor:
        """The block input in any layout, as the predictor reads it."""
        return _quantise(x, _power_of_two(-self.input_exponent, x), *self.input_range)

    def quantised_gradient(self, gradient: Tensor, x: Tensor) -> Tensor:
        """Gradient of ``x`` from that of :meth:`quantised`."""
        scale = _power_of_two(-self.input_exponent, x)
        return _quantise_gradient(gradient, x * scale, scale, *self.input_range)

    def expand_score(self, x: Tensor) -> Tensor:
        """First-stage scores from the block input ``[N, C, H, W]``."""
        return nn.functional.conv2d(self.quantised(x), *self.expand_whole(), groups=self.groups)

    def expand_whole(self) -> tuple[Tensor, Tensor]:
        """The first stage's weights ``[M, C/groups, 1, 1]`` and offsets ``[M]``, whole numbers."""
        return whole_weights(self.expand_weight, self.format.largest_weight), _rounded(self.expand_offset)

    def depthwise_whole(self) -> tuple[Tensor, Tensor]:
        """The second stage's weights ``[M, 1, k, k]`` and offsets ``[M]``, whole numbers."""
        return whole_weights(self.depthwise_weight, self.format.largest_weight), _rounded(self.depthwise_offset)

    def hidden(self, z1: Tensor, image_dimensions: int = 2) -> Tensor:
        """The first stage's clamped, shifted output ``q1``, what the second stage reads.

        Args:
            z1: Scores of the first stage.
            image_dimensions: How many dimensions follow that of the channels.
        """
        scale = _power_of_two(-self.shift, z1).view(-1, *[1] * image_dimensions)
        return _quantise(z1, scale, 0, self.hidden_max)

    def depthwise_score(self, q1: Tensor) -> Tensor:
        """Second-stage scores from the clamped, shifted output of the first."""
        weight, offset = self.depthwise_whole()
        top, bottom, left, right = self.padding
        if top == bottom and left == right:
            return nn.functional.conv2d(q1, weight, offset, self.stride, (top, left), groups=q1.shape[1])
        q1 = nn.functional.pad(q1, (left, right, top, bottom))
        return nn.functional.conv2d(q1, weight, offset, self.stride, groups=q1.shape[1])

    @staticmethod
    def gate(a: Tensor, score: Tensor, width: Tensor) -> Tensor:
        """Let ``a`` through where ``score > 0``; all ``[N, M, H, W]``, ``width`` ``[1, M, 1, 1]``.

        The gradient of the score is that of a step smoothed to a triangle of half-width ``width``.
        """
        result: Tensor = _Gate.apply(a, score, width)  # type: ignore[no-untyped-call]
        return result

    @torch.no_grad()
    def masks(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Both masks as 0 and 1 in the type of ``x``, without gradients: the same as ``score > 0``, in fewer passes.

        The first stage's shift is applied to its weights instead of its outputs: exact, being a power of two.
        """
        if self.format.scales != "power-of-two":
            z1, z2 = self(x)
            return z1.gt_(0), z2.gt_(0)
        scale = _power_of_two(-self.shift, x)
        quantised = (x * _power_of_two(-self.input_exponent, x)).floor_().clamp_(*self.input_range)
        weight, offset = self.expand_whole()
        z1 = nn.functional.conv2d(quantised, weight * scale.view(-1, 1, 1, 1), offset * scale, groups=self.groups)
        z2 = self.depthwise_score(z1.clamp(0, self.hidden_max).floor_())
        return z1.gt_(0), z2.gt_(0)

    @torch.no_grad()
    def to_integers(self) -> Predictor:
        """The integer predictor this module simulates.

        Raises:
            InputError: Its scales are no powers of two.
        """
        if self.format.scales != "power-of-two":
            raise InputError("predictor", "has scales that are no powers of two", "train it with scales: power-of-two")

        def array(tensor: Tensor, dtype: type[np.generic]) -> np.ndarray[Any, Any]:
            return tensor.detach().cpu().numpy().astype(dtype)

        low, high = self.input_range
        (expand, expand_offset), (depthwise, depthwise_offset) = self.expand_whole(), self.depthwise_whole()
        return Predictor(
            input_exponent=int(self.input_exponent),
            expand=array(expand[:, :, 0, 0], np.int8),
            expand_offset=array(expand_offset, np.int32),
            shift=array(self.shift, np.int8),
            depthwise=array(depthwise[:, 0], np.int8),
            depthwise_offset=array(depthwise_offset, np.int32),
            input_min=low,
            input_max=high,
            hidden_max=self.hidden_max,
        )
