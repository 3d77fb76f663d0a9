"""What the fill unit of the gateware does for a block: one access of the global buffer a cycle, in closed form.

Only a machine with ``design.streams: gateware`` is charged so; others fill through all banks of the buffer at once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from predfuse.hardware.block_work import BlockWork
from predfuse.hardware.cycle.archon.gateware import MEMORIES, Machine, records
from predfuse.hardware.cycle.archon.maps import added_together, row_pixels, together, window
from predfuse.hardware.cycle.archon.predictor import Part
from predfuse.hardware.cycle.archon.sequence.group import keeps_maps
from predfuse.hardware.cycle.archon.sequence.parts import part_corner, part_inputs
from predfuse.integer.tiling import Span, Tile


@dataclass(frozen=True)
class GroupFill:
    """Filling the memories of the core with the words of a group.

    Attributes:
        machine: Sizes of the memories.
        number: Of the group.
        needs: Records the group has for each, by its name, in the fullest bank.
    """

    machine: Machine
    number: int
    needs: Mapping[str, int]

    def accesses(self, names: Sequence[str] | None = None) -> int:
        """Of the global buffer, which are as many cycles: of some memories, or of all."""
        machine, total = self.machine, 0
        fixed = {"group": 1, "bases": machine.taps + 1, "map": machine.taps + 2}
        for name in ("group", "bases", *MEMORIES):
            if names is None or MEMORIES.get(name, name) in names:
                count = fixed[name] if name in fixed else self.needs[MEMORIES[name]]
                total += machine.port_words(name, count) * word_accesses(name, machine)
        return total

    def beside(self, last: GroupFill) -> int:
        """Accesses that need not wait for the group before: those of memories that hold both."""
        apart = [name for name in self.needs if name != "slots" and self._holds(name, last)]
        if 2 * max(self.needs["slots"], last.needs["slots"]) <= self.machine.slots:
            apart.append("slots")
        return self.accesses() - self.accesses(["bases", *(name for name in self.needs if name not in apart)])

    def _holds(self, name: str, last: GroupFill) -> bool:
        return self.needs[name] <= self.machine.high(name, last.needs[name])


def word_accesses(name: str, machine: Machine) -> int:
    """Accesses of the global buffer for a word of some records: a line each."""
    words = -(-records(machine)[name].bits * machine.copies(name) // (16 * machine.buffer_pixels))
    return -(-words // machine.buffer_banks)


def item_accesses(work: BlockWork, tile: Tile, parts: Sequence[Part], fill: GroupFill) -> tuple[int, int]:
    """Accesses for a tile of a group: rows of its input planes, of those of its parts, of its residuals; the parts.

    Also how many words more are read than row by row.

    Args:
        work: The block.
        tile: The tile.
        parts: It is predicted in; none where no channel is predicted.
        fill: Of the group.
    """
    machine = fill.machine
    whole = Span(0, work.in_shape[2]) if keeps_maps(work, fill.number, machine) else tile.input_columns
    row = row_pixels(whole.size, machine)
    corner = tile.rows.start * work.stride - work.padding[0], tile.columns.start * work.stride - work.padding[2]
    planes = [(corner, tile.input_rows, tile.input_columns)]
    planes += [(part_corner(work, tile, part), *part_inputs(work, tile, part)) for part in parts]
    single = [window(corner, rows, columns, whole.start, machine) for corner, rows, columns in planes]
    several = [together(one, row, machine) for one in single]
    surplus = work.group_channels * sum(some.words - one.words for one, some in zip(single, several, strict=True))
    told = len(parts) * word_accesses("part", machine)
    accesses = work.group_channels * sum(one.accesses for one in several) + told
    if work.residual:
        whole = Span(0, work.out_shape[2]) if keeps_maps(work, fill.number, machine) else tile.columns
        rows = window((tile.rows.start, tile.columns.start), tile.rows, tile.columns, whole.start, machine)
        added = added_together(rows, row_pixels(whole.size, machine), machine)
        accesses += work.group_outputs * added.accesses
        surplus += work.group_outputs * (added.words - rows.words)
    return accesses, surplus
