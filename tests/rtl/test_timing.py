"""Paths through several components, by hand; the netlist that is timed proven to be the gateware; the command."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from predfuse.cli import app
from predfuse.errors import InputError, PredfuseError
from predfuse.hardware.cycle.archon.gateware import Machine
from predfuse.rtl import sta, synthesis, timing, yosys
from predfuse.rtl.cells import load_cells
from predfuse.rtl.liberty import buffer_of, flip_flop_of, gates, latch_of, latches_as_flip_flops
from predfuse.rtl.linked import Linker
from predfuse.rtl.netlist import ONE, ZERO, read_unit

_TAU = 0.004
"""Of the built-in cells (ns): a unit of logical effort."""

_INNER = """\
module component(clk, d, q);
  input clk, d; output q;
  wire a;
  INV one (
    .A(d),
    .Y(a)
  );
  DFF two (
    .CK(clk),
    .D(a),
    .Q(q)
  );
endmodule
"""
_OUTER = """\
module component(clk, d, q, \\u.clk , \\u.d , \\u.q , \\v.clk , \\v.d , \\v.q );
  input clk;
  input d;
  output q;
  output \\u.clk ;
  output \\u.d ;
  input \\u.q ;
  output \\v.clk ;
  output \\v.d ;
  input \\v.q ;
  wire between;
  XOR2 gate (
    .A(\\u.q ),
    .B(d),
    .Y(between)
  );
  assign \\u.clk  = clk;
  assign \\v.clk  = clk;
  assign \\u.d  = d;
  assign \\v.d  = between;
  assign q = \\v.q ;
endmodule
"""


def _inner(text: str = _INNER) -> str:
    return text.replace("input clk, d; output q;", "input clk;\n  input d;\n  output q;")


def _need_sta() -> None:
    if sta.opensta() is None:
        pytest.skip("OpenSTA is not installed")


def _need_yosys() -> None:
    try:
        yosys.version()
    except InputError as error:
        pytest.skip(str(error))


def _timed(linker: Linker, access_ns: float = 0.5) -> tuple[float, str]:
    """The longest path between registers (ns), and the report."""
    whole = linker.made[-1]
    clock = f"n{whole.unit.net(whole.unit.ports['clk'][0])}"
    library = linker.liberty(load_cells(None).timed, access_ns)
    said = sta.report("\n".join(linker.verilog()), library, whole.name, clock, 5, linker.flip_flops())
    found = re.search(r"worst slack (-?[\d.]+)", said)
    assert found is not None
    return 5 - float(found[1]), said


def test_a_path_through_two_components_is_the_sum_by_hand() -> None:
    """Register of one, a gate of the whole, an inverter of the other, its register."""
    _need_sta()
    linker = Linker(gates(load_cells(None).timed))
    half = linker.link("half", read_unit(_inner()), [])
    linker.link("whole", read_unit(_OUTER), [("u", half), ("v", half)])
    ns, said = _timed(linker)
    # Launch 0.1; the exclusive or drives an inverter (parasitic 6, effort 1), that a flip-flop (1 and 1); set-up 0.05.
    assert ns == pytest.approx(0.1 + _TAU * (6 + 1) + _TAU * (1 + 1) + 0.05, abs=1e-4)
    path = timing._path(linker, said.split("Startpoint: ")[1], 5)
    assert path.ends_in == "half" and [step.instance for step in path.steps] == ["u", "", "v"]
    assert [step.component for step in path.steps] == ["half", "whole", "half"]
    assert [step.net for step in path.steps] == ["q", "between", "q"] and path.setup_ns == pytest.approx(0.05)


def _inverters(count: int) -> str:
    """So many behind a port."""
    cells = "".join(f"  INV i{n} (\n    .A(d),\n    .Y(y[{n}])\n  );\n" for n in range(count))
    ports = f"  input clk;\n  input d;\n  output [{count - 1}:0] y;\n"
    return f"module component(clk, d, y);\n{ports}{cells}endmodule\n"


def test_a_net_with_many_ends_gets_a_tree() -> None:
    """36 inverters behind a port: no cell drives more than a buffer may, and the path has two buffers more."""
    _need_sta()
    linker = Linker(gates(load_cells(None).timed))
    found = linker.link("many", read_unit(_inverters(36)), [])
    added = found.unit.cells[found.synthesised :]
    assert len(added) == 8 + 2 and found.loads[found.unit.net(found.unit.ports["d"][0])] == 2 * linker.buffer_load
    ends = [at for cell in found.unit.cells for pin, at in cell.pins.items() if pin == "A"]
    assert max(map(ends.count, ends)) == 5 and len(ends) == 36 + 10
    few = Linker(gates(load_cells(None).timed))
    as_it_is = few.link("few", read_unit(_inverters(10)), [])
    assert len(as_it_is.unit.cells) == as_it_is.synthesised == 10


@pytest.mark.parametrize("clocked", [False, True])
def test_a_memory_is_its_access_between_registers(clocked: bool) -> None:
    """100 bits a word: two columns, each with an address of its own; what is written is set up as in a flip-flop."""
    _need_sta()
    ports = {"RD_ADDR": 4, "RD_DATA": 100, "RD_CLK": 1, "WR_EN": 100, "WR_ADDR": 4, "WR_DATA": 100}
    lines = [f"  {'input' if one == 'RD_DATA' else 'output'} [{bits - 1}:0] \\w.{one} ;" for one, bits in ports.items()]
    text = "module component(clk, at, d, go, q);\n  input clk;\n  input [3:0] at;\n  input [99:0] d;\n  input go;\n"
    text += "  output [99:0] q;\n" + "\n".join(lines)
    text += "\n  assign \\w.RD_ADDR  = at;\n  assign q = \\w.RD_DATA ;\n  assign \\w.WR_EN  = {100{go}};\n"
    text = text.replace("{100{go}}", "{" + ", ".join(["go"] * 100) + "}")
    text += f"  assign \\w.RD_CLK  = {'clk' if clocked else 1 * chr(49) + chr(39) + 'hx'};\n"
    text += "  assign \\w.WR_ADDR  = at;\n  assign \\w.WR_DATA  = d;\nendmodule\n"
    linker = Linker(gates(load_cells(None).timed))
    found = linker.link("words", read_unit(text), [])
    kinds = [cell.kind for cell in found.unit.cells]
    assert kinds.count("ACCESS5") == 2 and kinds.count("DFF") == 100 + 2 * (1 + 4) + clocked * 2 * 4
    ns, _ = _timed(linker, 0.7)
    # From a register of what is written, or of the address, through the access and a buffer that drives nothing.
    assert ns == pytest.approx(0.1 + 0.7 + _TAU * 3, abs=1e-4)


_LATCHES = """\
module component(clk, d, q);
  input clk;
  input d;
  output q;
  wire low;
  wire open;
  wire [1:0] held;
  wire late;
  INV inverted (
    .A(clk),
    .Y(low)
  );
  LATCH \\chosen[0]  (
    .D(late),
    .G(low),
    .Q(held[0])
  );
  AND2 gate (
    .A(clk),
    .B(held[0]),
    .Y(open)
  );
  LATCH word (
    .D(d),
    .G(open),
    .Q(held[1])
  );
  INV between (
    .A(held[1]),
    .Y(late)
  );
  assign q = held[1];
