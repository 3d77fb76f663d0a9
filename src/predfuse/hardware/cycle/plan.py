"""What a layer is planned to take: steps for the schedule, and what each of its stages does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from predfuse.hardware.cycle.memory.schedule import LayerTime
from predfuse.hardware.cycle.memory.steps import Steps
from predfuse.hardware.energy import Actions, energy_by_component_pj
from predfuse.hardware.result import StageResult
from predfuse.hardware.spec import AcceleratorSpec


@dataclass(frozen=True)
class StagePlan:
    """One stage of a layer before its cycles are known.

    Attributes:
        stage: Its name.
        macs: Multiplications or ternary additions it stands for, skipped ones included (count).
        per_cycle: Of those the array could do in a cycle (count).
        actions: What it does.
        mapping: Which dimension lies where, in words.
        pes: PEs in use.
        own_cycles: Cycles it takes by itself; what a layer's stages take beyond its main work is divided by them.
    """

    stage: str
    macs: int
    per_cycle: int
    actions: Actions
    mapping: str
    pes: int
    own_cycles: int


@dataclass(frozen=True)
class LayerPlan:
    """One layer or block.

    Attributes:
        layer: Its name.
        steps: In order; their stages are those of ``stages``, or all ``main``.
        stages: In order, ``main`` or the layer's only one last.
    """

    layer: str
    steps: Steps
    stages: tuple[StagePlan, ...]


def stage_results(plan: LayerPlan, times: Sequence[LayerTime], spec: AcceleratorSpec) -> tuple[StageResult, ...]:
    """Rows of a layer from its times, one per stage that has steps of its own.

    Where predictions run beside the main work, their stages get the cycles in which the main work has to wait for
    them, divided by what each takes.
    """
    by_stage = {time.stage: time for time in times}
    last = plan.stages[-1]
    compute = {stage.stage: by_stage[stage.stage].compute_cycles for stage in plan.stages if stage.stage in by_stage}
    hidden = [stage for stage in plan.stages if stage.stage not in by_stage]
    exposed = compute[last.stage] - last.own_cycles if hidden else 0
    together = sum(stage.own_cycles for stage in hidden)
    for stage in hidden:
        share = exposed * stage.own_cycles // together if together else 0
        compute[stage.stage] = (
            share if stage is not hidden[-1] else exposed - sum(compute[s.stage] for s in hidden[:-1])
        )
    if hidden:
        compute[last.stage] = last.own_cycles
    rows = []
    for stage in plan.stages:
        cycles = compute[stage.stage]
        rows.append(
            StageResult(
                layer=plan.layer,
                stage=stage.stage,
                compute_cycles=cycles,
                stall_cycles=by_stage[stage.stage].stall_cycles if stage.stage in by_stage else 0,
                macs=stage.macs,
                utilisation=min(1.0, stage.macs / (cycles * stage.per_cycle)) if cycles else 0.0,
                energy_pj=energy_by_component_pj(stage.actions, spec),
                actions=stage.actions,
                mapping=stage.mapping,
                pes=stage.pes,
            )
        )
    return tuple(rows)
