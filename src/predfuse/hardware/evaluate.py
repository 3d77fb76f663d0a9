"""What one network costs on one machine in cycles, energy and area: the pure function that searches call."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from predfuse.errors import InputError
from predfuse.graph.nodes import Network
from predfuse.hardware.area import total_area_mm2
from predfuse.hardware.cycle.archon.machine import Masks
from predfuse.hardware.cycle.simulate import run_with_masks
from predfuse.hardware.result import Simulation
from predfuse.hardware.spec import AcceleratorSpec
from predfuse.integer.program import Program


@dataclass(frozen=True)
class Evaluation:
    """Costs of one image at cycle fidelity, the mean over those given.

    Attributes:
        cycles: In all.
        stall_cycles: Of them, waiting for the DRAM.
        energy_uj: Energy (uJ).
        area_mm2: Area of the machine, its mask buffer included (mm2).
        estimated_blocks: Fused blocks whose time is estimated, for the gateware that the machine is charged for
            does not hold them (count).
    """

    cycles: int
    stall_cycles: int
    energy_uj: float
    area_mm2: float
    estimated_blocks: int = 0


def evaluate(spec: AcceleratorSpec, network: Network | Program, masks: Sequence[Masks] = ()) -> Evaluation:
    """Run a network at cycle fidelity. Equal arguments give equal costs; nothing is read, written or kept.

    Args:
        spec: The machine.
        network: With its real weights, or its integer program; blocks with predictors are fused on an Archon.
        masks: Of the fused blocks, one an image, as :func:`predfuse.hardware.cycle.simulate.predicted_masks` yields
            them. They depend on network and images alone: find them once. Only an Archon looks at them.

    Raises:
        InputError: Masks are needed and missing or do not fit, or a memory of the machine is too small.

    Source: docs/explanation/archon.md, What is charged.
    """
    runs = run_with_masks(network, spec, masks)
    if not runs:
        raise InputError(f"network {network.name}", "has fused blocks but no masks", "give the masks of an image")
    costs = Simulation(tuple(run.result for run in runs))
    return Evaluation(
        cycles=costs.total_cycles,
        stall_cycles=costs.stall_cycles,
        energy_uj=costs.total_energy_uj,
        area_mm2=total_area_mm2(spec),
        estimated_blocks=sum(entry.status == "fused" and bool(entry.reason) for entry in costs.ledger),
    )
