"""What the tests of all export formats share."""

from __future__ import annotations

import dataclasses

import float_reference as reference
import numpy as np

from predfuse.arrays import Array
from predfuse.exporters.arrays import Form
from predfuse.graph.nodes import Bottleneck, Network, Predictor


def run_block(form: Form, block: Bottleneck, x: Array) -> Array:
    """The reference of a block in a form."""
    if form == "plain" or block.predictor is None:
        return reference.ordinary_block(block, x)
    masks = reference.predict_masks(block, x)
    return (reference.masked_block if form == "predicted" else reference.fused_block)(block, x, *masks)


def predicted(block: Bottleneck, offset: int = 0) -> Bottleneck:
    """The block with a predictor of ones."""
    middle = block.middle_channels
    predictor = Predictor(
        input_exponent=-2,
        expand=np.ones((middle, block.group_channels), np.int8),
        expand_offset=np.full(middle, offset, np.int32),
        shift=np.zeros(middle, np.int8),
        depthwise=np.ones((middle, block.kernel, block.kernel), np.int8),
        depthwise_offset=np.zeros(middle, np.int32),
    )
    return dataclasses.replace(block, predictor=predictor)


def has_predictor(network: Network) -> bool:
    return any(block.predictor is not None for block in network.bottlenecks())
