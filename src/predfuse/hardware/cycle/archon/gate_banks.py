"""Which bank of the gate memory holds a gate word: that of its channel, turned by as many banks as its tap says.

A bank takes one word a cycle from the predictor, which so waits for a channel with several words for one bank. With
fewer banks than taps some share a turn; the compiler lets those that few channels have both of.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from numba import njit

from predfuse.arrays import Int64Array, Mask
from predfuse.hardware.cycle.archon.passes import HELD_GROUPS, Passes


@lru_cache(maxsize=HELD_GROUPS)
def tap_turns(passes: Passes, banks: int) -> Int64Array:
    """``[taps + 1]`` int64 by how many banks the gate words of every tap are turned, the last for mask 2 alone.

    No other turn of one tap, and no exchange of two, lets the predictor hand over the words of all channels sooner.

    Args:
        passes: Of a group, as :func:`predfuse.hardware.cycle.archon.passes.group_passes` has them.
        banks: Of the gate memory.
    """
    words = np.zeros((int(passes.channel.max(initial=-1)) + 1, passes.taps + 1), np.bool_)
    words[passes.channel, passes.tap] = True
    turns = np.arange(passes.taps + 1) % banks
    if banks <= passes.taps:
        _improve(words, turns, banks)
    return turns


def fullest_bank(bank: Int64Array, turn: Int64Array, banks: int) -> int:
    """Most gate words in a bank of the gate memory.

    Args:
        bank: ``[words]`` of the project memory, of the channel of each.
        turn: ``[words]`` of the tap of each.
        banks: How many there are.
    """
    return int(np.bincount((bank + turn) % banks, minlength=1).max())


@njit(cache=True, nogil=True)
def _improve(words: Mask, turns: Int64Array, banks: int) -> None:
    taps = turns.size
    best, better = _cycles(words, turns, banks), True
    while better:
        better = False
        for one in range(taps):
            for other in range(taps + banks):  # behind the taps: a turn of its own
                before = turns[one]
                if other < taps:
                    turns[one], turns[other] = turns[other], before
                else:
                    turns[one] = other - taps
                now = _cycles(words, turns, banks)
                if now < best:
                    best, better = now, True
                elif other < taps:
                    turns[other], turns[one] = turns[one], before
                else:
                    turns[one] = before


@njit(cache=True, nogil=True)
def _cycles(words: Mask, turns: Int64Array, banks: int) -> Any:
    """In which the words of all channels are handed over, one to a bank at a time."""
    total = 0
    held = np.zeros(banks, np.int64)
    for channel in range(words.shape[0]):
        held[:] = 0
        most = 0
        for tap in range(words.shape[1]):
            if words[channel, tap]:
                held[turns[tap]] += 1
                most = max(most, held[turns[tap]])
        total += most
    return total
