"""Which blocks an Archon can fuse."""

from __future__ import annotations

from predfuse.hardware.field_types import WORD_BITS
from predfuse.hardware.fields import ArchonSpec
from predfuse.hardware.workload import WorkItem


def why_not_fused(item: WorkItem, spec: ArchonSpec) -> str:
    """Why the machine cannot run ``item`` as a fused block; empty if it can."""
    if not item.fusable:
        return item.note or "not an expand, depthwise, project block"
    expand = item.operations[0]
    if spec.design.gates != "private":
        return ""  # weights come with no index, and no mask memory is indexed by channel
    limits = (
        (1 << spec.fused_index_bits, f"fused_index_bits {spec.fused_index_bits}"),
        (spec.pe.mask_sram_depth * WORD_BITS, f"pe.mask_sram_depth {spec.pe.mask_sram_depth}"),
    )
    for limit, what in limits:
        if expand.group_outputs > limit:
            return f"{expand.group_outputs} middle channels per group, {what} allows {limit}"
    return ""
