"""The part of a fused block's plan that no image changes: what each group of channels sends, loads and stores."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from predfuse.arrays import Int64Array, Mask
from predfuse.errors import InputError
from predfuse.fusion.weights import MAX_ENTRIES
from predfuse.hardware.block_work import BlockWork, bias_entries, list_entries
from predfuse.hardware.cycle.archon.fill_unit import GroupFill
from predfuse.hardware.cycle.archon.gate_banks import fullest_bank
from predfuse.hardware.cycle.archon.gate_memory import GateTraffic, gate_traffic
from predfuse.hardware.cycle.archon.load_codes import load_codes
from predfuse.hardware.cycle.archon.passes import channel_banks, group_passes
from predfuse.hardware.cycle.archon.prediction_order import predicted_behind, prediction_order
from predfuse.hardware.cycle.archon.predictor import channels_at_once
from predfuse.hardware.cycle.archon.registers import (
    LaneRegisters,
    PassTimes,
    plan_passes,
    release_cycles,
)
from predfuse.hardware.cycle.archon.told_bits import ToldBits, told_bits, told_machine
from predfuse.hardware.design import Structures
from predfuse.hardware.spec import ArchonSpec

SLICE_LIMIT = 64
"""Outputs of a slice: a channel's outputs are one 64-bit integer."""


@dataclass(frozen=True, eq=False)
class HeldFactors:
    """What one group takes of the memories beside the lanes.

    Attributes:
        project_rows: ``[banks]`` int64: rows of the project memory in every bank (count).
        project_reads: ``[banks]`` int64: rows read for a tile (count).
        tap_words: Of the tap memory (words).
        map_bits: Of the weight maps (bits).
    """

    project_rows: Int64Array
    project_reads: Int64Array
    tap_words: int
    map_bits: int


@dataclass(frozen=True, eq=False)
class GroupPlan:
    """What one group of a block needs for every tile.

    Attributes:
        channel_words: ``[channels]`` int64: gate words of every middle channel, in the order of prediction (count).
        entries: Entries of all its lists (count).
        products: Weight lists it multiplies for a pixel, those divided among passes once for each (count).
        sums: Bias lists it adds for a pixel (count).
        slices: Slices its outputs are worked through in (count).
        weight_bits: Fused weights, or their factors and the instructions that load them, as stored (bits).
        predictor_bits: Weights, offsets and shifts of the predictor, as stored (bits).
        expand_words: Expand weights that are not zero (words).
        fill_words: Moved into the memories beside the lanes before the first tile (words).
        refill_words: Moved there for every slice of every tile, if there is more than one (words).
        times: Of its passes, where gates are in registers.
        memory_words: Gate memory a tile takes: words, if all banks are as full as the fullest (count).
        traffic: Of the gate memory, where gates are in registers.
        members: Loads for a tile (count), where gates are in registers: a channel with a row of project weights each.
        sent_bits: Passes and load codes, read for every tile (bits).
        biases: Read from the global buffer for every tile, where that is charged (count).
        far_reads: Factors and maps that a tile reads from the global buffer because the memories beside the lanes are
            too small for all of them (count).
        held: What it takes of the memories beside the lanes, where gates are in registers.
        group_fill: What the fill unit does for it, where that is charged.
        list_cycles: Of sending all lists to all PEs once, where fused weights are fetched.
    """

    channel_words: Int64Array
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
    memory_words: int = 0
    traffic: GateTraffic | None = None
    members: int = 0
    sent_bits: int = 0
    biases: int = 0
    far_reads: int = 0
    held: HeldFactors | None = None
    group_fill: GroupFill | None = None
    list_cycles: int = 0

    @property
    def channels(self) -> int:
        """Middle channels predicted (count)."""
        return len(self.channel_words)

    @property
    def stored_bits(self) -> int:
        """What is fetched for it once: its weights and its predictor (bits)."""
        return self.weight_bits + self.predictor_bits

    @property
    def gate_words(self) -> int:
        """Gate words a tile has (count)."""
        return int(self.channel_words.sum())


