"""Components synthesised into cells: what is found by hand, memories left as macros, a table of a whole machine."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from predfuse.cli import app
from predfuse.errors import InputError
from predfuse.hardware.area import area_items
from predfuse.hardware.rules import AreaRules
from predfuse.hardware.spec import load_spec
from predfuse.rtl import synthesis, yosys
from predfuse.rtl.area import STRUCTURES, macro_um2
from predfuse.rtl.build import SOURCES
from predfuse.rtl.cells import NAND2_UM2, load_cells
from predfuse.rtl.synthesis import Component, Memory

_HALVES = """\
module half(input clk, input [3:0] a, input [3:0] b, output reg [3:0] y);
  always @(posedge clk) y <= a & b;
endmodule
module archon(input clk, input [3:0] a, output [3:0] y, output [3:0] z, input [9:0] at, output [7:0] word);
  parameter DEPTH = 8;
  half u(clk, a, ~a, y);
  half v(clk, a, y, z);
  memory #(8, DEPTH) m(clk, 1'b1, at, at[7:0], at, word);
endmodule
module memory #(parameter WIDTH = 1, parameter DEPTH = 1)
    (input clk, input write, input [9:0] w, input [WIDTH-1:0] d, input [9:0] r, output [WIDTH-1:0] q);
  reg [WIDTH-1:0] words[0:DEPTH-1];
  always @(posedge clk) if (write) words[w] <= d;
  assign q = words[r];
endmodule
"""


@pytest.fixture
def halves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sources of a design small enough to count by hand."""
    try:
        yosys.version()
    except InputError as error:
        pytest.skip(str(error))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "archon.sv").write_text(_HALVES)
    monkeypatch.setattr(synthesis, "SOURCES", tmp_path)


class _Sizes:
    def parameters(self) -> dict[str, int]:
        return {"DEPTH": 32}


def test_every_component_once_in_cells_registers_and_macros(halves: None) -> None:
    found = {one.name: one for one in synthesis.components(_Sizes(), load_cells(None))}  # type: ignore[arg-type]
    assert found["half"].count == 2 and found["half"].cells["DFF"] == 4
    logic = {cell: count for cell, count in found["half"].cells.items() if cell != "DFF"}
    assert sum(logic.values()) in (4, 8) and set(logic) <= {"AND2", "NAND2", "NOR2", "INV"}
    assert found["half"].delay_ps > 0
    assert found["memory"].parent == "archon" and found["memory"].memories == (Memory(32, 8),)
    # The second time nothing is synthesised.
    again = synthesis.components(_Sizes(), load_cells(None))  # type: ignore[arg-type]
    assert {one.name: one for one in again} == found


def test_macros_are_priced_as_the_model_prices_memories() -> None:
    rules = AreaRules()
    assert macro_um2(Memory(284, 64), rules) == rules.sram_bank + 284 * 64 * rules.sram_bit
    assert macro_um2(Memory(16, 16), rules) == rules.regfile + 256 * rules.regfile_bit


def test_cells_are_scaled_by_their_nand(tmp_path: Path) -> None:
    assert load_cells(None).um2 == 1
    path = tmp_path / "big.lib"
    path.write_text("library(big) { cell (NAND2X1) { area : 24; } cell (DFF) { area : 96; ff (A, B) { } } }")
    cells = load_cells(path)
    assert cells.area["DFF"] * cells.um2 == pytest.approx(96 / 24 * NAND2_UM2)
    assert cells.registers == {"DFF"}


@pytest.mark.parametrize("text", [None, "library(none) { cell (INVX1) { area : 1; } }"])
def test_what_is_no_library_is_one_line(text: str | None, tmp_path: Path) -> None:
    path = tmp_path / "no.lib"
    if text is not None:
        path.write_text(text)
    ran = CliRunner().invoke(app, ["rtl", "area", "--liberty", str(path)])
    assert isinstance(ran.exception, InputError) and path.name in str(ran.exception)


def test_a_table_has_every_structure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parts = [Component("gated_tree", "list_array", 32, {"NAND2": 10, "DFF": 2}, (), 900.0)]
    parts.append(Component("memory", "bank", 5, {}, (Memory(256, 64),), 0.0))
    monkeypatch.setattr("predfuse.rtl.area.components", lambda *told: parts)
    path = tmp_path / "area.json"
    told = ["rtl", "area", "-a", "archon-tiny", "--json", str(path), "--reprice", "dense-1.7", "--reprice", "archon"]
    ran = CliRunner().invoke(app, told)
    assert ran.exit_code == 0, ran.output
    figures = json.loads(path.read_text())
    rows = {row["structure"]: row for row in figures["structures"]}
    tree = rows["gated trees of adders"]
    assert tree["cells_um2"] == pytest.approx(32 * (10 * 0.798 + 2 * 4.522)) and tree["register_bits"] == 64
    assert tree["delay_ns"] == 0.9
    assert rows["memories beside the lanes, search"]["macro_bits"] == 5 * 256 * 64
    # The dense machine shares the multipliers; archon has all structures, those without cells here for nothing.
    dense, archon = figures["repriced"]
    items = {item.component: item.area_um2 for item in area_items(load_spec("dense-1.7"))}
    shared = items["multipliers"] + items["partial-sum register files"]
    assert dense["repriced_um2"] == pytest.approx(dense["model_um2"] - shared)
    items = {item.component: item.area_um2 for item in area_items(load_spec("archon"))}
    names = ("adders", "zero multiplexers", "input register files")
    beside = ("project memory", "tap memory", "column buffers", "weight maps", "member search")
    kept = sum(items[name] for name in ("access registers", "global buffer"))
    kept += tree["ratio"] * sum(items[name] for name in names)
    kept += rows["memories beside the lanes, search"]["ratio"] * sum(items[name] for name in beside)
    assert archon["repriced_um2"] == pytest.approx(kept)


def test_every_source_is_in_one_structure() -> None:
    listed = {name.split()[0] for one in STRUCTURES for name in one.components}
    assert sorted([*listed, "memory"]) == sorted(path.stem for path in SOURCES.glob("*.sv"))


def test_without_yosys_one_line_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    ran = CliRunner().invoke(app, ["rtl", "area", "-a", "archon-tiny"])
    assert isinstance(ran.exception, InputError) and "predfuse[rtl]" in str(ran.exception)
