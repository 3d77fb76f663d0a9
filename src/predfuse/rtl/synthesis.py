"""Synthesises every component of a machine's gateware into standard cells with Yosys, once for each content.

Where OpenSTA is installed it times what became of them.
"""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from predfuse.errors import PredfuseError
from predfuse.files import write_text_atomically
from predfuse.hardware.cycle.archon.gateware import Machine
from predfuse.readers.documents import read_json
from predfuse.rtl import sta, yosys
from predfuse.rtl.build import SOURCES
from predfuse.rtl.cache import kept
from predfuse.rtl.cells import Cells
from predfuse.rtl.liberty import gates, latch_of, latches_as_flip_flops

MACRO_WORDS = 16
"""A memory of fewer words, or of more than two read ports or one write port, is registers: latches in ``_SMALL``."""
_SMALL = "small_memory.sv"
_MAP = "strash; &get -n; &fraig -x; &put; scorr; dc2; strash; &get -n; &dch -f; &nf; &put; buffer -c; topo; "
_TIME = "upsize -D {clock}; dnsize -D {clock}; stime -p"
_PREPARE = ("proc", "opt", "wreduce", "peepopt", "booth", "alumacc", "opt", "memory -nomap", "opt_clean")
_REGISTERS = (
    f"memory_map t:$mem_v2 r:SIZE<{MACRO_WORDS} %i",
    "memory_map t:$mem_v2 r:RD_PORTS>2 %i",
    "memory_map t:$mem_v2 r:WR_PORTS>1 %i",
)


@dataclass(frozen=True)
class Memory:
    """A memory left as a macro.

    Attributes:
        words: How many.
        bits: Of a word.
        reads: Read ports.
    """

    words: int
    bits: int
    reads: int = 1


@dataclass(frozen=True)
class Component:
    """One component at the sizes of a machine, without what is inside it.

    Attributes:
        name: Of its source file.
        parent: The component it is in; itself for the whole.
        count: How many the machine has.
        cells: Of the library, how many of each.
        memories: Macros.
        delay_ps: The longest path through its logic by ABC, without what a register adds (ps); 0 if it has none.
        path_ns: The longest path by OpenSTA, with what registers take of it (ns); None where that is not installed.
    """

    name: str
    parent: str
    count: int
    cells: dict[str, int]
    memories: tuple[Memory, ...]
    delay_ps: float
    path_ns: float | None = None


@dataclass(frozen=True)
class _Part:
    """A component before synthesis: its name in the netlist, whose parent it has, and how many there are."""

    module: str
    parent: str
    count: int

    @property
    def name(self) -> str:
        return plain(self.module)


def plain(module: str) -> str:
    """The name of a module in its source: Yosys puts what it knows of the parameters before or behind it."""
    return module.split("\\")[1]


def components(
    machine: Machine, cells: Cells, clock_ns: float = 5, progress: Callable[[str, int, int], None] | None = None
) -> list[Component]:
    """Every component of a machine.

    Args:
        machine: Its sizes.
        cells: What it is made of.
        clock_ns: Period cells are sized for (ns).
        progress: Called with what is done next, how many components are done and how many there are.

    Raises:
        InputError: Yosys is not installed.
        PredfuseError: It refuses the gateware.
    """
    told = progress or (lambda what, done, total: None)
    told("elaborate", 0, 0)
    return components_of("machine", elaborate(machine), cells, clock_ns, told)


def components_of(
    top: str, netlist: yosys.Netlist, cells: Cells, clock_ns: float, told: Callable[[str, int, int], None]
) -> list[Component]:
    """Every component of a design, by the arguments of :func:`components`.

    Args:
        top: The module all others are in.
        netlist: Of the design.
        cells: What it is made of.
        clock_ns: Period cells are sized for (ns).
        told: Called with what is done next, how many components are done and how many there are.

    Raises:
        InputError: Yosys is not installed.
        PredfuseError: It refuses the gateware.

    Source: docs/explanation/hardware.md.
    """
    parts, found = _parts(top, netlist), []
    for index, part in enumerate(parts):
        told(part.name, index, len(parts))
        found.append(_synthesise(part, netlist, cells, clock_ns))
    told("done", len(parts), len(parts))
    return found