def plan_groups(work: BlockWork, spec: ArchonSpec) -> tuple[GroupPlan, ...]:
    """Plan every group of a block; the slow part of a simulation, done once for all images.

    Raises:
        InputError: The block's predictor has larger weights or wider activations than the machine's, or it has too many
            fused weights to list (unpruned, wide).
    """
    entries = int(list_entries(work).sum())
    if entries > MAX_ENTRIES:
        what = f"has {entries:,} fused weights, more than {MAX_ENTRIES:,}"
        raise InputError(f"layer {work.name}", what, "prune it first")
    largest, most = work.largest_predictor_weight, spec.design.largest_predictor_weight
    if largest > most:
        what = f"has predictor weights up to {largest}, those of {spec.name} go to {most}"
        mend = "use archon or a machine with a larger design.largest_predictor_weight"
        raise InputError(f"layer {work.name}", what, mend)
    if work.predictor_bits > spec.activation_bits:
        what = f"has a predictor of {work.predictor_bits} bits, that of {spec.name} has {spec.activation_bits}"
        raise InputError(f"layer {work.name}", what, "use a machine with larger activation_bits, or prepare it again")
    return tuple(_plan_group(work, group, spec) for group in range(work.groups))


def charged_work(work: BlockWork, spec: ArchonSpec) -> BlockWork:
    """The block as the machine has to run it: without shifts where bias sums are taken to be free."""
    return work.without_shifts() if spec.design.bias_sums == "free" else work


def _plan_group(work: BlockWork, group: int, spec: ArchonSpec) -> GroupPlan:
    design = spec.design
    span = slice(group * work.group_middle, (group + 1) * work.group_middle)
    live = work.live_channels[span] if design.gates == "registers" else np.ones(work.group_middle, np.bool_)
    channels = int(live.sum())
    words = (work.depthwise[span].sum(axis=1) + work.depthwise_bias[span])[live]
    entries = int(list_entries(work)[span].sum() + sum(part[span].sum() for part in bias_entries(work)))
    own = design.structures
    channel_bits = own.channel_bits if own is not None else 2 * spec.bits
    generated = design.gates == "registers"
    weight_bits = spec.predictor_weight_bits(work.largest_predictor_weight)
    factors = factor_bits(work, group, spec)
    plan = GroupPlan(
        channel_words=words,
        memory_words=int(words.sum()),
        entries=entries,
        products=0,
        sums=0,
        slices=1,
        weight_bits=factors if generated else entries * (spec.bits + spec.fused_index_bits),
        predictor_bits=channels * ((work.group_channels + work.taps) * weight_bits + channel_bits),
        expand_words=int(work.expand[span].sum()),
        fill_words=factors // spec.bits if generated else 0,
        refill_words=0,
    )
    if design.gates == "registers":
        assert own is not None  # checked with the specification
        return _with_registers(plan, live, work, group, spec, own)
    weights, biases = list_lengths(work, group)
    return replace(
        plan,
        products=weights.size,
        sums=int(np.count_nonzero(biases)),
        list_cycles=broadcast_cycles(np.concatenate((weights.ravel(), biases[biases > 0])), spec.lanes),
    )


