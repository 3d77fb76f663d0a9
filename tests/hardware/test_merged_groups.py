"""Groups taken together compute what they computed apart, and a machine takes them together where that is faster."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from integer.block_cases import compiled, integer_input
from strategies import BlockCase, bottlenecks

from predfuse.errors import InputError
from predfuse.hardware.block_work import BlockWork, block_work, list_entries
from predfuse.hardware.cycle.archon.block import _groups
from predfuse.hardware.cycle.archon.group_plan import plan_groups
from predfuse.hardware.cycle.archon.merging import planned_groups
from predfuse.hardware.cycle.archon.sequence.timing import block_time, network_machine
from predfuse.hardware.merged_groups import merged_block, merged_work
from predfuse.hardware.spec import ArchonSpec, load_spec
from predfuse.hardware.vary import with_fields
from predfuse.integer.options import CompileOptions
from predfuse.integer.reference import _fused, predict_masks

GROUPED = st.sampled_from(((4, 6, 6), (6, 5, 5), (8, 3, 7))).flatmap(
    lambda shape: bottlenecks(in_shape=shape, with_predictor=True).filter(lambda case: case.block.groups > 1)
)


@settings(max_examples=60)
@given(GROUPED, st.data())
def test_outputs_and_masks_stay(case: BlockCase, data: st.DataObject) -> None:
    node, x = compiled(case, CompileOptions(sum_bits=20, accumulator_bits=48)), integer_input(case)
    count = data.draw(st.sampled_from([n for n in range(1, node.groups + 1) if node.groups % n == 0]))
    merged = merged_block(node, count)
    masks = predict_masks(node, x)
    for mask, other in zip(masks, predict_masks(merged, x), strict=True):
        np.testing.assert_array_equal(mask, other)
    np.testing.assert_array_equal(_fused(node, x, *masks)[0], _fused(merged, x, *masks)[0])
    apart, together = block_work(node.as_bottleneck(), x.shape), block_work(merged.as_bottleneck(), x.shape)
    of_work = merged_work(apart, count)
    assert of_work.merged_groups == count and of_work.groups * count == apart.groups
    for name in ("expand", "project", "depthwise", "expand_bias", "depthwise_bias"):
        np.testing.assert_array_equal(getattr(of_work, name), getattr(together, name))
    np.testing.assert_array_equal(list_entries(apart), list_entries(of_work))
    np.testing.assert_array_equal(apart.live_channels, of_work.live_channels)


def test_a_number_that_does_not_divide_is_refused() -> None:
    with pytest.raises(InputError, match="has 4 groups, no multiple of 3"):
        merged_work(_work(4, 4), 3)


def test_small_groups_are_taken_together_where_that_is_faster() -> None:
    """Of all numbers of groups that fit, that of fewest cycles; a machine of few sums takes fewer together."""
    spec = load_spec("archon-1.7-e")
    assert isinstance(spec, ArchonSpec)
    found = {}
    for sums, units in itertools.product((4, 8, 16), (4, 8)):
        sizes = {"pe.psum_regfile_words": sums, "design.structures.predictor_inputs": units}
        machine = with_fields(spec, sizes)
        work = _work(8, 12)
        chosen, plans = planned_groups(work, machine)
        cycles = {
            count: _cycles(merged_work(work, count), machine) for count in (1, 2, 4) if 2 * count <= min(sums, units)
        }
        assert _cycles(chosen, machine) == min(cycles.values()) and len(plans) == chosen.groups
        found[sums, units] = chosen.merged_groups
    assert found[4, 4] == found[4, 8] == 2 and found[16, 8] == 4, found
    assert (_groups(work), _groups(merged_work(work, 2))) == ("8 groups", "4 groups, each 2 of the network's,")


def test_large_groups_and_machines_without_gateware_are_left_alone() -> None:
    for name, channels in (("archon-1.7-e", 160), ("archon-ics21", 12)):
        spec = load_spec(name)
        assert isinstance(spec, ArchonSpec)
        work = _work(8, channels)
        assert planned_groups(work, spec)[0] is work


def test_a_block_that_the_gateware_does_not_hold_is_left_alone() -> None:
    spec = load_spec("archon-1.7-e")
    assert isinstance(spec, ArchonSpec)
    work = replace(_work(8, 12), stride=3)
    with pytest.raises(InputError, match="stride"):
        _cycles(work, spec)
    assert planned_groups(work, spec)[0] is work


def _cycles(work: BlockWork, spec: ArchonSpec) -> int:
    plans = plan_groups(work, spec)
    return block_time(work, plans, network_machine(spec, [(work, plans)])).cycles


def _work(groups: int, channels: int) -> BlockWork:
    """Groups of two inputs, two outputs and so many middle channels, a third of the taps."""
    rng = np.random.default_rng(0)
    middle = groups * channels
    return BlockWork(
        name="b1",
        in_shape=(2 * groups, 16, 16),
        out_shape=(2 * groups, 16, 16),
        groups=groups,
        kernel=3,
        stride=1,
        padding=(1, 1, 1, 1),
        residual=True,
        expand=rng.random((middle, 2)) < 0.6,
        depthwise=rng.random((middle, 9)) < 0.3,
        project=rng.random((2 * groups, channels)) < 0.6,
        expand_bias=rng.random(middle) < 0.2,
        depthwise_bias=np.zeros(middle, np.bool_),
        predictor_bits=4,
    )
