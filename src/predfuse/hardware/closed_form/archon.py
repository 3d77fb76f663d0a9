"""Archon at ``paper`` fidelity: the published closed forms for cycles, and the actions of the dataflow they stand for.

Cycles (ICS 2021 artifact; every one rounded down per layer):

    predict_expand      expand multiplications    / PEs / predictor lanes
    predict_depthwise   depthwise multiplications / PEs / predictor lanes
    main                O * C/g * k * k * P * Q   / PEs
    plain layer         multiplications           / PEs

Dataflow, from which the actions are counted. The array works on a tile of output pixels, one per PE. The global buffer
sends one value per access to all PEs that need it. DRAM and buffers hold words of ``bits``, predictor activations of
``activation_bits`` and masks of one bit.

* predict_expand: a value of x is read for every ``lanes`` middle channels of its group, ternary weights come from the
  DRAM for every tile. First-stage activations and masks of all middle channels leave for the DRAM.
* predict_depthwise: they come back tile by tile with their halo. A PE works on ``lanes // k`` channels, a kernel row at
  a time; where its register file cannot hold their windows, each kernel row is read from the buffer anew.
* main: fused weights are broadcast list by list, for o, then c, then k. A PE holds one channel's window of x, so that x
  is read again for every output channel.
* fusion_overhead: every tile fetches all fused weights (value and index) and the masks. Every entry passes each PE's
  FIFO, is gated and added (how many survive is not known here: all are charged); for every list a PE reads its mask of
  the group's middle channels.
* plain layers: weights are fetched for every tile; a value of x serves as many outputs as the PE has partial sums.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from predfuse.errors import InputError
from predfuse.hardware.closed_form.windows import largest_tile, pixels_touched
from predfuse.hardware.energy import Actions, energy_by_component_pj
from predfuse.hardware.field_types import MASK_WORD_BITS
from predfuse.hardware.result import StageResult
from predfuse.hardware.spec import ArchonSpec
from predfuse.hardware.workload import FUSION_OVERHEAD, MAIN, PREDICT_DEPTHWISE, PREDICT_EXPAND, Operation, WorkItem


@dataclass(frozen=True)
class _Prices:
    """How words turn into accesses of this machine's buffers."""

    near: float
    buffer_bits: int
    mask_bits: int

    @classmethod
    def of(cls, spec: ArchonSpec) -> _Prices:
        return cls(float(spec.array_words_per_access), spec.global_buffer.width_bits, spec.mask_buffer.width_bits)


