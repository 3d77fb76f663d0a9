"""The longest paths of a whole machine: its components in cells, linked and timed by OpenSTA."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from itertools import groupby

from predfuse.errors import PredfuseError
from predfuse.files import write_text_atomically
from predfuse.hardware.cycle.archon.gateware import Machine
from predfuse.rtl import sta, yosys
from predfuse.rtl.cache import kept
from predfuse.rtl.cells import Cells
from predfuse.rtl.liberty import gates, latches_as_flip_flops
from predfuse.rtl.linked import Linked, Linker
from predfuse.rtl.netlist import read_unit
from predfuse.rtl.synthesis import elaborate, into_cells, plain

ACCESS_NS = 0.5
"""From an address to what a memory says (ns). CACTI 7 has 0.18 to 0.44 for 32 to 2,048 words of 64 bits in 45 nm."""
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Step:
    """The part of a path that lies in one component.

    Attributes:
        instance: Which of them, from the whole; "" for the whole itself.
        component: Its source file.
        net: The last net there.
        ns: What it takes (ns).
        access: Whether it is the access of a memory.
    """

    instance: str
    component: str
    net: str
    ns: float
    access: bool


@dataclass(frozen=True)
class MachinePath:
    """The longest of the paths that end in one kind of component, from a register or an input.

    Attributes:
        ends_in: The component.
        ns: What it takes, set-up included (ns).
        setup_ns: Of it, what the register at its end asks for (ns).
        steps: Component by component.
    """

    ends_in: str
    ns: float
    setup_ns: float
    steps: tuple[Step, ...]


@dataclass(frozen=True)
class MachineTiming:
    """A whole machine.

    Attributes:
        paths: The longest first.
        cells: How many it has.
        added: Of them those that linking added: trees of buffers, and what stands for memories.
    """

    paths: tuple[MachinePath, ...]
    cells: int
    added: int


def time_machine(
    machine: Machine, cells: Cells, clock_ns: float, access_ns: float = ACCESS_NS, progress: Progress | None = None
) -> MachineTiming:
    """The longest paths of a machine through all its components; what was made before comes from the cache.

    Args:
        machine: Its sizes.
        cells: What it is made of.
        clock_ns: Period cells are sized for (ns).
        access_ns: From an address to what a memory says (ns).
        progress: Called with what is done next, how many components are done and how many there are; 0 where that
            says nothing.

    Raises:
        InputError: Yosys is not installed, or the library lacks a buffer or a flip-flop.
        PredfuseError: Yosys refuses the gateware, or OpenSTA is not installed or refuses the netlist.

    Source: docs/explanation/hardware.md (Paths).
    """
    told = progress or (lambda what, done, total: None)
    if sta.opensta() is None:
        raise PredfuseError("OpenSTA is not installed: install it (sta, package opensta of Debian)")
    told("elaborate", 0, 0)
    linker = _link(elaborate(machine), cells, clock_ns, told)
    netlist = "\n".join(linker.verilog()) + "\n"
    library = linker.liberty(cells.timed, access_ns)
    whole = linker.made[-1]
    clock = f"n{whole.unit.net(whole.unit.ports['clk'][0])}"
    groups = linker.flip_flops()
    cached = kept("timing", netlist, library, str(clock_ns), repr(groups)).with_suffix(".txt")
    if not cached.exists():
        write_text_atomically(cached, sta.report(netlist, library, whole.name, clock, clock_ns, groups))
    paths = [_path(linker, text, clock_ns) for text in cached.read_text().split("Startpoint: ")[1:]]
    return MachineTiming(tuple(sorted(paths, key=lambda path: -path.ns)), *_count(whole))


def _link(netlist: yosys.Netlist, cells: Cells, clock_ns: float, told: Progress) -> Linker:
    linker = Linker(gates(cells.timed))
    linked: dict[str, Linked | None] = {}
    total = sum(plain(module) != "memory" for module in netlist.texts)

    def link(module: str) -> Linked | None:
        if module not in linked:
            inner = [(name, link(one)) for name, one in netlist.inside(module)]
            name = plain(module)
            if name == "memory":
                linked[module] = None
            else:
                told(f"synthesise {name}", len(linker.made), total)
                verilog = into_cells(module, netlist, cells, clock_ns)
                unit = read_unit(latches_as_flip_flops(verilog.read_text(), linker.library))
                linked[module] = linker.link(name, unit, inner)
        return linked[module]

    link("\\machine")
    told(f"OpenSTA ({_count(linker.made[-1])[0]:,} cells: two minutes a million, and more)", 0, 0)
    return linker


def _path(linker: Linker, text: str, clock_ns: float) -> MachinePath:
    """One path of a report."""
    group, slack = re.search(r"Path Group: (\S+)", text), re.search(r"(-?[\d.]+) +slack", text)
    begin = re.search(r"^(\S+)", text)
    assert group is not None and slack is not None and begin is not None  # they are in every report
    cells = [
        (float(ns), float(at), linker.place(cell))
        for ns, at, cell in re.findall(r"^ +(-?[\d.]+) +(-?[\d.]+) [v^] (\S+)/\S+ \(\w+\)$", text, re.M)
    ]
    steps = []
    for _, some in groupby(cells, key=lambda one: (one[2].instance, one[2].access)):
        own = list(some)
        last = own[-1][2]
        steps.append(Step(last.instance, last.component, last.net, sum(one[0] for one in own), last.access))
    ns = clock_ns - float(slack[1])
    ends = "outputs" if group[1] == "clock" else group[1]
    return MachinePath(ends, ns, ns - (cells[-1][1] if cells else 0.0), tuple(steps))


def _count(linked: Linked) -> tuple[int, int]:
    """Cells of a component with all that is in it, and those of them that linking added."""
    counts = [(len(linked.unit.cells), len(linked.unit.cells) - linked.synthesised)]
    counts += [_count(child.linked) for child in linked.children]
    return sum(one[0] for one in counts), sum(one[1] for one in counts)
