"""Area of a machine's gateware by structure, beside what the model of the machine says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from predfuse.hardware.area import area_items
from predfuse.hardware.cycle.archon.gateware import Machine
from predfuse.hardware.rules import AreaRules
from predfuse.hardware.spec import AcceleratorSpec, ArchonSpec
from predfuse.rtl.cells import Cells
from predfuse.rtl.synthesis import Component, Memory, components

REGISTER_FILE_WORDS = 128
"""A macro of more words is an SRAM; of fewer, register files 16 bits wide beside each other."""

REGISTER_NS = 0.15
"""What a flip-flop adds to a path: clock to output and set-up of DFF_X1 in 45 nm, typical (ns)."""


@dataclass(frozen=True)
class _Structure:
    """What is compared.

    Attributes:
        name: Of the row.
        components: Of the gateware; the memories in them come with them.
        model: Components of the model.
        memories: Whether the model has their memories; if not, they are the model's global buffer, and left out.
    """

    name: str
    components: tuple[str, ...]
    model: tuple[str, ...]
    memories: bool = False


_SHARED = "multipliers, partial sums"
"""What machines without lanes have in common with it."""
STRUCTURES = (
    _Structure("gated trees of adders", ("gated_tree",), ("adders", "zero multiplexers", "input register files")),
    _Structure(_SHARED, ("partial_sums",), ("multipliers", "partial-sum register files"), True),
    _Structure("fused-weight generators", ("fused_weight",), ("fused-weight multipliers",)),
    _Structure("lanes", ("lane",), ("lane registers", "lane selectors")),
    _Structure("load network", ("crossbar",), ("load network",)),
    _Structure(
        "memories beside the lanes, search",
        ("bank", "member_search"),
        ("project memory", "tap memory", "column buffers", "weight maps", "member search"),
        True,
    ),
    _Structure("gate memory", ("gate_memory", "gate_bank"), ("mask buffer",), True),
    _Structure("predictor, first stage", ("expand_unit", "weighted_sum in expand_unit"), ("predictor, first stage",)),
    _Structure(
        "predictor, second stage", ("depthwise_unit", "weighted_sum in depthwise_unit"), ("predictor, second stage",)
    ),
    _Structure(
        "predictor, planes and gate words",
        ("predictor",),
        ("hidden planes", "tap selectors", "gate formers", "gate write network"),
    ),
    _Structure("gate write queues", ("write_queue",), ("gate write queues",)),
    _Structure("input planes", ("input_plane",), ("input planes",)),
    _Structure("array control", ("list_array",), ("input multiplexers",)),
    _Structure("finishing", ("finish", "output_rows"), ("output registers",)),
    _Structure("control", ("archon", "loader", "sequencer"), ()),
)


@dataclass(frozen=True)
class StructureArea:
    """One row.

    Attributes:
        structure: Its name.
        model_um2: Of the model (um2).
        cells_um2: Of the cells it is synthesised into, scaled to 45 nm (um2).
        register_bits: Flip-flops and latches among them.
        macro_bits: Bits in memories left as macros, where the model has them.
        macro_um2: What the model's rules price these at (um2).
        buffer_bits: Bits in memories that stand for the global buffer: priced there, not here.
        delay_ns: The longest path through the logic of one of its components (ns).
    """

    structure: str
    model_um2: float
    cells_um2: float
    register_bits: int
    macro_bits: int
    macro_um2: float
    buffer_bits: int
    delay_ns: float

    @property
    def synthesised_um2(self) -> float:
        return self.cells_um2 + self.macro_um2

    @property
    def ratio(self) -> float | None:
        """Synthesised over modelled; None where the model has nothing."""
        return self.synthesised_um2 / self.model_um2 if self.model_um2 else None


@dataclass(frozen=True)
class GatewareArea:
    """All of a machine.

    Attributes:
        structures: Rows.
        components: What they were added up from.
        not_gateware: Components of the model that no gateware stands for (um2).
    """

    structures: tuple[StructureArea, ...]
    components: tuple[Component, ...]
    not_gateware: dict[str, float]


def gateware_area(
    spec: ArchonSpec, cells: Cells, progress: Callable[[str, int, int], None] | None = None
) -> GatewareArea:
    """Synthesise the gateware of a specification and compare.

    Args:
        spec: The machine; cells are sized for its clock.
        cells: What it is made of.
        progress: Called with what is done next, how many components are done and how many there are.

    Raises:
        InputError: It has no gateware, or Yosys is not installed.
        PredfuseError: Yosys refuses the gateware.
    """
    machine = Machine.of(spec)
    found = components(machine, cells, 1e3 / spec.clock_mhz, progress)
    model = {item.component: item.area_um2 for item in area_items(spec) if item.area_um2}
    rows = tuple(_row(one, model, found, machine, cells, spec.price_rules.area_um2) for one in STRUCTURES)
    covered = {name for one in STRUCTURES for name in one.model}
    rest = {name: area for name, area in model.items() if name not in covered}
    return GatewareArea(rows, tuple(found), rest)


def repriced_um2(spec: AcceleratorSpec, found: GatewareArea) -> float:
    """Area of any machine if each structure cost what the gateware's does over what the model says (um2).

    Rivals share multipliers and partial sums with it; what no gateware stands for keeps its price, and what the model
    has not (control) is added to machines that have lanes.
    """
    fused = isinstance(spec, ArchonSpec) and spec.design.structures is not None
    area = {item.component: item.area_um2 for item in area_items(spec)}
    for row, one in zip(found.structures, STRUCTURES, strict=True):
        if row.ratio is None:
            area[row.structure] = row.synthesised_um2 if fused else 0.0
        elif fused or one.name == _SHARED:
            area.update({name: area[name] * row.ratio for name in one.model if name in area})
    return sum(area.values())


def _row(
    one: _Structure, model: dict[str, float], found: list[Component], machine: Machine, cells: Cells, rules: AreaRules
) -> StructureArea:
    own = [part for part in found if _place(part) in one.components]
    # Load codes of a whole group stand in one memory; a machine reads them from its buffer as it goes.
    held = [
        (part.count, memory)
        for part in own
        for memory in part.memories
        if one.memories and not (part.name == "bank" and memory.words == machine.codes)
    ]
    macro_bits = sum(count * memory.words * memory.bits for count, memory in held)
    all_bits = sum(part.count * memory.words * memory.bits for part in own for memory in part.memories)
    return StructureArea(
        structure=one.name,
        model_um2=sum(model.get(name, 0.0) for name in one.model),
        cells_um2=cells.um2 * sum(part.count * cells.area[cell] * n for part in own for cell, n in part.cells.items()),
        register_bits=sum(part.count * n for part in own for cell, n in part.cells.items() if cell in cells.registers),
        macro_bits=macro_bits,
        macro_um2=sum(count * macro_um2(memory, rules) for count, memory in held),
        buffer_bits=all_bits - macro_bits,
        delay_ns=max((part.delay_ps for part in own), default=0.0) * 1e-3,
    )


def _place(part: Component) -> str:
    """What a component is listed as: memories under what they are in, and sums with it."""
    if part.name == "memory":
        return part.parent
    return f"{part.name} in {part.parent}" if part.name == "weighted_sum" else part.name


def macro_um2(memory: Memory, rules: AreaRules) -> float:
    """A memory by the rules of the model (um2): an SRAM, or register files side by side."""
    bits = memory.words * memory.bits
    if memory.words > REGISTER_FILE_WORDS:
        return rules.sram_bank * memory.bits / 64 + rules.sram_bit * bits
    return rules.regfile * -(-memory.bits // 16) + rules.regfile_bit * bits