def _tiles(operation: Operation, spec: ArchonSpec) -> int:
    """Tiles of output pixels."""
    return -(-operation.rows.out // spec.array.rows) * -(-operation.columns.out // spec.array.columns)


def tile_pixels(operation: Operation, spec: ArchonSpec) -> int:
    """Input pixels of a channel over all tiles, halos counted per tile."""
    rows = pixels_touched(operation.rows, spec.array.rows)
    return rows * pixels_touched(operation.columns, spec.array.columns)


def _inputs_fetched(operation: Operation, spec: ArchonSpec, visits: int) -> int:
    """Words of x from the DRAM: once if the buffer holds the image, per tile if it holds a tile, else per visit.

    Raises:
        InputError: The global buffer cannot hold a tile of a single channel.
    """
    words, rows, columns = spec.buffer_words, operation.rows, operation.columns
    if operation.channels * operation.in_pixels <= words:
        return operation.channels * operation.in_pixels
    height = min(largest_tile(rows, spec.array.rows), rows.size)
    tile = height * min(largest_tile(columns, spec.array.columns), columns.size)
    if tile > words:
        depth = -(-tile * spec.bits // spec.global_buffer.width_bits)
        what = f"is {spec.global_buffer.depth}: no tile of layer {operation.layer} fits"
        raise InputError(f"{spec.file}: global_buffer.depth", what, f"use {depth} or more")
    once = operation.channels * tile_pixels(operation, spec)
    return once if operation.channels * tile <= words else once * visits


def _stage(
    spec: ArchonSpec, layer: str, stage: str, work: int, per_cycle: int, actions: Actions, mapping: str
) -> StageResult:
    cycles = work // per_cycle
    return StageResult(
        layer=layer,
        stage=stage,
        compute_cycles=cycles,
        stall_cycles=0,
        macs=work,
        utilisation=min(1.0, work / (cycles * per_cycle)) if cycles else 0.0,
        energy_pj=energy_by_component_pj(actions, spec),
        actions=actions,
        mapping=mapping,
        pes=spec.array.pes,
    )


def plain_stage(
    operation: Operation,
    spec: ArchonSpec,
    stage: str = MAIN,
    multiplied: int | None = None,
    weight_bits: int | None = None,
) -> StageResult:
    """An ordinary layer on Archon's multipliers.

    Args:
        operation: The layer.
        spec: The machine.
        stage: What it is called.
        multiplied: Weights that are multiplied for an output pixel; default: all.
        weight_bits: Of its weights as stored; default: a word each.
    """
    prices = _Prices.of(spec)
    macs = operation.macs if multiplied is None else multiplied * operation.out_pixels
    weight_bits = operation.weights * spec.bits if weight_bits is None else weight_bits
    outputs = operation.outputs * operation.out_pixels
    blocks = -(-operation.group_outputs // spec.pe.psum_regfile_words)
    inputs = _inputs_fetched(operation, spec, blocks)
    read = operation.channels * blocks * tile_pixels(operation, spec)
    operands = operation.channels * blocks * operation.taps * operation.out_pixels
    actions = Actions(
        multiplications=macs,
        ifmap_regfile_reads=macs,
        ifmap_regfile_writes=operands,
        psum_regfile_reads=macs,
        psum_regfile_writes=macs,
        fifo_pushes=macs,
        fifo_pops=macs,
        global_buffer_reads=read / prices.near + outputs * spec.bits / prices.buffer_bits,
        global_buffer_writes=outputs / prices.near + inputs * spec.bits / prices.buffer_bits,
        dram_read_bits=inputs * spec.bits + weight_bits * _tiles(operation, spec),
        dram_written_bits=outputs * spec.bits,
    )
    mapping = f"one output pixel a PE, {min(operation.group_outputs, spec.pe.psum_regfile_words)} sums a PE"
    return _stage(spec, operation.layer, stage, macs, spec.array.pes, actions, mapping)


def fused_stages(item: WorkItem, spec: ArchonSpec) -> tuple[StageResult, ...]:
    """The four stages of a fused block; ``fusion_overhead`` takes no cycles of its own in the published model."""
    expand, depthwise, project = item.operations
    main, fused = _fused_operation(expand, depthwise, project), fused_weights(item)
    pes, lanes, stage = spec.array.pes, spec.pe.predictor_lanes, partial(_stage, spec, item.layer)
    first = f"one pixel a PE, {lanes} middle channels at once"
    second = f"one pixel a PE, {_channels_at_once(depthwise, spec)} middle channels at once"
    overhead = _fusion_overhead(main, expand, fused, spec)
    charged = stage(FUSION_OVERHEAD, 0, pes, overhead, f"{fused} fused weights for every tile")
    return (
        stage(PREDICT_EXPAND, expand.macs, pes * lanes, _predict_expand(expand, spec), first),
        stage(PREDICT_DEPTHWISE, depthwise.macs, pes * lanes, _predict_depthwise(depthwise, spec), second),
        stage(MAIN, main.macs, pes, _main(main, spec), "one output pixel a PE, lists in the order o, c, k"),
        replace(charged, macs=fused * main.out_pixels),
    )


def _fused_operation(expand: Operation, depthwise: Operation, project: Operation) -> Operation:
    """The one convolution a block collapses into: ``O x C/g x k x k`` at the depthwise stride."""
    return Operation(
        expand.layer, MAIN, expand.channels, project.outputs, project.groups, depthwise.rows, depthwise.columns
    )


def fused_weights(item: WorkItem) -> int:
    """Non-zero fused weights ``F[o, m, c, k]`` of a block (count); all of them where weights are not known."""
    expand, depthwise, project = item.operations
    if expand.weight is None or depthwise.weight is None or project.weight is None:
        return project.outputs * expand.group_channels * depthwise.taps * expand.group_outputs
    inputs = np.count_nonzero(expand.weight, axis=(1, 2, 3)).astype(np.int64)
    taps = np.count_nonzero(depthwise.weight, axis=(1, 2, 3)).astype(np.int64)
    by_group = project.weight.reshape(project.groups, project.group_outputs, project.group_channels)
    outputs = np.count_nonzero(by_group, axis=1).astype(np.int64).reshape(-1)
    return int((inputs * taps * outputs).sum())


def _predict_expand(expand: Operation, spec: ArchonSpec) -> Actions:
    prices, lanes = _Prices.of(spec), spec.pe.predictor_lanes
    hidden, visits = expand.outputs * expand.out_pixels, -(-expand.group_outputs // lanes)
    inputs = _inputs_fetched(expand, spec, visits)
    read = expand.channels * expand.in_pixels * visits
    hidden_bits = hidden * spec.activation_bits
    return Actions(
        ternary_additions=expand.macs,
        ifmap_regfile_reads=read,
        ifmap_regfile_writes=read,
        psum_regfile_reads=expand.macs / spec.pe.adder_split,
        psum_regfile_writes=expand.macs / spec.pe.adder_split,
        fifo_pushes=expand.macs / spec.pe.adder_split,
        fifo_pops=expand.macs / spec.pe.adder_split,
        global_buffer_reads=read / prices.near + hidden_bits / prices.buffer_bits,
        global_buffer_writes=hidden / prices.near + inputs * spec.bits / prices.buffer_bits,
        mask_buffer_reads=hidden / prices.mask_bits,
        mask_buffer_writes=hidden / prices.mask_bits,
        dram_read_bits=inputs * spec.bits + expand.weights * spec.ternary_bits * _tiles(expand, spec),
        dram_written_bits=hidden_bits + hidden,
    )


def _channels_at_once(depthwise: Operation, spec: ArchonSpec) -> int:
    """Middle channels whose kernel rows fill the predictor's lanes."""
    return max(1, spec.pe.predictor_lanes // depthwise.columns.kernel)


def _predict_depthwise(depthwise: Operation, spec: ArchonSpec) -> Actions:
    prices = _Prices.of(spec)
    masks = depthwise.outputs * depthwise.out_pixels
    windows_bits = _channels_at_once(depthwise, spec) * depthwise.taps * spec.activation_bits
    windows_fit = windows_bits <= spec.pe.ifmap_regfile_words * spec.bits
    tile_rows = spec.array.rows if windows_fit else 1
    columns = pixels_touched(depthwise.columns, spec.array.columns)
    read = depthwise.channels * pixels_touched(depthwise.rows, tile_rows) * columns
    loaded_bits = depthwise.channels * tile_pixels(depthwise, spec) * spec.activation_bits
    return Actions(
        ternary_additions=depthwise.macs,
        ifmap_regfile_reads=depthwise.macs,
        ifmap_regfile_writes=depthwise.macs,
        psum_regfile_reads=depthwise.macs / spec.pe.adder_split,
        psum_regfile_writes=depthwise.macs / spec.pe.adder_split,
        fifo_pushes=depthwise.macs / spec.pe.adder_split,
        fifo_pops=depthwise.macs / spec.pe.adder_split,
        global_buffer_reads=read / prices.near,
        global_buffer_writes=loaded_bits / prices.buffer_bits,
        mask_buffer_reads=masks / prices.mask_bits,
        mask_buffer_writes=masks / prices.mask_bits,
        dram_read_bits=loaded_bits + depthwise.weights * spec.ternary_bits * _tiles(depthwise, spec),
        dram_written_bits=masks,
    )


def _main(main: Operation, spec: ArchonSpec) -> Actions:
    prices, macs = _Prices.of(spec), main.macs
    outputs = main.outputs * main.out_pixels
    windows_fit = main.group_channels * main.taps <= spec.pe.ifmap_regfile_words
    visits = 1 if windows_fit else main.group_outputs
    inputs = _inputs_fetched(main, spec, visits)
    return Actions(
        multiplications=macs,
        ifmap_regfile_reads=macs,
        ifmap_regfile_writes=main.channels * visits * main.taps * main.out_pixels,
        psum_regfile_reads=macs,
        psum_regfile_writes=macs,
        global_buffer_reads=main.channels * visits * tile_pixels(main, spec) / prices.near
        + outputs * spec.bits / prices.buffer_bits,
        global_buffer_writes=outputs / prices.near + inputs * spec.bits / prices.buffer_bits,
        dram_read_bits=inputs * spec.bits,
        dram_written_bits=outputs * spec.bits,
    )


def _fusion_overhead(main: Operation, expand: Operation, fused: int, spec: ArchonSpec) -> Actions:
    prices, middle, pixels = _Prices.of(spec), expand.outputs, main.out_pixels
    entries = float(fused) * pixels
    lists = main.outputs * main.group_channels * main.taps * pixels
    mask_words = -(-expand.group_outputs // MASK_WORD_BITS)
    first, second = middle * tile_pixels(main, spec), middle * pixels
    gated = middle * (main.taps + 1) * pixels
    return Actions(
        additions=entries,
        fifo_pushes=entries,
        fifo_pops=entries,
        gates=entries,
        mask_sram_reads=lists * mask_words,
        mask_sram_writes=middle * main.taps * pixels / MASK_WORD_BITS,
        mask_buffer_reads=gated / prices.mask_bits,
        mask_buffer_writes=(first + second) / prices.mask_bits,
        dram_read_bits=fused * (spec.bits + spec.fused_index_bits) * _tiles(main, spec) + first + second,
    )
