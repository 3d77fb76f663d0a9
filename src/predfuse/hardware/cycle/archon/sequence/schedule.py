"""When every command of a list is done, to the cycle: fills, starts of the core, waits for banks of the buffer.

The core takes what the cycle model says; the rest follows from how the command unit, the fill unit and the arbiter work
(docs/explanation/rtl.md). Nothing here is measured on the gateware.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, dataclass

from predfuse.hardware.cycle.archon.gateware import Machine
from predfuse.hardware.cycle.archon.sequence.commands import After, Command, Fill, Start

FETCHED = 2
"""Cycles from the grant of a line of commands to the first of them."""
STARTED = 3
"""From a start's turn to the first cycle in which the core works."""
SETTLED = 1
"""Idle cycles of the core before the next start."""
FILLED = 2
"""From the last access of a fill to its last cycle, in which it writes: a start may have its turn in that."""
FILL_AHEAD = 1 + FILLED
"""From the turn of the next fill, in the cycle of that access, to the first in which the unit is free."""
FINISHED = 2
"""For which the core works on after the last row of sums is read."""
STORED = 4
"""From the cycle in which a row of sums is read to its access."""


@dataclass(frozen=True)
class Clock:
    """Where the cycles of a machine went, from the start of its commands to their end.

    Attributes:
        total: All of them.
        core: Lists, predictions or finishing run.
        fill: Memories are filled.
        both: These at once.
        outputs_wait: Outputs wait for a bank of the global buffer: never.
        commands_wait: Commands do.
        fill_waits: A fill does.
    """

    total: int = 0
    core: int = 0
    fill: int = 0
    both: int = 0
    outputs_wait: int = 0
    commands_wait: int = 0
    fill_waits: int = 0

    def __add__(self, other: Clock) -> Clock:
        return Clock(*(one + two for one, two in zip(astuple(self), astuple(other), strict=True)))

    def __sub__(self, other: Clock) -> Clock:
        return Clock(*(one - two for one, two in zip(astuple(self), astuple(other), strict=True)))


@dataclass(frozen=True)
class Scheduled:
    """A command list in time.

    Attributes:
        turns: When every command has its turn, that which ends the list last.
        clock: Where the cycles go.
        blocks: Of every block whose items are worked on, in order, by its number in the chain: where they go before its
            first start of the core, at which nothing else is at work.
    """

    turns: tuple[int, ...]
    clock: Clock
    blocks: tuple[tuple[int, Clock], ...]


def schedule(commands: Sequence[Command], machine: Machine) -> Scheduled:
    """The cycles of a command list.

    Args:
        commands: Without the one that ends it.
        machine: The gateware.
    """
    unit = _Units(machine)
    at, turns, blocks = 0, [], dict[int, Clock]()
    for index, one in enumerate([*commands, None]):
        turn = unit.fetch(at) if index % machine.commands_of_a_line == 0 else at
        if isinstance(one, Fill):
            turn = max(turn, unit.filled() - FILL_AHEAD)
        elif one is None:
            turn = max(turn, unit.filled())
        elif one.after:
            turn = max(turn, unit.filled() - 1)
        if not isinstance(one, Fill) or one.after is After.CORE:
            turn = max(turn, unit.core_free)
        elif one.after is not After.NOTHING:
            turn = max(turn, unit.lists_free if one.after is After.LISTS else unit.outputs_free)
        if isinstance(one, Fill):
            unit.fill(one, turn)
        elif isinstance(one, Start):
            if one.item.block not in blocks:
                blocks[one.item.block] = unit.clock(turn)
            unit.start(one, turn)
        turns.append(turn)
        at = turn + 1
    return Scheduled(tuple(turns), unit.clock(at), tuple(blocks.items()))


class _Units:
    """What works beside the command unit, as far as it is known when a command has its turn."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._taken: dict[int, int] = {}  # banks by cycle: of outputs and commands
        self._last_taken = -1
        self._commands_wait = self._fill_waits = 0
        self._cores: list[tuple[int, int]] = []  # first and end of each, in order
        self._fills: list[tuple[int, int]] = []
        self._filling: tuple[Fill, int] | None = None  # and its turn
        self.core_free = self.lists_free = self.outputs_free = 0

    def fetch(self, at: int) -> int:
        """A line of commands is wanted from cycle ``at`` on; when the first has its turn."""
        granted = at
        while granted in self._taken:
            granted += 1
        self._commands_wait += granted - at
        self._take(granted, (1 << self._machine.buffer_banks) - 1)
        return granted + FETCHED

    def _take(self, cycle: int, mask: int) -> None:
        self._taken[cycle] = self._taken.get(cycle, 0) | mask
        self._last_taken = max(self._last_taken, cycle)

    def fill(self, one: Fill, turn: int) -> None:
        """Begin a fill; its accesses wait for what is still to come."""
        self._filling = one, turn

    def filled(self) -> int:
        """When the fill unit is free: the fill at hand runs to its end, no command can come before that."""
        if self._filling is not None:
            one, turn = self._filling
            self._filling = None
            cycle, left = turn + 1, one.accesses
            if cycle <= self._last_taken:
                for mask in one.masks(self._machine):
                    if cycle > self._last_taken:
                        break
                    while self._taken.get(cycle, 0) & mask:
                        self._fill_waits += 1
                        cycle += 1
                    cycle, left = cycle + 1, left - 1
            if self._fills:
                first, end = self._fills[-1]
                self._fills[-1] = first, min(end, turn + 1)
            self._fills.append((turn + 1, cycle + left + FILLED))
        return self._fills[-1][1] if self._fills else 0

    def start(self, one: Start, turn: int) -> None:
        """Begin a start of the core."""
        first = turn + STARTED
        rows = [] if one.store is None else list(one.store.masks(self._machine))
        leaving = len(rows) + FINISHED if rows else 0
        cycles = max(one.cycles, leaving)
        self._cores.append((first, first + cycles))
        self.core_free = first + cycles + SETTLED
        self.lists_free = first + one.list_cycles + SETTLED
        self.outputs_free = first + leaving + SETTLED
        for row, mask in enumerate(rows, first + STORED):
            self._take(row, mask)

    def clock(self, total: int) -> Clock:
        both, at = 0, 0
        for first, end in self._fills:
            while at < len(self._cores) and self._cores[at][1] <= first:
                at += 1
            for begun, done in self._cores[at:]:
                if begun >= end:
                    break
                both += max(0, min(end, done) - max(first, begun))
        core, fill = (sum(end - first for first, end in some) for some in (self._cores, self._fills))
        return Clock(total, core, fill, both, 0, self._commands_wait, self._fill_waits)
