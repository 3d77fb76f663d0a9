"""One block in floats and integers, and bounds on what it computes."""

from __future__ import annotations

import dataclasses

import float_reference as reference
import numpy as np
from strategies import BlockCase

from predfuse.arrays import Float64Array, Int16Array
from predfuse.graph.nodes import Bottleneck, Predictor
from predfuse.integer.blocks import quantise_block
from predfuse.integer.options import CompileOptions
from predfuse.integer.program import FusedBlock

INPUT_BITS = 11
EXACT = CompileOptions(sum_bits=31, accumulator_bits=63)
NARROW = CompileOptions(bits=8, sum_bits=31, accumulator_bits=63)


def compiled(case: BlockCase, options: CompileOptions = EXACT, output_bits: int | None = None) -> FusedBlock:
    """The block in integers, its output scaled to the worst case if no scale is given."""
    if output_bits is None:
        reach = float(worst_case(case).max())
        output_bits = 14 - int(np.ceil(np.log2(reach))) if reach > 0 else 15
    return quantise_block(case.block, INPUT_BITS + options.bits - 16, output_bits + options.bits - 16, options)


def integer_input(case: BlockCase, bits: int = 16) -> Int16Array:
    reach = 1 << bits - 1
    return np.clip(np.rint(np.ldexp(case.x, INPUT_BITS + bits - 16)), -reach, reach - 1).astype(np.int16)


def worst_case(case: BlockCase) -> Float64Array:
    """A bound ``[O, P, Q]`` on every sum of the block's output: all magnitudes, all gates on, the largest input."""
    block = case.block
    names = [f.name for f in dataclasses.fields(block) if f.name.endswith(("_weight", "_bias"))]
    magnitudes = dataclasses.replace(block, **{name: np.abs(getattr(block, name)) for name in names})
    x = np.full(case.x.shape, np.abs(case.x).max())
    on1 = np.ones((block.middle_channels, *case.x.shape[1:]), np.int8)
    on2 = np.ones((block.middle_channels, *block.output_shape([case.x.shape])[1:]), np.int8)
    return reference.masked_block(magnitudes, x, on1, on2)


def example_block() -> BlockCase:
    """One plain block with a predictor."""
    rng = np.random.default_rng(3)
    predictor = Predictor(
        input_exponent=-1,
        expand=rng.integers(-1, 2, (8, 4)).astype(np.int8),
        expand_offset=np.ones(8, np.int32),
        shift=np.zeros(8, np.int8),
        depthwise=rng.integers(-1, 2, (8, 3, 3)).astype(np.int8),
        depthwise_offset=np.ones(8, np.int32),
    )
    block = Bottleneck(
        "b1",
        ("input",),
        rng.normal(size=(8, 4)),
        rng.normal(size=8),
        rng.normal(size=(8, 3, 3)),
        rng.normal(size=8),
        rng.normal(size=(4, 8)),
        rng.normal(size=4),
        predictor=predictor,
    )
    return BlockCase(block, rng.normal(size=(4, 5, 5)))