endmodule
"""


def test_a_latch_is_timed_as_a_flip_flop_of_the_clock() -> None:
    """From the rising edge on through the latch of a word and an inverter, to one that is set up before that edge."""
    _need_sta()
    library = gates(load_cells(None).timed)
    text = latches_as_flip_flops(_LATCHES, library)
    assert "LATCH" not in text and text.count(".CK(clk)") == 2 and latches_as_flip_flops(text, library) == text
    linker = Linker(library)
    linker.link("words", read_unit(text), [])
    ns, _ = _timed(linker)
    assert ns == pytest.approx(0.1 + _TAU * 2 + 0.05, abs=1e-4)
    assert sta.longest_path(text, load_cells(None).timed, 5).ns == pytest.approx(ns)


_DESIGN = """\
module leaf #(parameter WIDTH = 4) (input clk, input [WIDTH-1:0] a, input [WIDTH-1:0] b, output reg [WIDTH-1:0] y,
    output [WIDTH-1:0] same, output on, output [1:0] twice);
  always @(posedge clk) y <= a + b;
  assign same = b;
  assign on = 1'b1;
  assign twice = {2{a[0] ^ b[0]}};
endmodule
module middle(input clk, input [7:0] a, input go, output [7:0] y, output [2:0] flags);
  wire [7:0] same, once;
  wire [1:0] twice;
  wire on, on2;
  leaf #(8) first(clk, a & {8{go}}, a ^ {8{on}}, once, same[7:0], on, twice);
  leaf #(8) second(clk, once, {8{go}}, y, , on2, flags[1:0]);
  assign flags[2] = on2 & twice[1];
endmodule
module machine(input clk, input [7:0] a, input go, output [15:0] y, output [5:0] flags);
  middle one(clk, a, go, y[7:0], flags[2:0]);
  middle two(clk, y[7:0], go & a[3], y[15:8], flags[5:3]);
