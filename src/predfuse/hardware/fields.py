"""The fields of accelerator specifications: every one with its unit; see :mod:`predfuse.hardware.spec` for reading."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from pydantic import Field, PrivateAttr

from predfuse.hardware.design import ArchonDesign
from predfuse.hardware.field_types import WORD_BITS, Amount, Area, Count, Energy, Part
from predfuse.hardware.price_rules import PriceRules
from predfuse.integer.widths import bias_factor_bits
from predfuse.predictor.format import MOST_BITS

PsumBits: TypeAlias = Annotated[int, Field(ge=WORD_BITS, le=4 * WORD_BITS)]


class ArraySize(Part):
    """The grid of processing elements."""

    rows: Count
    """Rows of PEs (count)."""
    columns: Count
    """Columns of PEs (count)."""

    @property
    def pes(self) -> int:
        """Processing elements of the whole array (count)."""
        return self.rows * self.columns


class Buffer(Part):
    """An on-chip SRAM shared by all PEs."""

    depth: Count
    """Words of ``width_bits`` (count)."""
    width_bits: Annotated[int, Field(gt=0, multiple_of=WORD_BITS)] = 64
    """Bits moved by one access (bits)."""
    banks: Count
    """Banks it is divided into (count); the energy per access is that of one bank."""


class EyerissPe(Part):
    """One PE of the dense or sparse machine: a multiplier and three private memories."""

    ifmap_regfile_words: Count
    """Input activations held (words)."""
    weight_sram_words: Count
    """Weights held (words)."""
    psum_regfile_words: Count
    """Partial sums held, of ``psum_bits`` each (words)."""
    psum_bits: PsumBits = WORD_BITS
    """Width of a partial sum (bits)."""


class ArchonPe(Part):
    """One PE of Archon: a multiplier fed by masked adders."""

    ifmap_regfile_words: Count
    """Input activations held (words)."""
    psum_regfile_words: Count
    """Partial sums held, of ``psum_bits`` each (words)."""
    psum_bits: PsumBits = WORD_BITS
    """Width of a partial sum (bits)."""
    adders: Count
    """Adders: fused weights added in a cycle (count)."""
    adder_split: Count = 1
    """Narrow additions one adder makes in predictor mode (count); ``adders * adder_split`` ternary ones a cycle.
    1 where the predictor has adders of its own."""
    mask_sram_depth: Annotated[int, Field(ge=0, le=1 << 32)]
    """Words of 16 mask bits held (count); 0 where gates come from the mask buffer."""

    @property
    def predictor_lanes(self) -> int:
        """Ternary additions in a cycle (count)."""
        return self.adders * self.adder_split


class CommonEnergy(Part):
    """Energy of one action, common to all machines (pJ each)."""

    multiply_accumulate: Energy
    """One multiplication with its accumulation (pJ)."""
    ifmap_regfile_read: Energy
    """One word read from a PE's input register file (pJ)."""
    ifmap_regfile_write: Energy
    """One word written into a PE's input register file (pJ)."""
    psum_regfile_read: Energy
    """One word read from a PE's partial-sum register file (pJ)."""
    psum_regfile_write: Energy
    """One word written into a PE's partial-sum register file (pJ)."""
    global_buffer_read: Energy
    """One read access of the global buffer, whatever part of its width is used (pJ)."""
    global_buffer_write: Energy
    """One write access of the global buffer (pJ)."""
    dram_access: Energy
    """64 bits moved to or from the DRAM (pJ); packed data is charged by the bit."""


class EyerissEnergy(CommonEnergy):
    """Energy of one action of the dense or sparse machine (pJ each)."""

    weight_sram_read: Energy
    """One weight read from a PE's weight SRAM (pJ)."""
    weight_sram_write: Energy
    """One weight written into a PE's weight SRAM (pJ)."""


class ArchonEnergy(CommonEnergy):
    """Energy of one action of Archon (pJ each)."""

    add: Energy
    """One addition at the adder's full width (pJ); a ternary addition costs ``1/adder_split`` of it."""
    fifo_push: Energy
    """One broadcast entry pushed into a PE's FIFO (pJ)."""
    fifo_pop: Energy
    """One broadcast entry popped from a PE's FIFO (pJ)."""
    gate: Energy
    """One mask bit gating one fused weight (pJ)."""
    mask_sram_read: Energy
    """16 mask bits read from a PE's mask SRAM (pJ)."""
    mask_sram_write: Energy
    """16 mask bits written into a PE's mask SRAM (pJ)."""
    mask_buffer_read: Energy
    """One read access of the mask buffer (pJ)."""
    mask_buffer_write: Energy
    """One write access of the mask buffer (pJ)."""


