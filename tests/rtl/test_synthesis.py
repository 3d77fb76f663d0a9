"""Components synthesised into cells: what is found by hand, memories left as macros, a table of a whole machine."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from predfuse.cli import app
from predfuse.errors import InputError, PredfuseError
from predfuse.hardware.area import area_items
from predfuse.hardware.price_rules import PriceRules
from predfuse.hardware.prices import latches_um2
from predfuse.hardware.spec import EyerissSpec, load_spec
from predfuse.hardware.vary import with_fields
from predfuse.rtl import sta, synthesis, yosys
from predfuse.rtl.area import AROUND, STRUCTURES
from predfuse.rtl.build import SOURCES
from predfuse.rtl.cells import NAND2_UM2, load_cells
from predfuse.rtl.rivals import rival_area
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
module machine(input clk, input [3:0] a, output [3:0] y, output [3:0] z, input [9:0] at, output [7:0] word);
  parameter DEPTH = 8;
  archon #(DEPTH) u(clk, a, y, z, at, word);
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
    timed = found["half"].path_ns
    if sta.opensta() is None:
        assert timed is None
    else:  # from an input, or a register, through one gate or two
        assert timed is not None and found["half"].delay_ps * 1e-3 < timed < found["half"].delay_ps * 1e-3 + 0.16
    assert found["memory"].parent == "archon" and found["memory"].memories == (Memory(32, 8),)
    # The second time nothing is synthesised.
    again = synthesis.components(_Sizes(), load_cells(None))  # type: ignore[arg-type]
    assert {one.name: one for one in again} == found


@pytest.mark.parametrize(("words", "bits", "reads"), [(16, 40, 2), (12, 16, 1), (8, 40, 2), (4, 40, 1), (2, 40, 1)])
def test_small_memories_are_priced_as_latches_are_synthesised(words: int, bits: int, reads: int, halves: None) -> None:
    """A latch a bit and a word, one register for what is written."""
    sizes = {"DEPTH": words, "WIDTH": bits, "READS": reads, "LATCHED": words + 1}
    source = synthesis.with_parameters((SOURCES / "small_memory.sv").read_text(), sizes)
    cells = load_cells(None)
    netlist = synthesis.elaborated("small_memory", {"small_memory.sv": source})
    (found,) = synthesis.components_of("small_memory", netlist, cells, 5, lambda *told: None)
    assert found.cells["LATCH"] == words * bits + words and found.cells["DFF"] == bits
    um2 = sum(cells.area[cell] * count for cell, count in found.cells.items())
    assert latches_um2(words, bits, PriceRules(), reads) == pytest.approx(um2, rel=0.05)


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


_CHAIN = """\
module component(clk, d, q, m_clk);
  input clk, d; output q, m_clk;
  wire signed a;
  wire b;
  DFF u(.CK(clk), .D(d), .Q(a));
  INV v(.A(a), .Y(b));
  DFF w(.CK(clk), .D(b), .Q(q));
  assign m_clk = clk;
