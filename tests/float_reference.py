"""The slow, obvious reference of every node and of fusion: loops that mirror ``docs/explanation/arithmetic.md``.

Floats are computed in float64 and integers in int64 (exactly). Fast code is proven equal to this.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from predfuse.arrays import Array
from predfuse.fusion.masks import OFF, ON, RELU6_CEILING, SATURATED
from predfuse.fusion.weights import FusedWeights, SparseLists
from predfuse.graph.nodes import (
    INPUT,
    Activation,
    Add,
    Bottleneck,
    Concat,
    Conv,
    Linear,
    Network,
    Node,
    Pool,
    Shuffle,
    window_size,
)
from predfuse.integer.reference import convolve as convolve, shuffle as shuffle, widen


def activate(x: Array, activation: Activation, ceiling: float = RELU6_CEILING) -> Array:
    """``linear``: x; ``relu``: x above 0, else 0; ``relu6``: additionally at most ``ceiling``."""
    if activation == "linear":
        return x
    out: Array = np.maximum(x, 0)
    if activation == "relu6":
        out = np.minimum(out, ceiling)
    return out


def pool(x: Array, node: Pool) -> Array:
    """Every window averaged or its maximum taken; the whole image for kernel 0."""
    x = widen(x)
    if node.kernel == 0:
        whole: Array = x.mean(axis=(1, 2)) if node.kind == "average" else x.max(axis=(1, 2))
        return whole[:, None, None]
    top, bottom, left, right = node.padding
    rows = window_size(x.shape[1], node.kernel, node.stride, top, bottom)
    columns = window_size(x.shape[2], node.kernel, node.stride, left, right)
    out = np.zeros((x.shape[0], rows, columns))
    for i in range(rows):
        for j in range(columns):
            row, column = i * node.stride - top, j * node.stride - left
            inside = x[:, max(row, 0) : row + node.kernel, max(column, 0) : column + node.kernel]
            if node.kind == "max":
                out[:, i, j] = inside.max(axis=(1, 2))
            else:
                pixels = node.kernel**2 if node.count_padding else inside.shape[1] * inside.shape[2]
                out[:, i, j] = inside.sum(axis=(1, 2)) / pixels
    return out


def linear(x: Array, weight: Array, bias: Array) -> Array:
    """``weight [O, C*H*W]`` times the flattened ``x``, plus ``bias [O]`` -> ``[O, 1, 1]``."""
    return np.array([(widen(row) * widen(x).ravel()).sum() + b for row, b in zip(weight, widen(bias), strict=True)])[
        :, None, None
    ]


def expand(block: Bottleneck, x: Array) -> Array:
    """Pre-activation of the expansion, ``a [M, H, W]``."""
    return convolve(x, block.expand_weight[:, :, None, None], block.expand_bias, groups=block.groups)


def depthwise(block: Bottleneck, h: Array) -> Array:
    """Pre-activation of the depthwise stage, ``d [M, P, Q]``."""
    weight = block.depthwise_weight[:, None]
    return convolve(h, weight, block.depthwise_bias, block.stride, block.padding, groups=block.middle_channels)


def project(block: Bottleneck, u: Array) -> Array:
    """The projection before shuffle and residual, ``y [O, P, Q]``."""
    return convolve(u, block.project_weight[:, :, None, None], block.project_bias, groups=block.groups)


def finish(block: Bottleneck, y: Array, x: Array) -> Array:
    """Shuffle, then residual."""
    shuffled = shuffle(y, block.shuffle_groups)
    return shuffled + widen(x) if block.residual else shuffled


def ordinary_block(block: Bottleneck, x: Array, ceiling: float = RELU6_CEILING) -> Array:
    """The block with its activation functions."""
    h = activate(expand(block, x), block.expand_activation, ceiling)
    u = activate(depthwise(block, h), block.depthwise_activation, ceiling)
    return finish(block, project(block, u), x)


def gated(values: Array, mask: Array, ceiling: float = RELU6_CEILING) -> Array:
    """``values`` where the mask is on, ``ceiling`` where saturated, 0 where off."""
    return np.choose(mask, [np.zeros_like(values), values, np.full_like(values, ceiling)])


def masked_block(
    block: Bottleneck, x: Array, mask1: Array, mask2: Array, ceilings: tuple[float, float] = (RELU6_CEILING,) * 2
) -> Array:
    """The block with masks in place of its activation functions, unfused."""
    h = gated(expand(block, x), mask1, ceilings[0])
    u = gated(depthwise(block, h), mask2, ceilings[1])
    return finish(block, project(block, u), x)


def predicted_block(block: Bottleneck, x: Array) -> Array:
    """The block under its predictor's masks, if it has one."""
    return masked_block(block, x, *predict_masks(block, x)) if block.predictor is not None else ordinary_block(block, x)


