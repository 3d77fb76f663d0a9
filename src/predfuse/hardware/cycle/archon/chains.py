"""Fused blocks that run one behind the other: the gateware takes them in one sequence."""

from __future__ import annotations

from collections.abc import Collection
from itertools import groupby

from predfuse.hardware.workload import Workload


def chains(work: Workload, fused: Collection[str]) -> list[list[str]]:
    """The fused blocks of a network, those without another node between them together.

    Args:
        work: The network, its nodes in the order in which they run.
        fused: Names of the blocks that are fused.
    """
    runs = groupby(work.items, lambda item: item.node in fused)
    return [[item.node for item in run] for together, run in runs if together]