endmodule
"""


def _machine(folder: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> Machine:
    _need_yosys()
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
    (folder / "machine.sv").write_text(text)
    monkeypatch.setattr(synthesis, "SOURCES", folder)
    return Machine()


@pytest.mark.parametrize("fault", [False, True])
def test_what_is_timed_is_the_gateware(fault: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The linked netlist, cells as their functions, is proven equal to the sources; with two nets swapped it is not."""
    netlist = synthesis.elaborate(_machine(tmp_path, monkeypatch, _DESIGN))
    linker = timing._link(netlist, load_cells(None), 5, lambda *told: None)
    whole = linker.made[-1]
    assert any(len(one.unit.cells) > one.synthesised for one in linker.made)  # there are trees
    if fault:
        child = whole.children[0]
        one, other = (child.linked.unit.net(child.linked.unit.ports["a"][n]) for n in (0, 1))
        child.nets[one], child.nets[other] = child.nets[other], child.nets[one]
    lines = ["module gate(input clk, input [7:0] a, input go, output [15:0] y, output [5:0] flags);"]
    lines += [f"wire w{at};" for at in whole.port_nets()]
    for port in whole.ports:
        nets = whole.unit.ports[port]
        for n, at in enumerate(map(whole.unit.net, nets)):
            bit, own = f"{port}[{n}]" if len(nets) > 1 else port, f"1'b{at}" if at in (ZERO, ONE) else f"w{at}"
            lines.append(f"assign {own} = {bit};" if port in whole.unit.inputs else f"assign {bit} = {own};")
    lines += [f"{whole.name} u({', '.join(f'.n{at}(w{at})' for at in whole.port_nets())});", "endmodule"]
    (tmp_path / "gate.v").write_text("\n".join((*linker.verilog(), *lines)) + "\n")
    (tmp_path / "gold.sv").write_text(_DESIGN.replace("module machine", "module gold"))
    (tmp_path / "cells.lib").write_text(load_cells(None).text)
    prove = [
        "read_liberty cells.lib",
        "read_verilog gate.v",
        "read_verilog -sv gold.sv",
        "hierarchy",
        "proc",
        "flatten",
    ]
    prove += ["miter -equiv -flatten gold gate miter", "hierarchy -top miter", "flatten", "opt -fast"]
    # Registers begin alike, at 0.
    sat = "sat -verify -set-init-zero -tempinduct -prove trigger 0 miter"
    if fault:
        with pytest.raises(PredfuseError, match="proof did fail"):
            yosys.run([*prove, sat], tmp_path)
    else:
        yosys.run([*prove, sat], tmp_path)


_MACHINE = """\
module half(input clk, input [3:0] a, input [3:0] b, output reg [3:0] y);
  always @(posedge clk) y <= a & b;
endmodule
module machine(input clk, input [3:0] a, output [3:0] z, output [7:0] word);
  wire [3:0] y, w;
  half u(clk, a, ~a, y);
  memory #(4, 32) m(clk, 1'b1, {1'b0, a}, a, {1'b1, y ^ {y[0], y[3:1]}}, w);
  half v(clk, w, y, z);
  assign word = {w, y};
endmodule
module memory #(parameter WIDTH = 1, parameter DEPTH = 1)
    (input clk, input write, input [4:0] write_at, input [WIDTH-1:0] write_data, input [4:0] read_at,
     output [WIDTH-1:0] read_data);
  reg [WIDTH-1:0] words[0:DEPTH-1];
  always @(posedge clk) if (write) words[write_at] <= write_data;
  assign read_data = words[read_at];
endmodule
"""


def test_the_command_says_which_way_the_longest_path_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the register of one component through a memory to that of another; a second run comes from the cache."""
    _need_sta()
    _machine(tmp_path, monkeypatch, _MACHINE)
    found = []
    for access in ("0.5", "4.9", "0.5"):
        path = tmp_path / "timing.json"
        ran = CliRunner().invoke(
            app, ["rtl", "timing", "-a", "archon-nano", "--access-ns", access, "--json", str(path)]
        )
        assert ran.exit_code == 0, ran.output
        found.append(json.loads(path.read_text()))
        monkeypatch.setattr("predfuse.rtl.yosys.run", None)
    longest = found[0]["paths"][0]
    assert longest["ends_in"] == "half" and longest["steps"][0]["instance"] == "u"
    assert [step["ns"] for step in longest["steps"] if step["access"]] == [0.5]
    assert longest["steps"][-1]["instance"] == "v" and 0.65 < longest["ns"] < 0.8
    assert found[1]["paths"][0]["ns"] == pytest.approx(longest["ns"] + 4.4, abs=1e-3)
    assert found[2] == found[0]
    monkeypatch.setattr("shutil.which", lambda name: None)
    ran = CliRunner().invoke(app, ["rtl", "timing", "-a", "archon-nano"])
    assert isinstance(ran.exception, PredfuseError) and "opensta" in str(ran.exception)


def test_cells_for_trees_and_memories_are_found() -> None:
    found = gates(load_cells(None).timed)
    assert buffer_of(found).name == "BUF" and flip_flop_of(found).name == "DFF"
    assert found["DFF"].clock == "CK" and found["NAND2"].inputs == {"A": 4 / 3 * 0.0016, "B": 4 / 3 * 0.0016}
    assert latch_of(found).name == "LATCH" and found["LATCH"].clock == "G" and found["LATCH"].latch
    with pytest.raises(InputError, match="has no plain latch; name"):
        latch_of({name: gate for name, gate in found.items() if name != "LATCH"})
    for lacking, what in (("BUF", "buffer"), ("DFF", "flip-flop")):
        with pytest.raises(InputError, match=what):
            Linker({name: gate for name, gate in found.items() if name != lacking})