def predict_masks(block: Bottleneck, x: Array, fraction_bits: int = 0) -> tuple[Array, Array]:
    """The predictor's masks, integer by integer; ``x`` floats, or integers scaled by ``2**-fraction_bits``."""
    predictor = block.predictor
    assert predictor is not None
    scale = fraction_bits if x.dtype.kind == "i" else 0
    quantised = np.zeros(x.shape, np.int64)
    for index, value in np.ndenumerate(x):
        # Python numbers: floor division of exact integers or of a float by a power of two.
        exponent = predictor.input_exponent + scale
        steps = (value.item() * 2**-exponent if exponent < 0 else value.item() / 2**exponent) // 1
        quantised[index] = max(predictor.input_min, min(predictor.input_max, int(steps)))
    offset1, offset2 = predictor.expand_offset, predictor.depthwise_offset
    score1 = convolve(quantised, predictor.expand[:, :, None, None], offset1, groups=block.groups)
    hidden = np.clip(score1 >> predictor.shift.astype(np.int64)[:, None, None], 0, predictor.hidden_max)
    score2 = convolve(
        hidden, predictor.depthwise[:, None], offset2, block.stride, block.padding, groups=block.middle_channels
    )
    masks = []
    for score, activation in ((score1, block.expand_activation), (score2, block.depthwise_activation)):
        masks.append(np.where((score > 0) | (activation == "linear"), ON, OFF).astype(np.int8))
    return masks[0], masks[1]


def fused_block(
    block: Bottleneck, x: Array, mask1: Array, mask2: Array, ceilings: tuple[float, float] = (RELU6_CEILING,) * 2
) -> Array:
    """The block as one convolution with the sums of its surviving fused weights (equation S of the arithmetic).

    For every output pixel p and tap k, with q the input pixel under the tap:
    ``S[o,c] = sum_m W2[o,m] D[m,k] W1[m,c]`` over the m whose masks are on at p and at q, one multiplication
    ``S * x``; the biases and ceilings are sums of their own.
    """
    w1, b1 = widen(block.expand_weight), widen(block.expand_bias)
    taps, b2 = widen(block.depthwise_weight), widen(block.depthwise_bias)
    w2, x = widen(block.project_weight), widen(x)
    _, rows, columns = mask2.shape
    group_middle, group_outputs = block.middle_channels // block.groups, block.out_channels // block.groups
    y = np.zeros((block.out_channels, rows, columns), np.result_type(x, w1))
    for o in range(block.out_channels):
        group = o // group_outputs
        for i in range(rows):
            for j in range(columns):
                total = widen(block.project_bias)[o]
                for local in range(group_middle):
                    m = group * group_middle + local
                    if mask2[m, i, j] == ON:
                        total = total + w2[o, local] * b2[m]
                    elif mask2[m, i, j] == SATURATED:
                        total = total + w2[o, local] * ceilings[1]
                for kh in range(block.kernel):
                    for kw in range(block.kernel):
                        row, column = i * block.stride + kh - block.padding[0], j * block.stride + kw - block.padding[2]
                        if not (0 <= row < x.shape[1] and 0 <= column < x.shape[2]):
                            continue
                        sums = np.zeros(block.group_channels, y.dtype)
                        for local in range(group_middle):
                            m = group * group_middle + local
                            if mask2[m, i, j] != ON:
                                continue
                            factor = w2[o, local] * taps[m, kh, kw]
                            if mask1[m, row, column] == ON:
                                sums = sums + factor * w1[m]
                                total = total + factor * b1[m]
                            elif mask1[m, row, column] == SATURATED:
                                total = total + factor * ceilings[0]
                        first = group * block.group_channels
                        total = total + (sums * x[first : first + block.group_channels, row, column]).sum()
                y[o, i, j] = total
    return finish(block, y, x)


