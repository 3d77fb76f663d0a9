"""What the DRAM moves beside the schedule of a block: all of it, in time, in parts of which the buffer holds two."""

from __future__ import annotations

import itertools

from hypothesis import assume, given, settings, strategies as st
from strategies import BlockCase, bottlenecks

from predfuse.errors import InputError
from predfuse.hardware.block_work import block_work
from predfuse.hardware.cycle.archon.group_plan import plan_groups
from predfuse.hardware.cycle.archon.sequence.timing import block_time, network_machine
from predfuse.hardware.cycle.archon.tile_work import plan_item
from predfuse.hardware.cycle.archon.timed_steps import timed_steps
from predfuse.hardware.cycle.memory.buffer import Place
from predfuse.hardware.cycle.memory.run_ahead import run_ahead
from predfuse.hardware.cycle.memory.schedule import schedule
from predfuse.hardware.cycle.memory.steps import Steps
from predfuse.hardware.spec import ArchonSpec, load_spec


@settings(max_examples=40)
@given(bottlenecks(with_predictor=True), st.booleans(), st.booleans(), st.integers(32, 2000), st.integers(1, 64))
def test_the_dram_only_ever_adds_waiting(case: BlockCase, first: bool, last: bool, words: int, bits: int) -> None:
    spec = load_spec("archon-tiny")
    assert isinstance(spec, ArchonSpec)
    work = block_work(case.block, (case.x.shape[0], case.x.shape[1], case.x.shape[2]))
    tiles = work.tiles(spec.design.tile_rows, spec.design.tile_columns)
    try:
        plans = plan_groups(work, spec)
        time = block_time(work, plans, network_machine(spec, [(work, plans)]))
    except InputError:
        assume(False)  # the gateware does not hold it
    place = Place(input_on_chip=first, output_on_chip=last, residual_on_chip=first, free_words=words)
    rows = [
        [plan_item(work, plan, tile, tile is tiles[0], len(tiles), spec, place) for tile in tiles] for plan in plans
    ]
    items = [item for row in rows for item in row]
    steps = timed_steps(work.name, plans, items, time, spec, place)
    assert sum(step.load_bits for step in steps) == sum(item.load_bits for item in items)
    assert sum(step.store_bits for step in steps) == sum(item.store_bits for item in items)
    assert all(2 * step.load_bits <= step.room_bits == words * spec.bits for step in steps)
    ideal, slow, fast = (schedule(run_ahead(Steps.of(steps)), one) for one in (None, bits, 2 * bits))
    assert ideal.end == time.cycles == sum(one.cycles for one in time.stretches)
    assert slow.end >= fast.end >= ideal.end
    assert slow.end >= sum(-(-step.load_bits // bits) + -(-step.store_bits // bits) for step in steps)
    for index, step in enumerate(steps):
        assert slow.load[index, 1] <= slow.main[index, 0] or not step.load_bits
    assert {number for one in time.stretches for number in one.used} == set(range(len(items)))
    left = [number for one in time.stretches for number in one.left]
    assert sorted(left) == list(range(len(items)))  # groups in any order, the tiles of each behind each other
    assert all(two == one + 1 or one % len(tiles) == len(tiles) - 1 for one, two in itertools.pairwise(left))
