"""Accelerator specifications: YAML files checked field by field.

Shipped: ``eyeriss-dense``, ``eyeriss-sparse``, ``archon-ics21``. A specification of one's own is a YAML file of the
same form; unknown keys, missing keys and impossible values are one-line errors that name file, field, value and mend.
"""

from __future__ import annotations

from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

import yaml
from pydantic import Field, PrivateAttr, TypeAdapter, ValidationError

from predfuse.errors import InputError
from predfuse.graph.nodes import Network
from predfuse.hardware.design import ArchonDesign, first_conflict
from predfuse.hardware.parts import WORD_BITS, Amount, Area, Count, Energy, Part


class ArraySize(Part):
    """The grid of processing elements."""

    rows: Count
    """Rows of PEs (count)."""
    columns: Count
    """Columns of PEs (count)."""

    @property
    def pes(self) -> int:
        """All PEs (count)."""
        return self.rows * self.columns


class Buffer(Part):
    """An on-chip SRAM shared by all PEs."""

    depth: Count
    """Words of ``width_bits`` (count)."""
    width_bits: Annotated[int, Field(gt=0, multiple_of=WORD_BITS)] = 64
    """Bits moved by one access (bits)."""
    banks: Count
    """Banks it is divided into (count); the energy per access is that of one bank."""

    @property
    def words(self) -> int:
        """Capacity in 16-bit words (count)."""
        return self.depth * self.width_bits // WORD_BITS


class EyerissPe(Part):
    """One PE of the dense or sparse machine: a multiplier and three private memories."""

    ifmap_regfile_words: Count
    """Input activations held (16-bit words)."""
    weight_sram_words: Count
    """Weights held (16-bit words)."""
    psum_regfile_words: Count
    """Partial sums held (16-bit words)."""


class ArchonPe(Part):
    """One PE of Archon: a multiplier fed by masked adders."""

    ifmap_regfile_words: Count
    """Input activations held (16-bit words)."""
    psum_regfile_words: Count
    """Partial sums held (16-bit words)."""
    adders: Count
    """20-bit adders: fused weights added in a cycle (count)."""
    adder_split: Count
    """Narrow additions one adder makes in predictor mode (count); ``adders * adder_split`` ternary ones a cycle."""
    mask_sram_depth: Annotated[int, Field(ge=0, le=1 << 32)]
    """Words of 16 mask bits held (count); 0 where gates come from the mask buffer."""

    @property
    def predictor_lanes(self) -> int:
        """Ternary additions in a cycle (count)."""
        return self.adders * self.adder_split


class CommonEnergy(Part):
    """Energy of one action, common to all machines (pJ each)."""

    multiply_accumulate: Energy
    """One 16-bit multiplication with its accumulation (pJ)."""
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
    """One access of the DRAM, ``dram_width_bits`` wide (pJ); packed data is charged by the bit."""


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
    """One 16-bit multiplier with accumulator (um2), one per PE."""
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
    """One 20-bit splittable adder (um2), ``adders`` per PE."""
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
    """What every machine states."""

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
    array: ArraySize
    """The grid of PEs."""
    global_buffer: Buffer
    """Buffer of input activations and partial sums."""
    array_words_per_access: Count
    """Words one access of the global buffer moves to or from the PEs (16-bit words); 1 wastes the rest of its width.
    Transfers between the buffer and the DRAM always use the full width."""
    dram_width_bits: Annotated[int, Field(gt=0, multiple_of=WORD_BITS)]
    """Width of one DRAM access (bits)."""
    dram_bits_per_cycle: Count | None
    """What the DRAM moves in a cycle, reads and writes together (bits); null is endless. Used at ``cycle`` fidelity."""
    elementwise: Literal["charged", "free"] = "charged"
    """Whether pooling and additions of feature maps take time and energy at ``cycle`` fidelity (free: as published)."""
    _file: str = PrivateAttr(default="")

    @property
    def file(self) -> str:
        """The file the specification was read from, for messages."""
        return self._file or self.name

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
    weight_index_bits: Annotated[int, Field(ge=0, le=32)] = 0
    """Position stored with each non-zero weight of a compressed layer (bits); sparse machines only."""
    energy_pj: EyerissEnergy
    """Energy per action."""
    area_um2: EyerissArea
    """Area per part."""


class ArchonSpec(CommonSpec):
    """Archon: predicts masks, adds up the fused weights they let through, multiplies each sum once."""

    kind: Literal["archon"]
    """Always ``archon``."""
    pe: ArchonPe
    """One PE."""
    mask_buffer: Buffer
    """Buffer of predicted masks, one bit per PE."""
    fused_index_bits: Count
    """Index sent with each 16-bit fused weight (bits); limits the middle channels of a group."""
    activation_bits: Annotated[int, Field(gt=0, le=WORD_BITS)]
    """Activations of the predictor (bits)."""
    ternary_bits: Annotated[int, Field(gt=0, le=WORD_BITS)]
    """One weight of a ternary predictor as stored (bits); one bit more where weights are larger."""
    design: ArchonDesign
    """What it may do in a cycle; used at ``cycle`` fidelity."""
    energy_pj: ArchonEnergy
    """Energy per action."""
    area_um2: ArchonArea
    """Area per part."""

    def predictor_weight_bits(self, largest: int) -> int:
        """One predictor weight of magnitudes up to ``largest`` as stored (bits): three for five or seven values."""
        return self.ternary_bits + (largest > 1)

    @property
    def lanes(self) -> int:
        """Entries of a list sent in a cycle (count)."""
        return self.design.lanes or self.pe.adders


