"""Components in cells linked to their machine, for a timing analyser: what Yosys left out of each is put back.

A net with many ends gets a tree of buffers, within each component by itself; a memory becomes flip-flops for what is
written into it, a cell for its access and a buffer for every bit that is read.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from predfuse.rtl.liberty import Gate, buffer_of, flip_flop_of
from predfuse.rtl.netlist import ONE, ZERO, Cell, Unit

ENDS_OF_A_BUFFER = 5.001
"""Inputs like its own that a buffer of a tree drives: with a buffer's own delay, four to six cost the least."""
MOST_ENDS = 10.001
"""Of a net without a tree. Both are a little more than 5 and 10, for sums of capacitances are rounded."""
COLUMN_BITS = 64
"""Of a memory's word that one access cell stands for; wider memories have several, side by side."""
MOST_ADDRESS_BITS = 32
_READ_PORTS = ("RD_ADDR", "RD_DATA", "RD_CLK", "WR_EN", "WR_ADDR", "WR_DATA")
_MEMORY_PORTS = ("read_at", "read_data", "read_clk", "write", "write_at", "write_data")


@dataclass(frozen=True)
class Child:
    """A component in another.

    Attributes:
        name: What the other calls it.
        linked: What it is.
        nets: The other's net for every port net of it.
    """

    name: str
    linked: Linked
    nets: dict[int, int]


@dataclass(frozen=True)
class Place:
    """Where something is in a machine.

    Attributes:
        instance: What it is in, from the whole; "" for the whole itself.
        component: Its source file.
        net: What is driven there.
        access: Whether it is the access of a memory.
    """

    instance: str
    component: str
    net: str
    access: bool


@dataclass
class _End:
    """Of a net: what it loads it with, and where the net is written."""

    load: float
    places: dict[Any, int]
    place: Any


@dataclass
class Linked:
    """A component with what is in it.

    Attributes:
        name: Of its module in the netlist for timing.
        component: Of its source file.
        unit: Its cells, buffers and those of memories included.
        synthesised: How many cells it had without these.
        children: What is in it.
        ports: Names of its own ports.
        loads: What every input loads a net of the outside with (capacitance).
        clocks: Inputs that are clocks.
    """

    name: str
    component: str
    unit: Unit
    synthesised: int
    children: list[Child] = field(default_factory=list)
    ports: list[str] = field(default_factory=list)
    loads: dict[int, float] = field(default_factory=dict)
    clocks: set[int] = field(default_factory=set)

    def port_nets(self) -> dict[int, bool]:
        """Nets at its ports, each once, and whether it is an input; without constants."""
        found: dict[int, bool] = {}
        for port in self.ports:
            for at in map(self.unit.net, self.unit.ports[port]):
                if at not in (ZERO, ONE):
                    found[at] = found.get(at, False) or port in self.unit.inputs
        return found


