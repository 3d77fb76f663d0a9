"""Reads a component in cells, as Yosys writes it: ports, cells and which bits are one net."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from predfuse.errors import PredfuseError

_TOKEN = re.compile(r"\\(\S+)\s*|([A-Za-z_]\w*)|\d+'s?([hbdo])([0-9a-fxzXZ]+)|(\d+)|([\[\]{}:,])|\s+")
_DECLARED = re.compile(r"^  (input|output|wire|reg)(?: signed)?(?: \[(\d+):(\d+)\])? (?:\\(\S+)|(\w+))\s*;$")
_PIN = re.compile(r"^    \.(\w+)\((.*)\),?$")
_DIGIT_BITS = {"h": 4, "o": 3, "b": 1}
ZERO, ONE = 0, 1
"""Nets that are constant; what Yosys leaves open is 0."""


@dataclass
class Cell:
    """One of the library's.

    Attributes:
        kind: Its name in the library.
        pins: The net of every pin that is connected.
    """

    kind: str
    pins: dict[str, int]


@dataclass
class Unit:
    """A component: nets are numbers, and several may turn out to be one (``net``).

    Attributes:
        ports: Nets of every port, the lowest bit first.
        inputs: Which ports are inputs.
        cells: In the order of the file.
        names: Of every net.
    """

    ports: dict[str, list[int]] = field(default_factory=dict)
    inputs: set[str] = field(default_factory=set)
    cells: list[Cell] = field(default_factory=list)
    names: list[str] = field(default_factory=lambda: ["0", "1"])
    _same: list[int] = field(default_factory=lambda: [ZERO, ONE])
    _called: dict[int, str] = field(default_factory=dict)

    def new(self, name: str) -> int:
        """One net more."""
        self.names.append(name)
        self._same.append(len(self._same))
        return len(self._same) - 1

    def net(self, at: int) -> int:
        """The number that stands for all that are one net with ``at``; the constant if one is."""
        root = at
        while self._same[root] != root:
            root = self._same[root]
        while self._same[at] != root:
            self._same[at], at = root, self._same[at]
        return root

    def join(self, one: int, other: int) -> None:
        """Both are one net."""
        low, high = sorted((self.net(one), self.net(other)))
        self._same[high] = low

    def called(self, at: int) -> str:
        """The plainest name of a net: one from the source, of the component itself, short."""
        if not self._called:
            for n, name in enumerate(self.names):
                root = self.net(n)
                self._called[root] = min(self._called.get(root, name), name, key=_how_plain)
        return self._called[self.net(at)]


def _how_plain(name: str) -> tuple[bool, int, int, str]:
    return name.startswith("_"), name.count("."), len(name), name


def read_unit(verilog: str) -> Unit:
    """The module of a netlist that Yosys wrote (``write_verilog -noexpr -simple-lhs``).

    Raises:
        PredfuseError: It has what such a netlist does not.

    Source: docs/explanation/hardware.md (Paths).
    """
    unit = Unit()
    wires: dict[str, list[int]] = {}
    reader = _Reader(wires)
    cell = Cell("", {})
    for line in verilog.splitlines():
        if (found := _PIN.match(line)) is not None:
            if found[2]:
                (cell.pins[found[1]],) = reader.bits(found[2])
        elif line.startswith("  assign "):
            left, _, right = line[9:-1].partition(" = ")
            into, come = reader.bits(left), reader.bits(right)
            for n, at in enumerate(into):
                unit.join(at, come[n] if n < len(come) else ZERO)
        elif (declared := _DECLARED.match(line)) is not None:
            kind, high, low, escaped, plain = declared.groups()
            name = escaped or plain
            if name not in wires:
                width = 1 if high is None else int(high) - int(low) + 1
                wires[name] = [unit.new(f"{name}[{n}]" if high is not None else name) for n in range(width)]
                reader.lowest[name] = int(low or 0)
            if kind in ("input", "output"):
                unit.ports[name] = wires[name]
                if kind == "input":
                    unit.inputs.add(name)
        elif line.startswith("  ") and line.endswith(" ("):
            cell = Cell(line.split()[0], {})
            unit.cells.append(cell)
        elif line and not line.startswith(("/*", "module ", ", ", "  );", "endmodule", "(*", ");")):
            raise PredfuseError(f"a netlist of Yosys has a line that is not known: {line[:80]}")
    return unit


class _Reader:
    """Expressions of a netlist as nets, the lowest bit first."""

    def __init__(self, wires: dict[str, list[int]]) -> None:
        self.wires = wires
        self.lowest: dict[str, int] = {}

    def bits(self, told: str) -> list[int]:
        if told in self.wires:
            return self.wires[told]
        tokens = [one for one in _TOKEN.finditer(told) if not one[0].isspace()]
        found, end = self._one(tokens, 0)
        if end != len(tokens):
            raise PredfuseError(f"a netlist of Yosys has an expression that is not known: {told[:80]}")
        return found

    def _one(self, tokens: list[re.Match[str]], at: int) -> tuple[list[int], int]:
        escaped, plain, base, digits, number, sign = tokens[at].groups()
        if sign == "{":
            parts: list[list[int]] = []
            while tokens[at][6] != "}":
                part, at = self._one(tokens, at + 1)
                parts.append(part)
            return [bit for part in reversed(parts) for bit in part], at + 1
        if digits is not None:
            width = int(tokens[at][0].partition("'")[0])
            return _constant(base, digits, width), at + 1
        if number is not None:
            return _constant("d", number, 32), at + 1
        name = escaped or plain
        wire = self.wires[name]
        if at + 1 == len(tokens) or tokens[at + 1][6] != "[":
            return wire, at + 1
        high = int(tokens[at + 2][0]) - self.lowest[name]
        if tokens[at + 3][6] == "]":
            return [wire[high]], at + 4
        low = int(tokens[at + 4][0]) - self.lowest[name]
        return wire[low : high + 1], at + 6


def _constant(base: str, digits: str, width: int) -> list[int]:
    if base == "d":
        return [int(digits) >> n & 1 for n in range(width)]
    each = _DIGIT_BITS[base]
    value = int(re.sub("[xzXZ]", "0", digits), 1 << each)
    return [value >> n & 1 for n in range(width)]
