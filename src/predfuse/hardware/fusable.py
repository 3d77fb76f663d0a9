"""Which programs a machine can run, and which blocks an Archon can fuse."""

from __future__ import annotations

from predfuse.errors import InputError
from predfuse.graph.nodes import Network
from predfuse.hardware.design import Structures
from predfuse.hardware.field_types import MASK_WORD_BITS
from predfuse.hardware.fields import AcceleratorSpec, ArchonSpec
from predfuse.hardware.workload import WorkItem
from predfuse.integer.program import Program


def require_width(what: Network | Program, spec: AcceleratorSpec) -> None:
    """Check that a program's words are those of the machine, which computes the same bits in no other width.

    Raises:
        InputError: They are not.
    """
    if isinstance(what, Program) and what.bits != spec.bits:
        problem = f"has words of {what.bits} bits, the machine {spec.name} has {spec.bits}"
        raise InputError(f"program {what.name}", problem, f"compile it with bits {spec.bits}")


def why_not_fused(item: WorkItem, spec: ArchonSpec) -> str:
    """Why the machine cannot run ``item`` as a fused block; empty if it can."""
    if not item.fusable:
        return item.note or "not an expand, depthwise, project block"
    expand = item.operations[0]
    if spec.design.gates != "private":  # weights come with no index, and no mask memory is indexed by channel
        return _why_not_predicted(item, spec)
    limits = (
        (1 << spec.fused_index_bits, f"fused_index_bits {spec.fused_index_bits}"),
        (spec.pe.mask_sram_depth * MASK_WORD_BITS, f"pe.mask_sram_depth {spec.pe.mask_sram_depth}"),
    )
    for limit, what in limits:
        if expand.group_outputs > limit:
            return f"{expand.group_outputs} middle channels per group, {what} allows {limit}"
    return ""


def held_pixels(group_channels: int, own: Structures) -> int:
    """Input pixels of a tile that the registers of a dedicated predictor hold for all channels, and its plane too."""
    return min(own.hidden_plane_pixels, own.predictor_units * own.predictor_inputs // group_channels)


def _why_not_predicted(item: WorkItem, spec: ArchonSpec) -> str:
    """Why a dedicated predictor cannot work on the block pixel by pixel; empty if it can."""
    own, (expand, depthwise, _) = spec.design.structures, item.operations
    if own is None or spec.design.predictor != "dedicated":
        return ""
    held = held_pixels(expand.group_channels, own)
    if depthwise.taps <= held or depthwise.in_pixels <= held:
        return ""
    return f"the predictor holds {held} pixels of {expand.group_channels} channels, a window has {depthwise.taps}"
