"""Random fused blocks on small machines: every output bit and every planned cycle of passes and predictions."""

from __future__ import annotations

import pytest
from hypothesis import assume, given, settings
from integer.test_blocks import compiled, integer_input
from rtl.machines import SMALL, simulator_of
from strategies import BlockCase, bottlenecks

from predfuse.errors import InputError
from predfuse.hardware.cycle.archon.gateware import Machine
from predfuse.hardware.spec import ArchonSpec, load_spec
from predfuse.integer.options import CompileOptions
from predfuse.integer.reference import _fused, predict_masks
from predfuse.rtl.run import run_steps
from predfuse.rtl.simulator import Simulator
from predfuse.rtl.steps import BlockPlan


@pytest.fixture(scope="module")
def simulator() -> Simulator:
    return simulator_of(SMALL)


@settings(max_examples=200)
@given(bottlenecks(with_predictor=True))
def test_outputs_are_exact_and_cycles_as_planned(simulator: Simulator, case: BlockCase) -> None:
    assume(case.block.depthwise_weight.shape[1] <= simulator.machine.kernel and case.block.stride <= 2)
    node, x = compiled(case, CompileOptions(sum_bits=20, accumulator_bits=48)), integer_input(case)
    exact, _ = _fused(node, x, *predict_masks(node, x))
    steps = BlockPlan(node, x.shape, simulator.machine).steps(x[None], exact[None])
    assert not [step for step in run_steps(steps, simulator) if step.differs]


@settings(max_examples=5)
@given(bottlenecks(with_predictor=True).filter(lambda case: case.block.depthwise_weight.shape[1] == 7))
def test_a_block_too_large_is_refused(simulator: Simulator, case: BlockCase) -> None:
    node = compiled(case, CompileOptions(sum_bits=20, accumulator_bits=48))
    with pytest.raises(InputError, match="a kernel of 7, the gateware holds 3"):
        BlockPlan(node, case.x.shape, simulator.machine)


def test_unknown_machines_are_refused() -> None:
    published = load_spec("archon-ics21")
    assert isinstance(published, ArchonSpec)
    with pytest.raises(InputError, match="has no gateware"):
        Machine.of(published)
