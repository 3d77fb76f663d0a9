"""Layers without a predictor on Archon: convolutions and classifiers."""

from __future__ import annotations

from dataclasses import replace

from predfuse.hardware.closed_form.archon import plain_stage
from predfuse.hardware.cycle.elementwise import stream_bits
from predfuse.hardware.cycle.memory.buffer import PARTS, Place, buffer_cycles, on_chip
from predfuse.hardware.cycle.memory.steps import Step, Steps, divide, split_step
from predfuse.hardware.cycle.plan import LayerPlan, StagePlan
from predfuse.hardware.energy import Actions
from predfuse.hardware.spec import ArchonSpec
from predfuse.hardware.workload import MAIN, Operation


def plain_cycles(operation: Operation, spec: ArchonSpec) -> tuple[int, str]:
    """Cycles of the array and how the layer lies on it.

    With one output pixel a PE, the PEs of a pixel share its outputs, of one group or of all at once; with one output
    a PE, the activations are broadcast and each PE gets weights of its own. The better of the two is taken.
    """
    design = spec.design
    if design.plain_layers == "even":
        return operation.macs // spec.array.pes, "multiplications spread evenly"
    tiles = -(-operation.rows.out // design.tile_rows) * -(-operation.columns.out // design.tile_columns)
    terms = operation.groups * operation.group_channels * operation.taps
    shared = operation.groups if design.plain_layers == "mapped_groups" else 1
    rounds = operation.groups // shared * -(-operation.group_outputs * shared // design.parallel_lists)
    by_pixel = tiles * operation.group_channels * operation.taps * rounds
    positions = design.tile_rows * design.tile_columns
    by_output = operation.out_pixels * terms * -(-operation.group_outputs // positions)
    if by_output < by_pixel:
        return by_output, "one output a PE"
    return by_pixel, f"one output pixel a PE, {design.parallel_lists} outputs at once"


def made_in_parts(operation: Operation, spec: ArchonSpec) -> bool:
    """Whether a layer makes its map in parts that share no input: tiles of a 1x1 convolution, or groups of channels.

    Source: docs/explanation/archon.md, What is charged, Maps on chip.
    """
    tiles = -(-operation.rows.out // spec.design.tile_rows) * -(-operation.columns.out // spec.design.tile_columns)
    pointwise = operation.taps == 1 and operation.in_pixels == operation.out_pixels
    return (pointwise and tiles >= PARTS) or operation.groups >= PARTS * spec.design.parallel_lists


def plan_plain(operation: Operation, spec: ArchonSpec, place: Place, stage: str = MAIN) -> LayerPlan:
    """Steps and actions of one convolution or fully connected layer."""
    design = spec.design
    cycles, mapping = plain_cycles(operation, spec)
    tiles = -(-operation.rows.out // spec.array.rows) * -(-operation.columns.out // spec.array.columns)
    actions = plain_stage(operation, spec).actions
    weight_bits = operation.weights * spec.bits
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
    row = StagePlan(stage, operation.macs, spec.array.pes, actions, mapping, spec.array.pes, cycles)
    return LayerPlan(operation.layer, Steps.of(steps), (row,))
