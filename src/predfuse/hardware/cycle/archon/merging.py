"""Which groups of a block are worked on together: between two items pass some cycles, and small ones take few more."""

from __future__ import annotations

import numpy as np

from predfuse.errors import InputError
from predfuse.hardware.block_work import BlockWork
from predfuse.hardware.cycle.archon.gateware import Machine
from predfuse.hardware.cycle.archon.group_plan import GroupPlan, plan_groups
from predfuse.hardware.cycle.archon.sequence.timing import block_time, network_machine
from predfuse.hardware.merged_groups import merged_work
from predfuse.hardware.spec import ArchonSpec

LONG_LIST_CYCLES = 100
"""Groups whose lists take as long in the mean are left as they are: they would gain next to nothing, and planning them
takes time."""


def planned_groups(
    work: BlockWork, spec: ArchonSpec, machine: Machine | None = None
) -> tuple[BlockWork, tuple[GroupPlan, ...]]:
    """A block and the plans of its groups, as many taken together as makes it fastest on its gateware by itself.

    So many at most that a unit of the predictor still takes all inputs of a channel in one round, and that outputs may
    leave beside the lists of the next group.

    Args:
        work: The block, as the network has it.
        spec: The machine; groups are taken together only where it is charged for its gateware.
        machine: Its gateware; None: with streamed memories as large as the block needs them.

    Raises:
        InputError: As :func:`predfuse.hardware.cycle.archon.group_plan.plan_groups`.

    Source: docs/explanation/archon.md, The machine.
    """
    best = work, plan_groups(work, spec)
    fewest = _cycles(*best, spec, machine) if (counts := _counts(*best, spec)) else None
    if fewest is None:
        return best
    for count in counts:
        merged = merged_work(work, count)
        plans = plan_groups(merged, spec)
        cycles = _cycles(merged, plans, spec, machine)
        if cycles is not None and cycles < fewest:
            best, fewest = (merged, plans), cycles
    return best


def _counts(work: BlockWork, plans: tuple[GroupPlan, ...], spec: ArchonSpec) -> list[int]:
    """How many groups may be taken together, but for one."""
    own = spec.design.structures
    if spec.design.streams != "gateware" or own is None:
        return []
    if np.mean([0 if plan.times is None else plan.times.cycles for plan in plans]) > LONG_LIST_CYCLES:
        return []
    apart = spec.pe.psum_regfile_words * spec.design.parallel_lists // 2  # sums of a group while those before leave
    most = min(own.predictor_inputs // work.group_channels, apart // work.group_outputs)
    return [count for count in range(2, most + 1) if work.groups % count == 0]


def _cycles(work: BlockWork, plans: tuple[GroupPlan, ...], spec: ArchonSpec, machine: Machine | None) -> int | None:
    """Of the block by itself; None where the gateware does not hold it."""
    try:
        return block_time(work, plans, machine or network_machine(spec, [(work, plans)])).cycles
    except InputError:
        return None
