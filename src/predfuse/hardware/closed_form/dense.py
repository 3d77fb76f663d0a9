"""The dense machine: every multiplication takes a cycle of a PE, and the mapping leaves no PE in use idle."""

from __future__ import annotations

from predfuse.hardware.closed_form.mapping import best_mapping
from predfuse.hardware.energy import energy_by_component_pj
from predfuse.hardware.result import StageResult
from predfuse.hardware.spec import EyerissSpec
from predfuse.hardware.workload import Operation


def dense_stage(operation: Operation, spec: EyerissSpec, tile_macs: int | None = None) -> StageResult:
    """Cycles = multiplications / PEs in use (ICS 2021 artifact).

    Args:
        operation: The layer or stage.
        spec: The machine.
        tile_macs: Weights a PE must hold per pass, to follow a given mapping.

    Raises:
        InputError: A memory of the machine is too small for the layer.
    """
    mapping = best_mapping(operation, spec, tile_macs)
    return StageResult(
        layer=operation.layer,
        stage=operation.stage,
        compute_cycles=mapping.cycles,
        stall_cycles=0,
        macs=operation.macs,
        utilisation=operation.macs / (mapping.cycles * spec.array.pes),
        energy_pj=energy_by_component_pj(mapping.actions, spec),
        actions=mapping.actions,
        mapping=mapping.describe(),
        pes=mapping.spatial.pes,
    )