AcceleratorSpec: TypeAlias = EyerissSpec | ArchonSpec

_ADAPTER: TypeAdapter[AcceleratorSpec] = TypeAdapter(Annotated[AcceleratorSpec, Field(discriminator="kind")])
_KINDS = ("dense", "sparse", "archon")


def names() -> list[str]:
    """The shipped specifications."""
    folder = resources.files(__package__) / "specs"
    return sorted(entry.name.removesuffix(".yaml") for entry in folder.iterdir() if entry.name.endswith(".yaml"))


def load_spec(source: str | Path) -> AcceleratorSpec:
    """A shipped specification by name, or one's own by the path of its YAML file.

    Raises:
        InputError: No such name or file, not YAML, unknown or missing keys, values out of range.
    """
    if str(source) in names():
        return _shipped(str(source))
    path = Path(source)
    if not path.is_file():
        mend = f"use one of {', '.join(names())} or the path of a YAML file"
        raise InputError(f"accelerator {str(source)!r}", "is neither shipped nor a file", mend)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(str(path), f"cannot be read ({error})", "name a readable YAML file") from error
    return parse_spec(text, str(path))


def archon_for(network: Network) -> ArchonSpec:
    """The smaller of the two shipped Archons of this project that can run a network's predictors.

    ``archon`` where they are ternary, ``archon-shift`` where they have larger weights.
    """
    spec = load_spec("archon-shift" if network.largest_predictor_weight > 1 else "archon")
    assert isinstance(spec, ArchonSpec)
    return spec


class _UniqueKeyLoader(yaml.SafeLoader):
    """The safe loader, refusing a key given twice (plain YAML would keep the last and drop the first silently)."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if key.value in seen:
                raise yaml.YAMLError(f"the key {key.value!r} is given twice, line {key.start_mark.line + 1}")
            seen.add(key.value)
        return super().construct_mapping(node, deep)


@lru_cache(maxsize=16)
def _shipped(name: str) -> AcceleratorSpec:
    file = resources.files(__package__) / "specs" / f"{name}.yaml"
    return parse_spec(file.read_text(encoding="utf-8"), f"{name}.yaml")


def parse_spec(text: str, file: str) -> AcceleratorSpec:
    """Check the text of a specification; ``file`` is named in messages.

    Raises:
        InputError: As :func:`load_spec`.
    """
    try:
        document = yaml.load(text, Loader=_UniqueKeyLoader)
    except yaml.YAMLError as error:
        raise InputError(file, f"is not valid YAML ({' '.join(str(error).split())})", "correct the syntax") from error
    if not isinstance(document, dict):
        raise InputError(file, f"holds a {type(document).__name__}, not fields", "write `field: value` lines")
    kind = document.get("kind")
    if kind not in _KINDS:
        what = "is missing" if kind is None else f"is {kind!r}"
        raise InputError(f"{file}: kind", what, f"use one of {', '.join(_KINDS)}")
    try:
        spec = _ADAPTER.validate_python(document)
    except ValidationError as error:
        raise _one_line(file, error) from error
    if isinstance(spec, ArchonSpec):
        conflict = first_conflict(spec.design, spec.array.pes)
        if conflict is not None:
            raise InputError(f"{file}: design.{conflict[0]}", conflict[1], conflict[2])
    spec._file = file
    return spec


def _one_line(file: str, error: ValidationError) -> InputError:
    """The first complaint as file, field, value and mend."""
    errors = error.errors()
    # A misspelt key is both missing and unknown: the unknown one shows what was written.
    first = next((item for item in errors if item["type"] == "extra_forbidden"), errors[0])
    # The discriminator puts the kind in front of every location.
    field = ".".join(str(step) for step in first["loc"][1:]) or "document"
    value: Any = first["input"]
    context = first.get("ctx", {})
    more = f" ({error.error_count() - 1} more)" if error.error_count() > 1 else ""
    if first["type"] == "missing":
        return InputError(f"{file}: {field}", f"is missing{more}", "add it")
    if first["type"] == "extra_forbidden":
        return InputError(f"{file}: {field}", f"is an unknown key (value {value!r}){more}", "remove or correct it")
    mends = {
        "greater_than": "use a value above {gt}",
        "greater_than_equal": "use {ge} or more",
        "less_than_equal": "use {le} or less",
        "multiple_of": "use a multiple of {multiple_of}",
        "int_from_float": "use a whole number",
        "int_type": "use a whole number",
        "int_parsing": "use a whole number",
        "float_type": "use a number",
        "float_parsing": "use a number",
        "finite_number": "use a finite number",
        "string_type": "write text",
        "model_type": "write its fields, one per line",
        "model_attributes_type": "write its fields, one per line",
    }
    mend = mends.get(first["type"], first["msg"].lower()).format(**context)
    return InputError(f"{file}: {field}", f"is {value!r}{more}", mend)
