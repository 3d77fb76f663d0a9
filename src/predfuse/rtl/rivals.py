"""Area of what the PEs of a dense or sparse machine have beside their memories, beside what the model says of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from predfuse.errors import InputError
from predfuse.hardware.area import area_items
from predfuse.hardware.prices import sum_bits
from predfuse.hardware.spec import EyerissSpec
from predfuse.rtl.area import GatewareArea, structure_area
from predfuse.rtl.build import SOURCES
from predfuse.rtl.cells import Cells
from predfuse.rtl.synthesis import Component, components_of, elaborated, with_parameters

FOLDER = SOURCES / "eyeriss"
_IN_PES = {"sparse_pe", "dense_pe", "pe"}
_OF_COLUMNS = {"links", "link", "later"}
"""What every column has, its rows among it; those of the leading part are told by what they are in."""
_STRUCTURES = ("multipliers", "PE control", "control of PEs in step", "sums between PEs", "words to columns")
"""Rows, and components of the model."""


def rival_area(
    spec: EyerissSpec, cells: Cells, progress: Callable[[str, int, int], None] | None = None
) -> GatewareArea:
    """Synthesise a column of a machine's PEs and what leads it, and compare; memories are left to the model.

    Args:
        spec: The machine; cells are sized for its clock.
        cells: What they are made of.
        progress: Called with what is done next, how many components are done and how many there are.

    Raises:
        InputError: It has memories of one word, or Yosys is not installed.
        PredfuseError: Yosys refuses the gateware.

    Source: docs/explanation/hardware.md, A PE of the rivals.
    """
    found = pe_components(spec, cells, progress)
    model = {item.component: item.area_um2 for item in area_items(spec)}
    rows = tuple(
        structure_area(name, model.pop(name, 0.0), [part for part in found if _structure(part) == name], cells)
        for name in _STRUCTURES
    )
    return GatewareArea(rows, (), tuple(found), {name: area for name, area in model.items() if area})


def pe_components(
    spec: EyerissSpec, cells: Cells, progress: Callable[[str, int, int], None] | None = None
) -> list[Component]:
    """The components of all PEs and of what leads them, memories among them.

    Args:
        spec: The machine; cells are sized for its clock.
        cells: What they are made of.
        progress: Called with what is done next, how many components are done and how many there are.

    Raises:
        InputError: It has memories of one word, or Yosys is not installed.
        PredfuseError: Yosys refuses the gateware.

    Source: docs/explanation/hardware.md, A PE of the rivals.
    """
    sizes = {
        "WEIGHTS": spec.pe.weight_sram_words,
        "INPUTS": spec.pe.ifmap_regfile_words,
        "SUMS": spec.pe.psum_regfile_words,
        "BITS": spec.bits,
        "ACCUMULATOR": sum_bits(spec),
        "PES": spec.array.rows,
    }
    if min(sizes["WEIGHTS"], sizes["INPUTS"], sizes["SUMS"]) < 2:
        raise InputError(f"{spec.file}: pe", "has a memory of one word", "use two words or more for its gateware")
    top, led = ("dense_array", 1) if spec.kind == "dense" else ("sparse_column", spec.array.columns)
    sources = {file.name: file.read_text() for file in (SOURCES / "memory.sv", *sorted(FOLDER.glob("*.sv")))}
    sources[f"{top}.sv"] = with_parameters(sources[f"{top}.sv"], sizes)
    told = progress or (lambda what, done, total: None)
    told("elaborate", 0, 0)
    found = components_of(top, elaborated(top, sources), cells, 1e3 / spec.clock_mhz, told)
    # Of a column; a dense machine has what leads its PEs once.
    found = [replace(one, count=one.count * (spec.array.columns if _of_column(one) else led)) for one in found]
    if spec.array.columns > 1:
        turn = with_parameters(sources["turn.sv"], {"COLUMNS": spec.array.columns, "BITS": spec.bits})
        found += components_of("turn", elaborated("turn", {"turn.sv": turn}), cells, 1e3 / spec.clock_mhz, told)
    return found


def _in_pe(part: Component) -> bool:
    """Whether every PE has it."""
    return part.name in _IN_PES or part.parent in _IN_PES


def _of_column(part: Component) -> bool:
    """Whether every column has it, what leads PEs that are in step left out."""
    return _in_pe(part) or (part.name in _OF_COLUMNS and part.parent != "rows")


def _structure(part: Component) -> str:
    """The row of a component; memories have none."""
    if part.name == "memory":
        return ""
    if part.name == "multiply_add":
        return "multipliers"
    if part.name == "turn":
        return "words to columns"
    if part.name in _OF_COLUMNS | {"rows"}:
        return "sums between PEs"
    return "PE control" if _in_pe(part) else "control of PEs in step"
