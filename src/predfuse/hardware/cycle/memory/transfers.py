"""What the global buffer moves: in how many cycles, and what never leaves it."""

from __future__ import annotations

import math

from predfuse.hardware.energy import Actions
from predfuse.hardware.spec import AcceleratorSpec


def buffer_cycles(actions: Actions, spec: AcceleratorSpec) -> int:
    """Least cycles for the accesses of the global buffer: every bank makes one a cycle, however many words it moves."""
    accesses = actions.global_buffer_reads + actions.global_buffer_writes
    return math.ceil(round(accesses / spec.global_buffer.banks, 6))


def on_chip(actions: Actions, input_bits: float, output_bits: float, spec: AcceleratorSpec) -> Actions:
    """The same layer with maps of so many bits never leaving the global buffer."""
    width = spec.global_buffer.width_bits
    return actions.with_counts(
        dram_read_bits=actions.dram_read_bits - input_bits,
        dram_written_bits=actions.dram_written_bits - output_bits,
        global_buffer_writes=actions.global_buffer_writes - input_bits / width,
        global_buffer_reads=actions.global_buffer_reads - output_bits / width,
    )