class CommonArea(Part):
    """Area of parts every machine has (um2 each)."""

    multiply_accumulate: Area
    """One multiplier with accumulator (um2), one per PE."""
    ifmap_regfile: Area
    """Input register file (um2), one per PE."""
    psum_regfile: Area
    """Partial-sum register file (um2), one per PE."""
    global_buffer: Area
    """The global buffer (um2), one."""


class EyerissArea(CommonArea):
    """Area of the parts of the dense or sparse machine (um2 each)."""

    weight_sram: Area
    """Weight SRAM (um2), one per PE."""


class ArchonArea(CommonArea):
    """Area of the parts of Archon (um2 each)."""

    adder: Area
    """One adder of list entries (um2), ``adders`` per PE."""
    fifo: Area
    """One FIFO of broadcast entries (um2), one per adder."""
    mask_sram: Area
    """Mask SRAM (um2), one per PE."""
    mask_gates: Area
    """AND gates between mask bits and fused weights (um2), per PE."""
    zero_muxes: Area
    """Multiplexers that put zero in place of a masked weight (um2), per PE."""
    reconfiguration_muxes: Area
    """Multiplexers that split the adders (um2), per PE."""
    decoders: Area
    """Index decoders of the broadcast (um2), for the whole array."""
    mask_buffer: Area
    """The mask buffer (um2), one; stated beside the total, not in it."""
    published_difference: Annotated[float, Field(allow_inf_nan=False)] = 0.0
    """Published total minus the sum of the published parts (um2), may be negative; no hardware."""


class CommonSpec(Part):
    """Fields that the specification of every machine has."""

    name: Annotated[str, Field(min_length=1)]
    """What tables call the machine."""
    description: str
    """One sentence."""
    source: str
    """Where the figures come from."""
    technology: str
    """Process and voltage the energies and areas belong to."""
    clock_mhz: Amount
    """Clock (MHz); turns cycles into milliseconds."""
    bits: Literal[16, 8] = 16
    """Width of a word: of an activation, a weight, a factor of a fused weight (bits). Programs must not be wider."""
    array: ArraySize
    """The grid of PEs."""
    global_buffer: Buffer
    """Buffer of input activations and partial sums."""
    array_words_per_access: Count
    """Words one access of the global buffer moves to or from the PEs (words); 1 wastes the rest of its width.
    Transfers between the buffer and the DRAM always use the full width."""
    dram_bits_per_cycle: Count | None
    """What the DRAM moves in a cycle, reads and writes together (bits); null is endless. Used at ``cycle`` fidelity."""
    elementwise: Literal["charged", "free"] = "charged"
    """Whether pooling and additions of feature maps take time and energy at ``cycle`` fidelity (free: as published)."""
    prices: Literal["synthesised", "published"] = "synthesised"
    """Rules of areas and energies: those that the gateware in cells confirms (sums of 40 bits, memories of fewer than
    32 words as latches, finishing units, an Archon's structures bit by bit), or fitted to the published tables."""
    price_rules: PriceRules = PriceRules()
    """What a bit, a bank, an adder costs: prices not stated follow from it and from the sizes."""
    _file: str = PrivateAttr(default="")

    @property
    def file(self) -> str:
        """The file the specification was read from, for messages."""
        return self._file or self.name

    @property
    def access_words(self) -> int:
        """Words of one access of the global buffer at its full width (count)."""
        return self.global_buffer.width_bits // self.bits

    @property
    def buffer_words(self) -> int:
        """Capacity of the global buffer (words)."""
        return self.global_buffer.depth * self.access_words

    @property
    def bias_bits(self) -> int:
        """Width of a bias that takes the place of a factor (bits)."""
        return bias_factor_bits(self.bits)

    def conflict(self) -> tuple[str, str, str] | None:
        """The first size that would change nothing on this machine, or not all it should: field, what, mend."""
        return self._wide()

    def _wide(self) -> tuple[str, str, str] | None:
        most = self.access_words
        if self.array_words_per_access <= most:
            return None
        return "array_words_per_access", f"is {self.array_words_per_access}", f"use {most} or less, the buffer's width"

    def milliseconds(self, cycles: float) -> float:
        """Time of ``cycles`` at the clock (ms)."""
        return cycles / (self.clock_mhz * 1e3)