def parameterised(machine: Machine) -> dict[str, str]:
    """Every source by file, those of the core and the whole with the sizes of a machine as their parameters."""
    sources = {file.name: file.read_text() for file in sorted(SOURCES.glob("*.sv"))}
    for file in {"archon.sv", "machine.sv"} & set(sources):
        sources[file] = with_parameters(sources[file], machine.parameters())
    return sources


def with_parameters(source: str, sizes: dict[str, int]) -> str:
    """A source with these defaults of its parameters. Source: docs/explanation/hardware.md."""
    for name, value in sizes.items():
        source = re.sub(rf"(parameter {name} = )\d+", rf"\g<1>{value}", source)
    return source


def elaborate(machine: Machine) -> yosys.Netlist:
    """The modules of a machine, the whole called ``\\machine``; small memories are latches where they are no macros.

    Raises:
        InputError: Yosys is not installed.
        PredfuseError: It refuses the gateware.

    Source: docs/explanation/hardware.md.
    """
    sources = parameterised(machine)
    if _SMALL in sources:
        sources[_SMALL] = with_parameters(sources[_SMALL], {"LATCHED": MACRO_WORDS})
    return elaborated("machine", sources)


def elaborated(top: str, sources: dict[str, str]) -> yosys.Netlist:
    """The modules of a design, from the cache if it was elaborated before.

    Args:
        top: The module all others are in.
        sources: By file.

    Raises:
        InputError: Yosys is not installed.
        PredfuseError: It refuses the gateware.

    Source: docs/explanation/hardware.md.
    """
    content = (f"{name}\0{text}" for name, text in sources.items())
    cached = kept("synthesis", "elaborate", yosys.version(), top, *content).with_suffix(".il")
    if not cached.exists():
        with tempfile.TemporaryDirectory() as folder:
            for name, text in sources.items():
                (Path(folder) / name).write_text(text)
            reading = f"read_verilog -sv -defer {' '.join(sources)}"
            yosys.run([reading, f"hierarchy -top {top}", "setattr -unset src", "write_rtlil all.il"], Path(folder))
            write_text_atomically(cached, (Path(folder) / "all.il").read_text())
    return yosys.Netlist(cached.read_text())


def _parts(top: str, netlist: yosys.Netlist) -> list[_Part]:
    """The components of a design."""
    counts: dict[tuple[str, str], int] = {}

    def walk(module: str, parent: str, count: int) -> None:
        counts[module, parent] = counts.get((module, parent), 0) + count
        for inner, times in netlist.instances[module].items():
            walk(inner, plain(module), count * times)

    walk(f"\\{top}", top, 1)
    return [_Part(module, parent, count) for (module, parent), count in counts.items()]


def _synthesise(part: _Part, netlist: yosys.Netlist, cells: Cells, clock_ns: float) -> Component:
    """One component, from the cache if it was synthesised before."""
    if part.name == "memory":  # nothing else
        found = re.findall(r"^  memory width (\d+) size (\d+) ", netlist.texts[part.module], re.M)
        return Component(part.name, part.parent, part.count, {}, tuple(Memory(int(n), int(b)) for b, n in found), 0.0)
    verilog = into_cells(part.module, netlist, cells, clock_ns)
    figures = read_json(verilog.with_suffix(".json"))
    memories = tuple(Memory(**one) for one in figures["memories"])
    path_ns = None
    if sta.opensta() is not None:
        timed = latches_as_flip_flops(verilog.read_text(), gates(cells.timed))
        path_ns = sta.longest_path(timed, cells.timed, clock_ns).ns
    return Component(part.name, part.parent, part.count, figures["cells"], memories, figures["delay_ps"], path_ns)


