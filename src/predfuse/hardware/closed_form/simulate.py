"""One network on one machine: every node simulated and entered in the ledger."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from predfuse.errors import InputError
from predfuse.graph.nodes import Network
from predfuse.hardware.closed_form.archon import fused_stages, plain_stage
from predfuse.hardware.closed_form.eyeriss import array_stage
from predfuse.hardware.fusable import require_width, why_not_fused
from predfuse.hardware.result import LedgerEntry, SimulationResult, StageResult, Status
from predfuse.hardware.spec import AcceleratorSpec, ArchonSpec
from predfuse.hardware.unpruned import is_unpruned
from predfuse.hardware.workload import EXPAND_OR_LAYER, MAIN, Operation, WorkItem, Workload, workload
from predfuse.integer.program import Program

PAPER = "paper"

Tiles = Mapping[tuple[str, str], int]
"""Weights a PE holds per pass, by ``(layer, stage)``: a mapping to follow on the dense and sparse machines."""

PAPER_NOTES = (
    "closed forms: no stalls, no load imbalance on Archon, no pooling, additions of residuals, shuffles or bias sums; "
    "predictors count as ternary",
)


def simulate(
    what: Network | Program,
    spec: AcceleratorSpec,
    fidelity: str = PAPER,
    *,
    allow_unsupported: bool = False,
    tiles: Tiles | None = None,
) -> SimulationResult:
    """Cycles and energy of one image, per layer and stage.

    Args:
        what: A network with its weights, or a program; the sparse machine and Archon count those that are not zero.
        spec: The machine, see :func:`predfuse.hardware.spec.load_spec`.
        fidelity: ``paper``, the published closed forms.
        allow_unsupported: List layers the machine cannot run as ``unsupported``, at no cost, instead of failing.
        tiles: Weights a PE holds per pass for some layers, to follow a given mapping.

    Raises:
        InputError: Unknown fidelity, or a layer the machine cannot run.

    Source: docs/explanation/accelerators.md.
    """
    if fidelity != PAPER:
        raise InputError("fidelity", f"is {fidelity!r}", f"use {PAPER}, or cycle (predfuse.simulate, --fidelity cycle)")
    require_width(what, spec)
    work = workload(what)
    result = simulate_workload(work, spec, allow_unsupported=allow_unsupported, tiles=tiles)
    unpruned = [item.node for item in work.items if is_unpruned(item)] if isinstance(spec, ArchonSpec) else []
    if not unpruned:
        return result
    note = f"not pruned: {', '.join(unpruned)}; what that costs, closed forms do not say: see cycle fidelity"
    return replace(result, notes=(*result.notes, note))


def simulate_workload(
    work: Workload, spec: AcceleratorSpec, *, allow_unsupported: bool = False, tiles: Tiles | None = None
) -> SimulationResult:
    """:func:`simulate` at ``paper`` fidelity for work that is already at hand."""
    rows: list[StageResult] = []
    ledger: list[LedgerEntry] = []
    for item in work.items:
        try:
            status, reason, stages = _run(item, spec, tiles or {})
        except InputError as error:
            if not allow_unsupported:
                raise
            status, reason, stages = "unsupported", str(error), ()
        rows += stages
        ledger.append(LedgerEntry(item.node, status, reason))
    return SimulationResult(work.network, spec.name, PAPER, spec.clock_mhz, tuple(rows), tuple(ledger), PAPER_NOTES)


def _run(item: WorkItem, spec: AcceleratorSpec, tiles: Tiles) -> tuple[Status, str, tuple[StageResult, ...]]:
    if item.unsupported:
        raise InputError(f"layer {item.node}", item.unsupported, "replace it, or list it with allow_unsupported")
    if not item.operations:
        return "plain", item.note, ()
    if not isinstance(spec, ArchonSpec):
        sizes = ((operation, tiles.get((operation.layer, operation.stage))) for operation in item.operations)
        return "plain", "", tuple(array_stage(operation, spec, tile) for operation, tile in sizes)
    obstacle = why_not_fused(item, spec)
    if not obstacle:
        return "fused", "", fused_stages(item, spec)
    reason = obstacle if len(item.operations) > 1 else ""
    return (
        "plain",
        reason,
        tuple(plain_stage(operation, spec, _stage_name(operation, item)) for operation in item.operations),
    )


def _stage_name(operation: Operation, item: WorkItem) -> str:
    """``main`` for a layer by itself; parts of a block keep their stage, so that rows stay distinct."""
    alone = len(item.operations) == 1 and operation.stage == EXPAND_OR_LAYER and item.node == item.layer
    return MAIN if alone else operation.stage
