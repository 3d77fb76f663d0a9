"""OpenSTA on a synthesised component, or on all of them in one: the longest path, with what registers take of it."""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from predfuse.errors import PredfuseError

_SCRIPT = """\
read_liberty cells.lib
read_verilog netlist.v
link_design {top}
if {{[llength [get_ports -quiet {clock}]]}} {{
  create_clock -name clock -period {clock_ns} [get_ports {clock}]
}} else {{
  create_clock -name clock -period {clock_ns}
}}
set_input_delay 0 -clock clock [all_inputs]
set_output_delay 0 -clock clock [all_outputs]
set_false_path -from [get_ports -quiet {clock}]
{groups}
report_worst_slack -digits 4
report_checks -path_delay max -digits 4
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
    # It knows no signs, which a netlist does not need.
    plain = re.sub(r"^(\s*\w+) signed\b", r"\1", netlist, flags=re.M)
    said = report(plain, liberty, "component", "clk", clock_ns)
    begin, end = (
        _net(netlist, match[1]) if (match := re.search(rf"^{what}: (\S+)", said, re.M)) else "nothing"
        for what in ("Startpoint", "Endpoint")
    )
    found = re.search(r"worst slack (-?[\d.]+)", said)
    assert found is not None  # it is in every report
    return Timed(clock_ns - float(found[1]), begin, end)


def report(
    netlist: str, liberty: str, top: str, clock: str, clock_ns: float, groups: Mapping[str, Iterable[str]] | None = None
) -> str:
    """What OpenSTA says of a netlist: the worst slack, and the longest path of every group.

    Args:
        netlist: Verilog of cells, without signs.
        liberty: Text of their library.
        top: The module.
        clock: Its port that is the clock, ideal; if it has none, times are those from its inputs to its outputs.
        clock_ns: Its period (ns).
        groups: Patterns of the cells at which the paths of each group end; the others are a group of their own.

    Raises:
        PredfuseError: OpenSTA is not installed, or refuses the netlist.

    Source: docs/explanation/hardware.md (Paths).
    """
    program = opensta()
    if program is None:
        raise PredfuseError("OpenSTA (sta, package opensta of Debian) is not installed")
    lines = []
    for name, patterns in (groups or {}).items():
        cells = " ".join(f"[get_cells -quiet {{{pattern}}}]" for pattern in patterns)
        lines += [f"set ends [concat {cells}]", f"if {{[llength $ends]}} {{ group_path -name {name} -to $ends }}"]
    script = _SCRIPT.format(top=top, clock=clock, clock_ns=clock_ns, groups="\n".join(lines))
    with tempfile.TemporaryDirectory() as where:
        folder = Path(where)
        for file, text in {"netlist.v": netlist, "cells.lib": liberty, "time.tcl": script}.items():
            (folder / file).write_text(text)
        command = [program, "-no_splash", "-no_init", "-exit", "time.tcl"]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)
    if "worst slack" not in done.stdout:
        said = [line for line in (done.stdout + done.stderr).splitlines() if "rror" in line]
        raise PredfuseError(f"OpenSTA fails: {said[-1] if said else (done.stdout + done.stderr).strip()[-500:]}")
    return done.stdout


def _net(netlist: str, place: str) -> str:
    """What a register of a netlist holds; of a port, its name."""
    found = re.search(rf"^\s*\S+ {re.escape(place)} \([^;]*\.Q\(([^)]+)\)", netlist, re.M)
    return found[1].strip().lstrip("\\") if found else place
