"""Rules behind areas and energies: what a bit, a bank, an adder costs, whatever machine it is in.

The defaults are those of 45 nm, fitted to the published tables of ``archon-ics21`` and ``eyeriss-dense``. Because all
machines share them, two machines of equal sizes have equal prices. A latch, which those tables lack, is that of the
NanGate 45 nm Open Cell Library (DLH_X1, 2.66 um2; its flip-flop, DFF_X1 of 4.52 um2, is smaller than the one fitted).
"""

from __future__ import annotations

from predfuse.hardware.field_types import Area, Energy, Part


class AreaRules(Part):
    """Area of what machines are made of (um2 each)."""

    sram_bank: Area = 2712
    """Fixed part of one SRAM bank (um2)."""
    sram_bit: Area = 1.1128
    """One bit of a banked SRAM (um2)."""
    narrow_sram_bit: Area = 0.97
    """One bit of a small SRAM 16 bits wide (um2), everything included."""
    regfile: Area = 232.68
    """Fixed part of one 16-bit register file (um2)."""
    mask_sram_bit: Area = 0.49834
    """One bit of a PE's mask SRAM (um2)."""
    regfile_bit: Area = 0.7656
    """One bit of a register file (um2)."""
    flip_flop: Area = 6.3
    """One flip-flop (um2)."""
    latch: Area = 2.66
    """One latch (um2): a bit of storage whose words are all read or compared at once, which no register file does."""
    mux_bit: Area = 2.52
    """One bit passed or blocked: a multiplexer input, a crossbar point, an AND gate (um2)."""
    adder_bit: Area = 5.595
    """One bit of an adder (um2)."""
    multiplier: Area = 1239.5
    """One 16-bit multiplier (um2)."""


class EnergyRules(Part):
    """Energy of one action (pJ each)."""

    multiply_accumulate: Energy = 2.2
    """One 16-bit multiplication with its accumulation (pJ)."""
    add: Energy = 0.054
    """One addition at the full width of an adder of a PE (pJ)."""
    gate: Energy = 0.018
    """One mask bit gating one fused weight (pJ)."""
    dram_access_bit: Energy = 8
    """One bit moved to or from the DRAM (pJ)."""
    sram_access: Energy = 13.64
    """Fixed part of one 64-bit access of a banked SRAM (pJ)."""
    sram_access_per_bank_bit: Energy = 0.000621
    """What every bit of its bank adds to an access (pJ)."""
    regfile_access: Energy = 0.1154
    """Fixed part of one access of a 16-bit register file (pJ)."""
    regfile_access_per_word: Energy = 0.00255
    """What every word of it adds to an access (pJ)."""
    fifo_access: Energy = 0.146
    """One entry pushed into or popped from a PE's FIFO, or its pipeline register (pJ)."""
    mask_sram_read: Energy = 0.273
    """16 mask bits read from a PE's mask SRAM of 128 words (pJ)."""
    mask_sram_write: Energy = 0.359
    """16 mask bits written into it (pJ)."""
    weight_sram_read: Energy = 0.404
    """One word read from a PE's weight SRAM of 224 words (pJ)."""
    weight_sram_write: Energy = 0.614
    """One word written into it (pJ)."""
    register_word: Energy = 0.146
    """16 bits written into or read from registers beside a lane, in the predictor or between pipeline stages (pJ)."""
    narrow_sram_word: Energy = 0.614
    """16 bits read from or written into a small SRAM of factors (pJ)."""


class PriceRules(Part):
    """What everything costs, by rule; a file states them only for another technology."""

    area_um2: AreaRules = AreaRules()
    """Area per part (um2)."""
    energy_pj: EnergyRules = EnergyRules()
    """Energy per action (pJ)."""
