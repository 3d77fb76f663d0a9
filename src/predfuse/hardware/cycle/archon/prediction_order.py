"""In which order the channels of a group are predicted, and what of that the machine has to be told."""

from __future__ import annotations

import numpy as np

from predfuse.arrays import Int64Array
from predfuse.errors import InputError
from predfuse.hardware.block_work import BlockWork
from predfuse.hardware.cycle.archon.gateware import Machine
from predfuse.hardware.cycle.archon.sequence.parts import machine_parts
from predfuse.integer.tiling import Tile


def predicted_behind(work: BlockWork, gate_words: int, machine: Machine) -> bool:
    """Whether a tile is predicted behind the lists of the tile before, into the places that these give free.

    Args:
        work: The block.
        gate_words: Of a tile of the group, in the fullest bank.
        machine: The gateware.
    """
    tiles = work.tiles(machine.tile_rows, machine.tile_columns)
    if len(tiles) == 1 or 2 * gate_words <= machine.gate_words:
        return False
    return any(_whole(work, tile, machine) for tile in tiles[1:])


def _whole(work: BlockWork, tile: Tile, machine: Machine) -> bool:
    """Whether a tile is predicted in one part."""
    try:
        return len(machine_parts(work, tile, machine)) == 1
    except InputError:  # the predictor does not take it at all; who predicts it says so
        return False


def prediction_order(release: Int64Array, bank: Int64Array, behind: bool) -> Int64Array:
    """``[channels]`` int64: live channels in the order in which they are predicted.

    Behind the lists that is the order in which these release them. Else it is that of their slots, bank by bank, so
    that bank and slot of a channel follow from the number of channels in every bank.

    Args:
        release: ``[channels]`` when the lists need the gate words of a live channel no longer.
        bank: ``[channels]`` int64: where it is; its slot is its rank there.
        behind: Whether any tile is predicted behind lists.
    """
    if behind:
        return np.argsort(release, kind="stable")
    slot = np.zeros(len(bank), np.int64)
    for own in range(int(bank.max(initial=-1)) + 1):
        here = bank == own
        slot[here] = np.arange(np.count_nonzero(here))
    return np.lexsort((bank, slot))
