"""The part of a fused block's plan that no image changes: what each group of channels sends, loads and stores."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from predfuse.accelerators.cycle.broadcast import NO_BANKS
from predfuse.accelerators.cycle.lists import GroupLists, group_lists
from predfuse.accelerators.cycle.registers import LaneRegisters, PassTimes, group_passes, pass_times, release_cycles
from predfuse.accelerators.cycle.work import BlockWork, bias_entries, list_entries
from predfuse.accelerators.design import Structures
from predfuse.accelerators.parts import WORD_BITS
from predfuse.accelerators.spec import ArchonSpec
from predfuse.ir import Array

SLICE_LIMIT = 64
"""Outputs of a slice: a channel's outputs are one 64-bit integer."""


@dataclass(frozen=True, eq=False)
class GroupPlan:
    """What one group of a block needs for every tile.

    Attributes:
        channels: Middle channels predicted (count).
        gate_words: Gate words a tile has (count).
        entries: Entries of all its lists (count).
        products: Weight lists it multiplies for a pixel, those divided among passes once for each (count).
        sums: Bias lists it adds for a pixel (count).
        slices: Slices its outputs are worked through in (count).
        weight_bits: Fused weights, or their factors and the instructions that load them, as stored (bits).
        predictor_bits: Ternary weights, offsets and shifts, as stored (bits).
        expand_words: Expand weights that are not zero (16-bit words).
        fill_words: Moved into the memories beside the lanes before the first tile (16-bit words).
        refill_words: Moved there for every slice of every tile, if there is more than one (16-bit words).
        times: Of its passes, where gates are in registers.
        release: ``[channels]`` when the lists of a tile need the gate words of a channel no longer, ascending (cycles),
            where gates are in registers.
        members: Loads for a tile (count), where gates are in registers: a channel with a row of project weights each.
        far_reads: Factors and maps that a tile reads from the global buffer because the memories beside the lanes are
            too small for all of them (count).
        lists: As sent, where they are broadcast.
    """

    channels: int
    gate_words: int
    entries: int
    products: int
    sums: int
    slices: int
    weight_bits: int
    predictor_bits: int
    expand_words: int
    fill_words: int
    refill_words: int
    times: PassTimes | None = None
    release: Array | None = None
    members: int = 0
    far_reads: int = 0
    lists: GroupLists | None = None


def plan_groups(work: BlockWork, spec: ArchonSpec) -> tuple[GroupPlan, ...]:
    """Plan every group of a block; the slow part of a simulation, done once for all images."""
    return tuple(_plan_group(work, group, spec) for group in range(work.groups))


def charged_work(work: BlockWork, spec: ArchonSpec) -> BlockWork:
    """The block as the machine has to run it: without shifts where bias sums are taken to be free."""
    return work.without_shifts() if spec.design.bias_sums == "free" else work


def _plan_group(work: BlockWork, group: int, spec: ArchonSpec) -> GroupPlan:
    design = spec.design
    span = slice(group * work.group_middle, (group + 1) * work.group_middle)
    live = work.live_channels[span] if design.skip != "nothing" else np.ones(work.group_middle, np.bool_)
    channels = int(live.sum())
    gated = work.depthwise[span] & live[:, None]
    entries = int(list_entries(work)[span].sum() + sum(part[span].sum() for part in bias_entries(work)))
    own = design.structures
    channel_bits = own.channel_bits if own is not None else 2 * WORD_BITS
    generated = design.weights == "generated"
    factors = factor_bits(work, group)
    plan = GroupPlan(
        channels=channels,
        gate_words=int(gated.sum() + (work.depthwise_bias[span] & live).sum()),
        entries=entries,
        products=0,
        sums=0,
        slices=1,
        weight_bits=factors if generated else entries * (WORD_BITS + spec.fused_index_bits),
        predictor_bits=channels * ((work.group_channels + work.taps) * spec.ternary_bits + channel_bits),
        expand_words=int(work.expand[span].sum()),
        fill_words=factors // WORD_BITS if generated else 0,
        refill_words=0,
    )
    if design.gates == "registers":
        assert own is not None  # checked with the specification
        return _with_registers(plan, work, group, spec, own)
    banks = spec.mask_buffer.banks if design.gates == "banked" else NO_BANKS
    empty = design.skip == "nothing"
    lists = group_lists(work, group, biases=True, empty=empty, lanes=spec.lanes, banks=banks)
    return replace(plan, products=lists.weight_lists, sums=len(lists.indptr) - 1 - lists.weight_lists, lists=lists)