class Linker:
    """Links components, those in a component before it.

    Args:
        library: Cells by name.
    """

    def __init__(self, library: dict[str, Gate]) -> None:
        self.library = library
        self.buffer, self.flip_flop = buffer_of(library), flip_flop_of(library)
        ((self.buffer_in, self.buffer_load),) = self.buffer.inputs.items()
        self.buffer_out = self.buffer.output
        most = {f"A{n}": self.buffer_load for n in range(MOST_ADDRESS_BITS)}
        self.access = Gate("access", inputs=most, outputs={"Y": ""})
        self.accesses: set[int] = set()
        self.made: list[Linked] = []

    def link(self, component: str, unit: Unit, inner: Iterable[tuple[str, Linked | None]]) -> Linked:
        """A component.

        Args:
            component: Its name.
            unit: Its cells, with the ports of what is in it.
            inner: Names of what is in it; None is a memory by itself (``memory.sv``).

        Source: docs/explanation/hardware.md (Paths).
        """
        found = Linked(f"m{len(self.made)}", component, unit, len(unit.cells))
        told = list(inner)
        named = tuple(f"{name}." for name, _ in told)
        memories = [name[: -len(".RD_ADDR")] for name in unit.ports if name.endswith(".RD_ADDR")]
        memories = [name for name in memories if not f"{name}.".startswith(named)]
        named += tuple(f"{name}." for name in memories)
        found.ports = [port for port in unit.ports if not port.startswith(named)]
        for name, linked in told:
            if linked is not None:
                found.children.append(self._child(unit, name, linked))
        access_nets: set[int] = set()
        for name, ports in (
            *((name, _READ_PORTS) for name in memories),
            *((name, _MEMORY_PORTS) for name, linked in told if linked is None),
        ):
            access_nets |= self._memory(unit, *(unit.ports.get(f"{name}.{port}", []) for port in ports))
        self._distribute(found, access_nets)
        self.made.append(found)
        return found

    def _child(self, unit: Unit, name: str, linked: Linked) -> Child:
        nets: dict[int, int] = {}
        for port in linked.ports:
            outside = unit.ports.get(f"{name}.{port}")
            for inside, at in zip(linked.unit.ports[port], outside or (), strict=False):
                own = linked.unit.net(inside)
                if own in (ZERO, ONE):
                    unit.join(at, own)
                else:
                    unit.join(nets.setdefault(own, at), at)
        return Child(name, linked, nets)

    def _memory(
        self,
        unit: Unit,
        read_at: list[int],
        read_data: list[int],
        read_clock: list[int],
        write: list[int],
        write_at: list[int],
        write_data: list[int],
    ) -> set[int]:
        """Cells of a memory; the nets between an access and its bits."""
        width, address, between = len(write_data), len(write_at), set()
        for low in range(0, width, COLUMN_BITS):
            high = min(width, low + COLUMN_BITS)
            enables = {unit.net(at) for at in (write[low:high] if len(write) == width else write)}
            held = [self._registered(unit, at) for at in (*enables, *write_at, *write_data[low:high])]
            for port in range(len(read_data) // width):
                inputs = read_at[port * address : (port + 1) * address]
                if port < len(read_clock) and unit.net(read_clock[port]) not in (ZERO, ONE):
                    inputs = [self._registered(unit, at) for at in inputs]
                between.add(ready := unit.new("access"))
                self.accesses.add(len(inputs) + 1)
                pins = {f"A{n}": at for n, at in enumerate((*inputs, held[0]))}
                unit.cells.append(Cell(f"ACCESS{len(inputs) + 1}", {**pins, "Y": ready}))
                for at in read_data[port * width + low : port * width + high]:
                    unit.cells.append(Cell(self.buffer.name, {self.buffer_in: ready, self.buffer_out: at}))
        return between

    def _registered(self, unit: Unit, at: int) -> int:
        """What a flip-flop makes of a net."""
        out = unit.new("memory")
        clock = unit.ports["clk"][0]
        pins = {self.flip_flop.data: at, self.flip_flop.clock: clock, self.flip_flop.output: out}
        unit.cells.append(Cell(self.flip_flop.name, pins))
        return out

    def _distribute(self, linked: Linked, as_they_are: set[int]) -> None:
        """Trees of buffers on nets with many ends."""
        unit = linked.unit
        ends: dict[int, list[_End]] = {}
        for cell in unit.cells:
            gate = self.library.get(cell.kind, self.access)
            for pin, at in cell.pins.items():
                at = cell.pins[pin] = unit.net(at)
                if pin == gate.clock:
                    linked.clocks.add(at)
                if pin in gate.inputs:
                    ends.setdefault(at, []).append(_End(gate.inputs[pin], cell.pins, pin))
        for child in linked.children:
            for own, at in child.nets.items():
                at = child.nets[own] = unit.net(at)
                if own in child.linked.clocks:
                    linked.clocks.add(at)
                if own in child.linked.loads:
                    ends.setdefault(at, []).append(_End(child.linked.loads[own], child.nets, own))
        ports = linked.port_nets()
        still = {unit.net(at) for at in as_they_are} | linked.clocks | {ZERO, ONE}
        for at, own_ends in list(ends.items()):
            outside = 0.0 if ports.get(at, True) else self.buffer_load
            if at not in still and outside + sum(end.load for end in own_ends) > MOST_ENDS * self.buffer_load:
                ends[at] = self._tree(unit, at, own_ends, ENDS_OF_A_BUFFER * self.buffer_load - outside)
        for at, inside in ports.items():
            if inside:
                linked.loads[at] = sum(end.load for end in ends.get(at, ()))

    def _tree(self, unit: Unit, at: int, ends: list[_End], most: float) -> list[_End]:
        """Buffers between a net and its ends; what is left of these for the net itself."""
        while sum(end.load for end in ends) > most and len(ends) > 1:
            groups: list[list[_End]] = []
            room = 0.0
            for end in ends:
                if not groups or end.load > room:
                    groups.append([])
                    room = ENDS_OF_A_BUFFER * self.buffer_load
                groups[-1].append(end)
                room -= end.load
            ends = []
            for group in groups:
                out = unit.new(f"{unit.names[at]}, buffered")
                for end in group:
                    end.places[end.place] = out
                cell = Cell(self.buffer.name, {self.buffer_in: at, self.buffer_out: out})
                unit.cells.append(cell)
                ends.append(_End(self.buffer_load, cell.pins, self.buffer_in))
        return ends

    def verilog(self) -> Iterator[str]:
        """Lines of all modules, what is in a module before it.

        Ports and nets are ``n`` and a number, cells ``c``, flip-flops ``f`` and components ``u``.

        Source: docs/explanation/hardware.md (Paths).
        """
        for linked in self.made:
            ports = linked.port_nets()
            yield f"module {linked.name}({','.join(f'n{at}' for at in ports)});"
            yield from (f"{'input' if inside else 'output'} n{at};" for at, inside in ports.items())
            for number, cell in enumerate(linked.unit.cells):
                kind = "f" if self.library.get(cell.kind, self.access).clock else "c"
                yield f"{cell.kind} {kind}{number}({_connected(cell.pins)});"
            for number, child in enumerate(linked.children):
                pins = {f"n{own}": at for own, at in child.nets.items()}
                yield f"{child.linked.name} u{number}({_connected(pins)});"
            yield "endmodule"

    def liberty(self, text: str, access_ns: float) -> str:
        """A library with the cells that stand for an access: from every input in the same time, whatever is driven.

        Args:
            text: The library's.
            access_ns: How long (ns).

        Source: docs/explanation/hardware.md (Paths).
        """
        unit = re.search(r'\btime_unit\s*:\s*"1([pn])s"', text)
        time = access_ns * (1000 if unit is not None and unit[1] == "p" else 1)
        cells = []
        for count in sorted(self.accesses):
            pins = [f"A{n}" for n in range(count)]
            load = f"direction : input; capacitance : {self.buffer_load};"
            inputs = "".join(f"pin ({pin}) {{ {load} }}\n" for pin in pins)
            delays = "".join(f'{name} (scalar) {{ values ("{time}"); }} ' for name in ("cell_rise", "cell_fall"))
            slopes = "".join(f'{name}_transition (scalar) {{ values ("{time / 10}"); }} ' for name in ("rise", "fall"))
            arcs = "".join(
                f'timing () {{ related_pin : "{pin}"; timing_sense : non_unate; {delays}{slopes}}}\n' for pin in pins
            )
            cells.append(f"cell (ACCESS{count}) {{ area : 0;\n{inputs}pin (Y) {{ direction : output;\n{arcs}}} }}\n")
        return text[: text.rindex("}")] + "".join(cells) + "}\n"

    def place(self, told: str) -> Place:
        """Where a cell is that a timing analyser names, or a port of the whole.

        Args:
            told: As ``verilog`` calls it, behind the components it is in.

        Source: docs/explanation/hardware.md (Paths).
        """
        linked, names = self.made[-1], list[str]()
        *inside, last = told.split("/")
        for one in inside:
            child = linked.children[int(one[1:])]
            linked = child.linked
            names.append(child.name)
        where = ".".join(names), linked.component
        if last[0] == "n":
            return Place(*where, linked.unit.called(int(last[1:])), False)
        cell = linked.unit.cells[int(last[1:])]
        gate = self.library.get(cell.kind, self.access)
        driven = next((at for pin, at in cell.pins.items() if pin in gate.outputs), ZERO)
        return Place(*where, linked.unit.called(driven), gate is self.access)

    def flip_flops(self) -> dict[str, list[str]]:
        """Patterns of the flip-flops of every component, by its name, as a timing analyser finds them.

        Source: docs/explanation/hardware.md (Paths).
        """
        found: dict[str, list[str]] = {}

        def walk(linked: Linked, place: str) -> None:
            found.setdefault(linked.component, []).append(f"{place}f*")
            for number, child in enumerate(linked.children):
                walk(child.linked, f"{place}u{number}/")

        walk(self.made[-1], "")
        return found


def _connected(pins: dict[str, int]) -> str:
    return ",".join(f".{pin}({_name(at)})" for pin, at in pins.items())


def _name(at: int) -> str:
    return f"1'b{at}" if at in (ZERO, ONE) else f"n{at}"
