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

import numpy as np
from numba import njit

from predfuse.accelerators.cycle.gates import count_ones, ones
from predfuse.accelerators.cycle.placement import assign_banks, place
from predfuse.accelerators.cycle.work import BlockWork
from predfuse.errors import InputError
from predfuse.ir import Array


@dataclass(frozen=True)
class LaneRegisters:
    """The lanes and what feeds them.

    Attributes:
        lanes: Lanes, each sending one entry a cycle to every list in progress.
        registers: Channels one lane holds in one set of registers.
        parallel_lists: Lists in progress: multipliers per pixel; output ``o`` belongs to multiplier ``o % parallel``.
        loads: Channels loaded in one cycle.
        row_words: Project weights loaded with a channel; a channel with more takes further loads.
        banks: Of the gate memory; a bank delivers one channel a cycle. The compiler chooses every channel's.
    """

    lanes: int
    registers: int
    parallel_lists: int
    loads: int
    row_words: int
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
        channel: ``[members]`` middle channel within the group.
        outputs: ``[members]`` uint64, bit ``o`` set where the project weight of output ``o`` of the slice is not zero.
        biases: ``[passes]`` bool, whether it only adds bias sums, which need no multiplication.
    """

    indptr: Array
    channel: Array
    outputs: Array
    biases: Array

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
        load_slots: ``[passes]`` int64, loads made.
    """

    list_cycles: Array
    load_cycles: Array
    load_slots: Array

    @property
    def cycles(self) -> int:
        """All passes, the loads of a pass beside the lists of the one before."""
        if len(self.list_cycles) == 0:
            return 0
        beside = np.maximum(self.list_cycles[:-1], self.load_cycles[1:]).sum()
        return int(self.load_cycles[0] + beside + self.list_cycles[-1])


def group_passes(work: BlockWork, group: int, slice_outputs: int, capacity: int) -> Passes:
    """All passes of a group: for every slice of outputs, for every input channel, for every tap; then the bias sums.

    Args:
        work: The block.
        group: Which group.
        slice_outputs: Outputs whose partial sums the PEs hold at once, at most 64.
        capacity: Members a pass may have.
    """
    channels = slice(group * work.group_middle, (group + 1) * work.group_middle)
    expand, depthwise = work.expand[channels], work.depthwise[channels]
    expand_bias, depthwise_bias = work.expand_bias[channels], work.depthwise_bias[channels]
    project = work.project[group * work.group_outputs : (group + 1) * work.group_outputs]
    members: list[Array] = []
    bits: list[Array] = []
    biases: list[bool] = []
    for first in range(0, work.group_outputs, slice_outputs):
        rows = project[first : first + slice_outputs]
        outputs = np.zeros(work.group_middle, np.uint64)
        for output, row in enumerate(rows):
            outputs |= row.astype(np.uint64) << np.uint64(output)
        read = outputs != 0
        passes = [
            np.flatnonzero(expand[:, column] & depthwise[:, tap] & read)
            for column in range(work.group_channels)
            for tap in range(work.taps)
        ]
        passes.append(np.nonzero(depthwise & (expand_bias & read)[:, None])[0])
        passes.append(np.flatnonzero(depthwise_bias & read))
        members += passes
        bits += [outputs[part] for part in passes]
        biases += [False] * (len(passes) - 2) + [True] * 2
    lengths = np.array([len(part) for part in members])
    # A pass without members is not begun.
    begun = lengths > 0
    indptr = np.concatenate(([0], np.cumsum(lengths[begun])))
    passes_of_group = Passes(indptr, np.concatenate(members), np.concatenate(bits), np.array(biases)[begun])
    return split_passes(passes_of_group, capacity)


def pass_times(passes: Passes, lanes: LaneRegisters) -> PassTimes:
    """Give the members of every pass to lanes and count the cycles.

    Raises:
        InputError: A pass has more members than the lanes have registers (see :func:`split_passes`).
    """
    count = len(passes.indptr) - 1
    members = np.diff(passes.indptr)
    if members.max(initial=0) > lanes.lanes * lanes.registers:
        what = f"a pass has {members.max()} channels, the lanes hold {lanes.lanes * lanes.registers}"
        raise InputError("lane registers", what, "split the pass")
    result = PassTimes(*(np.zeros(count, np.int64) for _ in range(3)))
    channels = int(passes.channel.max(initial=-1)) + 1
    bank = assign_banks(passes.indptr, passes.channel, channels, lanes.banks)
    _time_passes(
        passes.indptr,
        bank[passes.channel],
        passes.outputs,
        (lanes.lanes, lanes.registers, lanes.parallel_lists, lanes.loads, lanes.row_words, lanes.banks),
        result.list_cycles,
        result.load_cycles,
        result.load_slots,
    )
    return result


def split_passes(passes: Passes, capacity: int) -> Passes:
    """The same passes, those with more than ``capacity`` members divided evenly; every part runs its lists anew."""
    members = np.diff(passes.indptr)
    parts = np.maximum(1, -(-members // capacity))
    owner = np.repeat(np.arange(len(members)), parts)
    index = np.arange(len(owner)) - np.repeat(np.cumsum(parts) - parts, parts)
    starts = passes.indptr[:-1][owner] + index * members[owner] // parts[owner]
    return Passes(np.append(starts, passes.indptr[-1]), passes.channel, passes.outputs, passes.biases[owner])


@njit(cache=True, nogil=True)
def _time_passes(
    indptr: Array,
    bank: Array,
    outputs: Array,
    sizes: tuple[int, int, int, int, int, int],
    list_cycles: Array,
    load_cycles: Array,
    load_slots: Array,
) -> None:
    lanes, registers, parallel, loads, row_words, banks = sizes
    per_bank = np.zeros(banks, np.int64)
    for index in range(indptr.size - 1):
        start, stop = indptr[index], indptr[index + 1]
        per_bank[:] = 0
        for member in range(start, stop):
            slots = max(1, (ones(outputs[member]) + row_words - 1) // row_words)
            per_bank[bank[member]] += slots
            load_slots[index] += slots
        load_cycles[index] = max((load_slots[index] + loads - 1) // loads, per_bank.max())
        lane = place(outputs[start:stop], lanes, registers)
        list_cycles[index] = _list_cycles(outputs[start:stop], lane, lanes, parallel)


@njit(cache=True, nogil=True)
def _list_cycles(outputs: Array, lane: Array, lanes: int, parallel: int) -> int:
    """Cycles of all lists of a pass: per multiplier the sum over its outputs of the fullest lane."""
    load = np.zeros((64, lanes), np.int64)
    for member in range(outputs.size):
        for output in range(64):
            if (outputs[member] >> np.uint64(output)) & np.uint64(1):
                load[output, lane[member]] += 1
    busiest = 0
    for multiplier in range(parallel):
        cycles = 0
        for output in range(multiplier, 64, parallel):
            cycles += load[output].max()
        busiest = max(busiest, cycles)
    return busiest
