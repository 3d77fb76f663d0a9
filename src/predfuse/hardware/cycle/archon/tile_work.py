"""What one group of one tile moves: accesses of the global buffer and bits of the DRAM, by purpose."""

from __future__ import annotations

from dataclasses import dataclass

from predfuse.hardware.block_work import BlockWork
from predfuse.hardware.cycle.archon.fill_unit import item_accesses
from predfuse.hardware.cycle.archon.group_plan import GroupPlan
from predfuse.hardware.cycle.archon.predictor import (
    PredictTime,
    predicted_parts,
    rectangle_accesses,
    tile_predict_time,
)
from predfuse.hardware.cycle.memory.buffer import Place
from predfuse.hardware.spec import ArchonSpec
from predfuse.integer.tiling import Tile

ENTRY_BITS = 10
"""What comes with an expand weight or a bias when it is read into the column buffer: its middle channel (bits)."""


@dataclass(frozen=True)
class Item:
    """One group of one tile. Accesses are of the global buffer's full width unless they feed PEs one value each.

    Attributes:
        predict: Cycles of its predictions.
        predict_parts: Parts the predictor takes the tile in; each writes its bits of every gate word (count).
        predict_reads: Input activations read for the predictor (accesses).
        predictor_weight_reads: Its weights read (accesses).
        input_reads: Input activations read for the main work (accesses).
        weight_reads: Fused weights or factors and instructions read (accesses).
        output_writes: Results written (accesses).
        drain_cycles: In which the array waits for its sums to be written; none if it has room for the next ones.
        residual_reads: What is added to them, read (accesses).
        buffer_writes: Written when data arrives from the DRAM (accesses).
        output_reads: Read when results leave for the DRAM (accesses).
        fill_accesses: Of the fill unit, one a cycle, for its planes; 0 where that is not charged.
        surplus_reads: Words that it reads beside the rows it wants, where an access brings several (accesses).
        input_pixels: Of a channel, halo included.
        pixels: Output pixels.
        spilled_words: Gate words that do not fit the mask buffer (count).
        load_bits: From the DRAM.
        store_bits: To the DRAM.
    """

    predict: PredictTime
    predict_parts: int
    predict_reads: int
    predictor_weight_reads: int
    input_reads: int
    weight_reads: int
    output_writes: int
    drain_cycles: int
    residual_reads: int
    buffer_writes: int
    output_reads: int
    fill_accesses: int
    surplus_reads: int
    input_pixels: int
    pixels: int
    spilled_words: int
    load_bits: int
    store_bits: int

    @property
    def accesses(self) -> int:
        """All accesses of the global buffer."""
        return (
            self.predict_reads
            + self.predictor_weight_reads
            + self.input_reads
            + self.weight_reads
            + self.output_writes
            + self.residual_reads
            + self.buffer_writes
            + self.output_reads
            + self.surplus_reads
        )


def keeps_weights(plan: GroupPlan, tiles: int, spec: ArchonSpec, place: Place) -> bool:
    """Whether the global buffer keeps the weights of a group for all its tiles; with one tile they need not be kept."""
    return tiles > 1 and plan.stored_bits <= place.free_words * spec.bits


def plan_item(
    work: BlockWork, plan: GroupPlan, tile: Tile, first: bool, tiles: int, spec: ArchonSpec, place: Place
) -> Item:
    """Count what one item moves.

    Args:
        work: The block.
        plan: Of the group.
        tile: The tile.
        first: Whether it is the group's first.
        tiles: How many there are.
        spec: The machine.
        place: Where the feature maps are.
    """
    channels, outputs = work.group_channels, work.group_outputs
    plane = channels * rectangle_accesses(tile.input_rows.size, tile.input_columns.size, spec)
    drained = outputs * rectangle_accesses(tile.rows.size, tile.columns.size, spec)
    kept = keeps_weights(plan, tiles, spec, place)
    fetched = plan.stored_bits if first or not kept else 0
    inputs = channels * tile.input_pixels * spec.bits if not place.input_on_chip else 0
    residual = outputs * tile.pixels * spec.bits if work.residual and not place.residual_on_chip else 0
    results = outputs * tile.pixels * spec.bits if not place.output_on_chip else 0
    words, capacity = plan.gate_words, spec.mask_buffer.depth * spec.mask_buffer.width_bits // 64
    spilled = max(0, plan.memory_words - capacity)
    spilled_reads = plan.members * spilled // words if words else 0
    width, own = spec.global_buffer.width_bits, spec.design.structures
    parts, filled, surplus = [(tile.input_rows.size, tile.input_columns.size)], 0, 0
    if own is not None and spec.design.predictor == "dedicated":
        cut = predicted_parts(work, tile, own, spec.design.streams == "gateware")
        parts = [(part.input_rows, part.input_columns) for part in cut]
        if plan.group_fill is not None:
            filled, surplus = item_accesses(work, tile, cut if plan.channels else (), plan.group_fill)
    return Item(
        predict=tile_predict_time(work, plan.channel_words, tile, spec),
        predict_parts=len(parts),
        predict_reads=channels * sum(rectangle_accesses(rows, columns, spec) for rows, columns in parts),
        predictor_weight_reads=len(parts) * -(-plan.predictor_bits // width),
        input_reads=_input_reads(work, plan, tile, plane, spec),
        weight_reads=_weight_reads(plan, spec),
        output_writes=drained,
        residual_reads=drained if work.residual else 0,
        drain_cycles=_drain_cycles(work, plan, drained * (2 if work.residual else 1), spec),
        buffer_writes=-(-(fetched + inputs + residual) // width),
        output_reads=-(-results // width),
        fill_accesses=filled,
        surplus_reads=surplus,
        input_pixels=tile.input_pixels,
        pixels=tile.pixels,
        spilled_words=spilled,
        load_bits=fetched + inputs + residual + spilled_reads * 64,
        store_bits=results + spilled * 64,
    )


def _cycles(accesses: int, spec: ArchonSpec) -> int:
    """Cycles of so many accesses of the global buffer, all banks at once."""
    return -(-accesses // spec.global_buffer.banks)


def _drain_cycles(work: BlockWork, plan: GroupPlan, accesses: int, spec: ArchonSpec) -> int:
    """Cycles in which no list is worked on because finished sums leave the PEs.

    PEs that hold the sums of the next slice or tile beside them give up one cycle a sum, in which it moves from the
    only port of its register file to the output register.
    """
    outputs = -(-work.group_outputs // plan.slices)
    sums = -(-outputs // spec.design.parallel_lists)
    return plan.slices * sums if 2 * sums <= spec.pe.psum_regfile_words else _cycles(accesses, spec)


def _input_reads(work: BlockWork, plan: GroupPlan, tile: Tile, plane: int, spec: ArchonSpec) -> int:
    own = spec.design.structures
    if own is not None and tile.input_pixels <= own.input_plane_pixels:
        return plan.slices * plane
    # The pixels under one tap, for every input channel and tap.
    columns = (tile.columns.size - 1) * work.stride + 1
    return plan.slices * work.group_channels * work.taps * rectangle_accesses(tile.rows.size, columns, spec)


def _weight_reads(plan: GroupPlan, spec: ArchonSpec) -> int:
    width = spec.global_buffer.width_bits
    entries = plan.expand_words * (ENTRY_BITS + spec.bits) + plan.biases * (ENTRY_BITS + spec.bias_bits)
    return -(-plan.slices * entries // width) - (-plan.sent_bits // width) + plan.far_reads
