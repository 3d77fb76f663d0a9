"""The passes of a group: middle channels that meet in the lists of one input channel and tap, or of bias sums.

A pass holds the middle channels that connect one input channel and one tap (``W1[m,c]`` and ``D[m,k]`` not zero) to
the outputs of a slice; its lists differ in the output channel only. Bias sums need no product with an input, so that
one pass may mix taps: its members are gate words, (channel, tap) for the expand biases and (channel) for the depthwise
ones.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numba import njit

from predfuse.arrays import Int64Array, Mask, UInt64Array
from predfuse.hardware.block_work import BlockWork
from predfuse.hardware.cycle.archon.bits import count_ones
from predfuse.hardware.cycle.archon.placement import assign_banks

NO_COLUMN = -1
"""Stands for an input channel where there is none."""
WEIGHT, EXPAND_BIAS, DEPTHWISE_BIAS = 0, 1, 2
"""Kinds of passes."""
HELD_GROUPS = 256
"""Groups whose passes and lanes are kept for the next machine of a search, which may differ in other sizes."""


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
        taps: Of the window.
    """

    indptr: Int64Array
    channel: Int64Array
    outputs: UInt64Array
    tap: Int64Array
    column: Int64Array
    first_output: Int64Array
    taps: int

    @property
    def kinds(self) -> Int64Array:
        """``[passes]`` int64 kind of each."""
        alone = self.tap[self.indptr[:-1]] == self.taps
        kinds: Int64Array = np.where(self.column != NO_COLUMN, WEIGHT, np.where(alone, DEPTHWISE_BIAS, EXPAND_BIAS))
        return kinds

    @property
    def goes_on(self) -> Mask:
        """``[passes]`` bool: whether a pass has further members of the pass before, which was divided."""
        kinds = self.kinds
        tap = np.where(kinds == WEIGHT, self.tap[self.indptr[:-1]], 0)
        keys = np.stack((kinds, self.column, tap, self.first_output))
        same: Mask = np.zeros(len(kinds), np.bool_)
        same[1:] = (keys[:, 1:] == keys[:, :-1]).all(axis=0)
        return same

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


@lru_cache(maxsize=HELD_GROUPS)
def group_passes(work: BlockWork, group: int, slice_outputs: int, row_words: int) -> Passes:
    """All passes of a group: for every slice of outputs the bias sums, then for every input channel for every tap.

    Args:
        work: The block.
        group: Which group.
        slice_outputs: Outputs whose partial sums the PEs hold at once, at most 64.
        row_words: Project weights loaded with a channel.
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
        taps=work.taps,
    )
    return split_rows(whole, row_words)


def split_rows(passes: Passes, row_words: int) -> Passes:
    """Split members: a channel read by more than ``row_words`` outputs as several members of that many at most."""
    rows = np.maximum(1, -(-count_ones(passes.outputs).astype(np.int64) // row_words))
    owner = np.repeat(np.arange(len(rows)), rows)
    outputs = np.empty(len(owner), np.uint64)
    _cut_rows(passes.outputs, row_words, outputs)
    indptr = np.concatenate(([0], np.cumsum(rows)))[passes.indptr]
    return replace(passes, indptr=indptr, channel=passes.channel[owner], outputs=outputs, tap=passes.tap[owner])


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


@lru_cache(maxsize=HELD_GROUPS)
def divided(passes: Passes, banks: int, capacity: int) -> Passes:
    """Passes of at most ``capacity`` members: larger ones in parts, every one of which runs its lists anew.

    A part has as many members of every bank as another, or one more or fewer, so that no bank has most of its to send.

    Args:
        passes: As :func:`group_passes` has them.
        banks: Of the memories beside the lanes, which :func:`channel_banks` gives to the channels.
        capacity: Members that the lanes hold.
    """
    parts = np.maximum(1, -(-np.diff(passes.indptr) // capacity))
    owner = np.repeat(np.arange(len(parts)), parts)
    bank = channel_banks(passes, banks)[passes.channel]
    part = np.repeat(np.cumsum(parts) - parts, np.diff(passes.indptr))  # of every member, numbered over all passes
    for index in np.flatnonzero(parts > 1):
        span = slice(passes.indptr[index], passes.indptr[index + 1])
        by_bank = np.argsort(bank[span], kind="stable")
        dealt = np.arange(len(by_bank)) % parts[index]
        # Those of a bank follow each other from part to part, as it finds them.
        part[span][by_bank] += dealt[np.lexsort((dealt, bank[span][by_bank]))]
    order = np.argsort(part, kind="stable")
    indptr = np.concatenate(([0], np.cumsum(np.bincount(part, minlength=len(owner)))))
    members = passes.channel[order], passes.outputs[order], passes.tap[order]
    return Passes(indptr, *members, passes.column[owner], passes.first_output[owner], passes.taps)


def reordered(passes: Passes, order: Int64Array) -> tuple[Passes, Int64Array]:
    """The same passes in another order, and ``[members]`` which member each was.

    Args:
        passes: Any.
        order: ``[passes]`` which comes when.
    """
    lengths, turn = np.diff(passes.indptr), np.argsort(order, kind="stable")
    members: Int64Array = np.argsort(np.repeat(turn, lengths), kind="stable")
    indptr = np.concatenate(([0], np.cumsum(lengths[order])))
    of_members = passes.channel[members], passes.outputs[members], passes.tap[members]
    return Passes(indptr, *of_members, passes.column[order], passes.first_output[order], passes.taps), members


@lru_cache(maxsize=HELD_GROUPS)
def channel_banks(passes: Passes, banks: int) -> Int64Array:
    """``[channels]`` the bank of the project memory of every channel up to the last that is in a pass."""
    bank: Int64Array = assign_banks(passes.indptr, passes.channel, int(passes.channel.max(initial=-1)) + 1, banks)
    return bank
