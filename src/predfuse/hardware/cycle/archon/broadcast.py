"""Timing of broadcast lists: a sequencer sends the entries of the lists, in order, to all PEs.

Every cycle it sends the longest run of remaining entries that its lanes, the banks of the gate memory and the rules on
lists sharing a cycle allow. A list is finished in the cycle its last entry is sent. Every finished list costs each PE
one multiplication, so at most one list is finished in a cycle.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit

from predfuse.errors import InputError
from predfuse.graph.nodes import Array

NO_BANKS = 0
"""Number of banks that stands for gates without conflicts (each PE reads its own masks)."""


@dataclass(frozen=True)
class Sequencer:
    """What limits the sequencer in one cycle.

    Attributes:
        lanes: Entries it sends.
        shared: Lists it sends entries of; with 1 the lanes behind the end of a list stay idle.
        granule: A list begins at a multiple of this many lanes (they are added up by one subtree of adders).
        banks: Of the gate memory, the word of channel ``m`` in bank ``m % banks``; ``NO_BANKS``: no conflicts.
        ports: Gate words a bank delivers.
        skips_entries: Leaves out entries whose gate word is 0 in all PEs.
        skips_lists: A list without entries takes no multiplication.
    """

    lanes: int
    shared: int = 1
    granule: int = 1
    banks: int = NO_BANKS
    ports: int = 1
    skips_entries: bool = False
    skips_lists: bool = False

    def __post_init__(self) -> None:
        limits = {"lanes": self.lanes, "shared": self.shared, "granule": self.granule, "ports": self.ports}
        for name, value in limits.items():
            if value < 1:
                raise InputError(f"sequencer {name}", f"is {value}", "use 1 or more")
        if self.banks < 0 or self.granule > self.lanes:
            raise InputError("sequencer", f"{self.banks} banks, granule {self.granule}", "use fewer lanes a granule")


def broadcast_cycles(indptr: Array, channel: Array, alive: Array, sequencer: Sequencer) -> int:
    """Cycles to send a sequence of lists.

    Args:
        indptr: ``[lists + 1]``; list ``r`` has entries ``indptr[r]:indptr[r + 1]``.
        channel: ``[entries]`` middle channel of each.
        alive: ``[entries]`` bool: whether the gate word of the entry has a bit set (used if entries are skipped).
        sequencer: Its limits.
    """
    banked = sequencer.banks != NO_BANKS
    return int(
        _send(
            indptr,
            channel,
            alive,
            sequencer.lanes,
            sequencer.shared,
            sequencer.granule,
            sequencer.banks if banked else 1,
            sequencer.ports if banked else sequencer.lanes,
            sequencer.skips_entries,
            sequencer.skips_lists,
        )
    )


@njit(cache=True, nogil=True)
def _send(
    indptr: Array,
    channel: Array,
    alive: Array,
    lanes: int,
    shared: int,
    granule: int,
    banks: int,
    ports: int,
    skips_entries: bool,
    skips_lists: bool,
) -> int:
    cycle = 0
    # Of the cycle being filled; full before the first one.
    lanes_used, lists, finished = lanes, shared, True
    read_in = np.zeros(banks, np.int64)  # cycle a bank was last read in
    reads = np.zeros(banks, np.int64)  # how often in that cycle
    for row in range(indptr.size - 1):
        start, stop = indptr[row], indptr[row + 1]
        remaining = stop - start
        if skips_entries:
            remaining = 0
            for entry in range(start, stop):
                remaining += alive[entry]
        if remaining == 0:
            if skips_lists:
                continue
            if finished or lists == shared:
                cycle, lanes_used, lists = cycle + 1, 0, 0
            lists, finished = lists + 1, True
            continue
        lanes_used = (lanes_used + granule - 1) // granule * granule
        if lists == shared or lanes_used >= lanes:
            cycle, lanes_used, lists, finished = cycle + 1, 0, 0, False
        lists += 1
        for entry in range(start, stop):
            if skips_entries and not alive[entry]:
                continue
            bank = channel[entry] % banks
            busy = read_in[bank] == cycle and reads[bank] == ports
            if lanes_used >= lanes or busy or (remaining == 1 and finished):
                cycle, lanes_used, lists, finished = cycle + 1, 0, 1, False
            if read_in[bank] != cycle:
                read_in[bank], reads[bank] = cycle, 0
            reads[bank] += 1
            lanes_used += 1
            remaining -= 1
        finished = True
    return cycle