class EyerissSpec(CommonSpec):
    """A dense machine in the manner of Eyeriss, or the same skipping zero weights."""

    kind: Literal["dense", "sparse"]
    """``dense`` multiplies every weight; ``sparse`` stores and multiplies only those that are not zero."""
    pe: EyerissPe
    """One PE."""
    edges: Literal["idle", "perfect"] = "idle"
    """At ``cycle`` fidelity: sizes that do not divide leave PEs idle at the edge, or only dividing factors are used."""
    schedule: Literal["layers", "depth-first"] = "layers"
    """At ``cycle`` fidelity: layer by layer; or expand, depthwise and project of a block band by band, where that is
    better, so that what lies between them stays on chip."""
    weight_index_bits: Annotated[int, Field(ge=0, le=32)] = 0
    """Position stored with each non-zero weight of a compressed layer (bits); sparse machines only."""
    finishing_units: Annotated[int, Field(ge=1, le=65536)] | None = None
    """At ``prices: synthesised`` and ``cycle`` fidelity: sums that become outputs in a cycle (bias, rounding,
    activation, saturation); null for one a column. At the published prices they all do, for nothing."""
    energy_pj: EyerissEnergy
    """Energy per action; by the rules from the sizes where a file does not state it."""
    area_um2: EyerissArea
    """Area per part; likewise."""

    def conflict(self) -> tuple[str, str, str] | None:
        """The first size that would change nothing on this machine, or not all it should: field, what, mend."""
        if self.kind == "dense" and self.weight_index_bits:
            return "weight_index_bits", f"is {self.weight_index_bits} on a dense machine", "leave it out"
        if self.prices == "published" and self.finishing_units is not None:
            return "finishing_units", f"is {self.finishing_units} at the published prices", "leave it out"
        return self._wide()

    @property
    def outputs_per_cycle(self) -> int | None:
        """Sums that become outputs in a cycle (count); None for all."""
        return None if self.prices == "published" else self.finishing_units or self.array.columns


class ArchonSpec(CommonSpec):
    """Archon: predicts masks, adds up the fused weights they let through, multiplies each sum once."""

    kind: Literal["archon"]
    """Always ``archon``."""
    pe: ArchonPe
    """One PE."""
    mask_buffer: Buffer
    """Buffer of predicted masks, one bit per PE."""
    fused_index_bits: Annotated[int, Field(ge=0, le=32)] = 0
    """Index sent with each fused weight (bits); limits the middle channels of a group. 0 where fused weights are
    made on chip."""
    activation_bits: Annotated[int, Field(ge=2, le=MOST_BITS)]
    """Activations of the predictor (bits), 2 to 8 as predictors have."""
    ternary_bits: Annotated[int, Field(gt=0, le=WORD_BITS)]
    """One weight of a ternary predictor as stored (bits); one bit more where weights are larger."""
    design: ArchonDesign
    """What it may do in a cycle; used at ``cycle`` fidelity."""
    energy_pj: ArchonEnergy
    """Energy per action; by the rules from the sizes where a file does not state it."""
    area_um2: ArchonArea
    """Area per part; likewise."""

    def predictor_weight_bits(self, largest: int) -> int:
        """One predictor weight of magnitudes up to ``largest`` as stored (bits): three for five or seven values."""
        return self.ternary_bits + (largest > 1)

    def conflict(self) -> tuple[str, str, str] | None:
        """The first size that would change nothing on this machine, or not all it should: field, what, mend."""
        design = self.design
        if self.prices == "synthesised" and (design.gates != "registers" or design.predictor != "dedicated"):
            return "prices", "is 'synthesised' where no gateware is", "write prices: published"
        if design.lanes is not None and design.lanes > self.pe.adders:
            return "design.lanes", f"is {design.lanes} with {self.pe.adders} adders a PE", "use at most one an adder"
        if (design.gates == "private") != (self.fused_index_bits > 0):
            what = f"is {self.fused_index_bits} with gates that are {design.gates}"
            return "fused_index_bits", what, "state it where stored fused weights come with an index, else leave it out"
        if (design.gates == "private") != (self.pe.mask_sram_depth > 0):
            what = f"is {self.pe.mask_sram_depth} with gates that are {design.gates}"
            return "pe.mask_sram_depth", what, "use 0 unless gates are private"
        if design.gates == "private" and design.streams == "gateware":
            return "design.streams", "is 'gateware' with private gates", "leave it out: there is no gateware of them"
        if design.gates == "private" and design.weight_fill == "beside":
            return "design.weight_fill", "is 'beside' with private gates", "leave it out: there are no memories to fill"
        if design.gates == "private" and design.fill_cycles:
            return "design.fill_cycles", f"is {design.fill_cycles} with private gates", "use 0: they charge none"
        if design.predictor == "dedicated" and self.pe.adder_split > 1:
            what = f"is {self.pe.adder_split} with a predictor that has adders of its own"
            return "pe.adder_split", what, "leave it out"
        if design.predictor == "dedicated" and design.predictor_packing == "full":
            return "design.predictor_packing", "is 'full' with a predictor of its own", "use 'channels'"
        return self._wide()

    @property
    def lanes(self) -> int:
        """Entries of a list sent in a cycle (count)."""
        return self.design.lanes or self.pe.adders


AcceleratorSpec: TypeAlias = EyerissSpec | ArchonSpec