def _with_registers(
    plan: GroupPlan, live: Mask, work: BlockWork, group: int, spec: ArchonSpec, own: Structures
) -> GroupPlan:
    outputs = work.project[group * work.group_outputs : (group + 1) * work.group_outputs]
    span = slice(group * work.group_middle, (group + 1) * work.group_middle)
    connected = work.expand[span].any(axis=1) & work.depthwise[span].any(axis=1)  # in a pass if an output reads them
    sums = spec.pe.psum_regfile_words * spec.design.parallel_lists
    slices, banks = -(-work.group_outputs // min(sums, SLICE_LIMIT)), spec.mask_buffer.banks
    while True:
        size = -(-work.group_outputs // slices)
        evenly = project_rows(outputs[:, connected], size, own.project_row_words).sum(axis=1).max(initial=0)
        if size > 1 and -(-evenly // banks) * banks * own.project_row_words > own.project_memory_words:
            slices += 1  # however channels are given to banks
            continue
        whole = group_passes(work, group, size, own.project_row_words)
        bank = channel_banks(whole, banks)
        rows = project_rows(outputs[:, : len(bank)], size, own.project_row_words)
        filled = np.array([np.bincount(bank, part, banks) for part in rows], np.int64)
        if size == 1 or filled.max(initial=0) * banks * own.project_row_words <= own.project_memory_words:
            break
        slices += 1
    lanes = LaneRegisters(
        lanes=spec.lanes,
        registers=own.lane_registers,
        parallel_lists=spec.design.parallel_lists,
        loads=own.channel_loads,
        banks=banks,
    )
    place = np.zeros(work.group_middle, np.int64)
    place[: len(bank)] = bank
    taps, column = int(work.depthwise[span].sum()), int(work.expand[span].sum(axis=0).max())
    maps = plan.channels * (work.taps + 2)  # of taps and two columns
    far = _beyond(taps, own.tap_memory_words) + _beyond(column, own.column_buffer_words) + _beyond(maps, own.map_bits)
    project_words = int(rows.sum(axis=1).max(initial=0)) * own.project_row_words
    slices = -(-work.group_outputs // size)  # fewer where sizes are rounded up
    pass_plan = plan_passes(whole, lanes)
    memory_words = _gate_memory_words(work, span, live, bank, pass_plan.turns, banks)
    fullest = int(np.bincount(place[live], minlength=1).max())
    machine = told_machine(work, len(pass_plan.times.load_cycles), fullest, spec)
    behind = predicted_behind(work, memory_words // banks, machine)
    if not behind:
        pass_plan = pass_plan.in_fewest_cycles()
    passes, times = pass_plan.passes, pass_plan.times
    told, biases = ToldBits(once=0, sent=len(passes.channel) * own.load_bits, channel=own.channel_bits), 0
    group_fill = None
    if spec.design.streams == "gateware":
        # Behind the last of a bank stands one that ends no part.
        codes = [len(own) + 1 for own in load_codes(passes, times, place, lanes)]
        told = told_bits(work, plan.channels, len(times.load_cycles), codes, behind, machine)
        owner = place[live]
        needs = {
            "outputs": work.group_outputs,
            "columns": work.group_channels,
            "passes": len(times.load_cycles),
            "codes": max(codes),
            "channels": plan.channels,
            "slots": fullest,
            "tap_words": _fullest(owner, work.depthwise[span][live].sum(axis=1)),
            "column_words": _fullest(owner, work.expand[span][live].sum(axis=1)),
            "project_rows": max(_fullest(owner, part[live[: len(bank)]]) for part in rows),
        }
        group_fill = GroupFill(machine, group, needs)
        biases = int(work.expand_bias[span][live].sum() + work.depthwise_bias[span][live].sum())
    release = release_cycles(passes, times, work.group_middle)
    order = prediction_order(release[live], place[live], behind or spec.design.streams != "gateware")
    gated = np.concatenate((work.depthwise[span], work.depthwise_bias[span][:, None]), axis=1)
    channels, at_once = np.flatnonzero(live)[order], channels_at_once(work, own)
    position, tap = np.nonzero(gated[channels])
    cuts = np.searchsorted(position, np.arange(at_once, len(channels), at_once))
    words = np.split(np.stack((channels[position], tap)), cuts, axis=1) if len(channels) else []
    return replace(
        plan,
        channel_words=plan.channel_words[order],
        memory_words=memory_words,
        slices=slices,
        weight_bits=plan.weight_bits + told.once + told.sent,
        predictor_bits=plan.predictor_bits + plan.channels * (told.channel - own.channel_bits),
        sent_bits=told.sent,
        biases=biases,
        fill_words=min(taps, own.tap_memory_words) + project_words,
        refill_words=project_words if slices > 1 else 0,
        products=passes.lists[0],
        sums=passes.lists[1],
        times=times,
        traffic=gate_traffic(passes, times, lanes, bank, pass_plan.turns, words, release) if words else None,
        members=len(passes.channel),
        far_reads=math.ceil(far * len(passes.channel)),
        held=HeldFactors(
            project_rows=filled.max(axis=0),
            project_reads=np.bincount(bank[passes.channel], minlength=banks),
            tap_words=int(work.depthwise[span][live].sum()),
            map_bits=maps,
        ),
        group_fill=group_fill,
    )


def _fullest(bank: Int64Array, words: Int64Array) -> int:
    """Words of the fullest bank, ``[channels]`` each."""
    return int(np.bincount(bank, words, 1).max())


def _beyond(words: int, memory_words: int) -> float:
    """Share of ``words`` that a memory does not hold."""
    return max(0, words - memory_words) / words if words else 0.0


def project_rows(outputs: Mask, size: int, row_words: int) -> Int64Array:
    """``[slices, middle]`` rows of the project memory every channel takes in every slice.

    Args:
        outputs: ``[outputs, middle]`` bool, project weights of a group that are not zero.
        size: Outputs of a slice.
        row_words: Words of a row.
    """
    parts = [outputs[first : first + size].sum(axis=0) for first in range(0, len(outputs), size)]
    rows: Int64Array = -(-np.array(parts) // row_words)
    return rows


def _gate_memory_words(
    work: BlockWork, span: slice, live: Mask, bank: Int64Array, turns: Int64Array, banks: int
) -> int:
    """Gate words of a tile if all banks were as full as the fullest."""
    gated = np.concatenate((work.depthwise[span], work.depthwise_bias[span][:, None]), axis=1) & live[:, None]
    channel, tap = np.nonzero(gated)
    return fullest_bank(bank[channel], turns[tap], banks) * banks


def factor_bits(work: BlockWork, group: int, spec: ArchonSpec) -> int:
    """Factors of a group as stored (bits): a word for every weight that is not zero, a bitmap of where they are, and
    biases."""
    span = slice(group * work.group_middle, (group + 1) * work.group_middle)
    live = work.live_channels[span]
    project = work.project[group * work.group_outputs : (group + 1) * work.group_outputs]
    arrays = (work.expand[span][live], work.depthwise[span][live], project[:, live])
    biases = int((work.expand_bias[span] & live).sum() + (work.depthwise_bias[span] & live).sum())
    return sum(int(part.sum()) * spec.bits + part.size for part in arrays) + biases * spec.bias_bits


def list_lengths(work: BlockWork, group: int) -> tuple[Int64Array, Int64Array]:
    """Entries of every list of a group, as the published machine broadcasts them.

    Args:
        work: The block.
        group: Which group.

    Returns:
        Of the weight lists ``[O, C, K]`` int64, and of the bias lists ``[O * (K + 1)]``: for every output those of the
        expand biases tap by tap and that of the depthwise biases.
    """
    span = slice(group * work.group_middle, (group + 1) * work.group_middle)
    project = work.project[group * work.group_outputs : (group + 1) * work.group_outputs].astype(np.float64)
    taps = work.depthwise[span].astype(np.float64)
    factors = (work.expand[span].astype(np.float64)[:, :, None] * taps[:, None, :]).reshape(work.group_middle, -1)
    shape = (work.group_outputs, work.group_channels, work.taps)
    weights = np.rint(project @ factors).astype(np.int64).reshape(shape)
    biases = np.column_stack((work.expand_bias[span, None] * taps, work.depthwise_bias[span])).astype(np.float64)
    return weights, np.rint(project @ biases).astype(np.int64).ravel()


def broadcast_cycles(lengths: Int64Array, lanes: int) -> int:
    """Cycles to send lists, ``lanes`` entries a cycle; lists share none, an empty one takes one too."""
    return int(np.maximum(1, -(-lengths // lanes)).sum())
