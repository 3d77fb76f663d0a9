"""What the cycle model charges for the fill unit is what the command lists of the gateware have it do."""

from __future__ import annotations

import math
from dataclasses import replace

from hypothesis import assume, given, settings, strategies as st
from integer.block_cases import compiled, integer_input
from strategies import BlockCase, bottlenecks

from predfuse.errors import InputError
from predfuse.hardware.block_work import block_work
from predfuse.hardware.cycle.archon.fill_unit import item_accesses
from predfuse.hardware.cycle.archon.gateware import INPUT_PLANE, PART_PLANE, Machine
from predfuse.hardware.cycle.archon.group_plan import plan_groups
from predfuse.hardware.cycle.archon.predictor import predicted_parts
from predfuse.hardware.cycle.archon.sequence.commands import Fill
from predfuse.hardware.spec import ArchonSpec, load_spec
from predfuse.hardware.vary import with_fields
from predfuse.integer.options import CompileOptions
from predfuse.rtl.steps import plan_block

PIXELS = 4
SHAPES = st.tuples(st.sampled_from([2, 6]), st.integers(3, 9), st.integers(3, 20))
"""Of maps whose rows are one to five words."""


@settings(max_examples=60)
@given(SHAPES.flatmap(lambda shape: bottlenecks(in_shape=shape, with_predictor=True)), st.sampled_from([1, 2, 8]))
def test_every_access_is_charged(case: BlockCase, rows: int) -> None:
    told = {
        "design.structures.access_rows": rows,
        "global_buffer.banks": 8 if rows == 1 else 16,
        "design.streams": "gateware",
        "design.largest_predictor_weight": 4,
    }
    spec = with_fields(load_spec("archon-tiny"), told)
    assert isinstance(spec, ArchonSpec) and spec.design.structures is not None
    # Room for two groups in some blocks only.
    machine, own = (
        replace(Machine.of(spec), slots=3, channels=8, columns=4, passes=64, codes=128),
        spec.design.structures,
    )
    assume(case.block.depthwise_weight.shape[1] <= machine.kernel and case.block.stride <= 2)
    node, x = compiled(case, CompileOptions(sum_bits=20, accumulator_bits=40)), integer_input(case)
    shape = (x.shape[0], x.shape[1], x.shape[2])
    work = block_work(node.as_bottleneck(), shape)
    try:
        plan = plan_block(node, shape, machine)
    except InputError:
        assume(False)  # more passes than there is room for
    fills = [one for _, filling in plan.fillings for one in filling.commands if isinstance(one, Fill)]
    done = sum(one.accesses for one in fills)
    total, words, last = 0, 0, None
    plans = plan_groups(work, spec)
    for group in plan.streams[0]:
        charged = plans[group.group]
        assert charged.group_fill is not None
        fill = replace(charged.group_fill, machine=machine)
        total += fill.accesses()
        for tile in work.tiles(machine.tile_rows, machine.tile_columns):
            parts = predicted_parts(work, tile, own, True) if charged.channels else ()
            accesses, surplus = item_accesses(work, tile, parts, fill)
            total, words = total + accesses, words + surplus
        if last is not None:  # both say which memories hold two groups
            apart = group.places.apart(last[0].places)
            # The model has bases wait as well, which have two places.
            waiting = [one for one in group.sizes.fills if one.memory not in apart or one.name == "bases"]
            told_words = [(one.count, math.ceil(one.bits / 16 / machine.buffer_pixels)) for one in waiting]
            lines = sum(count * math.ceil(line / machine.buffer_banks) for count, line in told_words)
            assert fill.accesses() - fill.beside(last[1]) == lines
        last = group, fill
    assert done == total
    planes = [one for one in fills if one.region in (INPUT_PLANE, PART_PLANE)]
    alone = sum(one.count * (one.pieces[1] - one.pieces[0]) * (one.span - _between(one)) for one in planes)
    assert words == sum(one.accesses * one.span for one in planes) - alone


def _between(one: Fill) -> int:
    """Words of an access from the begin of its first row to that of its last."""
    rows = range(one.pieces[0], one.pieces[1])
    return max(row % one.together for row in rows) * one.piece_pixels // PIXELS if one.pitch else 0
