"""Archon at cycle fidelity: a network made ready once, then run for the masks of one image after the other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from predfuse.arrays import Int8Array
from predfuse.errors import InputError
from predfuse.graph.nodes import Network
from predfuse.hardware.block_work import BlockWork
from predfuse.hardware.cycle.archon.block import plan_block, working_words
from predfuse.hardware.cycle.archon.chains import Run, chains
from predfuse.hardware.cycle.archon.gates import gates
from predfuse.hardware.cycle.archon.gateware import Machine
from predfuse.hardware.cycle.archon.group_plan import GroupPlan, charged_work
from predfuse.hardware.cycle.archon.layerwise import plan_layerwise
from predfuse.hardware.cycle.archon.merging import planned_groups
from predfuse.hardware.cycle.archon.plain import made_in_parts, plan_plain
from predfuse.hardware.cycle.archon.sequence.timing import BlockTime, chain_times, network_machine
from predfuse.hardware.cycle.elementwise import STREAM_BITS, plan_elementwise
from predfuse.hardware.cycle.memory.buffer import Place, Places, part
from predfuse.hardware.cycle.plan import LayerPlan
from predfuse.hardware.cycle.run import CycleRun, run_plans
from predfuse.hardware.fusable import why_not_fused
from predfuse.hardware.result import LedgerEntry
from predfuse.hardware.spec import ArchonSpec
from predfuse.hardware.workload import EXPAND_OR_LAYER, MAIN, WorkItem, Workload, stage_of, workload
from predfuse.integer.program import Program
from predfuse.integer.tiling import Tile

Masks = Mapping[str, tuple[Int8Array, Int8Array]]
"""Mask 1 ``[M, H, W]`` and mask 2 ``[M, P, Q]`` of one image by block."""


@dataclass(frozen=True, eq=False)
class PreparedBlock:
    """A fused block, ready for any image.

    Attributes:
        work: What it asks of the machine, groups taken together where that is faster.
        groups: Planned.
        tiles: That cover its output.
        time: On the gateware of the machine; None if there is none or it does not hold the block.
        untimed: Why, on a machine that is charged for gateware.
    """

    work: BlockWork
    groups: tuple[GroupPlan, ...]
    tiles: tuple[Tile, ...]
    time: BlockTime | None = None
    untimed: InputError | None = None


@dataclass(frozen=True, eq=False)
class PreparedNetwork:
    """A network on an Archon, ready for any image: lists ordered, channels given to lanes, maps given a place.

    Attributes:
        spec: The machine.
        workload: Every node of the network.
        blocks: The fused blocks by name.
        places: Where the feature maps are.
        reasons: Why a block is not fused, by name.
        runs: Blocks that share a sequence of the gateware; none where there is none.
    """

    spec: ArchonSpec
    workload: Workload
    blocks: Mapping[str, PreparedBlock]
    places: Places
    reasons: Mapping[str, str]
    runs: tuple[Run, ...] = ()


def prepare(what: Network | Program, spec: ArchonSpec, gateware: Machine | None = None) -> PreparedNetwork:
    """Make a network ready: the slow part, as a compiler would do it once.

    Args:
        what: A network, or a program, whose integer factors then say which weights are not zero. Blocks with a
            predictor are fused, the others run as plain layers.
        spec: The machine.
        gateware: Its memories may have other sizes; default: as large as the network needs those it does not state.

    Raises:
        InputError: A block has too many fused weights.
    """
    work = workload(what)
    blocks: dict[str, PreparedBlock] = {}
    reasons: dict[str, str] = {}
    reserved: dict[str, int] = {}
    for item in work.items:
        reserved[item.node] = 2 * STREAM_BITS // spec.bits
        if not item.is_block:
            continue
        reason = "has no predictor" if item.block is None else why_not_fused(item, spec)
        if reason or item.block is None:
            reasons[item.node] = reason
            continue
        block, plans = planned_groups(charged_work(item.block, spec), spec, gateware)
        tiles = block.tiles(spec.design.tile_rows, spec.design.tile_columns)
        prepared = PreparedBlock(block, plans, tiles)
        blocks[item.node] = prepared
        if spec.design.gates == "registers":
            reserved[item.node] = working_words(block, prepared.groups, tiles, spec)
    places = Places.plan(work, spec, reasons, reserved, lambda operation: made_in_parts(operation, spec))
    if spec.design.streams != "gateware":
        return PreparedNetwork(spec, work, blocks, places, reasons)
    blocks, runs = _on_gateware(blocks, chains(work, blocks, places), spec, gateware)
    return PreparedNetwork(spec, work, blocks, places, reasons, runs)


def _on_gateware(
    blocks: Mapping[str, PreparedBlock], runs: Sequence[Run], spec: ArchonSpec, machine: Machine | None
) -> tuple[dict[str, PreparedBlock], tuple[Run, ...]]:
    """Blocks with their times on the gateware, or with why they have none; those that share a sequence.

    Blocks of a run share a sequence if the gateware holds all of them; else each is timed by itself.
    """
    timed: dict[str, PreparedBlock] = {}
    shared: list[Run] = []
    coming = [*runs]
    while coming:
        run = coming.pop(0)
        own = [blocks[name] for name in run.names]
        try:
            machine = machine or network_machine(spec, [(one.work, one.groups) for one in blocks.values()])
            times = chain_times([(one.work, one.groups) for one in own], machine, run.reads)
        except InputError as error:
            if len(own) > 1:
                coming = run.alone() + coming
            else:
                timed[run.names[0]] = replace(own[0], untimed=error)
            continue
        timed |= {name: replace(one, time=time) for name, one, time in zip(run.names, own, times, strict=True)}
        shared.append(run)
    return timed, tuple(shared)


def run_archon(prepared: PreparedNetwork, masks: Masks) -> CycleRun:
    """One image.

    Args:
        prepared: From :func:`prepare`.
        masks: Of every fused block.

    Raises:
        InputError: Masks of a fused block are missing or do not fit it, or a buffer is too small.
    """
    plans: list[LayerPlan] = []
    ledger: list[LedgerEntry] = []
    for item in prepared.workload.items:
        if item.node in prepared.blocks:
            place = prepared.places.of(item.node)
            if item.node not in masks:
                raise InputError(f"layer {item.node}", "has no masks", "run the network with its predicted masks")
            plans.append(_plan_fused(prepared.blocks[item.node], item, masks[item.node], prepared.spec, place))
            error = prepared.blocks[item.node].untimed
            why = "its time is estimated, the gateware does not hold it"
            reason = f"{why}: {error.where} {error.what}" if error is not None else ""
            ledger.append(LedgerEntry(item.node, "fused", reason))
            continue
        ledger.append(LedgerEntry(item.node, "plain", prepared.reasons.get(item.node, "")))
        if item.operations:
            plans += _plan_operations(item, prepared)
        elif item.is_elementwise and prepared.spec.elementwise == "charged":
            stage = stage_of(item.node)
            plans.append(
                plan_elementwise(item, MAIN if stage == EXPAND_OR_LAYER else stage, prepared.spec, prepared.places)
            )
    run = run_plans(prepared.workload.network, prepared.spec, plans, tuple(ledger))
    estimated = [name for name, block in prepared.blocks.items() if block.untimed]
    if not estimated:
        return run
    note = f"the time of {', '.join(estimated)} is estimated: the gateware does not hold them, see the ledger"
    return replace(run, result=replace(run.result, notes=(*run.result.notes, note)))


def _plan_fused(
    block: PreparedBlock, item: WorkItem, masks: tuple[Int8Array, Int8Array], spec: ArchonSpec, place: Place
) -> LayerPlan:
    found = gates(block.work, masks[0], masks[1])
    if spec.design.gates == "private":
        return plan_layerwise(item, block.work, block.groups, found, block.tiles, spec, place)
    return plan_block(block.work, block.groups, found, block.tiles, spec, place, block.time)


def _plan_operations(item: WorkItem, prepared: PreparedNetwork) -> list[LayerPlan]:
    """The convolutions of a node one after the other."""
    if len(item.operations) == 1:
        operation = item.operations[0]
        alone = operation.stage == EXPAND_OR_LAYER and item.node == item.layer
        place = prepared.places.of(item.node)
        return [plan_plain(operation, prepared.spec, place, MAIN if alone else operation.stage)]
    return [
        plan_plain(operation, prepared.spec, prepared.places.of(part(item.node, index)), operation.stage)
        for index, operation in enumerate(item.operations)
    ]
