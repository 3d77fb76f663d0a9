"""Areas and energies of every machine from its sizes, by the rules of :mod:`predfuse.hardware.price_rules`.

Rules, all fitted to the published table of ``archon-ics21``: a banked SRAM costs a fixed part and a part per bit for
every bank, its access likewise; a register file, which has one port, a fixed part and a part per bit; everything else
so much per bit. Storage whose words are all read or compared at once is latches, and multiplexers where one is picked.

A specification with ``prices: synthesised`` is priced otherwise where the gateware in cells shows it: here what all
machines have, in :mod:`predfuse.hardware.synthesised` the structures of an Archon.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

from predfuse.hardware.design import Structures
from predfuse.hardware.field_types import MASK_WORD_BITS, WORD_BITS, Part
from predfuse.hardware.fields import (
    AcceleratorSpec,
    ArchonArea,
    ArchonEnergy,
    ArchonSpec,
    Buffer,
    EyerissArea,
    EyerissEnergy,
    EyerissSpec,
)
from predfuse.hardware.price_rules import PriceRules

GATE_BITS = 64
PUBLISHED_WEIGHT_WORDS = 224
"""Words of the weight SRAM whose energies are published."""
ADDER_BITS = 20
"""Of the published adders, that is of those a predictor shares; others have four more than an entry."""
TERNARY_ADD_BITS = 10
"""Of an adder's bits, those an addition of a predictor with adders of its own is charged (8 are needed in the mean)."""
DRAM_ACCESS_BITS = 64
"""Bits a published access of the DRAM moves."""
MASK_GATE_BITS = 160
"""AND gates per lane in a PE with masks of its own (bits): 2,419.2 um2 published for six lanes."""
PUBLISHED_ACTIVATION_BITS = 4
"""Of the predictor; adders of its own are wider by every bit more."""
TERNARY_SUM_BITS = 6
"""Mean width of the adders in a tree of 24 four-bit terms: 12 of 5 bits, 6 of 6, 3 of 7, 2 of 8 (bits)."""
OFFSET_BITS = 12
"""Width of an offset and of what it is added to (bits)."""
DECODERS_UM2 = 9_676.8
"""Decoders of the indices that come with stored fused weights, as published."""
OUTPUT_BITS = 5
"""Number of an output of a slice, kept with every project weight (bits)."""
SHIFT_STAGES = 5
"""Two-way multiplexers a bit passes to be shifted by 0 to 31."""
PLANE_WAYS = 4
"""Where a pixel of the input plane comes from: three neighbours, taps visited to and fro, or the buffer."""
HIDDEN_WAYS = 3
"""Where a pixel of the hidden plane comes from: the first stage, or three rows or columns further (large kernels)."""
TAP_WAYS = 2
"""Pixels of the hidden plane a depthwise unit may take a tap from: strides of 1 and 2."""
SUM_SURPLUS = 8
"""Of a partial sum beyond a product of two words, if prices are those of synthesis (bits): programs of the shipped
networks need 33 to 38 in all for words of 16 bits. Of what an Archon multiplies beyond one word, likewise."""
LATCHED_WORDS = 32
"""Memories of fewer words may be latches, likewise: compilers make none so small."""
SELECT_BIT_UM2 = 1.2
"""One bit of one word where one of many is read (um2)."""
WRITTEN_BIT_UM2 = 4.5
"""One bit of what is written into latches, held for a cycle (um2)."""
ROW_UM2 = 5.5
"""What opens the latches of a word (um2)."""
REGFILE_WORDS = 128
"""A memory of more words is an SRAM; of fewer, register files 16 bits wide beside each other."""
SCANNED_CHANNELS = 64
"""Channels of a bank among which the next member of a pass is found, and its words, in a cycle."""


def sram_area_um2(buffer: Buffer, rules: PriceRules) -> float:
    """A banked SRAM (um2)."""
    bits = buffer.depth * buffer.width_bits
    fixed = buffer.banks * rules.area_um2.sram_bank * buffer.width_bits / GATE_BITS
    return fixed + bits * rules.area_um2.sram_bit


