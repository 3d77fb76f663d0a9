"""Where a group has its words: groups take turns at the two ends of every memory, which holds two if it has room."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from predfuse.hardware.cycle.archon import gateware
from predfuse.hardware.cycle.archon.gateware import Machine

MEMORIES = tuple(dict.fromkeys(memory for memory in gateware.MEMORIES.values() if memory != "slots"))
"""Sizes of a machine that a group takes a part of; slots come in halves."""


@dataclass(frozen=True)
class Places:
    """Of one group.

    Attributes:
        half: 0 at the low ends, 1 at the high ones.
        first: Its first word in each of ``MEMORIES``.
        end: Behind its last.
        slot_first: Of its channels in every bank.
        halves: Of the slots that it takes: 1 the lower, 2 the upper, 3 both.
    """

    half: int
    first: Mapping[str, int]
    end: Mapping[str, int]
    slot_first: int
    halves: int

    def apart(self, other: Places) -> set[str]:
        """Memories, slots and records among them, that hold both groups at once."""
        found = {
            name for name in MEMORIES if self.end[name] <= other.first[name] or other.end[name] <= self.first[name]
        }
        found |= {"slots"} if not self.halves & other.halves else set()
        return found | ({"records"} if self.half != other.half else set())


def places(needs: Mapping[str, int], slots: int, half: int, machine: Machine) -> Places:
    """Places of a group.

    Args:
        needs: Records of each of ``MEMORIES``; each fits.
        slots: Channels of the fullest bank.
        half: At which ends.
        machine: The gateware.
    """
    first = {name: machine.high(name, needs[name]) if half and needs[name] else 0 for name in MEMORIES}
    end = {name: first[name] + needs[name] for name in MEMORIES}
    low = machine.slots // 2
    alone = slots > low
    return Places(half, first, end, 0 if alone else half * low, 3 if alone else 1 << half)
