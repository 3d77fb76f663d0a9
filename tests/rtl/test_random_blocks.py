"""Random fused blocks on small machines: every output bit and every planned cycle of passes and predictions."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given, settings, strategies as st
from integer.block_cases import compiled, integer_input
from rtl.blocks import chains, extreme_blocks
from rtl.machines import SMALL, THREE, simulator_of, spec_of
from strategies import BlockCase, bottlenecks

from predfuse.arrays import Int16Array
from predfuse.errors import InputError
from predfuse.fusion.masks import predict_masks as fast_masks
from predfuse.graph.nodes import Bottleneck, Shape
from predfuse.hardware.block_work import block_work
from predfuse.hardware.cycle.archon.gateware import INPUT_PLANE, PART_PLANE, Machine
from predfuse.hardware.cycle.archon.group_plan import plan_groups
from predfuse.hardware.cycle.archon.sequence.commands import BEHIND, FINISH, LISTS, PREDICT, Command, Fill, Start
from predfuse.hardware.cycle.archon.sequence.group import Records
from predfuse.hardware.cycle.archon.sequence.parts import predicted_parts
from predfuse.hardware.cycle.archon.sequence.places import MEMORIES
from predfuse.hardware.cycle.archon.sequence.schedule import Clock
from predfuse.hardware.cycle.archon.sequence.timing import block_time, chain_times
from predfuse.hardware.merged_groups import merged_block
from predfuse.hardware.spec import ArchonSpec, load_spec
from predfuse.integer.options import CompileOptions
from predfuse.integer.reference import _fused, predict_masks
from predfuse.rtl.image import Image
from predfuse.rtl.narrow import narrowed
from predfuse.rtl.run import Told, run_block, run_chain
from predfuse.rtl.simulator import Simulator
from predfuse.rtl.steps import ChainPlan, plan_block, plan_chain
from predfuse.rtl.streams import GroupStream


@pytest.fixture(scope="module")
def simulator() -> Simulator:
    return simulator_of(SMALL)


def test_outputs_are_exact_and_cycles_as_planned(simulator: Simulator) -> None:
    ran = _run(simulator, bottlenecks(with_predictor=True), 200)
    assert ran["block"] >= 200
    assert min(ran[name] for name in FEATURES), ran


def test_three_lists_and_a_plane_in_turns() -> None:
    """Groups of up to six outputs, so that every list in progress sends several; rows of up to four words."""
    shapes = st.tuples(st.just(6), st.integers(3, 6), st.integers(3, 14))
    wide = shapes.flatmap(lambda shape: bottlenecks(in_shape=shape, with_predictor=True))
    ran = _run(simulator_of(THREE), wide, 160)
    wanted = (
        "two turns",
        "two outputs a list",
        "kernel 3",
        "stride 2",
        "prediction beside lists",
        "prediction behind lists",
        "several images",
        "outputs beside the next lists",
        "outputs alone",
        "two rows an access, two words apart",
        "two rows an access, four words apart",
        "a row an access",
    )
    assert min(ran[name] for name in wanted), {name: ran[name] for name in wanted}


def test_offsets_beyond_every_sum(simulator: Simulator) -> None:
    """Offsets and shifts that no training makes."""
    ran = _run(simulator, extreme_blocks(), 120)
    assert ran["block"] >= 120 and ran["told in other numbers"] >= 20, ran


def test_groups_taken_together_are_exact(simulator: Simulator) -> None:
    """Blocks whose groups are taken together have the outputs they have apart."""
    fewer = Counter[int]()

    @settings(max_examples=60)
    @given(bottlenecks(with_predictor=True).filter(lambda case: case.block.groups > 1))
    def check(case: BlockCase) -> None:
        node, x = compiled(case, CompileOptions(sum_bits=20, accumulator_bits=48)), integer_input(case)
        exact, _ = _fused(node, x, *predict_masks(node, x))
        merged = merged_block(node, node.groups)
        try:
            plan = plan_block(merged, x.shape, simulator.machine)
        except InputError:
            assume(False)  # the gateware does not hold all of it at once
        result = run_block(plan.images([x], [exact], 0), simulator)
        assert result.exact, (result.differences, result.clock, result.planned)
        fewer[node.groups] += 1

    check()
    assert set(fewer) == {2, 3}, fewer


def _run(simulator: Simulator, cases: st.SearchStrategy[BlockCase], count: int) -> Counter[str]:
    """Random blocks on a machine, each exact; how many had what."""
    ran: Counter[str] = Counter()
    spec = spec_of(simulator.machine)

    @settings(max_examples=count)
    @given(cases)
    def check(case: BlockCase) -> None:
        block, machine = case.block, simulator.machine
        assume(_held(case, machine))
        node, x = compiled(case, CompileOptions(sum_bits=20, accumulator_bits=48)), integer_input(case)
        masks = predict_masks(node, x)
        fraction_bits = node.predictor_shift - node.predictor.input_exponent
        for mask, fast in zip(masks, fast_masks(node.as_bottleneck(), x, fraction_bits), strict=True):
            np.testing.assert_array_equal(mask, fast)
        exact, _ = _fused(node, x, *masks)
        try:
            plan = plan_block(node, x.shape, machine)
        except InputError as error:
            assume("first scores up to" not in str(error))  # test_narrow has these
            raise
        told = plan.images([x], [exact], 0)
        result = run_block(told, simulator)
        assert result.exact, (result.differences, result.clock, result.planned)
        work = block_work(node.as_bottleneck(), x.shape)
        assert block_time(work, plan_groups(work, spec), machine).cycles == result.clock.total
        ran.update(_features(plan, x.shape, block, told, result.clock))
        live = np.concatenate([one.group * work.group_middle + one.order for one in plan.streams[0]])
        narrow = narrowed("b1", node.predictor, live, machine.expand_score)
        ran["told in other numbers"] += bool((narrow.expand_offset != node.predictor.expand_offset[live]).any())

    check()
    return ran


FEATURES = (
    *("kernel 1", "kernel 3", "kernel 5", "stride 1", "stride 2", "groups", "residual", "shuffle", "uneven padding"),
    *("expand bias", "depthwise bias", "output bias", "several tiles", "several parts", "two turns", "two rounds"),
    *("prediction beside lists", "fills beside the core", "a fill that waits for a bank"),
    *("two groups in all memories", "memories with room for one group", "prediction of the next group"),
    *("outputs beside the next lists", "outputs beside a prediction"),
    *("two rows of outputs at once", "rows of outputs one by one", "half of two rows"),
)
"""All of which the random blocks are to have; predictions behind lists are rare with so many gate words."""


def _features(plan: ChainPlan, shape: Shape, block: Bottleneck, told: list[Image], clock: Clock) -> set[str]:
    """What a block and its run have of them."""
    flags, machine = [step.flags for image in told for step in image.steps], plan.machine
    apart = [one.places.apart(two.places) for one, two in itertools.pairwise(plan.streams[0])]
    work = block_work(plan.nodes[0].as_bottleneck(), shape)
    tiles = work.tiles(machine.tile_rows, machine.tile_columns)
    parts = [part for tile in tiles for part, _ in predicted_parts(work, tile, machine)]
    fills = [one for _, filling in plan.fillings for one in filling.commands if isinstance(one, Fill)]
    starts = [one for _, filling in plan.fillings for one in filling.commands if isinstance(one, Start)]
    planes = {(one.pitch, one.together) for one in fills if one.region in (INPUT_PLANE, PART_PLANE)}
    has = {
        f"kernel {block.depthwise_weight.shape[1]}": True,
        f"stride {block.stride}": True,
        "block": True,
        "groups": block.groups > 1,
        "two outputs a list": block.project_weight.shape[0] // block.groups > machine.lists,
        "residual": block.residual,
        "shuffle": block.shuffle_groups > 1,
        "uneven padding": len(set(block.padding)) > 1,
        "expand bias": block.expand_bias.any(),
        "depthwise bias": block.depthwise_bias.any(),
        "output bias": block.project_bias.any(),
        "several tiles": sum(one & FINISH > 0 for one in flags) > block.groups,
        "several parts": len(parts) > len(tiles),
        "two turns": any(machine.turns(part.hidden_rows(work)) == 2 for part in parts),
        "two rounds": block.expand_weight.shape[1] > machine.inputs,
        "prediction beside lists": any(one & ~FINISH == LISTS | PREDICT for one in flags),
        "prediction behind lists": any(one & ~FINISH == LISTS | PREDICT | BEHIND for one in flags),
        "outputs beside the next lists": any(one & (FINISH | LISTS) == FINISH | LISTS for one in flags),
        "outputs beside a prediction": FINISH | PREDICT in flags,
        "outputs alone": FINISH in flags[:-1],
        "prediction of the next group": any("of the next group" in step.what for image in told for step in image.steps),
        "several images": len(told) > 1,
        "fills beside the core": clock.both > 0,
        "two groups in all memories": any(one >= {*MEMORIES, "slots"} for one in apart),
        "memories with room for one group": any(not one >= {*MEMORIES, "slots"} for one in apart),
        "two rows of outputs at once": any(
            one.store is not None and one.store.together(machine) == 2 for one in starts
        ),
        "rows of outputs one by one": any(one.store is not None and one.store.together(machine) == 1 for one in starts),
        "half of two rows": any(
            one.store is not None and one.store.together(machine) == 2 and one.store.rows.size % 2 for one in starts
        ),
        "a fill that waits for a bank": clock.fill_waits > 0,
        "a row an access": (0, 1) in planes,
        "two rows an access, two words apart": (1, 2) in planes,
        "two rows an access, four words apart": (2, 2) in planes,
    }
    return {name for name, there in has.items() if there}


def test_chains_are_exact(simulator: Simulator) -> None:
    """Blocks behind each other, words of the next filled beside the lists of this one; two inputs."""
    ran: Counter[str] = Counter()

    @settings(max_examples=40)
    @given(st.lists(bottlenecks(with_predictor=True), min_size=2, max_size=4))
    def check(cases: list[BlockCase]) -> None:
        ran.update(_run_chain(cases, simulator, False))

    check()
    assert min(ran[name] for name in ("words of the next block", "no words of the next block", "cycles saved")) > 0, ran
    assert ran["groups out of order"] > 0 and not ran["flow"], ran


def test_blocks_that_flow_are_exact(simulator: Simulator) -> None:
    """Each reads what the one before makes; the first tile is predicted beside the lists of that, where it can be."""
    ran: Counter[str] = Counter()

    @settings(max_examples=80)
    @given(chains())
    def check(cases: list[BlockCase]) -> None:
        ran.update(_run_chain(cases, simulator, True))

    check()
    assert ran["flow"] >= 10 and ran["wait"] >= 10 and ran["cycles saved"] > 0, ran
    assert ran["first prediction beside lists"] >= 5 and ran["several images"] >= 10, ran


def _run_chain(cases: list[BlockCase], simulator: Simulator, reading: bool) -> Counter[str]:
    """A chain of blocks for two inputs, exact; what it had."""
    machine, spec = simulator.machine, spec_of(simulator.machine)
    assume(all(_held(case, machine) for case in cases))
    nodes = [compiled(case, CompileOptions(sum_bits=20, accumulator_bits=48)) for case in cases]
    shapes = [case.x.shape for case in cases]
    reads = [reading and place > 0 for place in range(len(cases))]
    plan = plan_chain(list(zip(nodes, shapes, strict=True)), machine, reads)
    images = []
    for number in range(2):
        inputs: list[Int16Array] = []
        outputs: list[Int16Array] = []
        for case, node, read in zip(cases, nodes, reads, strict=True):
            x = outputs[-1] if read else integer_input(replace(case, x=-case.x if number else case.x))
            inputs.append(x)
            outputs.append(_fused(node, x, *predict_masks(node, x))[0].astype(np.int16))
        images += plan.images(inputs, outputs, number)
    results = run_chain(Told(tuple(map(str, range(len(cases)))), tuple(images)), simulator)
    assert len(results) == len(cases)
    assert all(one.exact for one in results), [(one.differences, one.clock, one.planned) for one in results]
    works = [block_work(node.as_bottleneck(), shape) for node, shape in zip(nodes, shapes, strict=True)]
    times = chain_times([(work, plan_groups(work, spec)) for work in works], machine, reads)
    assert [2 * one.cycles for one in times] == [one.clock.total for one in results]
    alone = [block_time(work, plan_groups(work, spec), machine).cycles for work in works]
    first = list(itertools.accumulate(map(len, plan.streams)))
    commands = list(_with_blocks(plan))
    starts = [one for _, one in commands if isinstance(one, Start)]
    early = {block for block, one in commands if isinstance(one, Fill) and _group(one) >= first[block]}
    assert len(cases) - 1 not in early
    begun = {one.predicted.block: one for one in reversed(starts) if one.predicted is not None}
    return Counter(
        {
            "words of the next block": len(early),
            "no words of the next block": len(cases) - 1 - len(early),
            "groups out of order": sum(list(own) != sorted(own, key=_group_of) for own in plan.streams),
            "cycles saved": sum(alone) - sum(one.cycles for one in times),
            "flow": sum(plan.flows),
            "wait": len(cases) - 1 - sum(plan.flows),
            "first prediction beside lists": sum(one.item.block < block for block, one in begun.items()),
            "several images": len(plan.fillings) > 1,
        }
    )


def _with_blocks(plan: ChainPlan) -> Iterator[tuple[int, Command]]:
    """Every command with the number of its block: that of the last start of the core before it."""
    for begun, filling in plan.fillings:
        block = begun
        for one in filling.commands:
            block = one.item.block if isinstance(one, Start) else block
            yield block, one


def _group(one: Fill) -> int:
    """The group of its words in the chain; -1 if it has none."""
    return one.source.group if isinstance(one.source, Records) else -1


def _group_of(stream: GroupStream) -> int:
    return stream.group


def _held(case: BlockCase, machine: Machine) -> bool:
    """Whether the gateware has the kernel, stride and channels of a block, and its predictor holds an output pixel."""
    kernel, channels = case.block.depthwise_weight.shape[1], case.block.expand_weight.shape[1]
    largest = machine.unit_rows * machine.side * machine.inputs
    taken = kernel <= machine.kernel and case.block.stride <= 2 and channels <= machine.columns
    return taken and kernel**2 * channels <= largest


@settings(max_examples=5)
@given(bottlenecks(with_predictor=True).filter(lambda case: case.block.depthwise_weight.shape[1] == 7))
def test_a_block_too_large_is_refused(simulator: Simulator, case: BlockCase) -> None:
    node = compiled(case, CompileOptions(sum_bits=20, accumulator_bits=48))
    with pytest.raises(InputError, match=r"a kernel of 7, the gateware holds 5; enlarge design\.structures\.predictor"):
        plan_block(node, case.x.shape, simulator.machine)


def test_unknown_machines_are_refused() -> None:
    published = load_spec("archon-ics21")
    assert isinstance(published, ArchonSpec)
    with pytest.raises(InputError, match="has no gateware"):
        Machine.of(published)
