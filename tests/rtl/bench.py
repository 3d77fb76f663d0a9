"""Components of the gateware in one library: Verilator through ctypes, built once and cached by content."""

from __future__ import annotations

import ctypes
import hashlib
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from predfuse.rtl.build import SOURCES, VERILATOR_OPTIONS, Tools
from predfuse.rtl.cache import built_once, cache_folder


@dataclass(frozen=True)
class Component:
    """A module with its sizes.

    Attributes:
        module: Its name.
        sizes: Its parameters.
        inputs: Bits of every input but ``clk``.
        outputs: Bits of every output.
        clocked: Whether it has a ``clk``.
    """

    module: str
    sizes: Mapping[str, int]
    inputs: Mapping[str, int]
    outputs: Mapping[str, int]
    clocked: bool = True

    @property
    def ports(self) -> dict[str, int]:
        return {**self.inputs, **self.outputs}


def _top(components: Sequence[Component]) -> str:
    """A module that has every component once, and every port of theirs as its own."""
    ports, parts = ["/* verilator lint_off UNUSED */ input clk /* verilator lint_on UNUSED */"], []
    for one in components:
        for direction, names in (("input", one.inputs), ("output", one.outputs)):
            ports += [f"{direction} [{bits - 1}:0] {one.module}_{name}" for name, bits in names.items()]
        sizes = ", ".join(f".{name}({value})" for name, value in one.sizes.items())
        wires = [".clk(clk)"] * one.clocked + [f".{name}({one.module}_{name})" for name in one.ports]
        parts.append(f"  {one.module} #({sizes}) u_{one.module} ({', '.join(wires)});")
    return "module components (\n  " + ",\n  ".join(ports) + "\n);\n" + "\n".join(parts) + "\nendmodule\n"


def _shim(components: Sequence[Component]) -> str:
    """C functions: make one, where a port lies, an edge of the clock, a cycle, and what follows from inputs alone."""
    names = [f"{one.module}_{name}" for one in components for name in one.ports]
    cases = "\n".join(f"    case {index}: return &top->{name};" for index, name in enumerate(names))
    return f"""#include "Vcomponents.h"
double sc_time_stamp() {{ return 0; }}
extern "C" {{
Vcomponents* make() {{ return new Vcomponents; }}
void settle(Vcomponents* top) {{ top->eval(); }}
void edge(Vcomponents* top, int clock) {{ top->clk = clock; top->eval(); }}
void step(Vcomponents* top) {{ edge(top, 1); edge(top, 0); }}
void* port(Vcomponents* top, int index) {{
  switch (index) {{
{cases}
  }}
  return nullptr;
}}
}}
"""


def build_library(components: Sequence[Component], tools: Tools, folder: Path = SOURCES) -> Path:
    """The shared library, from the cache if it is there, of the sources in a folder."""
    sources, top, shim = sorted(folder.glob("*.sv")), _top(components), _shim(components)
    digest = hashlib.sha256("\0".join((top, shim, *VERILATOR_OPTIONS, str(tools.verilator))).encode())
    for source in sources:
        digest.update(source.read_bytes())
    library = cache_folder() / f"components-{digest.hexdigest()[:24]}.so"

    def make(made: Path) -> Path:
        (made / "components.sv").write_text(top)
        (made / "shim.cpp").write_text(shim)
        told = ["--top-module", "components", "--cc", "--Mdir", str(made), str(made / "components.sv")]
        used = [str(path) for path in sources if path.stem not in ("banks", "lists", "archon", "machine")]
        tools.verilate([*told, *used])
        include = tools.root / "include"
        units = [*made.glob("Vcomponents*.cpp"), made / "shim.cpp", include / "verilated.cpp"]
        units.append(include / "verilated_threads.cpp")
        (made / "all.cc").write_text("".join(f'#include "{unit}"\n' for unit in units))
        flags = ["-O0", "-std=c++17", "-w", "-pthread", "-fPIC", "-shared", "-DVERILATOR=1", "-DVM_TRACE=0"]
        flags += ["-DVM_COVERAGE=0", "-DVM_SC=0", "-DVM_TIMING=0", f"-I{made}", f"-I{include}"]
        subprocess.run([str(tools.compiler), *flags, str(made / "all.cc"), "-o", str(made / "made.so")], check=True)
        return made / "made.so"

    return built_once(library, make)


class Bench:
    """All components; ports of one are written and read as integers.

    Args:
        components: In the library.
        library: Built of them.
    """

    def __init__(self, components: Sequence[Component], library: Path) -> None:
        self._library = ctypes.CDLL(str(library))
        self._library.make.restype = self._library.port.restype = ctypes.c_void_p
        self._top = ctypes.c_void_p(self._library.make())
        self._at: dict[tuple[str, str], tuple[int, int]] = {}
        ports = [(one.module, name, bits) for one in components for name, bits in one.ports.items()]
        for index, (module, name, bits) in enumerate(ports):
            self._at[module, name] = self._library.port(self._top, index), bits

    def put(self, module: str, values: Mapping[str, int]) -> None:
        """Give inputs their values and let the outputs follow."""
        for name, value in values.items():
            at, bits = self._at[module, name]
            ctypes.memmove(at, (value & ((1 << bits) - 1)).to_bytes(_stored(bits), "little"), _stored(bits))
        self._library.settle(self._top)

    def get(self, module: str, name: str) -> int:
        at, bits = self._at[module, name]
        return int.from_bytes(ctypes.string_at(at, _stored(bits)), "little")

    def step(self) -> None:
        """A cycle: what comes with its rising edge, and its falling one."""
        self._library.step(self._top)

    def edge(self, clock: int) -> None:
        """One edge of the clock, rising (1) or falling (0)."""
        self._library.edge(self._top, clock)


def _stored(bits: int) -> int:
    """Bytes that Verilator keeps a port in."""
    return next((size for size in (1, 2, 4, 8) if bits <= 8 * size), 4 * -(-bits // 32))
