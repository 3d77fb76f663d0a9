"""Each of twenty-four deliberate faults in the gateware makes a random block differ: checks see what they should."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import assume, given, settings, strategies as st
from integer.block_cases import compiled, integer_input
from rtl.blocks import dense_block, grouped
from rtl.faults import FAULTS, write_faulty
from rtl.machines import TINY, simulator_of
from strategies import BlockCase, bottlenecks

from predfuse.errors import InputError, PredfuseError
from predfuse.hardware.cycle.archon.sequence.commands import BEHIND
from predfuse.integer.options import CompileOptions
from predfuse.integer.reference import _fused, predict_masks
from predfuse.rtl.run import Told, run_chain
from predfuse.rtl.steps import plan_chain

Blocks = list[Told]


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of the gateware with every fault, each there only where a plus argument asks for it."""
    return write_faulty(tmp_path_factory.mktemp("faults") / "sv")


@pytest.fixture(scope="module")
def blocks() -> Blocks:
    """Images of the global buffer for random blocks and chains of them, for a block whose predictions wait for lists
    in every tile, and for one of four groups on one tile."""
    groups = grouped(dense_block(2, 1), 4)
    found = [_told([dense_block(3, 3)]), _told([replace(groups, x=groups.x[:, :2, :2])])]
    one = st.lists(bottlenecks(with_predictor=True), min_size=1, max_size=1)
    several = st.lists(bottlenecks(with_predictor=True), min_size=2, max_size=3)

    @settings(max_examples=200)
    @given(st.one_of(one, one, one, several))
    def collect(cases: list[BlockCase]) -> None:
        assume(all(case.block.depthwise_weight.shape[1] <= TINY.kernel and case.block.stride <= 2 for case in cases))
        try:
            found.append(_told(cases))
        except InputError:
            assume(False)  # more gate words than there are

    collect()
    assert any(step.flags & BEHIND for told in found for image in told.images for step in image.steps)
    return found


def _told(cases: Sequence[BlockCase]) -> Told:
    nodes = [compiled(case, CompileOptions(sum_bits=20, accumulator_bits=48)) for case in cases]
    inputs = [integer_input(case) for case in cases]
    shapes = [x.shape for x in inputs]
    outputs = [_fused(node, x, *predict_masks(node, x))[0] for node, x in zip(nodes, inputs, strict=True)]
    plan = plan_chain(list(zip(nodes, shapes, strict=True)), TINY)
    return Told(tuple(map(str, range(len(nodes)))), tuple(plan.images(inputs, outputs, 0)))


def test_without_a_fault_nothing_differs(sources: Path, blocks: Blocks) -> None:
    right = simulator_of(TINY, sources)
    assert all(one.exact for told in blocks for one in run_chain(told, right))


@pytest.mark.parametrize("number", range(1, len(FAULTS) + 1), ids=list(FAULTS))
def test_every_fault_is_found(sources: Path, blocks: Blocks, number: int) -> None:
    wrong = simulator_of(TINY, sources, f"+fault={number}", "+limit=300000")

    def differs(told: Told) -> bool:
        try:
            return not all(one.exact for one in run_chain(told, wrong))
        except PredfuseError:  # it hangs, or ends too early
            return True

    assert any(map(differs, blocks))