def access_registers_um2(buffer: Buffer, words: int, bits: int, rules: PriceRules) -> float:
    """What holds the words of an access beyond the first while they leave for the array, at every bank (um2)."""
    return buffer.banks * (words - 1) * bits * rules.area_um2.flip_flop


def small_sram_um2(words: int, bits: int, rules: PriceRules) -> float:
    """A small memory with one port (um2): no less than a register file of as many words."""
    return max(words * bits * rules.area_um2.narrow_sram_bit, _regfile_um2(words * bits, rules))


def sum_bits(spec: AcceleratorSpec) -> int:
    """Width of a partial sum (bits)."""
    return max(spec.pe.psum_bits, 2 * spec.bits + SUM_SURPLUS) if spec.prices == "synthesised" else spec.pe.psum_bits


def adder_bits(spec: ArchonSpec) -> int:
    """Width of the adders of a PE (bits)."""
    return ADDER_BITS if spec.design.predictor == "shared" else spec.bits + ADDER_BITS - WORD_BITS


def product_share(first: float, second: float) -> float:
    """A multiplier of two widths as a share of the published one, of 16 bits each: that of its partial products."""
    return first * second / WORD_BITS**2


def memory_um2(words: int, bits: int, rules: PriceRules, reads: int = 1) -> float:
    """A memory of any size at the prices of synthesis (um2): latches, register files side by side, or an SRAM.

    What compilers make has ``LATCHED_WORDS`` or more and is read in one place: of several ways out each takes a copy.
    For fewer words the smaller of both counts.
    """
    area, made = rules.area_um2, max(words, LATCHED_WORDS)
    if made <= REGFILE_WORDS:
        compiled = area.regfile * -(-bits // WORD_BITS) + area.regfile_bit * made * bits
    else:
        compiled = area.sram_bank * bits / GATE_BITS + area.sram_bit * made * bits
    if words >= LATCHED_WORDS:
        return reads * compiled
    return min(latches_um2(words, bits, rules, reads), reads * compiled)


def latches_um2(words: int, bits: int, rules: PriceRules, reads: int = 1) -> float:
    """A memory of latches with their input register and ``reads`` ways out (um2).

    16 words of 40 bits with two ways out are synthesised into 3,586 um2 (``small_memory``), 12 of 16 bits with one into
    877, 4 of 40 bits into 796.
    """
    area = rules.area_um2
    return words * bits * (area.latch + reads * SELECT_BIT_UM2) + bits * WRITTEN_BIT_UM2 + words * ROW_UM2


def sram_access_pj(bank_bits: float, rules: PriceRules) -> float:
    """One 64-bit read of a bank (pJ)."""
    return rules.energy_pj.sram_access + bank_bits * rules.energy_pj.sram_access_per_bank_bit


def regfile_access_pj(words: int, rules: PriceRules) -> float:
    """One 16-bit read or write of a register file (pJ), of a few words no less than of a plain register."""
    return max(
        rules.energy_pj.register_word, rules.energy_pj.regfile_access + words * rules.energy_pj.regfile_access_per_word
    )


def _banked_regfiles(bits: int, banks: int, rules: PriceRules) -> float:
    """So many bits in one register file a bank (um2)."""
    return banks * rules.area_um2.regfile + bits * rules.area_um2.regfile_bit


def structure_areas_um2(spec: ArchonSpec) -> dict[str, float]:
    """Area of every structure the published machine does not have (um2), by name."""
    design, own = spec.design, spec.design.structures
    if own is None:
        return {}
    rules = spec.price_rules
    area, lanes, parallel = rules.area_um2, spec.pe.adders, design.parallel_lists
    areas: dict[str, float] = {}
    if design.gates == "registers":
        banks, row_words = spec.mask_buffer.banks, own.project_row_words
        load_bits = GATE_BITS + spec.bits + spec.bias_bits + row_words * (spec.bits + OUTPUT_BITS)
        # Every list takes a gate, two factors and one word of any row; the rows are compared with its output.
        project_bits = own.project_memory_words * (spec.bits + OUTPUT_BITS)
        areas["project memory"] = banks * area.sram_bank + project_bits * area.sram_bit
        areas["tap memory"] = banks * small_sram_um2(-(-own.tap_memory_words // banks), spec.bits, rules)
        areas["column buffers"] = 2 * _banked_regfiles(own.column_buffer_words * spec.bits, banks, rules)
        areas["weight maps"] = own.map_bits * area.latch  # of many channels searched at once
        areas["member search"] = banks * SCANNED_CHANNELS * (2 * area.adder_bit + 3 * area.mux_bit)
        areas["lane registers"] = lanes * 2 * own.lane_registers * load_bits * area.latch
        # Banks to lanes directly, or over as many buses as there are loads in a cycle.
        points = min(banks * lanes, own.channel_loads * (banks + lanes))
        areas["load network"] = points * load_bits * area.mux_bit
        areas["lane selectors"] = lanes * parallel * own.lane_registers * load_bits * area.mux_bit
        plane_bits = own.input_plane_pixels * spec.bits * (parallel if design.plain_layers == "mapped_groups" else 1)
        areas["input planes"] = plane_bits * (2 * area.flip_flop + PLANE_WAYS * area.mux_bit)
        # A finished sum waits here for the buffer while the next are made: the register file has one port.
        areas["output registers"] = spec.array.pes * spec.bits * area.flip_flop
        # Bias sums are multiplied with a power of two of their output, broadcast in place of a pixel.
        areas["input multiplexers"] = spec.array.pes * spec.bits * area.mux_bit
        areas["gate write network"] = own.gate_writes * spec.mask_buffer.banks * GATE_BITS * area.mux_bit
        shifter = SHIFT_STAGES * adder_bits(spec) * area.mux_bit  # rounding is the addition of a multiplier-accumulator
        multiplier = area.multiplier * product_share(spec.bias_bits, spec.bits)
        areas["fused-weight multipliers"] = lanes * parallel * (2 * multiplier + shifter)
    if design.predictor == "dedicated":
        queued = own.gate_queue_words * spec.mask_buffer.banks * GATE_BITS
        areas["gate write queues"] = queued * (area.latch + area.mux_bit)
        positions = design.tile_rows * design.tile_columns
        # Every power of two above 1 is one way more for an operand, and one bit more for all sums of it.
        powers = design.largest_predictor_weight.bit_length() - 1
        ways = (1 + powers) * (spec.activation_bits + 1)
        wider = spec.activation_bits - PUBLISHED_ACTIVATION_BITS
        term = (TERNARY_SUM_BITS + powers + wider) * area.adder_bit + ways * area.mux_bit
        offset = (OFFSET_BITS + wider) * area.adder_bit
        unit = own.predictor_inputs * (term + spec.activation_bits * area.flip_flop) + own.predictor_channels * offset
        second = own.predictor_channels * (own.predictor_taps * term + offset)
        plane = own.predictor_channels * own.hidden_plane_pixels * (spec.activation_bits + 1) * area.flip_flop
        areas["predictor, first stage"] = own.predictor_units * unit
        areas["predictor, second stage"] = positions * second
        areas["hidden planes"] = 2 * plane
        state = spec.activation_bits + 1
        choices = positions * own.predictor_channels * own.predictor_taps * TAP_WAYS * state
        moved = own.predictor_channels * own.hidden_plane_pixels * HIDDEN_WAYS * state
        areas["tap selectors"] = (choices + moved) * area.mux_bit
        areas["gate formers"] = positions * own.predictor_channels * own.predictor_taps * area.mux_bit
    return areas


Spec = TypeVar("Spec", ArchonSpec, EyerissSpec, ArchonSpec | EyerissSpec)


def sized(spec: Spec, tables: Iterable[str] = ("area_um2", "energy_pj")) -> Spec:
    """The specification with the prices its sizes imply.

    The rules give the published prices back for the published sizes.

    Args:
        spec: A machine of any kind.
        tables: Which of its tables to replace.
    """
    priced = _prices(spec)
    return spec.model_copy(update={name: priced[name] for name in tables})


def _prices(spec: AcceleratorSpec) -> dict[str, Part]:
    """Areas and energies of a specification, the two tables of its prices."""
    if isinstance(spec, ArchonSpec):
        return {"area_um2": _archon_areas(spec), "energy_pj": _archon_energies(spec)}
    return {"area_um2": _eyeriss_areas(spec), "energy_pj": _eyeriss_energies(spec)}


def _regfile_um2(bits: int, rules: PriceRules) -> float:
    """A register file, of a few bits flip-flops."""
    return min(bits * rules.area_um2.flip_flop, rules.area_um2.regfile + bits * rules.area_um2.regfile_bit)


def _words_um2(spec: AcceleratorSpec, words: int, bits: int, reads: int = 1) -> float:
    """Words in a PE (um2)."""
    if spec.prices == "published":
        return _regfile_um2(words * bits, spec.price_rules)
    if words == 1:
        return bits * spec.price_rules.area_um2.flip_flop
    return memory_um2(words, bits, spec.price_rules, reads)


def _multiplier_um2(spec: AcceleratorSpec) -> float:
    """A multiplier with the adder of its partial sums; the published one adds 16 bits."""
    area, other = spec.price_rules.area_um2, _other_operand(spec)
    if spec.prices == "synthesised" and isinstance(spec, ArchonSpec):
        other = spec.bits + SUM_SURPLUS
    return area.multiplier * product_share(other, spec.bits) + _wider_sums(spec) * area.adder_bit


def _other_operand(spec: AcceleratorSpec) -> float:
    """Bits of what is multiplied with an activation: a weight, or the sum of a list, published with 16 for both."""
    return spec.bits if isinstance(spec, EyerissSpec) else adder_bits(spec) * WORD_BITS / ADDER_BITS


def _wider_sums(spec: AcceleratorSpec) -> float:
    """What partial sums have beyond those that the price of the multiplier holds (bits)."""
    return sum_bits(spec) - WORD_BITS * product_share(spec.bits, spec.bits)


def _common_energies(spec: AcceleratorSpec) -> dict[str, float]:
    """Energies of one action each, by the fields of :class:`predfuse.hardware.fields.CommonEnergy`."""
    rules = spec.price_rules
    inputs = regfile_access_pj(spec.pe.ifmap_regfile_words, rules) * spec.bits / WORD_BITS
    multiplication = rules.energy_pj.multiply_accumulate * product_share(_other_operand(spec), spec.bits)
    sums = regfile_access_pj(spec.pe.psum_regfile_words, rules) * sum_bits(spec) / WORD_BITS
    buffer = sram_access_pj(_bank_bits(spec.global_buffer), rules) * spec.global_buffer.width_bits / GATE_BITS
    return {
        "multiply_accumulate": multiplication + rules.energy_pj.add * _wider_sums(spec) / ADDER_BITS,
        "ifmap_regfile_read": inputs,
        "ifmap_regfile_write": inputs,
        "psum_regfile_read": sums,
        "psum_regfile_write": sums,
        "global_buffer_read": buffer,
        "global_buffer_write": buffer,
        "dram_access": rules.energy_pj.dram_access_bit * DRAM_ACCESS_BITS,
    }


def _eyeriss_areas(spec: EyerissSpec) -> EyerissArea:
    rules, words = spec.price_rules, spec.pe.weight_sram_words
    latched = spec.prices == "synthesised" and words < LATCHED_WORDS
    weights = memory_um2(words, spec.bits, rules) if latched else small_sram_um2(words, spec.bits, rules)
    return EyerissArea(
        multiply_accumulate=_multiplier_um2(spec),
        ifmap_regfile=_words_um2(spec, spec.pe.ifmap_regfile_words, spec.bits),
        psum_regfile=_words_um2(spec, spec.pe.psum_regfile_words, sum_bits(spec)),
        weight_sram=weights,
        global_buffer=sram_area_um2(spec.global_buffer, rules),
    )


def _eyeriss_energies(spec: EyerissSpec) -> EyerissEnergy:
    rules, words, share = spec.price_rules, spec.pe.weight_sram_words, spec.bits / WORD_BITS
    return EyerissEnergy(
        **_common_energies(spec),
        weight_sram_read=narrow_sram_pj(words, rules.energy_pj.weight_sram_read, rules) * share,
        weight_sram_write=narrow_sram_pj(words, rules.energy_pj.weight_sram_write, rules) * share,
    )


def narrow_sram_pj(words: int, published: float, rules: PriceRules) -> float:
    """One access of a PE's SRAM of 16-bit words (pJ): from ``published``, of 224 words, down to a plain register."""
    register = rules.energy_pj.register_word
    return register + (published - register) * words / PUBLISHED_WEIGHT_WORDS


def _archon_areas(spec: ArchonSpec) -> ArchonArea:
    rules, design, lanes = spec.price_rules, spec.design, spec.pe.adders
    area = rules.area_um2
    registers, private, shared = design.gates == "registers", design.gates == "private", design.predictor == "shared"
    inputs, wide = _words_um2(spec, spec.pe.ifmap_regfile_words, spec.bits), adder_bits(spec)
    # Finished sums are read beside those that grow.
    ports = 2 if spec.prices == "synthesised" else 1
    return ArchonArea(
        multiply_accumulate=_multiplier_um2(spec),
        psum_regfile=_words_um2(spec, spec.pe.psum_regfile_words, sum_bits(spec), ports),
        # Without FIFOs one pipeline register behind the adders takes their place.
        ifmap_regfile=inputs + (wide * area.flip_flop if registers else 0),
        adder=wide * area.adder_bit,
        fifo=0 if registers else spec.bits * area.flip_flop,
        mask_sram=spec.pe.mask_sram_depth * MASK_WORD_BITS * area.mask_sram_bit,
        mask_gates=MASK_GATE_BITS * lanes * area.mux_bit if private else 0,
        # Entries have the width of a weight; the published multiplexers pass that of a sum.
        zero_muxes=(spec.bits if registers else wide) * lanes * area.mux_bit,
        # Gates in registers come by lane, not by index.
        decoders=0 if registers else DECODERS_UM2,
        reconfiguration_muxes=spec.pe.adder_split * wide * lanes * area.mux_bit if shared else 0,
        global_buffer=sram_area_um2(spec.global_buffer, rules),
        mask_buffer=sram_area_um2(spec.mask_buffer, rules),
    )


def _archon_energies(spec: ArchonSpec) -> ArchonEnergy:
    energy, share = spec.price_rules.energy_pj, spec.bits / WORD_BITS
    registers, private = spec.design.gates == "registers", spec.design.gates == "private"
    gate_access = sram_access_pj(_bank_bits(spec.mask_buffer), spec.price_rules)
    gate_access *= spec.mask_buffer.width_bits / GATE_BITS
    return ArchonEnergy(
        **_common_energies(spec),
        add=energy.add * (adder_bits(spec) / ADDER_BITS),
        fifo_push=energy.fifo_access * share,
        fifo_pop=0 if registers else energy.fifo_access * share,
        gate=energy.gate * share,
        mask_sram_read=energy.mask_sram_read if private else 0,
        mask_sram_write=energy.mask_sram_write if private else 0,
        mask_buffer_read=gate_access,
        mask_buffer_write=gate_access,
    )


def project_row_pj(spec: ArchonSpec, own: Structures) -> float:
    """One row of project weights read (pJ)."""
    word_bits = spec.bits + OUTPUT_BITS
    wide = max(1.0, own.project_row_words * word_bits / GATE_BITS)  # 64-bit memories side by side
    row_bits = own.project_memory_words * word_bits / spec.mask_buffer.banks / wide
    return wide * sram_access_pj(row_bits, spec.price_rules)


def _bank_bits(buffer: Buffer) -> float:
    return buffer.depth * buffer.width_bits / buffer.banks
