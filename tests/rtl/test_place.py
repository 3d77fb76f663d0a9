"""A design small enough to count by hand, placed and routed; messages where that cannot be."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from predfuse.cli import app
from predfuse.errors import InputError, PredfuseError
from predfuse.hardware.cycle.archon.gateware import Machine, Record, together
from predfuse.hardware.spec import ArchonSpec, load_spec
from predfuse.rtl import cache, place, synthesis, yosys
from predfuse.rtl.sizes import with_sizes

_SUM = """\
module archon #(parameter DEPTH = 8) (input clk, input write, input [4:0] at, input [7:0] a, output reg [7:0] y);
  reg [7:0] words[0:DEPTH-1];
  always @(posedge clk) begin
    if (write) words[at] <= a;
    y <= words[at] + y;
  end
endmodule
"""
_PINS = """\
module pins #(parameter DATA = 1, parameter COLUMNS = 1)
    (input clk, input write, input [4:0] at, input [7:0] a, output [8*COLUMNS-1:0] y);
  archon u(clk, write, at, a, y);
endmodule
"""


@dataclass(frozen=True)
class _Sizes:
    data: int = 8
    tile_columns: int = 1
    depth: int = 16

    def parameters(self) -> dict[str, int]:
        return {"DEPTH": self.depth}


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The design above stands for the gateware, of whatever machine."""
    try:
        yosys.version(), place.nextpnr()
    except InputError as error:
        pytest.skip(str(error))
    monkeypatch.setattr(cache, "user_cache", lambda: tmp_path / "cache")
    (tmp_path / "archon.sv").write_text(_SUM)
    (tmp_path / "pins").write_text(_PINS)
    monkeypatch.setattr(synthesis, "SOURCES", tmp_path)
    monkeypatch.setattr(place, "PINS", tmp_path / "pins")
    monkeypatch.setattr(place, "commands", lambda machine: {"item": Record(0, ())})
    monkeypatch.setattr(Machine, "of", staticmethod(lambda spec: _Sizes()))
    monkeypatch.setattr("predfuse.cli.rtl.with_sizes", lambda sizes, told: replace(sizes, depth=int(*told)))


def test_resources_are_those_of_the_design(small: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "placed.json"
    told = ["rtl", "place", "--words", "32", "--fpga", "12k", "--json", str(path)]
    ran = CliRunner().invoke(app, told)
    assert ran.exit_code == 0, ran.output
    found = json.loads(path.read_text())
    used = {one["name"]: one["used"] for one in found["resources"]}
    # 32 words of 8 bits are four memories of 16 words of 4 bits; two choose among them, two are added.
    assert used["flip-flops"] == 8 and used["slices of distributed RAM"] == 4 and used["pins"] == 23
    assert 16 + 8 <= used["LUTs"] <= 48 and used["block RAMs"] == used["multipliers"] == 0
    # The longest path goes from the lowest bit to the highest.
    assert found["megahertz"] == pytest.approx(1e3 / (found["logic_ns"] + found["routing_ns"]), rel=1e-2)
    assert 50 < found["megahertz"] < 1000 and found["path"]
    assert f"{found['megahertz']:.1f} MHz" in ran.output
    # The second time nothing is placed.
    monkeypatch.setattr("subprocess.run", None)
    assert CliRunner().invoke(app, told).exit_code == 0


def test_what_does_not_fit_is_told(small: None, tmp_path: Path) -> None:
    (tmp_path / "archon.sv").write_text(_SUM.replace("DEPTH = 8", "WIDE = 8").replace("DEPTH-1", "31"))
    (tmp_path / "pins").write_text(_PINS.replace("8*COLUMNS-1", "4095").replace("a, y);\nend", "a, y[7:0]);\nend"))
    with pytest.raises(PredfuseError, match="cannot place the gateware on an ECP5-12k"):
        place.place(_Sizes(), "12k")  # type: ignore[arg-type]


def test_sizes_are_those_told() -> None:
    spec = load_spec("archon-nano")
    assert isinstance(spec, ArchonSpec)
    machine = Machine.of(spec)
    assert with_sizes(machine, ()) == machine
    assert with_sizes(machine, ("slots=16", "codes=256")) == replace(machine, slots=16, codes=256)
    # Words of as many records as the memory is whole words of.
    assert (together(machine)["pass"], together(with_sizes(machine, ("passes=66",)))["pass"]) == (16, 2)


@pytest.mark.parametrize("told", ["slots", "lanes=2", "slots=1", "slots=-4", "slots=65537", "=8"])
def test_what_is_no_size_is_refused(told: str) -> None:
    ran = CliRunner().invoke(app, ["rtl", "place", "--words", told])
    assert isinstance(ran.exception, InputError) and "slots, channels, parts" in str(ran.exception)


def test_without_nextpnr_one_line_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.setattr("shutil.which", lambda name: None)
    ran = CliRunner().invoke(app, ["rtl", "place"])
    assert isinstance(ran.exception, InputError) and "predfuse[rtl]" in str(ran.exception)
