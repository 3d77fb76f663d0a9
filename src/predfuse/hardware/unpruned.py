"""Blocks whose weights nobody has pruned, and what that costs on an Archon, whose cycles follow the weights."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from predfuse.graph.nodes import Network
from predfuse.hardware.block_work import list_entries
from predfuse.hardware.cycle.eyeriss.machine import run_eyeriss
from predfuse.hardware.pruning import DEPTHWISE_DENSITY, POINTWISE_DENSITY
from predfuse.hardware.spec import EyerissSpec, load_spec
from predfuse.hardware.workload import WorkItem, workload
from predfuse.integer.program import Program

MOST_KEPT = 0.5
"""A block that keeps more of its 1x1 weights than this share counts as unpruned."""
DENSE = "eyeriss-dense"
MEND = "prune it (predfuse prune)"


def kept_share(item: WorkItem) -> float:
    """Share of a block's 1x1 weights that are not zero, 0..1."""
    expand, _, project = (operation.weight for operation in item.operations)
    if expand is None or project is None:
        return 0.0
    return float(np.count_nonzero(expand) + np.count_nonzero(project)) / (expand.size + project.size)


def is_unpruned(item: WorkItem) -> bool:
    """Whether it is a block that keeps more than :data:`MOST_KEPT` of its 1x1 weights."""
    return item.is_block and kept_share(item) > MOST_KEPT


def unpruned_blocks(what: Network | Program) -> dict[str, WorkItem]:
    """The unpruned blocks by name."""
    return {item.node: item for item in workload(what).items if is_unpruned(item)}


def price_notes(what: Network | Program, accelerator: str, cycles: Mapping[str, int]) -> tuple[str, ...]:
    """A line for every unpruned block: its cycles on an Archon, and on a dense machine of Eyeriss' size.

    Args:
        what: The network or program.
        accelerator: Name of the Archon.
        cycles: Cycles of its layers, at cycle fidelity.
    """
    blocks = unpruned_blocks(what)
    if not blocks:
        return ()
    spec = load_spec(DENSE)
    assert isinstance(spec, EyerissSpec)
    dense = run_eyeriss(what, spec).result.layer_cycles()
    return tuple(
        f"block {name} is not pruned ({kept_share(item):.0%} of its 1x1 weights): {accelerator} takes "
        f"{cycles.get(item.layer, 0):,} cycles where {DENSE} takes {dense[item.layer]:,}; {MEND}"
        for name, item in blocks.items()
    )


def list_notes(program: Program) -> tuple[str, ...]:
    """A line for every unpruned fused block: its fused weights, and about how many would be left once pruned."""
    share = POINTWISE_DENSITY**2 * DEPTHWISE_DENSITY
    return tuple(
        f"block {name} is not pruned ({kept_share(item):.0%} of its 1x1 weights): an Archon goes through "
        f"{int(list_entries(item.block).sum()):,} fused weights, of about {round(_products(item) * share):,} if it "
        f"were; {MEND}"
        for name, item in unpruned_blocks(program).items()
        if item.block is not None
    )


def _products(item: WorkItem) -> int:
    """Paths through a block with all its weights: fused weights nobody has pruned."""
    expand, depthwise, project = item.operations
    return expand.group_channels * depthwise.taps * project.outputs * project.group_channels
