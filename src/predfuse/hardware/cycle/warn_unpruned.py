"""Warnings about a compiled program's unpruned blocks, with what they cost on ``archon``."""

from __future__ import annotations

import logging

from predfuse.arrays import ImageArray
from predfuse.hardware.block_work import list_entries
from predfuse.hardware.cycle.simulate import simulate_cycles
from predfuse.hardware.spec import load_spec
from predfuse.hardware.unpruned import MEND, list_notes, unpruned_blocks
from predfuse.hardware.vary import with_fields
from predfuse.integer.program import Program

log = logging.getLogger(__name__)

MOST_ENTRIES = 1_000_000
"""Fused weights up to which a program is simulated only to name the price; above, their number is named."""


def warn_unpruned(program: Program, images: ImageArray) -> tuple[str, ...]:
    """The price of a compiled program's unpruned blocks on ``archon``, logged as warnings.

    Args:
        program: The program.
        images: ``[N, C, H, W]`` uint8 pixels or normalised floats; the first gives the masks.
    """
    blocks = [item.block for item in unpruned_blocks(program).values() if item.block is not None]
    if not blocks:
        return ()
    if sum(int(list_entries(block).sum()) for block in blocks) > MOST_ENTRIES:
        notes = list_notes(program)
    else:
        spec = with_fields(load_spec("archon"), {"bits": program.bits})
        notes = simulate_cycles(program, spec, images[:1])[0].result.notes
        notes = tuple(note for note in notes if note.endswith(MEND))
    for note in notes:
        log.warning("%s: %s", program.name, note)
    return notes
