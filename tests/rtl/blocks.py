"""Blocks for tests of the gateware: a dense one that every machine holds, and some with extreme predictors."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import strategies as st
from integer.block_cases import example_block
from strategies import SEEDS, BlockCase, bottlenecks

from predfuse.arrays import Array, Int8Array, Int64Array


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


def grouped(case: BlockCase, groups: int) -> BlockCase:
    """So many groups, all like a block of one, on the same pixels."""
    block, predictor = case.block, case.block.predictor
    assert predictor is not None and block.groups == 1

    def several(array: Array) -> Array:
        return np.concatenate([array] * groups)

    predictor = replace(
        predictor,
        expand=several(predictor.expand),
        expand_offset=several(predictor.expand_offset),
        shift=several(predictor.shift),
        depthwise=several(predictor.depthwise),
        depthwise_offset=several(predictor.depthwise_offset),
    )
    block = replace(
        block,
        groups=groups,
        expand_weight=several(block.expand_weight),
        expand_bias=several(block.expand_bias),
        depthwise_weight=several(block.depthwise_weight),
        depthwise_bias=several(block.depthwise_bias),
        project_weight=several(block.project_weight),
        project_bias=several(block.project_bias),
        predictor=predictor,
    )
    return replace(case, block=block, x=several(case.x))


def _small(case: BlockCase) -> bool:
    block = case.block
    most = block.groups > 1 and block.expand_weight.shape[1] <= 4
    return most and block.depthwise_weight.shape[1] <= 5 and block.stride <= 2


@st.composite
def chains(draw: st.DrawFn) -> list[BlockCase]:
    """Two to four random blocks of two to four groups, each on pixels of as many channels, rows and columns as the one
    before makes; most are held by every machine of the tests but those without windows of 5."""
    shape = draw(st.tuples(st.sampled_from((4, 8)), st.integers(2, 8), st.integers(2, 8)))
    cases: list[BlockCase] = []
    for number in range(draw(st.integers(2, 4))):
        cases.append(draw(bottlenecks(f"b{number}", in_shape=shape, with_predictor=True).filter(_small)))
        shape = cases[-1].block.output_shape([shape])
    return cases


@st.composite
def extreme_blocks(draw: st.DrawFn) -> BlockCase:
    """Random blocks whose predictors have offsets at the ends of their sums and far beyond, and shifts up to 31."""
    case, rng = draw(bottlenecks(with_predictor=True)), np.random.default_rng(draw(SEEDS))
    predictor = case.block.predictor
    assert predictor is not None
    middle = len(predictor.shift)

    def offsets(weights: Int8Array, least: int, most: int) -> Int64Array:
        terms = weights.reshape(middle, -1, 1).astype(np.int64) * np.array((least, most))
        ends = np.stack((-terms.max(axis=2).sum(axis=1), 1 - terms.min(axis=2).sum(axis=1)))
        close = ends[rng.integers(2, size=middle), np.arange(middle)]
        far = rng.choice((-(1 << 31), 5110, (1 << 31) - 1), middle)  # 5110 is close to 10 << 9
        kind = rng.integers(4, size=middle)
        found: Int64Array = np.choose(
            kind, (rng.integers(-6, 10, middle), close, close + rng.integers(-2, 3, middle), far)
        )
        return found

    first = offsets(predictor.expand, predictor.input_min, predictor.input_max)
    second = offsets(predictor.depthwise, 0, predictor.hidden_max)
    predictor = replace(
        predictor,
        expand_offset=first.astype(np.int32),
        shift=rng.choice((0, 1, 2, 4, 9, 31), middle).astype(np.int8),
        depthwise_offset=second.astype(np.int32),
    )
    return replace(case, block=replace(case.block, predictor=predictor))
