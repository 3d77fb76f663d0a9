"""From plans to a result: all layers scheduled on the DRAM channel, a row per stage, and when everything happened."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from predfuse.hardware.cycle.memory.run_ahead import run_ahead
from predfuse.hardware.cycle.memory.schedule import Timeline, layer_times, schedule
from predfuse.hardware.cycle.memory.steps import Steps
from predfuse.hardware.cycle.plan import LayerPlan, stage_results
from predfuse.hardware.result import LedgerEntry, SimulationResult, StageResult
from predfuse.hardware.spec import AcceleratorSpec

CYCLE = "cycle"
CYCLE_NOTES = (
    "real weights and real masks; idle edges, halos, bias sums, list lengths, buffers and DRAM stalls charged",
)


@dataclass(frozen=True, eq=False)
class CycleRun:
    """One image at cycle fidelity.

    Attributes:
        result: Cycles and energy by layer and stage.
        steps: What was scheduled, in order.
        timeline: When every step loads, predicts, works and stores.
    """

    result: SimulationResult
    steps: Steps
    timeline: Timeline


def run_plans(
    network: str, spec: AcceleratorSpec, plans: Sequence[LayerPlan], ledger: tuple[LedgerEntry, ...]
) -> CycleRun:
    """Schedule the layers one after the other, loads ahead if that pays, and split the time among their stages."""
    steps = Steps.joined([plan.steps for plan in plans])
    # Loads that run ahead may keep the channel from a store that a later layer waits for.
    choices = [(schedule(one, spec.dram_bits_per_cycle), one) for one in (run_ahead(steps), steps)]
    timeline, steps = min(choices, key=lambda choice: choice[0].end)
    times = iter(layer_times(steps, timeline))
    rows: list[StageResult] = []
    for plan in plans:
        stages = dict.fromkeys(stage for _, stage, _ in plan.steps.names)
        rows += stage_results(plan, [next(times) for _ in stages], spec)
    result = SimulationResult(network, spec.name, CYCLE, spec.clock_mhz, tuple(rows), ledger, CYCLE_NOTES)
    return CycleRun(result, steps, timeline)
