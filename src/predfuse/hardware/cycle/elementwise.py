"""Pooling and additions of feature maps, on every machine alike."""

from __future__ import annotations

from predfuse.hardware.cycle.memory.buffer import Places, buffer_cycles
from predfuse.hardware.cycle.memory.steps import Step, Steps, split_step
from predfuse.hardware.cycle.plan import LayerPlan, StagePlan
from predfuse.hardware.energy import Actions
from predfuse.hardware.spec import AcceleratorSpec, ArchonSpec
from predfuse.hardware.workload import WorkItem

STREAM_BITS = 1 << 14
"""Data that is used as it arrives comes in parts of this many bits, two of which are in the buffer."""


def plan_elementwise(item: WorkItem, stage: str, spec: AcceleratorSpec, places: Places) -> LayerPlan:
    """Every word of every input is read and added once, one a PE and cycle."""
    place, input_words, output_words = places.of(item.node), places.input_words(item), places.map_words[item.node]
    near, width = spec.array_words_per_access, spec.global_buffer.width_bits
    load = 0 if place.input_on_chip else input_words * spec.bits
    store = 0 if place.output_on_chip else output_words * spec.bits
    actions = Actions(
        psum_regfile_reads=input_words,
        psum_regfile_writes=input_words,
        global_buffer_reads=input_words / near + store / width,
        global_buffer_writes=output_words / near + load / width,
        dram_read_bits=load,
        dram_written_bits=store,
    )
    if isinstance(spec, ArchonSpec):
        actions += Actions(additions=input_words)
    cycles = max(-(-input_words // spec.array.pes), buffer_cycles(actions, spec))
    step = Step(
        layer=item.layer,
        load_bits=load,
        store_bits=store,
        main_cycles=cycles,
        load_lag=2,
        waits=True,
        reads_stores=not place.input_on_chip,
        room_bits=place.free_words * spec.bits,
        stage=stage,
    )
    row = StagePlan(stage, 0, spec.array.pes, actions, "one value a PE", spec.array.pes, cycles)
    parts = split_step(step, stream_bits(place.free_words * spec.bits))
    return LayerPlan(step.layer, Steps.of(parts), (row,))


def stream_bits(free_bits: int) -> int:
    """Bits of one part of a stream, two of which are in what is free of the buffer."""
    return max(1, min(STREAM_BITS, free_bits // 2))
