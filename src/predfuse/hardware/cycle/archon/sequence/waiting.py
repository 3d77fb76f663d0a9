"""Words of groups that wait to be filled: in which order they go, and which of them may go while the core works."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import takewhile

from predfuse.hardware.cycle.archon.sequence.commands import After
from predfuse.hardware.cycle.archon.sequence.group import Group, Records

WAITS = {"channels": After.CORE, "outputs": After.OUTPUTS}
"""Memories whose places are last used by a prediction, and by outputs that leave; all others are, by lists."""
BEGIN = -1
"""Before the first start of the core."""


class Waiting:
    """All words of a chain of blocks, group by group, what a prediction needs first.

    Starts of the core are numbered; words may be filled beside one as soon as their places have been used for the last
    time in a start before it, and after it is done if that was the last.

    Args:
        groups: Of the chain.
        last_uses: Of each: the last start that needs its words, by memory.

    Attributes:
        left: What is not filled yet, and of which group.
    """

    def __init__(self, groups: Sequence[Group], last_uses: Sequence[Mapping[str, int]]) -> None:
        self._free: list[Mapping[str, int]] = []
        for number, group in enumerate(groups):
            apart = [group.places.apart(before.places) for before in groups[:number]]
            uses = zip(apart, last_uses, strict=False)
            own = [{memory: use for memory, use in last.items() if memory not in both} for both, last in uses]
            self._free.append(
                {memory: max(use.get(memory, BEGIN - 1) for use in [{}, *own]) for memory in last_uses[0]}
            )
        self._line = 16 * groups[0].machine.line
        self.left = tuple((number, fill) for number, group in enumerate(groups) for fill in group.fills)

    def beside(self, group: int, start: int, cycles: int) -> list[tuple[Records, After]]:
        """Take what may be filled beside a start and fits its cycles; last what waits until outputs have left with it.

        Args:
            group: At work; the two behind it come into question.
            start: Which is the last.
            cycles: Of it that are left for fills.
        """
        chosen: list[tuple[int, Records]] = []
        for one in self.left:
            if one[0] > group + 2:
                break
            free = self._free[one[0]][one[1].memory]
            if free > start or (free == start and one[1].memory != "outputs"):
                continue
            cycles -= one[1].count * -(-one[1].bits // self._line)
            if cycles < 0:
                break
            chosen.append(one)
        self._take(chosen)
        fills = [(fill, self._after(number, fill, start)) for number, fill in chosen]
        return sorted(fills, key=lambda one: one[1])

    def rest(self, group: int, predicts: bool, start: int) -> list[tuple[Records, After]]:
        """Take what is left of a group, and what of the last start it has to wait for.

        Args:
            group: Which.
            predicts: Only what a prediction needs.
            start: The last.
        """
        own = takewhile(lambda one: one[0] <= group, self.left)
        chosen = [one for one in own if one[1].predicts or not predicts]
        self._take(chosen)
        return [(fill, self._after(number, fill, start)) for number, fill in chosen]

    def _after(self, group: int, fill: Records, start: int) -> After:
        """What of the last start a fill has to wait for."""
        free = self._free[group][fill.memory]
        assert free <= start
        if free < start:
            return After.NOTHING
        return WAITS.get(fill.memory, After.LISTS)

    def _take(self, chosen: Sequence[tuple[int, Records]]) -> None:
        taken = {id(fill) for _, fill in chosen}
        self.left = tuple(one for one in self.left if id(one[1]) not in taken)
