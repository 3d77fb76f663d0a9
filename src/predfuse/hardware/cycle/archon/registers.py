"""Timing of lane registers: the gate words of a pass are loaded beside the lanes, then all its lists run from there.

A pass holds the middle channels that connect one input channel and one tap (``W1[m,c]`` and ``D[m,k]`` not zero) to
the outputs of a slice; its lists differ in the output channel only. The compiler gives every channel of a pass to a
lane so that the channels of a list lie in different lanes, as far as possible: a list takes as many cycles as it has
channels in one lane. Gate words travel from the gate memory to the lanes once per pass instead of once per entry, the
next pass while the lists of this one run (two sets of registers).

Bias sums need no product with an input, so that one pass may mix taps: its members are gate words, (channel, tap) for
the expand biases and (channel) for the depthwise ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numba import njit

from predfuse.arrays import Int64Array, Mask, UInt64Array
from predfuse.errors import InputError
from predfuse.hardware.block_work import BlockWork
from predfuse.hardware.cycle.archon.bits import count_ones
from predfuse.hardware.cycle.archon.placement import assign_banks, place

NO_COLUMN = -1
"""Stands for an input channel where there is none."""
HELD_GROUPS = 256
"""Groups whose passes and lanes are kept for the next machine of a search, which may differ in other sizes."""


@dataclass(frozen=True)
class LaneRegisters:
    """The lanes and what feeds them.

    Attributes:
        lanes: Lanes, each sending one entry a cycle to every list in progress.
        registers: Channels one lane holds in one set of registers.
        parallel_lists: Lists in progress: multipliers per pixel; output ``o`` belongs to multiplier ``o % parallel``.
        loads: Channels loaded in one cycle.
        banks: Of the project memory and of the gate memory; each delivers one row or gate word a cycle. The compiler
            chooses every channel's bank of the project memory; its gate word of tap ``k`` is ``k`` banks further in the
            gate memory, so that the predictor writes those of a channel at once.
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
class Passes:
    """The passes of one group and slice of outputs, in order.

    Attributes:
        indptr: ``[passes + 1]``; pass ``i`` has the members ``indptr[i]:indptr[i + 1]``.
        channel: ``[members]`` middle channel within the group; one read by more outputs than a row of project weights
            holds is several members, each with a row.
        outputs: ``[members]`` uint64, bit ``o`` set where the project weight of output ``o`` of the slice is not zero.
        tap: ``[members]`` tap of its gate word; ``taps`` stands for mask 2 alone.
        column: ``[passes]`` input channel within the group, ``NO_COLUMN`` where only bias sums are added.
        first_output: ``[passes]`` output of the group that bit 0 stands for.
    """

    indptr: Int64Array
    channel: Int64Array
    outputs: UInt64Array
    tap: Int64Array
    column: Int64Array
    first_output: Int64Array

    @property
    def biases(self) -> Mask:
        """``[passes]`` bool, whether it only adds bias sums, which need no product with an input."""
        only: Mask = self.column == NO_COLUMN
        return only

    @property
    def lists(self) -> tuple[int, int]:
        """Lists of the weights and of the biases; a list divided among passes counts in each."""
        if not len(self.channel):
            return 0, 0
        present = count_ones(np.bitwise_or.reduceat(self.outputs, self.indptr[:-1]))
        return int(present[~self.biases].sum()), int(present[self.biases].sum())


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


