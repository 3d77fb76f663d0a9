"""The dense and the sparse machine at cycle fidelity: idle edges, buffers and DRAM charged as on Archon.

Every layer gets the mapping with the least product of time and energy, of all that fit its memories: sizes as they are
or rounded up, tiles that leave room to load the next ones beside them or not (then loads wait for the work before).
Maps that fit stay in the global buffer.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache, partial

from predfuse.errors import InputError
from predfuse.graph.nodes import Network
from predfuse.hardware.closed_form.mapping import Mapping, best_mapping, divisors
from predfuse.hardware.closed_form.windows import Window
from predfuse.hardware.cycle.elementwise import plan_elementwise
from predfuse.hardware.cycle.eyeriss.dense import dense_cycles
from predfuse.hardware.cycle.eyeriss.depth_first import plan_depth_first
from predfuse.hardware.cycle.eyeriss.padding import padded
from predfuse.hardware.cycle.eyeriss.sparse import sparse_cycles
from predfuse.hardware.cycle.memory.places import Place, Places, part
from predfuse.hardware.cycle.memory.schedule import Step, schedule
from predfuse.hardware.cycle.memory.transfers import buffer_cycles, on_chip
from predfuse.hardware.cycle.plan import LayerPlan, StagePlan, divide
from predfuse.hardware.cycle.run import CycleRun, run_plans
from predfuse.hardware.energy import Actions, energy_by_component_pj
from predfuse.hardware.parts import WORD_BITS
from predfuse.hardware.result import LedgerEntry
from predfuse.hardware.spec import EyerissSpec
from predfuse.hardware.workload import EXPAND_OR_LAYER, Operation, Workload, stage_of, workload
from predfuse.integer.program import Program

TILE_SHARE = 4
"""One part in this many of the global buffer is kept free of resident maps, for tiles."""
BAND_SHARE = 2
"""The same while a block runs depth-first."""
MOST_STEPS = 64
"""Steps a layer is scheduled in, at most; its passes are alike."""


def run_eyeriss(what: Network | Program, spec: EyerissSpec) -> CycleRun:
    """One image; all images take the same.

    Args:
        what: A network with its real weights, or a program.
        spec: The machine.

    Raises:
        InputError: A memory of the machine is too small for a layer.
    """
    work = workload(what)
    blocks = [item.node for item in work.items if item.is_block]
    layers = _plans(work, spec, ())
    if spec.schedule == "layers" or not blocks:
        return layers.run(spec)
    # Depth-first: no block, every block, or those that gain by themselves; what stays on chip differs.
    whole = _plans(work, spec, blocks)
    gaining = [name for name in blocks if whole.prices[name] < layers.prices[name]]
    runs = [plans.run(spec) for plans in (layers, whole, *([_plans(work, spec, gaining)] if gaining else []))]
    return min(runs, key=lambda run: run.result.total_cycles * run.result.total_energy_uj)


@dataclass(frozen=True, eq=False)
class _Plans:
    """All layers of a network planned, and the cycles times energy of every block by itself."""

    work: Workload
    plans: list[LayerPlan]
    prices: dict[str, float]

    def run(self, spec: EyerissSpec) -> CycleRun:
        """Schedule them."""
        ledger = tuple(LedgerEntry(item.node, "plain") for item in self.work.items)
        return run_plans(self.work.network, spec, self.plans, ledger)


def _plans(work: Workload, spec: EyerissSpec, depth_first: Collection[str]) -> _Plans:
    """Plan every layer, some blocks depth-first; a block for which no band fits is refused that way."""
    blocks = [item.node for item in work.items if item.is_block]
    reserved = {
        item.node: spec.global_buffer.words // (BAND_SHARE if item.node in depth_first else TILE_SHARE)
        for item in work.items
    }
    while True:
        places = Places.plan(work, spec, [name for name in blocks if name not in depth_first], reserved)
        found = _Plans(work, [], {})
        for item in work.items:
            plans: list[LayerPlan] = []
            if item.node in depth_first:
                plan = plan_depth_first(item.operations, spec, places.of(item.node), item.residual, partial(_fit, spec))
                if plan is None:  # no band fits: layer by layer
                    depth_first = [name for name in depth_first if name != item.node]
                    break
                plans.append(plan)
            else:
                for index, operation in enumerate(item.operations):
                    name = part(item.node, index) if item.is_block else item.node
                    added = item.residual and index == len(item.operations) - 1
                    plans.append(plan_operation(operation, spec, places.of(name), residual=added))
            if item.is_elementwise and spec.elementwise == "charged":
                plans.append(plan_elementwise(item, stage_of(item.node), spec, places))
            if item.is_block:
                energy = sum(
                    sum(energy_by_component_pj(r.actions, spec).values()) for plan in plans for r in plan.stages
                )
                cycles = sum(schedule(plan.steps, spec.dram_bits_per_cycle).end for plan in plans)
                found.prices[item.node] = cycles * energy
            found.plans.extend(plans)
        else:
            return found


def _fit(spec: EyerissSpec, operation: Operation, place: Place) -> tuple[StagePlan, float, bool]:
    """One convolution of a band."""
    best = _best(operation, spec, place, residual=False)
    return best.row, best.weight_bits, best.doubled.weights


def plan_operation(operation: Operation, spec: EyerissSpec, place: Place, residual: bool = False) -> LayerPlan:
    """Steps and actions of one convolution.

    Args:
        operation: The layer.
        spec: The machine.
        place: Where its maps are.
        residual: Whether a map of the size of its output is added.

    Raises:
        InputError: A memory of the machine is too small for the layer.
    """
    return _best(operation, spec, place, residual).plan


def _best(operation: Operation, spec: EyerissSpec, place: Place, residual: bool) -> _Candidate:
    """Of all ways to run a convolution the one with the least product of cycles and energy."""
    if spec.edges == "perfect":
        mapping = best_mapping(operation, spec)
        return _candidate(operation, operation, mapping, _Doubled(True, True), spec, place, residual)
    shortlist = sorted(_candidates(operation, spec, place, residual), key=lambda ranked: ranked[0])
    if not shortlist:
        best_mapping(operation, _with_memories(spec, place.free_words, _Doubled(False, False)))  # says what is missing
        raise AssertionError
    best, least = shortlist[0][1], math.inf
    for bound, candidate, energy in shortlist:
        if bound >= least:
            break
        product = schedule(candidate.steps, spec.dram_bits_per_cycle).end * energy
        if product < least:
            best, least = candidate, product
    return best


def _candidates(
    operation: Operation, spec: EyerissSpec, place: Place, residual: bool
) -> Iterator[tuple[float, _Candidate, float]]:
    """Least product of cycles and energy (pJ), how the layer runs, and its energy, for every promising mapping."""
    bandwidth = spec.dram_bits_per_cycle or math.inf
    for at_once, part_of, candidate in _shares(operation, spec):
        channels, outputs, groups = (n // at_once for n in (candidate.channels, candidate.outputs, candidate.groups))
        shape = _shape(channels, outputs, groups, candidate.rows, candidate.columns)
        found: list[tuple[Mapping, _Doubled]] = []
        for doubled in (_Doubled(True, True), _Doubled(True, False), _Doubled(False, True), _Doubled(False, False)):
            mapping = _mapping(shape, part_of, place.free_words // at_once, doubled)
            # The same mapping beside a second set of data is no worse.
            if mapping is not None and all(mapping != other for other, _ in found):
                found.append((mapping, doubled))
                run = _candidate(candidate, operation, mapping, doubled, spec, place, residual, at_once)
                moved = run.row.actions.dram_read_bits + run.row.actions.dram_written_bits
                energy = sum(energy_by_component_pj(run.row.actions, spec).values())
                yield max(run.row.own_cycles, moved // bandwidth) * energy, run, energy


def _shares(operation: Operation, spec: EyerissSpec) -> Iterator[tuple[int, EyerissSpec, Operation]]:
    """Groups worked on at once, the part of the machine each has, and the layer with sizes that suit that part.

    The array is cut into columns: a group of few channels would leave most of it idle.
    """
    counts = (1,) if operation.is_depthwise else divisors(operation.groups)
    for at_once in counts:
        columns = spec.array.columns // at_once
        if columns:
            array = spec.array.model_copy(update={"columns": columns})
            for candidate in padded(operation, spec.array.rows, columns):
                yield at_once, spec.model_copy(update={"array": array}) if at_once > 1 else spec, candidate


@dataclass(frozen=True)
class _Candidate:
    """One way to run a layer; its steps are made only where they are needed."""

    operation: Operation
    row: StagePlan
    count: int
    weight_bits: float
    doubled: _Doubled
    place: Place

    @cached_property
    def steps(self) -> tuple[Step, ...]:
        """In order."""
        return _steps(self.operation, self.count, self.row, self.weight_bits, self.doubled, self.place)

    @property
    def plan(self) -> LayerPlan:
        """Steps and actions."""
        return LayerPlan(self.operation.layer, self.steps, (self.row,))


@dataclass(frozen=True)
class _Doubled:
    """Which memories hold a second set of data, so that it is loaded while the first is worked on."""

    buffer: bool
    weights: bool


def _with_memories(spec: EyerissSpec, free_words: int, doubled: _Doubled) -> EyerissSpec:
    words = spec.global_buffer.width_bits // WORD_BITS * (2 if doubled.buffer else 1)
    weights = spec.pe.weight_sram_words // (2 if doubled.weights else 1)
    pe = spec.pe.model_copy(update={"weight_sram_words": max(1, weights)})
    buffer = spec.global_buffer.model_copy(update={"depth": max(1, free_words // words)})
    return spec.model_copy(update={"pe": pe, "global_buffer": buffer})


@lru_cache(maxsize=4096)
def _mapping(operation: Operation, spec: EyerissSpec, free_words: int, doubled: _Doubled) -> Mapping | None:
    """The best mapping of a layer of this shape, None if there is none; found once for equal layers."""
    try:
        return best_mapping(operation, _with_memories(spec, free_words, doubled))
    except InputError:
        return None


@lru_cache(maxsize=4096)
def _shape(channels: int, outputs: int, groups: int, rows: Window, columns: Window) -> Operation:
    """One and the same operation for all layers of a shape: a mapping depends on nothing else."""
    return Operation("layer", EXPAND_OR_LAYER, channels, outputs, groups, rows, columns)


def _candidate(
    candidate: Operation,
    operation: Operation,
    mapping: Mapping,
    doubled: _Doubled,
    spec: EyerissSpec,
    place: Place,
    residual: bool,
    at_once: int = 1,
) -> _Candidate:
    mapping = replace(mapping, actions=mapping.actions.scaled(at_once)) if at_once > 1 else mapping
    if spec.kind == "sparse":
        cycles, actions = sparse_cycles(candidate, operation, mapping, spec, at_once)
    else:
        cycles, actions = dense_cycles(candidate, operation, mapping, spec)
    # Weights among what is read are what the PEs take in, copies left out; the rest are inputs.
    weight_bits = actions.weight_sram_writes / mapping.spatial.q_columns * WORD_BITS
    input_bits = (actions.dram_read_bits - weight_bits) * place.input_on_chip
    output_bits = operation.outputs * operation.out_pixels * WORD_BITS
    actions = on_chip(actions, input_bits, output_bits * place.output_on_chip, spec)
    if residual:
        actions += _residual(output_bits, spec, place)
    if spec.edges == "idle":
        cycles = max(cycles, buffer_cycles(actions, spec))
    described = mapping.describe() if at_once == 1 else f"{at_once} groups at once, each {mapping.describe()}"
    pes = mapping.spatial.pes * at_once
    row = StagePlan(operation.stage, operation.macs, spec.array.pes, actions, described, pes, cycles)
    return _Candidate(operation, row, min(mapping.passes, MOST_STEPS), weight_bits, doubled, place)


def _steps(
    operation: Operation, count: int, row: StagePlan, weight_bits: float, doubled: _Doubled, place: Place
) -> tuple[Step, ...]:
    """Equal parts of a layer; weights come late where the PEs hold one set, inputs where the buffer does."""
    weights = divide(round(weight_bits), count)
    inputs = divide(round(row.actions.dram_read_bits) - round(weight_bits), count)
    stores = divide(round(row.actions.dram_written_bits), count)
    works = divide(row.own_cycles, count)
    return tuple(
        Step(
            layer=operation.layer,
            load_bits=weights[index] * doubled.weights + inputs[index] * doubled.buffer,
            late_bits=weights[index] * (not doubled.weights) + inputs[index] * (not doubled.buffer),
            store_bits=stores[index],
            main_cycles=works[index],
            load_lag=2,
            waits=index == 0,
            reads_stores=index == 0 and not place.input_on_chip,
            stage=operation.stage,
        )
        for index in range(count)
    )


def _residual(bits: int, spec: EyerissSpec, place: Place) -> Actions:
    """Another map read and added to the output."""
    near, width = spec.array_words_per_access, spec.global_buffer.width_bits
    fetched = 0 if place.residual_on_chip else bits
    return Actions(
        global_buffer_reads=bits / WORD_BITS / near,
        global_buffer_writes=fetched / width,
        psum_regfile_writes=bits / WORD_BITS,
        dram_read_bits=fetched,
    )
