"""Area of a machine's gateware by structure, beside what the model of the machine says."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from predfuse.hardware.area import area_items
from predfuse.hardware.cycle.archon.gateware import Machine, together
from predfuse.hardware.price_rules import PriceRules
from predfuse.hardware.prices import memory_um2
from predfuse.hardware.spec import ArchonSpec
from predfuse.rtl.cells import CLOCK_TO_OUTPUT_NS, SETUP_NS, Cells
from predfuse.rtl.synthesis import Component, components


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


STRUCTURES = (
    _Structure("gated trees of adders", ("gated_tree",), ("adders", "zero multiplexers", "input register files")),
    _Structure(
        "multipliers, partial sums",
        ("partial_sums", "small_memory"),
        ("multipliers", "partial-sum register files"),
        True,
    ),
    _Structure("fused-weight generators", ("fused_weight",), ("fused-weight multipliers",)),
    _Structure("lanes", ("lane",), ("lane registers", "lane selectors")),
    _Structure("load network", ("crossbar",), ("load network",)),
    _Structure(
        "memories beside the lanes, search",
        ("bank", "wide_memory", "member_search"),
        ("project memory", "tap memory", "column buffers", "weight maps", "member search", "bias memories"),
        True,
    ),
    _Structure("gate memory", ("gate_memory", "gate_bank"), ("mask buffer",), True),
    _Structure("predictor, first stage", ("expand_unit", "weighted_sum in expand_unit"), ("predictor, first stage",)),
    _Structure(
        "predictor, second stage", ("depthwise_unit", "weighted_sum in depthwise_unit"), ("predictor, second stage",)
    ),
    _Structure(
        "predictor, planes and gate words",
        ("predictor", "hidden_planes", "gate_words"),
        ("hidden planes", "tap selectors", "gate formers", "gate write network", "gate placers", "channel records"),
    ),
    _Structure("gate write queues", ("write_queue",), ("gate write queues",)),
    _Structure("input planes", ("input_plane",), ("input planes",)),
    _Structure("array control", ("list_array",), ("input multiplexers",)),
    _Structure("finishing", ("finish", "output_rows"), ("output registers", "finishing")),
    _Structure("control", ("archon", "banks", "lists", "loader", "sequencer"), ("control",)),
)


AROUND = (
    _Structure("global buffer, arbiter", ("global_buffer", "buffer_bank", "arbiter"), ("global buffer",), True),
    _Structure("fill", ("fill", "address_sum in fill"), ("fill",)),
    _Structure("output store", ("output_store", "address_sum in output_store"), ("output store",)),
    _Structure("command unit", ("command", "machine"), ("command unit",)),
)
"""What is around the core."""


@dataclass(frozen=True)
class StructureArea:
    """One row.

    Attributes:
        structure: Its name.
        model_um2: Of the model, at the prices of the specification (um2).
        cells_um2: Of the cells it is synthesised into, scaled to 45 nm (um2).
        register_bits: Flip-flops and latches among them.
        macro_bits: Bits in memories left as macros, where the model has them.
        macro_um2: What the price rules say of these (um2).
        buffer_bits: Bits in memories that stand for the global buffer: priced there, not here.
        path_ns: The longest path of one of its components, with what registers take of it (ns): by OpenSTA where that
            is installed, else by ABC and built-in flip-flops.
    """

    structure: str
    model_um2: float
    cells_um2: float
    register_bits: int
    macro_bits: int
    macro_um2: float
    buffer_bits: int
    path_ns: float

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
        structures: Rows of the core.
        around: Rows of what is around it.
        components: What they were added up from.
        not_gateware: Components of the model that no gateware stands for (um2).
    """

    structures: tuple[StructureArea, ...]
    around: tuple[StructureArea, ...]
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
    rows, around = (
        tuple(_row(one, model, found, machine, cells, spec.price_rules) for one in some)
        for some in (STRUCTURES, AROUND)
    )
    covered = {name for one in (*STRUCTURES, *AROUND) for name in one.model}
    rest = {name: area for name, area in model.items() if name not in covered}
    return GatewareArea(rows, around, tuple(found), rest)


def _row(
    one: _Structure,
    model: dict[str, float],
    found: list[Component],
    machine: Machine,
    cells: Cells,
    rules: PriceRules,
) -> StructureArea:
    own = [part for part in found if _place(part) in one.components]
    # Load codes of a whole group stand in one memory; a machine reads them from its buffer as it goes.
    held = [
        (part.count, memory)
        for part in own
        for memory in part.memories
        if one.memories and not (part.name == "bank" and memory.words == machine.codes // together(machine)["code"])
    ]
    macros = sum(count * memory_um2(memory.words, memory.bits, rules, memory.reads) for count, memory in held)
    kept_bits = sum(count * memory.words * memory.bits for count, memory in held)
    all_bits = sum(part.count * memory.words * memory.bits for part in own for memory in part.memories)
    row = structure_area(one.name, sum(model.get(name, 0.0) for name in one.model), own, cells)
    return replace(row, macro_bits=kept_bits, macro_um2=macros, buffer_bits=all_bits - kept_bits)


def structure_area(name: str, model_um2: float, own: Sequence[Component], cells: Cells) -> StructureArea:
    """A row, its memories left out.

    Args:
        name: Of the row.
        model_um2: Of the model (um2).
        own: Components it is added up from.
        cells: What they are made of.

    Source: docs/explanation/hardware.md.
    """
    return StructureArea(
        structure=name,
        model_um2=model_um2,
        cells_um2=cells.um2 * sum(part.count * cells.area[cell] * n for part in own for cell, n in part.cells.items()),
        register_bits=sum(part.count * n for part in own for cell, n in part.cells.items() if cell in cells.registers),
        macro_bits=0,
        macro_um2=0.0,
        buffer_bits=0,
        path_ns=max(map(path_ns, own), default=0.0),
    )


def path_ns(part: Component) -> float:
    """The longest path of a component, with what registers take of it (ns); 0 if it has none."""
    if part.path_ns is not None:
        return part.path_ns
    return part.delay_ps * 1e-3 + CLOCK_TO_OUTPUT_NS + SETUP_NS if part.delay_ps else 0.0


def _place(part: Component) -> str:
    """What a component is listed as: memories under what they are in, sums with it."""
    if part.name == "memory":
        return part.parent
    return f"{part.name} in {part.parent}" if part.name in ("weighted_sum", "address_sum") else part.name
