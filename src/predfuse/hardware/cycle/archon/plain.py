"""Layers without a predictor on Archon: convolutions and classifiers, weights that are zero left out where that pays.

Weights are broadcast, so that leaving one out saves its cycle at every PE.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from predfuse.arrays import Mask
from predfuse.hardware.closed_form.archon import plain_stage
from predfuse.hardware.cycle.archon.gateware import Machine
from predfuse.hardware.cycle.archon.maps import row_pixels, stored_rows
from predfuse.hardware.cycle.elementwise import stream_bits
from predfuse.hardware.cycle.memory.buffer import PARTS, Place, buffer_cycles, on_chip
from predfuse.hardware.cycle.memory.steps import Step, Steps, divide, split_step
from predfuse.hardware.cycle.plan import LayerPlan, StagePlan
from predfuse.hardware.design import ArchonDesign
from predfuse.hardware.energy import Actions
from predfuse.hardware.spec import ArchonSpec
from predfuse.hardware.workload import MAIN, Operation

INDEX_BITS = 4
"""How many steps are left out before one, stored with every step of a pruned layer, as with every weight of a rival."""


@dataclass(frozen=True)
class PlainWork:
    """A layer on the array.

    Attributes:
        cycles: Of the array.
        weight_bits: As stored (bits).
        multiplied: Weights that are multiplied for an output pixel (count).
        mapping: How the layer lies on the array.
    """

    cycles: int
    weight_bits: int
    multiplied: int
    mapping: str


def plain_work(operation: Operation, spec: ArchonSpec) -> PlainWork:
    """A layer with all its weights, or with those that are not zero where they take fewer bits with their indices.

    With one output pixel a PE, the PEs of a pixel share its outputs, of one group or of all at once; with one output
    a PE, the activations are broadcast and each PE gets weights of its own. The better of the two is taken. A step, one
    input channel and tap for the outputs at work, is left out where the weights of all of them are zero.
    """
    every = operation.weights
    if spec.design.plain_layers == "even":
        cycles = operation.macs // spec.array.pes
        return PlainWork(cycles, every * spec.bits, every, "multiplications spread evenly")
    shape = (operation.groups, operation.group_outputs, operation.group_channels * operation.taps)
    cycles, _, mapping = _lay_out(operation, np.ones(shape, np.bool_), spec)
    dense = PlainWork(cycles, every * spec.bits, every, mapping)
    if operation.weight is None:
        return dense
    live = operation.weight.reshape(shape) != 0
    cycles, weight_bits, mapping = _lay_out(operation, live, spec)
    pruned = PlainWork(cycles, weight_bits, int(live.sum()), f"{mapping}, zeros left out")
    return min(dense, pruned, key=lambda work: work.weight_bits)


def _lay_out(operation: Operation, live: Mask, spec: ArchonSpec) -> tuple[int, int, str]:
    """Cycles of the better way, bits of its steps with indices, and its name, for ``live`` weights ``[G, O/G, CK]``.

    Outputs leave a row of a tile in a cycle, or several rows, as the PEs give them to what finishes them.
    """
    design = spec.design
    tiles = _tiles(operation, design)
    positions, lists = design.tile_rows * design.tile_columns, design.parallel_lists
    dealt = live.reshape(1, -1, live.shape[2]) if design.plain_layers == "mapped_groups" else live
    pixel_steps, output_steps = _steps(dealt, lists), _steps(live, positions)
    by_pixel, by_output = tiles * pixel_steps, operation.out_pixels * output_steps
    if spec.prices == "synthesised":
        rows = _finished_rows(operation, spec)
        by_pixel = max(by_pixel, tiles * -(-design.tile_rows // rows) * operation.outputs)
        by_output = max(by_output, operation.out_pixels * -(-operation.outputs // (rows * design.tile_columns)))
    if by_output < by_pixel:
        words, mapping = min(positions, operation.group_outputs), "one output a PE"
        return by_output, output_steps * (words * spec.bits + INDEX_BITS), mapping
    words, mapping = min(lists, dealt.shape[1]), f"one output pixel a PE, {lists} outputs at once"
    return by_pixel, pixel_steps * (words * spec.bits + INDEX_BITS), mapping


def _finished_rows(operation: Operation, spec: ArchonSpec) -> int:
    """Rows of a tile that leave in a cycle."""
    machine = Machine.sized(spec)
    return stored_rows(row_pixels(operation.columns.out, machine), machine)


def _tiles(operation: Operation, design: ArchonDesign) -> int:
    """Tiles of output pixels."""
    return -(-operation.rows.out // design.tile_rows) * -(-operation.columns.out // design.tile_columns)


def _steps(live: Mask, at_once: int) -> int:
    """Terms ``CK`` that any of so many outputs of ``[G, O/G, CK]`` needs, added up over all outputs (count)."""
    return int(np.logical_or.reduceat(live, np.arange(0, live.shape[1], at_once), axis=1).sum())


def made_in_parts(operation: Operation, spec: ArchonSpec) -> bool:
    """Whether a layer makes its map in parts that share no input: tiles of a 1x1 convolution, or groups of channels.

    Source: docs/explanation/archon.md, What is charged, Maps on chip.
    """
    pointwise = operation.taps == 1 and operation.in_pixels == operation.out_pixels
    return (
        pointwise and _tiles(operation, spec.design) >= PARTS
    ) or operation.groups >= PARTS * spec.design.parallel_lists


def plan_plain(operation: Operation, spec: ArchonSpec, place: Place, stage: str = MAIN) -> LayerPlan:
    """Steps and actions of one convolution or fully connected layer."""
    design, work = spec.design, plain_work(operation, spec)
    tiles = -(-operation.rows.out // spec.array.rows) * -(-operation.columns.out // spec.array.columns)
    weight_bits, cycles = work.weight_bits, work.cycles
    done = plain_stage(operation, spec, stage, work.multiplied, weight_bits)
    actions = done.actions
    width = spec.global_buffer.width_bits
    kept = design.gates != "private" and weight_bits <= place.free_words * spec.bits
    if kept:
        # Fetched once and kept, instead of fetched for every tile of the published array.
        actions += Actions(
            dram_read_bits=-(tiles - 1) * weight_bits,
            global_buffer_writes=weight_bits / width,
            global_buffer_reads=weight_bits * tiles / width,
        )
    inputs = operation.channels * operation.in_pixels * spec.bits
    outputs = operation.outputs * operation.out_pixels * spec.bits
    actions = on_chip(actions, inputs * place.input_on_chip, outputs * place.output_on_chip, spec)
    if design.plain_layers != "even":
        cycles = max(cycles, buffer_cycles(actions, spec))
    once = weight_bits if kept else 0
    loads = divide(round(actions.dram_read_bits) - once, tiles)
    stores = divide(round(actions.dram_written_bits), tiles)
    works = divide(cycles, tiles)
    most = stream_bits(place.free_words * spec.bits)
    steps: list[Step] = []
    kept_by = 0
    for index in range(tiles):
        step = Step(
            layer=operation.layer,
            load_bits=loads[index] + (once if index == 0 else 0),
            store_bits=stores[index],
            main_cycles=works[index],
            load_lag=2,
            waits=index == 0,
            reads_stores=index == 0 and not place.input_on_chip,
            room_bits=place.free_words * spec.bits,
            stage=stage,
        )
        steps += split_step(step, most)
        kept_by = len(steps) if index == 0 and kept else kept_by  # steps that load what all tiles need
    steps[:kept_by] = [replace(step, held_steps=len(steps) - at) for at, step in enumerate(steps[:kept_by])]
    row = StagePlan(stage, done.macs, spec.array.pes, actions, work.mapping, spec.array.pes, cycles)
    return LayerPlan(operation.layer, Steps.of(steps), (row,))