@lru_cache(maxsize=HELD_GROUPS)
def group_passes(work: BlockWork, group: int, slice_outputs: int, row_words: int, capacity: int) -> Passes:
    """All passes of a group: for every slice of outputs the bias sums, then for every input channel for every tap.

    Args:
        work: The block.
        group: Which group.
        slice_outputs: Outputs whose partial sums the PEs hold at once, at most 64.
        row_words: Project weights loaded with a channel.
        capacity: Members a pass may have.
    """
    channels = slice(group * work.group_middle, (group + 1) * work.group_middle)
    expand, depthwise = work.expand[channels], work.depthwise[channels]
    expand_bias, depthwise_bias = work.expand_bias[channels], work.depthwise_bias[channels]
    project = work.project[group * work.group_outputs : (group + 1) * work.group_outputs]
    firsts = np.arange(0, work.group_outputs, slice_outputs)
    channel: list[Int64Array] = []
    tap: list[Int64Array] = []
    bits: list[UInt64Array] = []
    lengths: list[Int64Array] = []
    for first in firsts:
        rows = project[first : first + slice_outputs].astype(np.uint64)
        outputs = (rows << np.arange(len(rows), dtype=np.uint64)[:, None]).sum(axis=0)
        read = outputs != 0
        second = np.flatnonzero(depthwise_bias & read)
        biased, bias_taps = np.nonzero(depthwise & (expand_bias & read)[:, None])
        connected = expand.T[:, None] & (depthwise & read[:, None]).T  # [columns, taps, channels]
        _, taps, members = np.nonzero(connected)
        channel.append(np.concatenate((second, biased, members)))
        tap.append(np.concatenate((np.full(len(second), work.taps), bias_taps, taps)))
        bits.append(outputs[channel[-1]])
        lengths += [np.array((len(second), len(biased))), connected.sum(axis=2).ravel()]
    columns = np.concatenate(((NO_COLUMN, NO_COLUMN), np.repeat(np.arange(work.group_channels), work.taps)))
    members = np.concatenate(lengths)
    # A pass without members is not begun.
    begun = members > 0
    whole = Passes(
        indptr=np.concatenate(([0], np.cumsum(members[begun]))),
        channel=np.concatenate(channel),
        outputs=np.concatenate(bits),
        tap=np.concatenate(tap),
        column=np.tile(columns, len(firsts))[begun],
        first_output=np.repeat(firsts, len(columns))[begun],
    )
    return split_passes(split_rows(whole, row_words), capacity)


def pass_times(passes: Passes, lanes: LaneRegisters) -> PassTimes:
    """Give the members of every pass to lanes and count the cycles.

    Raises:
        InputError: A pass has more members than the lanes have registers (see :func:`split_passes`).
    """
    members = np.diff(passes.indptr)
    if members.max(initial=0) > lanes.lanes * lanes.registers:
        what = f"a pass has {members.max()} members, the lanes hold {lanes.lanes * lanes.registers}"
        raise InputError("lane registers", what, "split the pass")
    lane = _lanes(passes, lanes.lanes, lanes.registers)
    load, read = np.zeros(len(members), np.int64), np.zeros(len(passes.channel), np.int64)
    bank, sizes = channel_banks(passes, lanes.banks)[passes.channel], (lanes.lanes, lanes.loads, lanes.banks)
    _time_loads(passes.indptr, bank, passes.tap, lane, sizes, load, read)
    return PassTimes(_list_cycles(passes, lanes.lanes, lanes.registers, lanes.parallel_lists), load, read, lane)


@lru_cache(maxsize=HELD_GROUPS)
def _lanes(passes: Passes, lanes: int, registers: int) -> Int64Array:
    """``[members]`` the lane of each."""
    lane = np.zeros(len(passes.channel), np.int64)
    _place_all(passes.indptr, passes.outputs, lanes, registers, lane)
    return lane


@lru_cache(maxsize=HELD_GROUPS)
def _list_cycles(passes: Passes, lanes: int, registers: int, parallel: int) -> Int64Array:
    """``[passes]`` cycles of the lists of each."""
    cycles = np.zeros(len(passes.column), np.int64)
    _time_lists(passes.indptr, passes.outputs, _lanes(passes, lanes, registers), (lanes, parallel), cycles)
    return cycles


@lru_cache(maxsize=HELD_GROUPS)
def channel_banks(passes: Passes, banks: int) -> Int64Array:
    """``[channels]`` the bank of the project memory of every channel up to the last that is in a pass."""
    bank: Int64Array = assign_banks(passes.indptr, passes.channel, int(passes.channel.max(initial=-1)) + 1, banks)
    return bank


def fullest_bank(bank: Int64Array, tap: Int64Array, banks: int) -> int:
    """Most gate words in a bank of the gate memory, which holds those of tap ``k`` ``k`` banks further.

    Args:
        bank: ``[words]`` of the project memory, of the channel of each.
        tap: ``[words]``.
        banks: How many there are.
    """
    return int(np.bincount((bank + tap) % banks, minlength=1).max())


def release_cycles(passes: Passes, times: PassTimes, channels: int) -> Int64Array:
    """``[channels]`` int64 when the last pass with a channel is done, 0 for those in none.

    From then on the gate words of that channel may be overwritten. Gate words are read when a pass is loaded, somewhat
    earlier.
    """
    release = np.zeros(channels, np.int64)
    owner = np.repeat(np.arange(len(passes.indptr) - 1), np.diff(passes.indptr))
    np.maximum.at(release, passes.channel, times.ends[owner])
    return release


