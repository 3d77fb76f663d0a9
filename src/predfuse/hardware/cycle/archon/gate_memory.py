"""Writing gate words beside the lists: queues before banks that read or write one word a cycle.

The lists of a tile read gate words from the first cycle to the last, at times the compiler knows. The predictor writes
those of the next tile meanwhile: words wait in a queue before their bank for a cycle in which it is not read, and the
predictor waits where a queue is full; a queue takes one word a cycle. So the time of a prediction is walked through
cycle by cycle, once for every pair of a tile and the next that can occur.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit

from predfuse.arrays import Int64Array, Mask
from predfuse.hardware.cycle.archon.passes import Passes
from predfuse.hardware.cycle.archon.registers import LaneRegisters, PassTimes


@dataclass(frozen=True, eq=False)
class GateTraffic:
    """What a tile does to the gate memory.

    Attributes:
        reads: ``[cycles, banks]`` bool: which bank its lists read when.
        banks: ``[words]`` int64: bank of every gate word, channel by channel in the order of prediction.
        ends: ``[rounds]`` int64: words up to the last of the channels predicted together.
        release: ``[rounds]`` int64: when the lists have read the words of a round for the last time.
    """

    reads: Mask
    banks: Int64Array
    ends: Int64Array
    release: Int64Array


@dataclass(frozen=True)
class PredictorRate:
    """How fast a predictor works.

    Attributes:
        parts: Of every part of a tile: cycles to read its inputs, and to expand a round of channels.
        tap_cycles: Of the second stage for a round, at least.
        writes: Gate words it hands over in a cycle.
        queue_words: That wait before a bank.
    """

    parts: tuple[tuple[int, int], ...]
    tap_cycles: int
    writes: int
    queue_words: int


def gate_traffic(
    passes: Passes,
    times: PassTimes,
    lanes: LaneRegisters,
    bank: Int64Array,
    turns: Int64Array,
    words: Sequence[Int64Array],
    release: Int64Array,
) -> GateTraffic:
    """The traffic of a group on a tile.

    Args:
        passes: Of the group.
        times: Of the passes.
        lanes: What they were timed for.
        bank: ``[channels]`` of the project memory.
        turns: ``[taps + 1]`` from there to the bank of a gate word (count).
        words: ``[rounds]`` pairs ``[2, words]`` of channels and taps, in the order of prediction.
        release: ``[channels]`` when the lists need the gate words of a channel no longer.
    """
    reads = np.zeros((times.cycles, lanes.banks), np.bool_)
    owner = np.repeat(np.arange(len(times.load_cycles)), np.diff(passes.indptr))
    reads[times.load_begins[owner] + times.read_cycles, (bank[passes.channel] + turns[passes.tap]) % lanes.banks] = True
    channel, tap = np.concatenate(words, axis=1)
    sizes = [part.shape[1] for part in words]
    released = np.zeros(len(words), np.int64)
    np.maximum.at(released, np.repeat(np.arange(len(words)), sizes), release[channel])
    banks = (bank[channel] + turns[tap]) % lanes.banks
    return GateTraffic(reads=reads, banks=banks, ends=np.cumsum(sizes), release=released)


def written_cycles(traffic: GateTraffic, rate: PredictorRate, reads: Mask, release: Int64Array | None = None) -> int:
    """When all gate words of a tile are in their banks.

    Args:
        traffic: Of the tile that is predicted.
        rate: Of the predictor.
        reads: ``[cycles, banks]`` of the tile whose lists run meanwhile; predictions and lists begin together.
        release: ``[rounds]`` when the words of a round may be overwritten; None where they have places of their own.
    """
    free = np.zeros(len(traffic.ends), np.int64) if release is None else release
    clock = 0
    for reading, expanding in rate.parts:
        sizes = (expanding, rate.tap_cycles, rate.writes, rate.queue_words)
        clock = int(_walk(reads, traffic.banks, traffic.ends, free, clock + reading, sizes))
    return clock


@njit(cache=True, nogil=True)
def _walk(
    reads: Mask, banks: Int64Array, ends: Int64Array, release: Int64Array, start: int, sizes: tuple[int, int, int, int]
) -> Any:
    expanding, tap_cycles, writes, queue_words = sizes
    queue = np.zeros(reads.shape[1], np.int64)
    pushed = np.zeros(reads.shape[1], np.int64)  # the first cycle in which a queue takes a word again
    waiting = np.ones(banks.size, np.bool_)
    clock = expanded = before = done = start
    first = 0
    for index in range(ends.size):
        # The first stage fills one of two planes; the second begins when a plane is full and its places are free.
        expanded = max(expanded, before) + expanding
        while clock < max(expanded, release[index]):
            _write(queue, reads, clock)
            clock += 1
        left, taken = ends[index] - first, 0
        while left > 0 or taken < tap_cycles:
            moved = 0
            for word in range(first, ends[index]):
                bank = banks[word]
                if moved < writes and waiting[word] and queue[bank] < queue_words and pushed[bank] <= clock:
                    queue[bank] += 1
                    pushed[bank] = clock + 1
                    waiting[word] = False
                    moved += 1
            left -= moved
            taken += 1
            _write(queue, reads, clock)
            clock += 1
        first = ends[index]
        before, done = done, clock
    while queue.max() > 0:
        _write(queue, reads, clock)
        clock += 1
    return clock


@njit(cache=True, nogil=True)
def _write(queue: Int64Array, reads: Mask, clock: int) -> None:
    """One cycle of the banks: those that are not read write the first word of their queue."""
    for bank in range(queue.size):
        if queue[bank] > 0 and not (clock < reads.shape[0] and reads[clock, bank]):
            queue[bank] -= 1
