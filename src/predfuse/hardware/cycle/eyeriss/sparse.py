"""The sparse machine: passes that last as long as the PE with the most non-zero weights."""

from __future__ import annotations

from predfuse.hardware.closed_form.mapping import Mapping
from predfuse.hardware.closed_form.sparse import nonzeros_per_tile
from predfuse.hardware.spec import EyerissSpec
from predfuse.hardware.workload import Operation


def sparse_cycles(candidate: Operation, mapping: Mapping, spec: EyerissSpec, at_once: int = 1) -> int:
    """Cycles of the array for one pixel pass; a pass without any weight still takes the time to begin it, one cycle.

    Args:
        candidate: The layer, rounded up with weights that are zero.
        mapping: Of ``candidate``.
        spec: The machine.
        at_once: Groups worked on at once, each by its share of the array, which takes its groups one after the other.
    """
    counts = nonzeros_per_tile(candidate, mapping)
    least = 1 if spec.edges == "idle" else 0
    return int(counts.max(axis=1).clip(min=least).reshape(at_once, -1).sum(axis=1).max())


def least_cycles(nonzeros: int, mapping: Mapping, at_once: int = 1) -> int:
    """Cycles of the array if all its PEs had equally many of so many non-zero weights: no less can be needed."""
    spatial = mapping.spatial
    tiles = spatial.m_columns * spatial.m_rows * spatial.c_rows * spatial.s_rows * at_once
    return -(-nonzeros // tiles) * mapping.pixel_passes
