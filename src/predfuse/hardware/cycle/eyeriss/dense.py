"""The dense machine: a cycle for every multiplication of a PE, those beyond the edge of a layer included."""

from __future__ import annotations

from predfuse.hardware.closed_form.mapping import Mapping
from predfuse.hardware.cycle.eyeriss.padding import without_edges
from predfuse.hardware.energy import Actions
from predfuse.hardware.spec import EyerissSpec
from predfuse.hardware.workload import Operation


def dense_cycles(
    candidate: Operation, operation: Operation, mapping: Mapping, spec: EyerissSpec
) -> tuple[int, Actions]:
    """Cycles of the array and what it does.

    Args:
        candidate: The layer, rounded up.
        operation: The layer as it is.
        mapping: Of ``candidate``.
        spec: The machine.

    Returns:
        Cycles, and actions in which PEs beyond the edge do nothing.
    """
    return mapping.cycles, without_edges(mapping.actions, candidate, operation, spec)
