"""What timing needs of a library of standard cells: pins, what they load a net with, and which cells are plain buffers
and flip-flops."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field

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
        clock: The clock pin of a flip-flop; "" of other cells.
        data: What a flip-flop takes with the clock.
        clears: Whether it can be cleared or set beside its clock.
    """

    name: str
    area: float = 0.0
    inputs: dict[str, float] = field(default_factory=dict)
    outputs: dict[str, str] = field(default_factory=dict)
    clock: str = ""
    data: str = ""
    clears: bool = False


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
            elif where == "ff":
                gate.clock = value if name == "clocked_on" else gate.clock
                gate.data = value if name == "next_state" else gate.data
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
    found = _some(
        library,
        lambda gate: (
            gate.clock in gate.inputs and gate.data in gate.inputs and not gate.clears and len(gate.inputs) == 2
        ),
        "plain flip-flop",
        "name a Liberty file with one",
    )
    return min(found, key=lambda gate: (gate.area, gate.name))


def _some(library: dict[str, Gate], wanted: Callable[[Gate], bool], what: str, mend: str) -> list[Gate]:
    """The cells of a kind; an error where there is none."""
    found = [gate for gate in library.values() if wanted(gate)]
    if not found:
        raise InputError("--liberty", f"has no {what}", mend)
    return found
