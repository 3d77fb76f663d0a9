"""Each of twelve deliberate faults in the gateware makes a random block differ: the checks see what they should."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import assume, given, settings
from integer.block_cases import compiled, integer_input
from rtl.blocks import dense_block
from rtl.faults import FAULTS, write_faulty
from rtl.machines import TINY, simulator_of
from strategies import BlockCase, bottlenecks

from predfuse.errors import InputError
from predfuse.integer.options import CompileOptions
from predfuse.integer.reference import _fused, predict_masks
from predfuse.rtl.run import run_steps
from predfuse.rtl.simulator import BEHIND
from predfuse.rtl.steps import BlockPlan, Step
from predfuse.rtl.words import Word

Blocks = list[list[Word | Step]]


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of the gateware with every fault, each there only where a plus argument asks for it."""
    return write_faulty(tmp_path_factory.mktemp("faults") / "sv")


@pytest.fixture(scope="module")
def blocks() -> Blocks:
    """Words and steps of random blocks, and of one whose predictions wait for the lists in every tile."""
    found = [_steps(dense_block(3, 3))]

    @settings(max_examples=150)
    @given(bottlenecks(with_predictor=True))
    def collect(case: BlockCase) -> None:
        assume(case.block.depthwise_weight.shape[1] <= TINY.kernel and case.block.stride <= 2)
        try:
            found.append(_steps(case))
        except InputError:
            assume(False)  # more gate words than there are

    collect()
    assert any(isinstance(one, Step) and one.flags & BEHIND for steps in found for one in steps)
    return found


def _steps(case: BlockCase) -> list[Word | Step]:
    node, x = compiled(case, CompileOptions(sum_bits=20, accumulator_bits=48)), integer_input(case)
    exact, _ = _fused(node, x, *predict_masks(node, x))
    return BlockPlan(node, x.shape, TINY).steps(x[None], exact[None])


def test_without_a_fault_nothing_differs(sources: Path, blocks: Blocks) -> None:
    right = simulator_of(TINY, sources)
    assert not [one for steps in blocks for one in run_steps(steps, right) if one.differs]


@pytest.mark.parametrize("number", range(1, len(FAULTS) + 1), ids=list(FAULTS))
def test_every_fault_is_found(sources: Path, blocks: Blocks, number: int) -> None:
    wrong = simulator_of(TINY, sources, f"+fault={number}")
    assert any(one.differs for steps in blocks for one in run_steps(steps, wrong))