endmodule
"""


def test_opensta_counts_registers_and_logic_and_no_clock() -> None:
    if sta.opensta() is None:
        pytest.skip("OpenSTA is not installed")
    # Clock to output 0.1 ns, an inverter with the load of its own size 2 * 0.004 ns, set-up 0.05 ns.
    assert sta.longest_path(_CHAIN, load_cells(None).timed, 5).ns == pytest.approx(0.158, abs=1e-4)
    without = "module component(a, y); input a; output y; INV u(.A(a), .Y(y)); endmodule\n"
    assert sta.longest_path(without, load_cells(None).timed, 5).ns == pytest.approx(0.004, abs=1e-4)
    with pytest.raises(PredfuseError, match="OpenSTA fails"):
        sta.longest_path("module component(", load_cells(None).timed, 5)


def test_a_table_has_every_structure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parts = [Component("gated_tree", "list_array", 32, {"NAND2": 10, "DFF": 2}, (), 900.0)]
    parts.append(Component("memory", "bank", 5, {}, (Memory(256, 64),), 0.0))
    parts.append(Component("address_sum", "fill", 2, {"NAND2": 5}, (), 100.0))
    monkeypatch.setattr("predfuse.rtl.area.components", lambda *told: parts)
    path = tmp_path / "area.json"
    told = ["rtl", "area", "-a", "archon-tiny", "--json", str(path)]
    ran = CliRunner().invoke(app, told)
    assert ran.exit_code == 0, ran.output
    figures = json.loads(path.read_text())
    rows = {row["structure"]: row for row in figures["structures"]}
    tree = rows["gated trees of adders"]
    assert tree["cells_um2"] == pytest.approx(32 * (10 * 0.798 + 2 * 4.522)) and tree["register_bits"] == 64
    assert tree["path_ns"] == pytest.approx(0.9 + 0.15)  # by ABC, with a flip-flop
    assert rows["memories beside the lanes, search"]["macro_bits"] == 5 * 256 * 64
    around = {row["structure"]: row for row in figures["around"]}
    assert around["fill"]["cells_um2"] == pytest.approx(2 * 5 * 0.798) and around["fill"]["model_um2"] > 0
    assert around["global buffer, arbiter"]["model_um2"] > 0 and "global buffer" not in figures["not_gateware_um2"]


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("sparse-depth-first-1.7-half", {}),
        ("sparse-1.7", {}),
        ("sparse-depth-first-2.5", {}),
        ("sparse-1.7-n", {"pe.weight_sram_words": 20, "pe.ifmap_regfile_words": 10, "pe.psum_regfile_words": 24}),
        ("dense-1.7", {}),
    ],
)
def test_what_a_rival_has_beside_memories_is_priced_as_it_is_synthesised(name: str, fields: dict[str, Any]) -> None:
    try:
        yosys.version()
    except InputError as error:
        pytest.skip(str(error))
    spec = with_fields(load_spec(name), fields)
    assert isinstance(spec, EyerissSpec)
    found = rival_area(spec, load_cells(None))
    assert [row.structure for row in found.structures] == [
        "multipliers",
        "PE control",
        "control of PEs in step",
        "sums between PEs",
        "words to columns",
    ]
    for row in found.structures:
        assert row.ratio == pytest.approx(1, abs=0.1), row
        assert 0 < row.path_ns < 2
    copies = {part.name: part.count for part in found.components if part.name != "memory"}
    led = 1 if spec.kind == "dense" else spec.array.columns
    assert copies["multiply_add"] == copies["pe"] == spec.array.pes and copies["walk"] == led
    assert copies["link"] == spec.array.columns * (spec.array.rows - 1)
    left = {item.component: item.area_um2 for item in area_items(spec)}
    assert {name: left[name] for name in found.not_gateware} == found.not_gateware
    total = sum(found.not_gateware.values()) + sum(row.model_um2 for row in found.structures)
    assert total == pytest.approx(sum(left.values()))


def test_a_rival_in_gates_is_a_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parts = [Component("pe", "sparse_pe", 324, {"NAND2": 10}, (), 100.0)]
    monkeypatch.setattr("predfuse.rtl.rivals.pe_components", lambda *told: parts)
    path = tmp_path / "area.json"
    ran = CliRunner().invoke(app, ["rtl", "area", "-a", "sparse-depth-first-1.7-half", "--json", str(path)])
    assert ran.exit_code == 0 and "PE control" in ran.output and "Around the core" not in ran.output
    figures = json.loads(path.read_text())
    assert figures["structures"][1]["cells_um2"] == pytest.approx(324 * 10 * 0.798) and figures["around"] == []
    assert {"weight SRAMs", "weight indices", "global buffer"} <= set(figures["not_gateware_um2"])


def test_a_rival_with_a_memory_of_one_word_has_no_gateware() -> None:
    spec = with_fields(load_spec("sparse-1.7"), {"pe.psum_regfile_words": 1})
    assert isinstance(spec, EyerissSpec)
    with pytest.raises(InputError, match="memory of one word"):
        rival_area(spec, load_cells(None))


def test_every_source_is_in_one_structure() -> None:
    listed = {name.split()[0] for one in (*STRUCTURES, *AROUND) for name in one.components}
    assert sorted([*listed, "memory"]) == sorted(path.stem for path in SOURCES.glob("*.sv"))


def test_without_yosys_one_line_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    ran = CliRunner().invoke(app, ["rtl", "area", "-a", "archon-tiny"])
    assert isinstance(ran.exception, InputError) and "predfuse[rtl]" in str(ran.exception)
