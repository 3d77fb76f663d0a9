"""Starts of the core: what each is to do, what it did, and where the two differ."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from predfuse.arrays import Int16Array, Int64Array
from predfuse.hardware.cycle.archon.sequence.commands import Store
from predfuse.hardware.cycle.archon.sequence.schedule import Clock


@dataclass(frozen=True)
class Measured:
    """What one start of the core did.

    Attributes:
        list_cycles: Of all passes.
        predict_cycles: From the first input read to the last gate word written.
        begins: Cycle after the start in which each pass was handed to the lists.
        before: Where the cycles of the machine went before it.
    """

    list_cycles: int = 0
    predict_cycles: int = 0
    begins: tuple[int, ...] = ()
    before: Clock = field(default_factory=Clock)


@dataclass(frozen=True, eq=False)
class Step:
    """Something the core is started to do.

    Attributes:
        block: Number of the block in its chain that is worked on.
        leaves: Number of that whose outputs leave.
        flags: What is started.
        what: In words.
        turn: Cycle of the image in which its command has its turn.
        expected: Cycles of the cycle model.
        at: Where its outputs lie among the lines of outputs of the image.
        pixels: These of the integer machine.
    """

    block: int
    leaves: int
    flags: int
    what: str
    turn: int
    expected: Measured
    at: Int64Array
    pixels: Int64Array


@dataclass(frozen=True)
class Compared:
    """One step as it was planned and as it went.

    Attributes:
        what: It was.
        planned_turn: Cycle of its image in which its command has its turn.
        turn: Measured.
        planned_list_cycles: Of all passes.
        list_cycles: Measured.
        planned_predict_cycles: From the first input read to the last gate word written.
        predict_cycles: Measured.
        wrong_passes: Handed to the lists in another cycle than planned (count).
        wrong_pixels: Outputs that differ (count).
    """

    what: str
    planned_turn: int
    turn: int
    planned_list_cycles: int
    list_cycles: int
    planned_predict_cycles: int
    predict_cycles: int
    wrong_passes: int
    wrong_pixels: int

    @property
    def differs(self) -> bool:
        """Whether anything went otherwise."""
        cycles = self.planned_turn, self.planned_list_cycles, self.planned_predict_cycles
        return cycles != (self.turn, self.list_cycles, self.predict_cycles) or self.wrong_passes + self.wrong_pixels > 0


def compare(step: Step, measured: Measured, pixels: Int64Array) -> list[tuple[int, Compared]]:
    """What a step did beside what it should, with the number of the block; outputs of another block for themselves.

    Args:
        step: As it was planned.
        measured: As it went.
        pixels: Lines of outputs of its image.
    """
    expected = step.expected
    shared = min(len(expected.begins), len(measured.begins))
    passes = sum(expected.begins[i] != measured.begins[i] for i in range(shared))
    passes += len(expected.begins) + len(measured.begins) - 2 * shared
    wrong = int(np.count_nonzero(pixels[step.at] != step.pixels))
    lists, predictions = expected.list_cycles, expected.predict_cycles
    turns = step.turn, measured.before.total
    cycles = *turns, lists, measured.list_cycles, predictions, measured.predict_cycles, passes
    if step.leaves == step.block:
        return [(step.block, Compared(step.what, *cycles, wrong))]
    return [
        (step.block, Compared(step.what, *cycles, 0)),
        (step.leaves, Compared(f"{step.what} of this block", *turns, 0, 0, 0, 0, 0, wrong)),
    ]


def outputs_at(store: Store | None, outputs_of: Sequence[Int16Array]) -> tuple[Int64Array, Int64Array]:
    """Where the outputs of a start lie in the global buffer, and which they are; ``[O, P, Q]`` of all blocks."""
    if store is None:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    own, outputs = store.own, store.item.group.outputs
    rows, columns = (np.arange(span.start, span.stop) for span in (store.rows, store.columns))
    planes = own.at + (outputs - store.item.group.output_span[0]) * own.plane_pixels
    at = planes[:, None, None] + (rows[:, None] - own.top) * own.row_pixels + columns - own.left
    return at.ravel(), outputs_of[store.item.block][np.ix_(outputs, rows, columns)].astype(np.int64).ravel()
