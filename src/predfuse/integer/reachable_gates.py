"""Gates that no input can switch on: what they would let through is removed, exactly."""

from __future__ import annotations

import dataclasses

import numpy as np

from predfuse.arrays import Mask
from predfuse.graph.nodes import Bottleneck, Predictor


def reachable_gates(predictor: Predictor) -> tuple[Mask, Mask]:
    """Which gates of the two stages some input can switch on, each ``[M]`` bool.

    Every quantised input lies in ``input_min..input_max``, so the largest score of a channel follows from its
    weights; that bounds what the second stage reads.
    """
    expand, depthwise = (array.astype(np.int64) for array in (predictor.expand, predictor.depthwise))
    largest = np.where(expand > 0, expand * predictor.input_max, expand * predictor.input_min)
    first = largest.sum(axis=1) + predictor.expand_offset
    hidden = np.clip(first >> predictor.shift.astype(np.int64), 0, predictor.hidden_max)
    second = np.maximum(depthwise, 0).sum(axis=(1, 2)) * hidden + predictor.depthwise_offset
    return first > 0, second > 0


def without_unreachable_gates(block: Bottleneck) -> Bottleneck:
    """The block with weights and biases zero that only gates which no input reaches would let through.

    The outputs are the same for every input. Such channels, never active in training either, may have weights far
    larger than all others, at whose expense they would be quantised.
    """
    if block.predictor is None:
        return block
    first, second = reachable_gates(block.predictor)
    if block.expand_activation == "linear":
        first = np.ones_like(first)
    if block.depthwise_activation == "linear":
        second = np.ones_like(second)
    kept_first = first & second
    columns = np.repeat(second.reshape(block.groups, -1), block.out_channels // block.groups, axis=0)
    return dataclasses.replace(
        block,
        expand_weight=block.expand_weight * kept_first[:, None],
        expand_bias=block.expand_bias * kept_first,
        depthwise_weight=block.depthwise_weight * kept_first[:, None, None],
        depthwise_bias=block.depthwise_bias * second,
        project_weight=block.project_weight * columns,
    )
