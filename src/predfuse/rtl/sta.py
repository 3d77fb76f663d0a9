"""OpenSTA on a synthesised component, or on all of them in one: the longest path, with what registers take of it."""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from predfuse.errors import PredfuseError

_SCRIPT = """\
read_liberty cells.lib
read_verilog component.v
link_design component
if {{[llength [get_ports -quiet clk]]}} {{
  create_clock -name clock -period {clock_ns} [get_ports clk]
}} else {{
  create_clock -name clock -period {clock_ns}
}}
set_input_delay 0 -clock clock [all_inputs]
set_output_delay 0 -clock clock [all_outputs]
set_false_path -from [get_ports -quiet clk]
report_worst_slack -digits 4
report_checks -path_delay max
exit
"""


@dataclass(frozen=True)
class Timed:
    """The longest path of a netlist: from a register or an input to a register or an output, in an ideal clock.

    Attributes:
        ns: What it takes (ns).
        begin: The net of the register, or the port, it begins at.
        end: That at which it ends.
    """

    ns: float
    begin: str
    end: str


def opensta() -> str | None:
    """The program (``sta``; package opensta of Debian), if it is installed."""
    return shutil.which("sta")


def longest_path(netlist: str, liberty: str, clock_ns: float) -> Timed:
    """The longest path of a netlist.

    Args:
        netlist: Verilog of cells, module ``component``, its clock called ``clk``.
        liberty: Text of their library.
        clock_ns: Period cells were sized for (ns).

    Raises:
        PredfuseError: OpenSTA is not installed, or refuses the netlist.

    Source: docs/explanation/hardware.md.
    """
    program = opensta()
    if program is None:
        raise PredfuseError("OpenSTA is not installed")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        # It knows no signs, which a netlist does not need.
        (folder / "component.v").write_text(re.sub(r"^(\s*\w+) signed\b", r"\1", netlist, flags=re.M))
        (folder / "cells.lib").write_text(liberty)
        (folder / "time.tcl").write_text(_SCRIPT.format(clock_ns=clock_ns))
        command = [program, "-no_splash", "-no_init", "-exit", "time.tcl"]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)
    found = re.search(r"worst slack (-?[\d.]+)", done.stdout)
    if found is None:
        said = [line for line in (done.stdout + done.stderr).splitlines() if "rror" in line]
        raise PredfuseError(f"OpenSTA fails: {said[-1] if said else (done.stdout + done.stderr).strip()[-500:]}")
    begin, end = (
        _net(netlist, match[1]) if (match := re.search(rf"^{what}: (\S+)", done.stdout, re.M)) else "nothing"
        for what in ("Startpoint", "Endpoint")
    )
    return Timed(clock_ns - float(found[1]), begin, end)


def _net(netlist: str, place: str) -> str:
    """What a register of a netlist holds; of a port, its name."""
    found = re.search(rf"^\s*\S+ {re.escape(place)} \([^;]*\.Q\(([^)]+)\)", netlist, re.M)
    return found[1].strip().lstrip("\\") if found else place
