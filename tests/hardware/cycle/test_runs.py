"""Whole networks on every kind of machine: totals add up, nothing is free or negative, more hardware is not slower."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hardware.cycle.machines import archon, eyeriss, random_masks, with_predictors
from hypothesis import given, settings, strategies as st
from strategies import SEEDS, networks

from predfuse import models
from predfuse.errors import InputError
from predfuse.graph.nodes import Bottleneck, Network
from predfuse.hardware.block_work import block_work
from predfuse.hardware.closed_form.simulate import simulate
from predfuse.hardware.closed_form.windows import Window
from predfuse.hardware.cycle.archon.machine import prepare, run_archon
from predfuse.hardware.cycle.archon.passes import channel_banks, group_passes
from predfuse.hardware.cycle.archon.plain import plain_work
from predfuse.hardware.cycle.archon.registers import LaneRegisters, plan_passes
from predfuse.hardware.cycle.eyeriss.machine import run_eyeriss
from predfuse.hardware.cycle.run import CycleRun
from predfuse.hardware.cycle.simulate import simulate_cycles
from predfuse.hardware.cycle.trace import chrome_trace
from predfuse.hardware.energy import COMPONENTS
from predfuse.hardware.pruning import prune_blocks
from predfuse.hardware.result import Simulation
from predfuse.hardware.spec import AcceleratorSpec, ArchonSpec
from predfuse.hardware.vary import with_fields
from predfuse.hardware.workload import Operation, workload

MACHINES: dict[str, AcceleratorSpec] = {
    "archon": archon(),
    "ternary": with_fields(archon(), {"design.largest_predictor_weight": 1}),
    "archon-ics21": archon("archon-ics21"),
    "beside": with_fields(archon(), {"design.weight_fill": "beside", "design.plain_layers": "mapped_groups"}),
    "shared": with_fields(
        archon(),
        {
            "prices": "published",
            "design.predictor": "shared",
            "design.largest_predictor_weight": 1,
            "global_buffer.banks": 2,
        },
    ),
}


def check(run: CycleRun, network: Network, spec: AcceleratorSpec) -> None:
    result = run.result
    assert result.total_cycles == run.timeline.end == result.compute_cycles + result.stall_cycles
    assert result.total_cycles == sum(row.compute_cycles + row.stall_cycles for row in result.rows)
    assert result.total_cycles == sum(result.layer_cycles().values())
    assert [entry.node for entry in result.ledger] == [node.name for node in network.nodes]
    for row in result.rows:
        assert row.compute_cycles >= 0 and row.stall_cycles >= 0, row
        assert 0 <= row.utilisation <= 1
        for name, count in row.actions.as_dict().items():
            assert np.isfinite(count) and count > -1e-6, (row.layer, row.stage, name, count)
        assert set(row.energy_pj) == set(COMPONENTS)
    work = sum(operation.macs for operation in workload(network).operations)
    assert result.total_energy_uj > 0 or work == 0
    json.dumps(result.as_json())


@settings(max_examples=40)
@given(networks(with_predictor=True), SEEDS, st.sampled_from(sorted(MACHINES)))
def test_random_networks_on_archons(network: Network, seed: int, machine: str) -> None:
    spec = MACHINES[machine]
    assert isinstance(spec, ArchonSpec)
    if network.largest_predictor_weight > spec.design.largest_predictor_weight:
        with pytest.raises(InputError, match="has predictor weights up to"):
            prepare(network, spec)
        return
    wide = max((block.predictor.activation_bits for block in network.bottlenecks() if block.predictor), default=0)
    if wide > 2:
        with pytest.raises(InputError, match=rf"has a predictor of {wide} bits, that of .* has 2; use"):
            prepare(network, spec.model_copy(update={"activation_bits": 2}))
    run = run_archon(prepare(network, spec), random_masks(network, seed))
    check(run, network, spec)
    assert [entry.status for entry in run.result.ledger if entry.node in random_masks(network, seed)] == [
        "fused"
    ] * len(random_masks(network, seed))


@settings(max_examples=15)
@given(networks(), st.sampled_from(("eyeriss-dense", "eyeriss-sparse")))
def test_random_networks_on_dense_and_sparse(network: Network, machine: str) -> None:
    spec = eyeriss(machine)
    check(run_eyeriss(network, spec), network, spec)


@pytest.fixture(scope="module")
def small() -> Network:
    return with_predictors(prune_blocks(models.network("fusionet-s")))


@pytest.mark.parametrize("machine", sorted(MACHINES))
def test_fusionet_s(small: Network, machine: str) -> None:
    spec = MACHINES[machine]
    prepared = prepare(small, spec)  # type: ignore[arg-type]
    masks = random_masks(small, 1)
    run = run_archon(prepared, masks)
    check(run, small, spec)
    # The multipliers set a bound no sequencer gets below.
    for row in run.result.rows:
        if row.stage == "main" and row.layer.startswith("b"):
            assert row.compute_cycles * spec.array.pes >= row.actions.multiplications
    again = run_archon(prepared, masks)
    assert again.result == run.result


def test_larger_predictor_weights_are_stored_in_one_more_bit(small: Network) -> None:
    """Their additions take as long; what is more is their way from the DRAM and to the predictor."""
    doubled = replace(
        small,
        nodes=tuple(
            replace(node, predictor=replace(node.predictor, expand=node.predictor.expand + np.int8(2)))
            if isinstance(node, Bottleneck) and node.predictor is not None
            else node
            for node in small.nodes
        ),
    )
    spec, masks = archon(), random_masks(small, 1)
    ternary, larger = (run_archon(prepare(network, spec), masks).result for network in (small, doubled))
    bits = [sum(row.actions.dram_read_bits for row in result.rows) for result in (ternary, larger)]
    shapes = small.shapes()
    works = [block_work(block, shapes[block.inputs[0]]) for block in small.bottlenecks()]
    assert bits[1] - bits[0] == sum(int(w.live_channels.sum()) * (w.group_channels + w.taps) for w in works)
    for name in ("multiplications", "additions", "ternary_additions"):
        counts = [sum(row.actions.as_dict()[name] for row in result.rows) for result in (ternary, larger)]
        assert counts[0] == counts[1]
    with pytest.raises(InputError, match=r"weights up to 2, those of archon go to 1; use archon"):
        prepare(doubled, with_fields(archon(), {"design.largest_predictor_weight": 1}))


def test_lane_registers_take_the_same_time_whatever_the_masks(small: Network) -> None:
    prepared = prepare(small, archon())
    runs = [run_archon(prepared, random_masks(small, 1, density=density)) for density in (0.0, 0.9)]
    assert runs[0].result.total_cycles == runs[1].result.total_cycles
    assert runs[0].result.total_energy_uj < runs[1].result.total_energy_uj
    costs = Simulation(tuple(run.result for run in runs))
    assert costs.total_cycles == costs.fastest_cycles == costs.slowest_cycles
    assert costs.images == 2


def test_bias_sums_are_charged(small: Network) -> None:
    masks, spec = random_masks(small, 2), archon()
    free = with_fields(spec, {"design.bias_sums": "free"})
    shifted = replace(
        small,
        nodes=tuple(
            replace(node, expand_bias=node.expand_bias + 1, depthwise_bias=node.depthwise_bias + 1)
            if isinstance(node, Bottleneck)
            else node
            for node in small.nodes
        ),
    )
    with_sums = run_archon(prepare(shifted, spec), masks).result
    without = run_archon(prepare(shifted, free), masks).result
    assert with_sums.total_cycles > 1.05 * without.total_cycles
    assert with_sums.actions_total("additions") > without.actions_total("additions")


def test_filling_beside_the_lists_takes_less_time_and_does_the_same(small: Network) -> None:
    masks = random_masks(small, 2)
    alone, beside = (
        run_archon(prepare(small, with_fields(archon(), {"design.weight_fill": fill})), masks).result
        for fill in ("alone", "beside")
    )
    assert beside.total_cycles < alone.total_cycles
    assert [row.actions for row in beside.rows] == [row.actions for row in alone.rows]


def test_no_two_members_of_a_cycle_read_one_bank_of_the_project_memory(small: Network) -> None:
    """So that every other cycle of a bank is free to fill it for the next group."""
    spec = archon()
    own, banks = spec.design.structures, spec.mask_buffer.banks
    assert own is not None
    lanes = LaneRegisters(spec.lanes, own.lane_registers, spec.design.parallel_lists, own.channel_loads, banks)
    for block in prepare(small, spec).blocks.values():
        for group, plan in enumerate(block.groups):
            size = -(-block.work.group_outputs // plan.slices)
            first = plan_passes(group_passes(block.work, group, size, own.project_row_words), lanes)
            orders = (first, first.in_fewest_cycles())  # as passes are where predictions follow lists, or faster
            assert plan.times is not None
            (planned, *_) = [one for one in orders if (one.times.read_cycles == plan.times.read_cycles).all()]
            passes = planned.passes
            assert plan.times is not None and plan.held is not None
            owner = np.repeat(np.arange(len(plan.times.load_cycles)), np.diff(passes.indptr))
            cycle = plan.times.load_begins[owner] + plan.times.read_cycles
            bank = planned.bank[passes.channel]
            assert len(set(zip(cycle.tolist(), bank.tolist(), strict=True))) == len(bank)
            reads = np.bincount(bank, minlength=spec.mask_buffer.banks)
            assert (plan.held.project_reads == reads).all() and reads.max() <= plan.times.cycles


@pytest.mark.parametrize("words", [8, 24, 48, 4096])
def test_outputs_are_cut_into_the_fewest_slices_that_the_project_memory_holds(small: Network, words: int) -> None:
    spec = with_fields(archon(), {"design.structures.project_memory_words": words})
    own, banks = spec.design.structures, spec.mask_buffer.banks
    assert own is not None
    for block in prepare(small, spec).blocks.values():
        outputs = block.work.group_outputs
        for group, plan in enumerate(block.groups):
            project = block.work.project[group * outputs : (group + 1) * outputs]
            for size in range(min(outputs, spec.pe.psum_regfile_words * spec.design.parallel_lists), 0, -1):
                passes = group_passes(block.work, group, size, own.project_row_words)
                fullest = 0
                for first in range(0, outputs, size):
                    rows = Counter[int]()
                    for channel, bank in enumerate(channel_banks(passes, banks).tolist()):
                        rows[bank] += -(-int(project[first : first + size, channel].sum()) // own.project_row_words)
                    fullest = max(fullest, *rows.values())
                # Sizes that make no fewer slices are not taken.
                if size == -(-outputs // -(-outputs // size)) and fullest * own.project_row_words * banks <= words:
                    break
            assert plan.slices == -(-outputs // size)


@given(st.integers(1, 9), st.integers(1, 5), st.integers(1, 5), st.integers(1, 4), st.integers(1, 20))
def test_plain_layers_on_the_pes_of_a_pixel(groups: int, channels: int, outputs: int, lists: int, size: int) -> None:
    """Outputs dealt to the PEs one after the other, of one group or of all; each takes a cycle a channel and tap."""
    window = Window(size, size, 3, 1, 1)
    operation = Operation("l", "main", groups * channels, groups * outputs, groups, window, window)
    tiles = (-(-size // 8)) ** 2
    for layers, dealt in (("mapped", [outputs] * groups), ("mapped_groups", [groups * outputs])):
        spec = with_fields(archon(), {"design.parallel_lists": lists, "design.plain_layers": layers})
        expected = 0
        for count in dealt:
            work = [0] * lists
            for output in range(count):
                work[output % lists] += channels * 9
            expected += tiles * max(work)
        expected = max(expected, tiles * 8 * groups * outputs)  # a row of a tile leaves in a cycle
        by_output = max(size * size * groups * channels * 9, size * size * -(-groups * outputs // 8))
        assert plain_work(operation, spec).cycles == min(expected, by_output)


@given(
    st.tuples(*[st.integers(1, 4)] * 3),
    st.integers(1, 3),
    st.sampled_from([1, 3]),
    st.integers(1, 18),
    st.sampled_from(["mapped", "mapped_groups"]),
    st.floats(0, 1),
    st.integers(0, 2**32 - 1),
)
def test_plain_layers_leave_out_what_no_output_at_work_needs(
    sizes: tuple[int, int, int], lists: int, kernel: int, size: int, layers: str, density: float, seed: int
) -> None:
    """Walks every tile, output and term; a step is left out only where all PEs of the step would multiply by zero."""
    groups, channels, outputs = sizes
    weight = np.random.default_rng(seed).random((groups * outputs, channels, kernel, kernel)) < density
    window = Window(size, size, kernel, 1, kernel // 2)
    operation = Operation("l", "main", groups * channels, groups * outputs, groups, window, window, weight)
    spec = with_fields(archon(), {"design.parallel_lists": lists, "design.plain_layers": layers})
    numbers = list(range(groups * outputs))
    dealt = [numbers] if layers == "mapped_groups" else [numbers[first:][:outputs] for first in numbers[::outputs]]
    taps = [(c, y, x) for c in range(channels) for y in range(kernel) for x in range(kernel)]
    ways = []  # cycles and bits of a pixel a PE and of an output a PE
    tiles = (-(-size // 8)) ** 2
    for together, at_once, visits, leaving in (
        (dealt, lists, tiles, tiles * 8 * len(numbers)),
        ([numbers[first:][:outputs] for first in numbers[::outputs]], 64, size * size, size * size * len(numbers[::8])),
    ):
        steps = 0
        for members in together:
            for first in range(0, len(members), at_once):
                steps += sum(any(weight[(o, *tap)] for o in members[first : first + at_once]) for tap in taps)
        ways.append((max(leaving, visits * steps), steps * (16 * min(at_once, len(together[0])) + 4)))
    cycles, bits = ways[1] if ways[1][0] < ways[0][0] else ways[0]
    found, dense = plain_work(operation, spec), plain_work(replace(operation, weight=None), spec)
    if bits < dense.weight_bits:
        assert (found.cycles, found.weight_bits, found.multiplied) == (cycles, bits, weight.sum())
    else:
        assert found == dense
        assert found.weight_bits == 16 * weight.size


def test_bandwidth_only_stalls(small: Network) -> None:
    masks = random_masks(small, 3)
    results = {}
    for bits in (32, 512, None):
        spec = with_fields(archon(), {"dram_bits_per_cycle": bits})
        results[bits] = run_archon(prepare(small, spec), masks).result
    assert results[None].stall_cycles == 0
    assert results[32].compute_cycles == results[512].compute_cycles == results[None].compute_cycles
    assert results[32].stall_cycles > results[512].stall_cycles


def test_idle_edges_beat_perfect_factors() -> None:
    network = models.network("mobilenetv2-s")
    for name in ("eyeriss-dense", "eyeriss-sparse"):
        # Four words an access, so that the buffer, which perfect factors leave out, limits nothing.
        words = {"dram_bits_per_cycle": None, "elementwise": "free", "array_words_per_access": 4}
        spec = eyeriss(name).model_copy(update=words)
        perfect = spec.model_copy(update={"edges": "perfect"})
        assert run_eyeriss(network, spec).result.total_cycles < run_eyeriss(network, perfect).result.total_cycles


def test_trace(small: Network) -> None:
    run = run_archon(prepare(small, archon()), random_masks(small, 4))
    document = json.loads(json.dumps(chrome_trace(run)))
    spans = [event for event in document["traceEvents"] if event["ph"] == "X"]
    assert max(event["ts"] + event["dur"] for event in spans) == run.result.total_cycles
    for track in range(4):
        of_track = sorted((event["ts"], event["dur"]) for event in spans if event["tid"] == track)
        assert all(a + d <= b for (a, d), (b, _) in itertools.pairwise(of_track)), "overlap"
    main = sum(event["dur"] for event in spans if event["tid"] == 3)
    assert main == run.steps.amounts[:, 4].sum()
    loaded = sum(event["args"]["bits"] for event in spans if event["tid"] == 0)
    assert loaded == pytest.approx(run.result.actions_total("dram_read_bits"), abs=len(run.steps))


def test_masks_are_needed_and_must_fit(small: Network) -> None:
    prepared = prepare(small, archon())
    with pytest.raises(InputError, match="layer b1: has no masks"):
        run_archon(prepared, {})
    masks = random_masks(small, 0)
    with pytest.raises(InputError, match="layer b1: has masks"):
        run_archon(prepared, {**masks, "b1": masks["b2"]})
    with pytest.raises(InputError, match="masks depend on the image; give images"):
        simulate_cycles(small, archon())


def test_blocks_without_predictors_run_plain() -> None:
    network = prune_blocks(models.network("fusionet-s"))
    (run,) = simulate_cycles(network, archon())
    check(run, network, archon())
    assert {entry.reason for entry in run.result.ledger if entry.node.startswith("b")} == {"has no predictor"}


def test_real_images_give_the_masks(small: Network) -> None:
    images = np.random.default_rng(0).normal(size=(2, *small.input_shape))
    runs = simulate_cycles(small, archon(), images)
    assert len(runs) == 2
    # Predictors that say nothing switch everything off.
    assert runs[0].result.actions_total("additions") == runs[1].result.actions_total("additions")


def test_predicted_relu6_blocks_are_fused_at_both_fidelities() -> None:
    """Their masks leave the block linear, so that they run like those of ReLU; without a predictor they do not."""
    plain = prune_blocks(models.network("mobilenetv2-s"), 0.1, 0.3)
    relu6 = replace(
        plain,
        nodes=tuple(
            replace(node, expand_activation="relu6", depthwise_activation="relu6")
            if isinstance(node, Bottleneck)
            else node
            for node in plain.nodes
        ),
    )
    names = {block.name for block in plain.bottlenecks()}
    runs = []
    for network in (with_predictors(plain), with_predictors(relu6)):
        paper = simulate(network, archon("archon-ics21"))
        cycle = run_archon(prepare(network, archon()), random_masks(network, 0)).result
        for result in (paper, cycle):
            assert {entry.node for entry in result.ledger if entry.status == "fused"} == names
        runs.append((paper.layer_cycles(), cycle.layer_cycles()))
    assert runs[0] == runs[1]
    unpredicted = run_archon(prepare(relu6, archon()), {}).result
    assert not any(entry.status == "fused" for entry in unpredicted.ledger)