def into_cells(module: str, netlist: yosys.Netlist, cells: Cells, clock_ns: float) -> Path:
    """One module as Verilog of cells, from the cache if it was synthesised before; beside it what was found of it.

    Args:
        module: Its name in the netlist.
        netlist: All modules of its machine.
        cells: What it is made of.
        clock_ns: Period cells are sized for (ns).

    Raises:
        InputError: Yosys is not installed.
        PredfuseError: It refuses the gateware.

    Source: docs/explanation/hardware.md.
    """
    script = _MAP + _TIME.format(clock=round(clock_ns * 1000))
    own = netlist.alone(module)
    # Names of generated cells carry counters that differ from machine to machine.
    same = re.sub(r"\$\d+", "$", own)
    content = ("synthesise", yosys.version(), same, cells.text, script, *_PREPARE, *_REGISTERS)
    cached = kept("synthesis", *content).with_suffix(".json")
    verilog = cached.with_suffix(".v")
    if cached.exists() and verilog.exists():
        return verilog
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for file, text in ({"module.il": own} | _library(cells, script)).items():
            (folder / file).write_text(text)
        said = yosys.run(list(_commands(module, netlist.instances[module])), folder)
        macros = [
            {"words": _number(one, "SIZE"), "bits": _number(one, "WIDTH"), "reads": _number(one, "RD_PORTS")}
            for one in (folder / "memories.txt").read_text().split("cell $mem_v2")[1:]
        ]
        found = read_json(folder / "stat.json")["modules"][module]["num_cells_by_type"]
        delays = re.findall(r"Delay\s*=\s*([\d.]+) ps", said)
        figures: dict[str, Any] = {
            "cells": {cell: count for cell, count in found.items() if cell in cells.area},
            "memories": macros,
            "delay_ps": float(delays[-1]) if delays else 0.0,
        }
        left = [cell for cell in found if cell.startswith("$_")]
        if left:
            raise PredfuseError(f"{plain(module)}: no cell of {cells.name} for {', '.join(sorted(left))}")
        write_text_atomically(verilog, (folder / "cells.v").read_text())
    write_text_atomically(cached, json.dumps(figures))
    return verilog


def _commands(module: str, inner: Iterable[str]) -> Iterator[str]:
    """The script of a component; paths end at the memories and the components in it."""
    yield from ("read_rtlil module.il", f"hierarchy -top {module}", *_PREPARE, *_REGISTERS, "opt_clean")
    yield "dump -o memories.txt t:$mem_v2"
    yield from _mapped(inner)


def _library(cells: Cells, script: str) -> dict[str, str]:
    """Files that mapping reads."""
    latch = latch_of(gates(cells.text))
    pins = f".{latch.clock}(E), .{latch.data}(D), .{latch.output}(Q)"
    wrapped = f"module \\$_DLATCH_P_ (input E, input D, output Q); {latch.name} _TECHMAP_REPLACE_ ({pins}); endmodule\n"
    return {"cells.lib": cells.text, "latch.v": wrapped, "map.abc": script.replace("; ", "\n") + "\n"}


def _mapped(inner: Iterable[str]) -> Iterator[str]:
    """Into cells, what is not logic as ports."""
    yield from ("opt -fast", "techmap", "opt -fast", "dfflegalize -cell $_DFF_P_ x -cell $_DLATCH_P_ x", "opt -fast")
    yield from ("dfflibmap -liberty cells.lib", "techmap -map latch.v", "opt -fast")
    yield from ("abc -liberty cells.lib -script map.abc", "opt_clean")
    yield "tee -q -o stat.json stat -json"
    boxes = [f"t:*{name.rsplit(chr(92), 1)[-1]}" for name in inner]
    yield from (f"expose -evert t:$mem_v2 {' '.join(boxes)}", "delete t:$scopeinfo", "rename -top component")
    yield "write_verilog -noattr -noexpr -simple-lhs cells.v"


def _number(cell: str, parameter: str) -> int:
    """A parameter of a cell in Yosys' text form: decimal, or bits."""
    found = re.search(rf"parameter (?:signed )?\\{parameter} (\S+)", cell)
    if found is None:
        raise PredfuseError(f"a memory has no {parameter}")
    _, bits, binary = found[1].partition("'")
    return int(binary, 2) if bits else int(found[1])
