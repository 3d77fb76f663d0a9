"""Yosys from the Python package pyosys: scripts run in a process of their own, modules read from its text form."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import re
import subprocess
import sys
from pathlib import Path

from predfuse.errors import InputError, PredfuseError

_RUNNER = """\
import sys
from pyosys import libyosys
design = libyosys.Design()
for line in sys.stdin:
    libyosys.run_pass(line.strip(), design)
sys.stdout.flush()
"""


def version() -> str:
    """Which Yosys is installed.

    Raises:
        InputError: None is; the message says how to get it.
    """
    if importlib.util.find_spec("pyosys") is None:
        raise InputError("rtl", "Yosys is not installed (package pyosys)", "install it: pip install 'predfuse[rtl]'")
    return importlib.metadata.version("pyosys")


def run(commands: list[str], folder: Path) -> str:
    """Run commands of Yosys; what it printed.

    Args:
        commands: One a line of a script.
        folder: Where they run: relative names of files are in it.

    Raises:
        InputError: Yosys is not installed.
        PredfuseError: A command failed.
    """
    version()
    done = subprocess.run(
        [sys.executable, "-c", _RUNNER],
        input="\n".join(commands),
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
    )
    if done.returncode:
        said = [line for line in (done.stdout + done.stderr).splitlines() if "ERROR" in line]
        raise PredfuseError(f"Yosys fails: {said[-1] if said else (done.stdout + done.stderr).strip()[-500:]}")
    return done.stdout


class Netlist:
    """Modules of a design as Yosys writes them, by name.

    Attributes:
        texts: Text of a module.
        instances: How often a module has each other module in it.
    """

    def __init__(self, text: str) -> None:
        self.texts: dict[str, str] = {}
        lines: list[str] = []
        for line in text.splitlines():
            lines.append(line)
            if line == "end":
                name = next(one.split()[1] for one in lines if one.startswith("module "))
                self.texts[name] = "\n".join(one for one in lines if not one.startswith(("#", "autoidx"))) + "\n"
                lines = []
        self.instances: dict[str, dict[str, int]] = {}
        for name, body in self.texts.items():
            found: dict[str, int] = {}
            for cell in re.findall(r"^  cell (\S+) ", body, re.M):
                if cell in self.texts:
                    found[cell] = found.get(cell, 0) + 1
            self.instances[name] = found

    def inside(self, name: str) -> list[tuple[str, str]]:
        """What a module calls each module in it, and which it is."""
        cells = re.findall(r"^  cell (\S+) \\?(\S+)$", self.texts[name], re.M)
        return [(own, module) for module, own in cells if module in self.texts]

    def alone(self, name: str) -> str:
        """A module with what is inside it as black boxes."""
        return self.texts[name] + "".join(self.box(inner) for inner in self.instances[name])

    def box(self, name: str) -> str:
        """The ports of a module."""
        ports = re.findall(r"^  wire .*(?:input|output) \d+ (?:signed )?\S+$", self.texts[name], re.M)
        return "\n".join(["attribute \\blackbox 1", f"module {name}", *ports, "end"]) + "\n"
