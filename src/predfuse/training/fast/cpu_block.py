"""Bottleneck blocks trained a middle channel at a time: the same values as the layers of PyTorch, to rounding."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from predfuse.errors import PredfuseError
from predfuse.models.layers import BottleneckUnit
from predfuse.predictor.trainable import TrainablePredictor, whole_weights
from predfuse.training.fast.block_layout import SKEW, Layout
from predfuse.training.fast.block_norms import NormStatistics, norm_statistics, update_running
from predfuse.training.fast.native_block import GATED, GRADIENTS, LINEAR, RELU, RELU6, Values, run

_CODES = {"linear": LINEAR, "relu": RELU, "relu6": RELU6}


@lru_cache(maxsize=64)
def _layout(images: int, height: int, width: int, kernel: int, stride: int) -> Layout:
    return Layout(images, height, width, kernel, stride)


@dataclass
class _Call:
    """What forward leaves for backward besides tensors."""

    layout: Layout
    groups: int
    codes: tuple[int, int]
    first: NormStatistics
    second: NormStatistics
    predictor: TrainablePredictor | None
    surrogate: bool = True
    moments: tuple[Tensor, Tensor] | None = None
    block: Values | None = None


def _moments(pixels: Tensor, groups: int) -> tuple[Tensor, Tensor]:
    """Mean ``[C]`` of pixels ``[C, P]`` and second moments ``[g, C/g, C/g]`` of each group's channels, in 64 bits."""
    count = pixels.shape[1]
    mean = pixels.sum(1, dtype=torch.float64) / count
    centred = (pixels - mean.float().view(-1, 1)).view(groups, -1, count)
    covariance = torch.bmm(centred, centred.transpose(1, 2)).double() / count
    grouped = mean.float().double().view(groups, -1, 1)
    return mean, covariance + grouped * grouped.transpose(1, 2)