def split_rows(passes: Passes, row_words: int) -> Passes:
    """Split members: a channel read by more than ``row_words`` outputs as several members of that many at most."""
    rows = np.maximum(1, -(-count_ones(passes.outputs).astype(np.int64) // row_words))
    owner = np.repeat(np.arange(len(rows)), rows)
    outputs = np.empty(len(owner), np.uint64)
    _cut_rows(passes.outputs, row_words, outputs)
    indptr = np.concatenate(([0], np.cumsum(rows)))[passes.indptr]
    return Passes(indptr, passes.channel[owner], outputs, passes.tap[owner], passes.column, passes.first_output)


@njit(cache=True, nogil=True)
def _cut_rows(outputs: UInt64Array, row_words: int, rows: UInt64Array) -> None:
    """Write the outputs of every channel in rows of ``row_words``, the lowest first."""
    row = 0
    for word in outputs:
        held = 0
        part = np.uint64(0)
        for output in range(64):
            bit = np.uint64(1) << np.uint64(output)
            if not word & bit:
                continue
            if held == row_words:
                rows[row] = part
                row, held, part = row + 1, 0, np.uint64(0)
            part |= bit
            held += 1
        rows[row] = part
        row += 1


def split_passes(passes: Passes, capacity: int) -> Passes:
    """Divide passes of more than ``capacity`` members evenly; every part runs its lists anew."""
    members = np.diff(passes.indptr)
    parts = np.maximum(1, -(-members // capacity))
    owner = np.repeat(np.arange(len(members)), parts)
    index = np.arange(len(owner)) - np.repeat(np.cumsum(parts) - parts, parts)
    starts = passes.indptr[:-1][owner] + index * members[owner] // parts[owner]
    indptr = np.append(starts, passes.indptr[-1])
    column, first_output = passes.column[owner], passes.first_output[owner]
    return Passes(indptr, passes.channel, passes.outputs, passes.tap, column, first_output)


@njit(cache=True, nogil=True)
def _place_all(indptr: Int64Array, outputs: UInt64Array, lanes: int, registers: int, lane: Int64Array) -> None:
    for index in range(indptr.size - 1):
        span = slice(indptr[index], indptr[index + 1])
        lane[span] = place(outputs[span], lanes, registers)


@njit(cache=True, nogil=True)
def _time_loads(
    indptr: Int64Array,
    bank: Int64Array,
    tap: Int64Array,
    lane: Int64Array,
    sizes: tuple[int, int, int],
    cycles: Int64Array,
    read: Int64Array,
) -> None:
    for index in range(indptr.size - 1):
        span = slice(indptr[index], indptr[index + 1])
        cycles[index] = _load_cycles(bank[span], tap[span], lane[span], sizes, read[span])


@njit(cache=True, nogil=True)
def _load_cycles(
    bank: Int64Array, tap: Int64Array, lane: Int64Array, sizes: tuple[int, int, int], read: Int64Array
) -> int:
    """Cycles in which the members of a pass travel to their lanes; sets when each is ``read``.

    A bank of the project memory sends its members one after the other, in their order, each with its gate word; a bank
    of the gate memory reads one and a lane takes one in a cycle. The compiler decides which banks wait: those with
    most left send first, of equal ones the first.
    """
    lanes, loads, banks = sizes
    members = bank.size
    order = np.argsort(bank, kind="mergesort")
    left = np.zeros(banks, np.int64)
    for member in range(members):
        left[bank[member]] += 1
    stop = np.cumsum(left)
    lane_taken, gate_taken = np.zeros(lanes, np.int64), np.zeros(banks, np.int64)  # the last cycle it was
    cycles = total = 0
    while total < members:
        cycles += 1
        moved = 0
        for sender in np.argsort(-left, kind="mergesort"):
            if left[sender] == 0 or moved == loads:
                break
            member = order[stop[sender] - left[sender]]
            gate = (sender + tap[member]) % banks
            if lane_taken[lane[member]] < cycles and gate_taken[gate] < cycles:
                lane_taken[lane[member]] = gate_taken[gate] = cycles
                read[member] = cycles - 1
                left[sender] -= 1
                moved += 1
        total += moved
    return cycles


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
