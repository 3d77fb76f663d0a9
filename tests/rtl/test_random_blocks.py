"""Random fused blocks on a small machine: every output bit and every planned cycle of passes and predictions."""

from __future__ import annotations

import pytest
from hypothesis import assume, given, settings
from integer.test_blocks import compiled, integer_input
from strategies import BlockCase, bottlenecks

from predfuse.integer.options import CompileOptions
from predfuse.integer.reference import _fused, predict_masks
from predfuse.rtl.machine import Machine
from predfuse.rtl.run_block import run_block
from predfuse.rtl.simulator import Simulator, why_not

SMALL = Machine(
    tile_rows=4, tile_columns=4, lanes=4, lane_rows=3, words=2, outputs=8, banks=10, slots=8, side=6, inputs=2, held=4,
    columns=4, writes=3, queue=2, channels=32, passes=64, codes=256, gate_words=16, tap_words=64, column_words=32,
    project_rows=32, accumulator=48,
)  # fmt: skip
"""So small that tiles are predicted in parts, passes divided, and queues full; as many banks as a channel has words."""


@pytest.fixture(scope="module")
def simulator() -> Simulator:
    if why_not():
        pytest.skip(why_not())
    return Simulator(SMALL)


@settings(max_examples=200)
@given(bottlenecks(with_predictor=True))
def test_outputs_are_exact_and_cycles_as_planned(simulator: Simulator, case: BlockCase) -> None:
    assume(case.block.depthwise_weight.shape[1] <= SMALL.kernel and case.block.stride <= 2)
    node, x = compiled(case, CompileOptions(sum_bits=20, accumulator_bits=48)), integer_input(case)
    run = run_block(node, x, simulator)
    exact, _ = _fused(node, x, *predict_masks(node, x))
    assert (run.output == exact).all()
    assert all(one.planned == one.measured for one in (*run.lists, *run.predictions)), (run.lists, run.predictions)
    assert run.passes == 0