def _of_groups(weight: Tensor, groups: int) -> Tensor:
    return weight.double().view(groups, weight.shape[0] // groups, -1)


def _arrays(call: _Call, rows: Tensor, weights: tuple[Tensor, ...], latents: tuple[Tensor, ...]) -> Values:
    """A block as the loops read it.

    Args:
        call: Its form and statistics; the loops write those of the depthwise norm there.
        rows: Its inputs, flat.
        weights: Folded expand and its shift, depthwise, factor and bias of the depthwise norm, project.
        latents: Latent weights and offsets of its predictor.
    """
    layout, groups, second = call.layout, call.groups, call.second
    expand, shift, depthwise, gamma, beta, project = (weight.detach() for weight in weights)
    by_middle = project.flatten(1).view(groups, -1, len(expand) // groups).transpose(1, 2).flatten(0, 1)
    arrays: Values = {
        "x": rows,
        "inside": layout.inside,
        "expand": expand.float(),
        "expand_shift": shift.float(),
        "depthwise": depthwise.flatten(1),
        "gamma": gamma.double(),
        "beta": beta.double() * second.shifted,
        "shifted": second.shifted,
        "mean": second.mean,
        "variance": second.variance,
        "project": by_middle,
        **_of_predictor(call.predictor, rows, latents),
    }
    return {name: value.contiguous() for name, value in arrays.items()} | {
        "images": layout.padded_images,
        "height": layout.height,
        "width": layout.width,
        "kernel": layout.kernel,
        "stride": layout.stride,
        "groups": groups,
        "in_pitch": rows.shape[1],
        "out_pitch": layout.length(layout.stride) + SKEW,
        "middle": len(expand),
        "inputs": expand.shape[1],
        "outputs": by_middle.shape[1],
        "first_code": call.codes[0],
        "second_code": call.codes[1],
        "predicted": call.predictor is not None,
        "surrogate": call.predictor is not None and call.surrogate,
        "use_batch": second.from_batch,
        "hidden_max": 0 if call.predictor is None else call.predictor.hidden_max,
        "eps": second.eps,
        "count": layout.outputs,
    }


def _of_predictor(predictor: TrainablePredictor | None, rows: Tensor, latents: tuple[Tensor, ...]) -> dict[str, Tensor]:
    """The predictor's arrays; none without one."""
    if predictor is None:
        return {}
    expand, offset, depthwise, tap_offset = (latent.detach() for latent in latents)
    largest = predictor.format.largest_weight
    return {
        "xq": predictor.quantised(rows),
        "whole_expand": whole_weights(expand, largest).flatten(1),
        "expand_offset": offset.round(),
        "hidden_scale": torch.exp2(-predictor.shift.to(rows.dtype)),
        "whole_depthwise": whole_weights(depthwise, largest).flatten(1),
        "depthwise_offset": tap_offset.round(),
        "expand_width": predictor.expand_width.flatten(),
        "depthwise_width": predictor.depthwise_width.flatten(),
    }


class _Block(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        call: _Call,
        x: Tensor,
        expand: Tensor,
        gamma1: Tensor,
        beta1: Tensor,
        depthwise: Tensor,
        gamma2: Tensor,
        beta2: Tensor,
        project: Tensor,
        *latents: Tensor,
    ) -> Tensor:
        layout, groups, first = call.layout, call.groups, call.first
        rows = layout.flatten(x)
        weight = expand.flatten(1)
        if first.from_batch:
            call.moments = _moments(layout.pixels_of(rows), groups)
            mean, second_moment = call.moments
            by_group = _of_groups(weight, groups)
            first.mean = torch.bmm(by_group, mean.view(groups, -1, 1)).flatten()
            square = (torch.bmm(by_group, second_moment) * by_group).sum(2).flatten()
            first.mean = first.mean * first.shifted
            first.variance = (square - first.mean.square()).clamp(min=0)
        factor, shift = first.factor_and_shift(gamma1, beta1)
        weights = (weight.double() * factor.view(-1, 1), shift, depthwise, gamma2, beta2, project)
        block = call.block = _arrays(call, rows, weights, latents)
        y = layout.rows(project.shape[0], layout.stride)
        run("forward", block, y)
        ctx.call = call
        ctx.save_for_backward(expand, gamma1, project)
        return layout.unflatten(y, layout.stride)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        expand, gamma1, project = ctx.saved_tensors
        call: _Call = ctx.call
        layout, groups, first, predictor = call.layout, call.groups, call.first, call.predictor
        middle = expand.shape[0]
        block = call.block
        if block is None:
            raise PredfuseError("a block was differentiated twice; run it forward again")
        rows = block["x"]
        found = {
            name: torch.zeros_like(block[name], dtype=torch.float32 if name in ("x", "xq") else torch.float64)
            for name in GRADIENTS["backward"]
            if name in block
        }
        y = layout.flatten(gradient, layout.stride)
        run("backward", block, y, found)
        expand_gradient, gamma1_gradient = _through_expand_norm(call, expand, gamma1, rows, found)
        latents: tuple[Tensor | None, ...] = () if predictor is None else (None,) * 4
        if predictor is not None and call.surrogate:
            found["x"] += predictor.quantised_gradient(found["xq"], rows)
            latents = (
                found["whole_expand"].float().view_as(predictor.expand_weight),
                found["expand_offset"].float(),
                found["whole_depthwise"].float().view_as(predictor.depthwise_weight),
                found["depthwise_offset"].float(),
            )
        by_output = found["project"].float().view(groups, middle // groups, -1).transpose(1, 2)
        call.block = None
        return (
            None,
            layout.unflatten(found["x"]),
            expand_gradient,
            gamma1_gradient,
            (found["expand_shift"] * first.shifted).float(),
            found["depthwise"].float().view(middle, 1, layout.kernel, layout.kernel),
            found["gamma"].float(),
            (found["beta"] * call.second.shifted).float(),
            by_output.reshape_as(project),
            *latents,
        )


def _through_expand_norm(
    call: _Call, expand: Tensor, gamma: Tensor, rows: Tensor, found: dict[str, Tensor]
) -> tuple[Tensor, Tensor]:
    """Gradients of the expand weights and of its norm's factor; completes that of the inputs.

    The expand output is linear in the inputs, so that what goes through the statistics needs no pass over it: only the
    moments of the inputs.
    """
    first, groups = call.first, call.groups
    weight = expand.flatten(1).double()
    deviation = first.deviation
    factor = gamma.double() / deviation
    total, by_input = found["expand_shift"], found["expand"]
    along = ((weight * by_input).sum(1) - first.mean * total) / deviation  # sum of gradient * normalised value
    gradient = by_input
    if first.from_batch:
        assert call.moments is not None
        count = call.layout.pixels
        mean, second_moment = call.moments
        c1, c2 = total * first.shifted / count, along / count
        grouped = weight.view(groups, -1, weight.shape[1])
        inputs = mean.view(groups, 1, -1).expand(-1, grouped.shape[1], -1).reshape_as(weight)
        mixed = torch.bmm(grouped, second_moment).reshape_as(weight)
        mixed = (mixed - first.mean.view(-1, 1) * inputs) / deviation.view(-1, 1)
        gradient = by_input - count * (c1.view(-1, 1) * inputs + c2.view(-1, 1) * mixed)
        scaled = weight * factor.view(-1, 1)
        slope = torch.bmm(
            scaled.view_as(grouped).transpose(1, 2), (weight * (c2 / deviation).view(-1, 1)).view_as(grouped)
        )
        constant = (scaled * (c1 - c2 * first.mean / deviation).view(-1, 1)).view_as(grouped).sum(1).flatten()
        by_group = rows.view(groups, -1, rows.shape[1])
        found["x"].view_as(by_group).baddbmm_(slope.float(), by_group, alpha=-1)
        found["x"] -= constant.float().view(-1, 1)
    gradient = gradient * factor.view(-1, 1) * (weight != 0)
    return gradient.float().view_as(expand), along.float()


class _SignLoss(torch.autograd.Function):
    """A loss whose gradients by a predictor's latents are known already."""

    @staticmethod
    def forward(ctx: Any, loss: Tensor, gradients: tuple[Tensor, ...], *latents: Tensor) -> Tensor:
        ctx.gradients = gradients
        return loss.clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        return None, None, *(gradient * each for each in ctx.gradients)


class ChannelwiseBlock:
    """Trains a block a middle channel at a time; see :class:`predfuse.models.layers.BlockKernel`.

    Gradients of weights that are exactly zero are zero: pruned weights stay pruned and cost nothing.
    """

    def project(self, block: BottleneckUnit, x: Tensor) -> Tensor:
        """What ``block.project`` puts out in training, before its norm; updates running statistics."""
        predictor = block.predictor
        activations = (block.expand_activation, block.depthwise_activation)
        codes = [
            GATED if predictor is not None and activation != "linear" else _CODES[activation]
            for activation in activations
        ]
        call = _call(block, x, (codes[0], codes[1]), predictor if GATED in codes else None)
        norms = (block.expand_norm, block.depthwise_norm)
        result: Tensor = _Block.apply(  # type: ignore[no-untyped-call]
            call,
            x,
            block.expand.weight,
            norms[0].weight,
            norms[0].bias,
            block.depthwise.weight,
            norms[1].weight,
            norms[1].bias,
            block.project.weight,
            *_latents(call.predictor),
        )
        counts = (call.layout.pixels, call.layout.outputs)
        for norm, found, count in zip(norms, (call.first, call.second), counts, strict=True):
            if found.from_batch:
                update_running(norm, found, count)
        return result

    @torch.no_grad()
    def layerwise(self, block: BottleneckUnit, x: Tensor) -> tuple[Tensor, Tensor]:
        """The layer-wise loss of a block in evaluation mode, and what ``block.project`` puts out under true masks."""
        predictor = block.predictor
        assert predictor is not None and not block.training
        call = _call(block, x, (_CODES[block.expand_activation], _CODES[block.depthwise_activation]), predictor)
        layout, latents = call.layout, _latents(predictor)
        factor, shift = call.first.factor_and_shift(block.expand_norm.weight, block.expand_norm.bias)
        expand = block.expand.weight.flatten(1).double() * factor.view(-1, 1)
        norm = block.depthwise_norm
        weights = (expand, shift, block.depthwise.weight, norm.weight, norm.bias, block.project.weight)
        arrays = _arrays(call, layout.flatten(x), weights, latents)
        middle, inputs = expand.shape
        shapes = ((middle, 2), (middle, 2), (middle, 2, inputs), (middle, 2), (middle, layout.kernel**2), (middle,))
        found = [torch.zeros(shape, dtype=torch.float64) for shape in shapes]
        y = layout.rows(block.project.out_channels, layout.stride)
        run("layerwise", arrays, y, dict(zip(GRADIENTS["layerwise"], found, strict=True)))
        losses, sums, of_expand, of_offset, of_depthwise, of_second_offset = found
        total = sums.sum(0).clamp(min=1e-12)
        gradients = (
            (of_expand / total.view(-1, 1)).sum(1),
            (of_offset / total).sum(1),
            of_depthwise / total[1],
            of_second_offset / total[1],
        )
        shaped = tuple(each.float().view_as(latent) for each, latent in zip(gradients, latents, strict=True))
        loss = (losses.sum(0) / total).sum().float()
        with torch.enable_grad():
            result: Tensor = _SignLoss.apply(loss, shaped, *latents)  # type: ignore[no-untyped-call]
        return result, layout.unflatten(y, layout.stride)


def _call(block: BottleneckUnit, x: Tensor, codes: tuple[int, int], predictor: TrainablePredictor | None) -> _Call:
    kernel, stride = block.depthwise.kernel_size[0], block.depthwise.stride[0]
    layout = _layout(x.shape[0], x.shape[2], x.shape[3], kernel, stride)
    first, second = norm_statistics(block.expand_norm), norm_statistics(block.depthwise_norm)
    return _Call(layout, block.groups, codes, first, second, predictor, block.surrogate)


def _latents(predictor: TrainablePredictor | None) -> tuple[Tensor, ...]:
    if predictor is None:
        return ()
    return (
        predictor.expand_weight,
        predictor.expand_offset,
        predictor.depthwise_weight,
        predictor.depthwise_offset,
    )
