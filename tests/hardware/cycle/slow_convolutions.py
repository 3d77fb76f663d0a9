"""Every way to run a convolution on the dense or sparse machine, one after the other: the oracle of the fast choice."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product

import numpy as np
from hardware.cycle.slow_padding import pad_weight, padded, without_edges
from hardware.slow_mapping import divisors, find_mapping

from predfuse.arrays import Int64Array
from predfuse.hardware.closed_form.eyeriss import nonzeros_per_tile, skip_zeros
from predfuse.hardware.closed_form.mapping import Mapping
from predfuse.hardware.cycle.memory.buffer import Place, buffer_cycles
from predfuse.hardware.cycle.memory.schedule import schedule
from predfuse.hardware.cycle.memory.steps import Step, Steps
from predfuse.hardware.energy import Actions, energy_by_component_pj
from predfuse.hardware.spec import EyerissSpec
from predfuse.hardware.workload import Operation

MEMORIES = ((2, 2), (2, 1), (1, 2), (1, 1))
"""Sets of data in the global buffer and in the weight memories of the PEs."""


@dataclass(frozen=True, eq=False)
class SlowWay:
    """One way to run a layer.

    Attributes:
        mapping: Of the layer, rounded up.
        at_once: Groups worked on at once.
        sets: Sets of data in the global buffer and in the weight memories.
        actions: What it does.
        weight_bits: Weights fetched.
        cycles: Of the array and the buffer.
    """

    mapping: Mapping
    at_once: int
    sets: tuple[int, int]
    actions: Actions
    weight_bits: float
    cycles: int


def slow_best(operation: Operation, place: Place, residual: bool, spec: EyerissSpec) -> SlowWay | None:
    """The way of the least product of cycles and energy; None where none fits."""
    best: tuple[tuple[float, float, int], SlowWay] | None = None
    for number, way in enumerate(every_way(operation, place, residual, spec)):
        energy = sum(energy_by_component_pj(way.actions, spec).values())
        moved = way.actions.dram_read_bits + way.actions.dram_written_bits
        bound = max(way.cycles, moved // (spec.dram_bits_per_cycle or math.inf)) * energy
        rank = (cycles_alone(way, place, spec) * energy, bound, number)
        if best is None or rank < best[0]:
            best = rank, way
    return best[1] if best else None


def every_way(operation: Operation, place: Place, residual: bool, spec: EyerissSpec) -> Iterator[SlowWay]:
    """Groups at once, sizes and memories, a mapping each."""
    for at_once in (1,) if operation.is_depthwise else divisors(operation.groups):
        columns = spec.array.columns // at_once
        for candidate in padded(operation, spec.array.rows, columns) if columns else ():
            sizes = (candidate.channels // at_once, candidate.outputs // at_once, candidate.groups // at_once)
            part = Operation("layer", candidate.stage, *sizes, candidate.rows, candidate.columns)
            found: list[Mapping] = []
            for sets, tiles in product(MEMORIES, (1, 2, 3, 4) if keeps_no_zeros(spec) else (1,)):
                mapping = find_mapping(part, machine_part(spec, columns, place.free_words // at_once, sets, tiles))
                if mapping is None or mapping in found:
                    continue
                words = max(1, spec.pe.weight_sram_words // sets[1])
                if tiles > 1 and counted(operation, candidate, mapping).max() > words:
                    continue
                found.append(mapping)
                yield way_of(operation, candidate, mapping, sets, place, residual, at_once, spec)


def keeps_no_zeros(spec: EyerissSpec) -> bool:
    """Whether PEs pay for indices, so that zeros take no room in their memories."""
    return spec.kind == "sparse" and spec.prices == "synthesised"


def counted(operation: Operation, candidate: Operation, mapping: Mapping) -> Int64Array:
    """Weights that are not zero, of every pass and PE."""
    assert operation.weight is not None
    size = candidate.outputs // (1 if operation.is_depthwise else operation.groups), candidate.group_channels
    return nonzeros_per_tile(replace(candidate, weight=pad_weight(operation.weight, operation, *size)), mapping)


def machine_part(spec: EyerissSpec, columns: int, free_words: int, sets: tuple[int, int], tiles: int) -> EyerissSpec:
    """The machine with so many columns and only so much of its memories, those of weights so many times as large."""
    depth, weights = max(1, free_words // (spec.access_words * sets[0])), max(1, spec.pe.weight_sram_words // sets[1])
    weights *= tiles
    return spec.model_copy(
        update={
            "array": spec.array.model_copy(update={"columns": columns}),
            "pe": spec.pe.model_copy(update={"weight_sram_words": weights}),
            "global_buffer": spec.global_buffer.model_copy(update={"depth": depth}),
        }
    )


def way_of(
    operation: Operation,
    candidate: Operation,
    mapping: Mapping,
    sets: tuple[int, int],
    place: Place,
    residual: bool,
    at_once: int,
    spec: EyerissSpec,
) -> SlowWay:
    """What the layer does and takes this way."""
    actions, cycles = without_edges(mapping.actions.scaled(at_once), candidate, operation, spec), mapping.cycles
    if spec.kind == "sparse":
        assert operation.weight is not None
        actions = skip_zeros(actions, operation, mapping, int(np.count_nonzero(operation.weight)), spec)
        counts = counted(operation, candidate, mapping)
        # A pass without any weight still takes the time to begin it.
        passes = counts.max(axis=1).clip(min=1).reshape(at_once, -1).sum(axis=1).max()
        cycles = int(passes) * mapping.pixel_passes
    weight_bits = actions.weight_sram_writes / mapping.spatial.q_columns * spec.bits
    output_bits, width = operation.outputs * operation.out_pixels * spec.bits, spec.global_buffer.width_bits
    input_bits = (actions.dram_read_bits - weight_bits) * place.input_on_chip
    actions = actions.with_counts(
        dram_read_bits=actions.dram_read_bits - input_bits,
        global_buffer_writes=actions.global_buffer_writes - input_bits / width,
        dram_written_bits=actions.dram_written_bits - output_bits * place.output_on_chip,
        global_buffer_reads=actions.global_buffer_reads - output_bits * place.output_on_chip / width,
    )
    if residual:  # another map read and added to the output
        fetched = 0 if place.residual_on_chip else output_bits
        actions += Actions(
            global_buffer_reads=output_bits / spec.bits / spec.array_words_per_access,
            global_buffer_writes=fetched / width,
            psum_regfile_writes=output_bits / spec.bits,
            dram_read_bits=fetched,
        )
    cycles = max(cycles, buffer_cycles(actions, spec))
    if spec.outputs_per_cycle is not None:
        cycles = max(cycles, len(range(0, operation.outputs * operation.out_pixels, spec.outputs_per_cycle)))
    return SlowWay(mapping, at_once, sets, actions, weight_bits, cycles)


def cycles_alone(way: SlowWay, place: Place, spec: EyerissSpec) -> int:
    """Cycles of a layer by itself, in equal steps, loads beside the work where memories hold two sets."""
    weights, count = round(way.weight_bits), min(way.mapping.passes, 64)
    inputs = round(way.actions.dram_read_bits) - weights
    early = (weights if way.sets[1] == 2 else 0) + (inputs if way.sets[0] == 2 else 0)

    def share(total: int, index: int) -> int:
        return total * (index + 1) // count - total * index // count

    steps = [
        Step(
            layer="layer",
            load_bits=share(early, index),
            late_bits=share(weights + inputs - early, index),
            store_bits=share(round(way.actions.dram_written_bits), index),
            main_cycles=share(way.cycles, index),
            load_lag=2,
            waits=index == 0,
            reads_stores=index == 0 and not place.input_on_chip,
        )
        for index in range(count)
    ]
    return schedule(Steps.of(steps), spec.dram_bits_per_cycle).end