def _with_registers(plan: GroupPlan, work: BlockWork, group: int, spec: ArchonSpec, own: Structures) -> GroupPlan:
    outputs = work.project[group * work.group_outputs : (group + 1) * work.group_outputs]
    sums = spec.pe.psum_regfile_words * spec.design.parallel_lists
    size = min(sums, SLICE_LIMIT, work.group_outputs)
    while size > 1 and project_memory_words(outputs, size, own.project_row_words) > own.project_memory_words:
        size = -(-size // 2)
    passes = group_passes(work, group, size, own.project_row_words, spec.lanes * own.lane_registers)
    lanes = LaneRegisters(
        lanes=spec.lanes,
        registers=own.lane_registers,
        parallel_lists=spec.design.parallel_lists,
        loads=own.channel_loads,
        banks=spec.mask_buffer.banks,
    )
    span = slice(group * work.group_middle, (group + 1) * work.group_middle)
    taps, column = int(work.depthwise[span].sum()), int(work.expand[span].sum(axis=0).max())
    maps = plan.channels * (work.taps + size + 2)  # of taps, outputs, and two columns
    far = _beyond(taps, own.tap_memory_words) + _beyond(column, own.column_buffer_words) + _beyond(maps, own.map_bits)
    project_words = project_memory_words(outputs, size, own.project_row_words)
    slices = -(-work.group_outputs // size)
    times = pass_times(passes, lanes)
    return replace(
        plan,
        slices=slices,
        weight_bits=plan.weight_bits + len(passes.channel) * own.load_bits,
        fill_words=min(taps, own.tap_memory_words) + project_words,
        refill_words=project_words if slices > 1 else 0,
        products=passes.lists[0],
        sums=passes.lists[1],
        times=times,
        release=release_cycles(passes, times, plan.channels),
        members=len(passes.channel),
        far_reads=math.ceil(far * len(passes.channel)),
    )


def _beyond(words: int, memory_words: int) -> float:
    """Share of ``words`` that a memory does not hold."""
    return max(0, words - memory_words) / words if words else 0.0


def project_memory_words(outputs: Array, size: int, row_words: int) -> int:
    """Words of the project memory the largest slice of ``size`` outputs takes, whole rows per channel.

    Args:
        outputs: ``[outputs, middle]`` bool, project weights of a group that are not zero.
        size: Outputs of a slice.
        row_words: Words of a row.
    """
    rows = [
        int((-(-outputs[first : first + size].sum(axis=0) // row_words)).sum())
        for first in range(0, len(outputs), size)
    ]
    return max(rows) * row_words


def factor_bits(work: BlockWork, group: int) -> int:
    """Factors of a group as stored (bits): 16 for every weight that is not zero, a bitmap of where they are."""
    span = slice(group * work.group_middle, (group + 1) * work.group_middle)
    live = work.live_channels[span]
    project = work.project[group * work.group_outputs : (group + 1) * work.group_outputs]
    arrays = (work.expand[span][live], work.depthwise[span][live], project[:, live])
    biases = int((work.expand_bias[span] & live).sum() + (work.depthwise_bias[span] & live).sum())
    return sum(int(part.sum()) * WORD_BITS + part.size for part in arrays) + biases * WORD_BITS
