"""What the global buffer moves: in how many cycles, and what never leaves it."""

from __future__ import annotations

from dataclasses import replace

from predfuse.hardware.energy import Actions
from predfuse.hardware.parts import WORD_BITS
from predfuse.hardware.spec import AcceleratorSpec


def buffer_cycles(actions: Actions, spec: AcceleratorSpec) -> int:
    """Least cycles for the accesses of the global buffer, all banks at once and their whole width used."""
    words = (actions.global_buffer_reads + actions.global_buffer_writes) * spec.array_words_per_access
    per_cycle = spec.global_buffer.banks * spec.global_buffer.width_bits // WORD_BITS
    return -(-int(words) // per_cycle)


def on_chip(actions: Actions, input_bits: float, output_bits: float, spec: AcceleratorSpec) -> Actions:
    """The same layer with maps of so many bits never leaving the global buffer."""
    width = spec.global_buffer.width_bits
    return replace(
        actions,
        dram_read_bits=actions.dram_read_bits - input_bits,
        dram_written_bits=actions.dram_written_bits - output_bits,
        global_buffer_writes=actions.global_buffer_writes - input_bits / width,
        global_buffer_reads=actions.global_buffer_reads - output_bits / width,
    )
