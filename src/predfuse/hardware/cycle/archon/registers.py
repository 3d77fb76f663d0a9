"""Timing of lane registers: the gate words of a pass are loaded beside the lanes, then all its lists run from there.

The compiler gives every channel of a pass to a lane so that the channels of a list lie in different lanes, as far as
possible: a list takes as many cycles as it has channels in one lane. Gate words travel from the gate memory to the
lanes once per pass instead of once per entry, the next pass while the lists of this one run (two sets of registers);
so passes may come in an order in which long lists run beside long loads.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numba import njit

from predfuse.arrays import Int64Array, UInt64Array
from predfuse.errors import InputError
from predfuse.hardware.cycle.archon.gate_banks import tap_turns
from predfuse.hardware.cycle.archon.loads import spread
from predfuse.hardware.cycle.archon.pass_order import cheapest_order
from predfuse.hardware.cycle.archon.passes import HELD_GROUPS, Passes, channel_banks, divided, reordered
from predfuse.hardware.cycle.archon.placement import place


@dataclass(frozen=True)
class LaneRegisters:
    """The lanes and what feeds them.

    Attributes:
        lanes: Lanes, each sending one entry a cycle to every list in progress.
        registers: Channels one lane holds in one set of registers.
        parallel_lists: Lists in progress: multipliers per pixel; output ``o`` belongs to multiplier ``o % parallel``.
        loads: Channels loaded in one cycle.
        banks: Of the project memory and of the gate memory; each delivers one row or gate word a cycle. The compiler
            chooses every channel's bank of the project memory, and how many banks further in the gate memory the gate
            words of a tap are, so that the predictor writes those of a channel at once.
    """

    lanes: int
    registers: int
    parallel_lists: int
    loads: int
    banks: int

    def __post_init__(self) -> None:
        for name in self.__dataclass_fields__:
            if getattr(self, name) < 1:
                raise InputError(f"lane registers: {name}", f"is {getattr(self, name)}", "use 1 or more")


@dataclass(frozen=True, eq=False)
class PassTimes:
    """Cycles of every pass.

    Attributes:
        list_cycles: ``[passes]`` int64, its lists.
        load_cycles: ``[passes]`` int64, its loads.
        read_cycles: ``[members]`` int64 after the loads of its pass have begun, a member is read (cycles, from 0).
        lanes: ``[members]`` int64 to which each goes.
    """

    list_cycles: Int64Array
    load_cycles: Int64Array
    read_cycles: Int64Array
    lanes: Int64Array

    @property
    def load_begins(self) -> Int64Array:
        """``[passes]`` int64 when the loads of each begin, with the lists of the one before."""
        return np.concatenate((np.zeros(min(1, len(self.ends)), np.int64), (self.ends - self.list_cycles)[:-1]))

    @property
    def ends(self) -> Int64Array:
        """``[passes]`` int64 when the lists of each are done, its loads made beside the lists of the one before."""
        if len(self.list_cycles) == 0:
            return np.zeros(0, np.int64)
        beside = np.maximum(self.list_cycles[:-1], self.load_cycles[1:])
        begins: Int64Array = self.load_cycles[0] + np.concatenate(([0], np.cumsum(beside)))
        return begins + self.list_cycles

    @property
    def cycles(self) -> int:
        """Cycles of all passes."""
        return int(self.ends[-1]) if len(self.list_cycles) else 0


@dataclass(frozen=True, eq=False)
class PassPlan:
    """The passes of a group as the lanes run them.

    Attributes:
        passes: Divided, in order.
        times: Of them.
        bank: ``[channels]`` int64 of the project memory, of every channel up to the last that is in a pass.
        turns: ``[taps + 1]`` int64 by how many banks the gate words of every tap are turned.
    """

    passes: Passes
    times: PassTimes
    bank: Int64Array
    turns: Int64Array

    def in_fewest_cycles(self) -> PassPlan:
        """The same passes in the order that takes fewest cycles."""
        order = _order(self.passes, self.times)
        ordered, members = reordered(self.passes, order)
        cycles = self.times.list_cycles[order], self.times.load_cycles[order]
        times = PassTimes(*cycles, self.times.read_cycles[members], self.times.lanes[members])
        return PassPlan(ordered, times, self.bank, self.turns)


def plan_passes(whole: Passes, lanes: LaneRegisters) -> PassPlan:
    """Divide the passes of a group and give their members to lanes, in the order in which they are.

    So the passes of an input channel follow each other, and most gate words are needed for a short time: what is
    predicted into their places comes early. Where nothing is, :meth:`PassPlan.in_fewest_cycles` is faster.

    Args:
        whole: As :func:`predfuse.hardware.cycle.archon.passes.group_passes` has them.
        lanes: Which run them.
    """
    passes = divided(whole, lanes.banks, lanes.lanes * lanes.registers)
    bank, turns = channel_banks(whole, lanes.banks), tap_turns(whole, lanes.banks)
    return PassPlan(passes, pass_times(passes, bank, turns, lanes), bank, turns)


def _order(passes: Passes, times: PassTimes) -> Int64Array:
    """``[passes]`` in which order they come: slice by slice of the outputs, the parts of one behind each other."""
    follows = passes.goes_on
    firsts = np.flatnonzero(~follows)
    ends = np.append(firsts[1:], len(follows))
    order: list[int] = []
    for slice_first in dict.fromkeys(passes.first_output[firsts].tolist()):
        own = np.flatnonzero(passes.first_output[firsts] == slice_first)
        found = cheapest_order(times.load_cycles[firsts[own]], times.list_cycles[ends[own] - 1])
        for one in own[found]:
            order += range(firsts[one], ends[one])
    return np.array(order, np.int64)


def pass_times(passes: Passes, bank: Int64Array, turns: Int64Array, lanes: LaneRegisters) -> PassTimes:
    """Give the members of every pass to lanes and count the cycles.

    Args:
        passes: None of more members than the lanes have registers.
        bank: ``[channels]`` of the memories beside the lanes.
        turns: ``[taps + 1]`` from there to the bank of a gate word.
        lanes: Their sizes.

    Raises:
        InputError: A pass has more members (see :func:`predfuse.hardware.cycle.archon.passes.divided`).
    """
    members = np.diff(passes.indptr)
    if members.max(initial=0) > lanes.lanes * lanes.registers:
        what = f"a pass has {members.max()} members, the lanes hold {lanes.lanes * lanes.registers}"
        raise InputError("lane registers", what, "divide the pass")
    lane = _lanes(passes, lanes.lanes, lanes.registers).copy()
    load, read = np.zeros(len(members), np.int64), np.zeros(len(passes.channel), np.int64)
    sizes, sends = (lanes.lanes, lanes.loads, lanes.banks), bank[passes.channel]
    _spread_all(passes.indptr, sends, turns[passes.tap], passes.outputs, lane, sizes, lanes.registers, load, read)
    lists = np.zeros(len(members), np.int64)
    _time_lists(passes.indptr, passes.outputs, lane, (lanes.lanes, lanes.parallel_lists), lists)
    return PassTimes(lists, load, read, lane)


@lru_cache(maxsize=HELD_GROUPS)
def _lanes(passes: Passes, lanes: int, registers: int) -> Int64Array:
    """``[members]`` the lane of each as lists are shortest."""
    lane = np.zeros(len(passes.channel), np.int64)
    _place_all(passes.indptr, passes.outputs, lanes, registers, lane)
    return lane


def release_cycles(passes: Passes, times: PassTimes, channels: int) -> Int64Array:
    """``[channels]`` int64 when the last pass with a channel is done, 0 for those in none.

    From then on the gate words of that channel may be overwritten. Gate words are read when a pass is loaded, somewhat
    earlier.
    """
    release = np.zeros(channels, np.int64)
    owner = np.repeat(np.arange(len(passes.indptr) - 1), np.diff(passes.indptr))
    np.maximum.at(release, passes.channel, times.ends[owner])
    return release


@njit(cache=True, nogil=True)
def _place_all(indptr: Int64Array, outputs: UInt64Array, lanes: int, registers: int, lane: Int64Array) -> None:
    for index in range(indptr.size - 1):
        span = slice(indptr[index], indptr[index + 1])
        lane[span] = place(outputs[span], lanes, registers)


@njit(cache=True, nogil=True)
def _spread_all(
    indptr: Int64Array,
    bank: Int64Array,
    turn: Int64Array,
    outputs: UInt64Array,
    lane: Int64Array,
    sizes: tuple[int, int, int],
    registers: int,
    cycles: Int64Array,
    read: Int64Array,
) -> None:
    for index in range(indptr.size - 1):
        span = slice(indptr[index], indptr[index + 1])
        cycles[index] = spread(bank[span], turn[span], outputs[span], lane[span], sizes, registers, read[span])


@njit(cache=True, nogil=True)
def _time_lists(
    indptr: Int64Array, outputs: UInt64Array, lane: Int64Array, sizes: tuple[int, int], cycles: Int64Array
) -> None:
    """Cycles of all lists of every pass: per multiplier the sum over its outputs of the fullest lane."""
    lanes, parallel = sizes
    load = np.zeros((64, lanes), np.int64)
    busy = np.zeros(parallel, np.int64)
    for index in range(indptr.size - 1):
        load[:] = 0
        width: Any = 0  # outputs up to the last that is there
        for member in range(indptr[index], indptr[index + 1]):
            word, output = outputs[member], 0
            while word:
                load[output, lane[member]] += np.int64(word & np.uint64(1))
                word >>= np.uint64(1)
                output += 1
            width = max(width, output)
        busy[:] = 0
        for output in range(width):
            busy[output % parallel] += load[output].max()
        cycles[index] = busy.max()
