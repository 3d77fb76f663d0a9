"""A dense block small enough for every machine of the tests of the gateware."""

from __future__ import annotations

from dataclasses import replace

from integer.block_cases import example_block
from strategies import BlockCase


def dense_block(middle: int, inputs: int) -> BlockCase:
    """Windows of 3 on 5 x 5 pixels, four outputs, no weight 0.

    Args:
        middle: Channels of the depthwise layer, up to 8.
        inputs: Up to 4.
    """
    case = example_block()
    block, predictor = case.block, case.block.predictor
    assert predictor is not None
    rows = "expand_offset", "shift", "depthwise", "depthwise_offset"
    predictor = replace(
        predictor,
        expand=predictor.expand[:middle, :inputs],
        **{name: getattr(predictor, name)[:middle] for name in rows},
    )
    names = "expand_bias", "depthwise_weight", "depthwise_bias"
    block = replace(
        block,
        expand_weight=block.expand_weight[:middle, :inputs],
        project_weight=block.project_weight[:, :middle],
        predictor=predictor,
        **{name: getattr(block, name)[:middle] for name in names},
    )
    return replace(case, block=block, x=case.x[:inputs])
