"""The dense and the sparse machine at cycle fidelity: idle edges, buffers and DRAM charged as on Archon.

Every layer gets the mapping with the least product of time and energy, of all that fit its memories: sizes as they are
or rounded up, tiles that leave room to load the next ones beside them or not (then loads wait for the work before).
Maps that fit stay in the global buffer.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from predfuse.graph.nodes import Network
from predfuse.hardware.cycle.elementwise import plan_elementwise
from predfuse.hardware.cycle.eyeriss.convolution import Convolutions
from predfuse.hardware.cycle.eyeriss.depth_first import plan_depth_first
from predfuse.hardware.cycle.memory.buffer import PARTS, Places, part
from predfuse.hardware.cycle.memory.schedule import schedule
from predfuse.hardware.cycle.plan import LayerPlan
from predfuse.hardware.cycle.run import CycleRun, run_plans
from predfuse.hardware.result import LedgerEntry
from predfuse.hardware.spec import EyerissSpec
from predfuse.hardware.workload import Workload, stage_of, workload
from predfuse.integer.program import Program

TILE_SHARE = 4
"""One part in this many of the global buffer is kept free of resident maps, for tiles."""
BAND_SHARE = 2
"""The same while a block runs depth-first."""


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
    convolutions = Convolutions(spec)
    layers = _plans(work, convolutions, ())
    if spec.schedule == "layers" or not blocks:
        return layers.run(spec)
    # Depth-first: no block, every block, or those that gain by themselves; what stays on chip differs.
    whole = _plans(work, convolutions, blocks)
    gaining = [name for name in blocks if whole.prices[name] < layers.prices[name]]
    runs = [plans.run(spec) for plans in (layers, whole, *([_plans(work, convolutions, gaining)] if gaining else []))]
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


def _plans(work: Workload, convolutions: Convolutions, depth_first: Collection[str]) -> _Plans:
    """Plan every layer, some blocks depth-first; a block for which no band fits is refused that way."""
    spec = convolutions.spec
    blocks = [item.node for item in work.items if item.is_block]
    reserved = {
        item.node: spec.buffer_words // (BAND_SHARE if item.node in depth_first else TILE_SHARE) for item in work.items
    }
    while True:
        split = [name for name in blocks if name not in depth_first]
        places = Places.plan(work, spec, split, reserved, lambda operation: operation.groups >= PARTS)
        found = _Plans(work, [], {})
        for item in work.items:
            plans: list[LayerPlan] = []
            if item.node in depth_first:
                plan = plan_depth_first(item.operations, convolutions, places.of(item.node), item.residual)
                if plan is None:  # no band fits: layer by layer
                    depth_first = [name for name in depth_first if name != item.node]
                    break
                plans.append(plan)
            else:
                for index, operation in enumerate(item.operations):
                    name = part(item.node, index) if item.is_block else item.node
                    added = item.residual and index == len(item.operations) - 1
                    plans.append(convolutions.best(operation, places.of(name), added).plan(spec))
            if item.is_elementwise and spec.elementwise == "charged":
                plans.append(plan_elementwise(item, stage_of(item.node), spec, places))
            if item.is_block:
                energy = sum(convolutions.energy_pj(row.actions) for plan in plans for row in plan.stages)
                cycles = sum(schedule(plan.steps, spec.dram_bits_per_cycle).end for plan in plans)
                found.prices[item.node] = cycles * energy
            found.plans.extend(plans)
        else:
            return found
