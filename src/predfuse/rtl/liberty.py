"""What synthesis and timing need of a library of standard cells: pins, what they load a net with, and which cells are
plain buffers, flip-flops and latches."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache

from predfuse.errors import InputError

_TOKEN = re.compile(r'(\w+)\s*\(([^(){}]*)\)\s*\{|(\w+)\s*:\s*("[^"]*"|[^;{}"]+);|\}')


@dataclass
class Gate:
    """A cell.

    Attributes:
        name: Of the library.
        area: In units of the library.
        inputs: Capacitance of every input pin (units of the library).
        outputs: What every output pin is, as Liberty writes it.
        clock: The clock pin of a flip-flop, or what opens a latch; "" of other cells.
        data: What a flip-flop takes with the clock, a latch while it is open.
        clears: Whether it can be cleared or set beside its clock.
        latch: Whether it is a latch.
    """

    name: str
    area: float = 0.0
    inputs: dict[str, float] = field(default_factory=dict)
    outputs: dict[str, str] = field(default_factory=dict)
    clock: str = ""
    data: str = ""
    clears: bool = False
    latch: bool = False

    @property
    def output(self) -> str:
        """The pin that says what a register holds, or a buffer passes."""
        return next(pin for pin, what in self.outputs.items() if what)


@cache
def gates(text: str) -> dict[str, Gate]:
    """Every cell of a Liberty file, by name.

    Source: docs/explanation/hardware.md (Paths).
    """
    found: dict[str, Gate] = {}
    stack: list[tuple[str, str]] = []
    gate, pin = Gate(""), {"direction": ""}
    for token in _TOKEN.finditer(re.sub(r"/\*.*?\*/", "", text, flags=re.S)):
        group, told, name, value = token.groups()
        if group is not None:
            stack.append((group, told.strip(' "')))
            if group == "cell":
                gate = found[stack[-1][1]] = Gate(stack[-1][1])
            elif group == "pin":
                pin = {}
        elif name is not None:
            where, value = stack[-1][0] if stack else "", value.strip(' "')
            if where == "pin":
                pin[name] = value
            elif where == "cell" and name == "area":
                gate.area = float(value)
            elif where in ("ff", "latch"):
                gate.latch = where == "latch"
                gate.clock = value if name in ("clocked_on", "enable") else gate.clock
                gate.data = value if name in ("next_state", "data_in") else gate.data
                gate.clears |= name in ("clear", "preset")
        elif stack:
            group, told = stack.pop()
            if group == "pin" and pin.get("direction") == "input":
                gate.inputs[told] = float(pin.get("capacitance", 0))
            elif group == "pin" and pin.get("direction") == "output":
                gate.outputs[told] = pin.get("function", "")
    return found


def buffer_of(library: dict[str, Gate]) -> Gate:
    """The buffer that nets are distributed by: of those at most half as large again as the smallest, the strongest.

    Raises:
        InputError: The library has none.

    Source: docs/explanation/hardware.md (Paths).
    """
    found = _some(
        library,
        lambda gate: len(gate.inputs) == 1 and list(gate.outputs.values()) == list(gate.inputs) and not gate.clock,
        "buffer",
        "name a Liberty file with one (an output that is its input)",
    )
    most = 1.5 * min(gate.area for gate in found)
    return max((gate for gate in found if gate.area <= most), key=lambda gate: (sum(gate.inputs.values()), gate.name))


def flip_flop_of(library: dict[str, Gate]) -> Gate:
    """The smallest flip-flop that takes a pin as it is, and nothing else, with the rising edge.

    Raises:
        InputError: The library has none.

    Source: docs/explanation/hardware.md (Paths).
    """
    return _register_of(library, False, "plain flip-flop")


def latch_of(library: dict[str, Gate]) -> Gate:
    """The smallest latch that takes a pin as it is, and nothing else, while another is high.

    Raises:
        InputError: The library has none.

    Source: docs/explanation/hardware.md.
    """
    return _register_of(library, True, "plain latch")


def _register_of(library: dict[str, Gate], latch: bool, what: str) -> Gate:
    found = _some(
        library,
        lambda gate: (
            gate.latch == latch
            and gate.clock in gate.inputs
            and gate.data in gate.inputs
            and not gate.clears
            and len(gate.inputs) == 2
        ),
        what,
        "name a Liberty file with one",
    )
    return min(found, key=lambda gate: (gate.area, gate.name))


def latches_as_flip_flops(netlist: str, library: dict[str, Gate]) -> str:
    """A netlist for a timing analyser: its latches as flip-flops of ``clk``, which is what they are to all around them.

    ``small_memory`` has two kinds. Those that choose a word are open while the clock is low and set up before it rises;
    those of a word show from there on what a register holds already.

    Args:
        netlist: As Yosys writes it.
        library: Cells by name.

    Raises:
        InputError: It has latches, and the library no plain ones or no plain flip-flop.

    Source: docs/explanation/hardware.md (Paths).
    """
    if not any(gate.latch and f"\n  {name} " in netlist for name, gate in library.items()):
        return netlist
    latch, flip_flop = latch_of(library), flip_flop_of(library)
    names = {latch.data: flip_flop.data, latch.output: flip_flop.output}

    def pin(told: re.Match[str]) -> str:
        return f".{flip_flop.clock}(clk)" if told[1] == latch.clock else f".{names[told[1]]}({told[2]})"

    def cell(told: re.Match[str]) -> str:
        return f"  {flip_flop.name} {told[1]}{re.sub(r'(?<=    )[.](.+?)[(](.*)[)]', pin, told[2])}"

    return re.sub(rf"^  {latch.name} (\S+ +\()((?:\n    \..*)+)", cell, netlist, flags=re.M)


def _some(library: dict[str, Gate], wanted: Callable[[Gate], bool], what: str, mend: str) -> list[Gate]:
    """The cells of a kind; an error where there is none."""
    found = [gate for gate in library.values() if wanted(gate)]
    if not found:
        raise InputError("--liberty", f"has no {what}", mend)
    return found
