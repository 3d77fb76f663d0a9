"""Fused blocks that run one behind the other: the gateware takes them in one sequence."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from itertools import groupby

from predfuse.hardware.cycle.memory.buffer import Places
from predfuse.hardware.workload import WorkItem, Workload


@dataclass(frozen=True)
class Run:
    """Fused blocks without another node between them.

    Attributes:
        names: Of the blocks, in order.
        reads: Whether each reads what the one before makes, and the global buffer keeps that.
    """

    names: tuple[str, ...]
    reads: tuple[bool, ...]

    def alone(self) -> list[Run]:
        """Every block by itself."""
        return [Run((name,), (False,)) for name in self.names]


def chains(work: Workload, fused: Collection[str], places: Places | None = None) -> list[Run]:
    """The fused blocks of a network in runs.

    Args:
        work: The network, its nodes in the order in which they run.
        fused: Names of the blocks that are fused.
        places: Where the feature maps are; None: all are kept.
    """
    runs = groupby(work.items, lambda item: item.node in fused)
    return [_run(list(own), places) for together, own in runs if together]


def _run(items: list[WorkItem], places: Places | None) -> Run:
    names = tuple(item.node for item in items)
    behind = [item.inputs == (before,) for item, before in zip(items[1:], names, strict=False)]
    kept = [places is None or places.of(name).input_on_chip for name in names[1:]]
    return Run(names, (False, *(one and two for one, two in zip(behind, kept, strict=True))))
