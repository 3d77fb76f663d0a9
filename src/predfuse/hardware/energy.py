"""Energy from action counts: every action has one price in the specification and belongs to one component."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from predfuse.hardware.fields import AcceleratorSpec, ArchonSpec, EyerissSpec
from predfuse.hardware.prices import (
    DRAM_ACCESS_BITS,
    PUBLISHED_ACTIVATION_BITS,
    TERNARY_ADD_BITS,
    adder_bits,
    product_share,
    project_row_pj,
)

COMPONENTS = ("dram", "global_buffer", "mask_buffer", "register_files", "multipliers", "adders", "control")
"""Where energy goes. ``register_files`` are all memories inside PEs, ``control`` is FIFOs, gates and the memories and
registers between the buffers and the lanes."""

COMPONENT_OF: Mapping[str, str] = {
    "multiplications": "multipliers",
    "additions": "adders",
    "ternary_additions": "adders",
    "ifmap_regfile_reads": "register_files",
    "ifmap_regfile_writes": "register_files",
    "psum_regfile_reads": "register_files",
    "psum_regfile_writes": "register_files",
    "weight_sram_reads": "register_files",
    "weight_sram_writes": "register_files",
    "mask_sram_reads": "register_files",
    "mask_sram_writes": "register_files",
    "fifo_pushes": "control",
    "fifo_pops": "control",
    "gates": "control",
    "global_buffer_reads": "global_buffer",
    "global_buffer_writes": "global_buffer",
    "mask_buffer_reads": "mask_buffer",
    "mask_buffer_writes": "mask_buffer",
    "factor_multiplications": "multipliers",
    "register_words": "control",
    "narrow_sram_words": "control",
    "project_rows": "control",
    "dram_read_bits": "dram",
    "dram_written_bits": "dram",
}


@dataclass(frozen=True)
class Actions:
    """How often each thing is done (counts; fractions arise where an access serves several words).

    Accesses of register files and PE memories are of words, those of the buffers of their full width.

    Source: docs/explanation/archon.md, Areas and energies.
    """

    multiplications: float = 0.0
    additions: float = 0.0
    ternary_additions: float = 0.0
    ifmap_regfile_reads: float = 0.0
    ifmap_regfile_writes: float = 0.0
    psum_regfile_reads: float = 0.0
    psum_regfile_writes: float = 0.0
    weight_sram_reads: float = 0.0
    weight_sram_writes: float = 0.0
    mask_sram_reads: float = 0.0
    mask_sram_writes: float = 0.0
    fifo_pushes: float = 0.0
    fifo_pops: float = 0.0
    gates: float = 0.0
    global_buffer_reads: float = 0.0
    global_buffer_writes: float = 0.0
    mask_buffer_reads: float = 0.0
    mask_buffer_writes: float = 0.0
    factor_multiplications: float = 0.0
    register_words: float = 0.0
    narrow_sram_words: float = 0.0
    project_rows: float = 0.0
    dram_read_bits: float = 0.0
    dram_written_bits: float = 0.0

    def __add__(self, other: Actions) -> Actions:
        theirs = other.__dict__
        return _actions({name: count + theirs[name] for name, count in self.__dict__.items()})

    def scaled(self, factor: float) -> Actions:
        """Every count times ``factor``."""
        return _actions({name: count * factor for name, count in self.__dict__.items()})

    def with_counts(self, **counts: float) -> Actions:
        """``counts``, how many times an image, in place of some."""
        return _actions(self.__dict__ | counts)

    def as_dict(self) -> dict[str, float]:
        """Times an image, by name."""
        return dict(self.__dict__)


def _actions(counts: dict[str, float]) -> Actions:
    """All counts by name, in the order of the fields; searches make millions of these, which a constructor slows."""
    found: Actions = object.__new__(Actions)
    found.__dict__.update(counts)
    return found


def prices_pj(spec: AcceleratorSpec) -> dict[str, float]:
    """Price of one action (pJ) by the name of its count; actions the machine cannot do are missing."""
    table = spec.energy_pj
    prices = {
        "multiplications": table.multiply_accumulate,
        "ifmap_regfile_reads": table.ifmap_regfile_read,
        "ifmap_regfile_writes": table.ifmap_regfile_write,
        "psum_regfile_reads": table.psum_regfile_read,
        "psum_regfile_writes": table.psum_regfile_write,
        "global_buffer_reads": table.global_buffer_read,
        "global_buffer_writes": table.global_buffer_write,
        "dram_read_bits": table.dram_access / DRAM_ACCESS_BITS,
        "dram_written_bits": table.dram_access / DRAM_ACCESS_BITS,
    }
    if isinstance(spec, EyerissSpec):
        prices["weight_sram_reads"] = spec.energy_pj.weight_sram_read
        prices["weight_sram_writes"] = spec.energy_pj.weight_sram_write
    if isinstance(spec, ArchonSpec):
        prices |= {
            "additions": spec.energy_pj.add,
            "ternary_additions": spec.energy_pj.add * _share_of_an_adder(spec),
            "fifo_pushes": spec.energy_pj.fifo_push,
            "fifo_pops": spec.energy_pj.fifo_pop,
            "gates": spec.energy_pj.gate,
            "mask_sram_reads": spec.energy_pj.mask_sram_read,
            "mask_sram_writes": spec.energy_pj.mask_sram_write,
            "mask_buffer_reads": spec.energy_pj.mask_buffer_read,
            "mask_buffer_writes": spec.energy_pj.mask_buffer_write,
        }
        if spec.design.structures is not None:
            rules = spec.price_rules.energy_pj
            prices |= {  # of registers and narrow memories: for 16 bits
                "factor_multiplications": rules.multiply_accumulate * product_share(spec.bits, spec.bits),
                "register_words": rules.register_word,
                "narrow_sram_words": rules.narrow_sram_word,
                "project_rows": project_row_pj(spec, spec.design.structures),
            }
    return prices


def energy_by_component_pj(actions: Actions, spec: AcceleratorSpec) -> dict[str, float]:
    """Energy of ``actions`` by component (pJ), every component named.

    Raises:
        KeyError: An action is counted that the machine cannot do (an error of the model, not of the user).
    """
    return at_prices(actions, prices_pj(spec))


def at_prices(actions: Actions, prices: Mapping[str, float]) -> dict[str, float]:
    """:func:`energy_by_component_pj` where :func:`prices_pj` of the machine are known."""
    energy = dict.fromkeys(COMPONENTS, 0.0)
    for name, count in actions.__dict__.items():
        if count:
            energy[COMPONENT_OF[name]] += count * prices[name]
    return energy


def _share_of_an_adder(spec: ArchonSpec) -> float:
    """What a ternary addition of the predictor takes of the addition of a PE."""
    bits = TERNARY_ADD_BITS + spec.activation_bits - PUBLISHED_ACTIVATION_BITS
    if spec.design.predictor == "shared":
        return bits / TERNARY_ADD_BITS / spec.pe.adder_split
    return bits / adder_bits(spec)
