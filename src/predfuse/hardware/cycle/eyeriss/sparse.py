"""The sparse machine: passes that last as long as the PE with the most non-zero weights."""

from __future__ import annotations

from predfuse.hardware.closed_form.mapping import Mapping
from predfuse.hardware.closed_form.sparse import nonzeros_per_tile, skip_zeros
from predfuse.hardware.cycle.eyeriss.padding import without_edges
from predfuse.hardware.energy import Actions
from predfuse.hardware.spec import EyerissSpec
from predfuse.hardware.workload import Operation


def sparse_cycles(
    candidate: Operation, operation: Operation, mapping: Mapping, spec: EyerissSpec, at_once: int = 1
) -> tuple[int, Actions]:
    """Cycles of the array and what it does; a pass without any weight still takes the time to begin it, one cycle.

    Args:
        candidate: The layer, rounded up with weights that are zero.
        operation: The layer as it is.
        mapping: Of ``candidate``.
        spec: The machine.
        at_once: Groups worked on at once, each by its share of the array, which takes its groups one after the other.

    Raises:
        InputError: The layer has no weights.
    """
    counts = nonzeros_per_tile(candidate, mapping)
    least = 1 if spec.edges == "idle" else 0
    cycles = int(counts.max(axis=1).clip(min=least).reshape(at_once, -1).sum(axis=1).max()) * mapping.pixel_passes
    dense = without_edges(mapping.actions, candidate, operation, spec)
    return cycles, skip_zeros(dense, operation, mapping, int(counts.sum()), spec)