def fused_convolution_reference(fused: FusedWeights, x: Array, mask1: Array, mask2: Array) -> Array:
    """Walk through every list for every output pixel, add what the masks let through, multiply once.

    Args:
        fused: The block's fused weights.
        x: ``[C, H, W]``.
        mask1: ``[M, H, W]`` states of the expand activations.
        mask2: ``[M, P, Q]`` states of the depthwise activations.
    """
    _, height, width = x.shape
    _, rows, columns = mask2.shape
    taps = fused.kernel**2
    group_outputs = fused.out_channels // fused.groups
    y = np.zeros((fused.out_channels, rows, columns), np.result_type(x, fused.output_bias))

    def total(lists: SparseLists, row: int, passes: list[bool]) -> Any:
        """Sum of one list's values whose middle channel passes."""
        entries = range(lists.indptr[row], lists.indptr[row + 1])
        passing = [lists.value[e] for e in entries if passes[lists.channel[e]]]
        return np.array(passing, y.dtype).sum()

    for i in range(rows):
        for j in range(columns):
            on2 = list(mask2[:, i, j] == ON)
            saturated2 = list(mask2[:, i, j] == SATURATED)
            for o in range(fused.out_channels):
                y[o, i, j] = fused.output_bias[o]
                y[o, i, j] += total(fused.depthwise_bias, o, on2) + total(fused.depthwise_saturated, o, saturated2)
            for tap in range(taps):
                row = i * fused.stride + tap // fused.kernel - fused.padding[0]
                column = j * fused.stride + tap % fused.kernel - fused.padding[2]
                if not (0 <= row < height and 0 <= column < width):
                    continue
                state1 = mask1[:, row, column]
                both_on = list((mask2[:, i, j] == ON) & (state1 == ON))
                on_saturated = list((mask2[:, i, j] == ON) & (state1 == SATURATED))
                for o in range(fused.out_channels):
                    y[o, i, j] += total(fused.expand_bias, o * taps + tap, both_on)
                    y[o, i, j] += total(fused.expand_saturated, o * taps + tap, on_saturated)
                    for c in range(fused.group_channels):
                        pixel = x[o // group_outputs * fused.group_channels + c, row, column]
                        y[o, i, j] += total(fused.weights, (o * fused.group_channels + c) * taps + tap, both_on) * pixel
    return y


def run_node(
    node: Node, inputs: list[Array], run_block: Callable[[Bottleneck, Array], Array] = ordinary_block
) -> Array:
    """Output of any node, ``run_block`` choosing how bottlenecks are executed."""
    if isinstance(node, Conv):
        window = (node.stride, node.padding, node.dilation, node.groups)
        return activate(convolve(inputs[0], node.weight, node.bias, *window), node.activation)
    if isinstance(node, Bottleneck):
        return run_block(node, inputs[0])
    if isinstance(node, Pool):
        return pool(inputs[0], node)
    if isinstance(node, Linear):
        return activate(linear(inputs[0], node.weight, node.bias), node.activation)
    if isinstance(node, Add):
        return activate(sum(inputs[1:], start=inputs[0]), node.activation)
    if isinstance(node, Concat):
        return np.concatenate(inputs)
    assert isinstance(node, Shuffle)
    return shuffle(inputs[0], node.groups)


def run_network(
    network: Network, image: Array, run_block: Callable[[Bottleneck, Array], Array] = ordinary_block
) -> dict[str, Array]:
    """Outputs of all nodes for one normalised image ``[C, H, W]``, by name."""
    values = {INPUT: widen(image)}
    for node in network.nodes:
        values[node.name] = run_node(node, [values[source] for source in node.inputs], run_block)
    return values
