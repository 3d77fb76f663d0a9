"""All items of a chain of blocks in order: what each needs is filled while the lists of the one before run, if there is
room.

Words of a group are filled beside the lists of any group before it, also of another block; pixels of a block come when
the block before is done, or, where blocks flow, with the first filling of the global buffer behind the one in which
the outputs they are have left.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import accumulate, pairwise, takewhile

from predfuse.hardware.cycle.archon.gateware import INPUT_PLANE, PART_PLANE, RESIDUAL, bits_for, records
from predfuse.hardware.cycle.archon.sequence.buffer import BufferBuilder, Filling
from predfuse.hardware.cycle.archon.sequence.commands import (
    BEHIND,
    FINISH,
    LISTS,
    PREDICT,
    After,
    Map,
    Parts,
    Start,
    Store,
)
from predfuse.hardware.cycle.archon.sequence.flow import Chain, sources
from predfuse.hardware.cycle.archon.sequence.group import ALONE, BEHIND_LISTS, Records
from predfuse.hardware.cycle.archon.sequence.order import OWN, Item, last_uses, order
from predfuse.hardware.cycle.archon.sequence.parts import part_corner, part_inputs, predicted_parts
from predfuse.hardware.cycle.archon.sequence.waiting import BEGIN, Waiting

Fillings = list[list[Filling]]
"""Of the global buffer, for one stretch of blocks that flow into each other after the other."""


def chain_fillings(chain: Chain) -> tuple[Chain, Fillings]:
    """Everything the gateware does for one input of a chain of blocks, and the chain without flows that do not pay.

    Args:
        chain: Its groups in order; which blocks may flow.

    Raises:
        InputError: The global buffer does not hold a tile, or the predictor cannot take one.
    """
    found, fillings = chain, _cheapest(chain)
    for block in range(len(chain.flows)):
        if found.flows[block]:
            other = replace(found, flows=(*found.flows[:block], False, *found.flows[block + 1 :]))
            if _total(waiting := _cheapest(other)) < _total(fillings):
                found, fillings = other, waiting
    return found, fillings


def _cheapest(chain: Chain) -> Fillings:
    """Of one input, where every block flows that is said to."""
    # With one tile a group, the words to predict the second may have to come before any lists: that may cost more.
    ends = zip(chain.blocks, chain.flows, strict=True)
    late = [int(not flows and len(own[0].tiles) == 1 < len(own)) for own, flows in ends]
    found = [_fillings(chain, [0] * len(late))]
    if any(late):
        found.append(_fillings(chain, late))
        better = [_cycles(one) > _cycles(two) for one, two in zip(*found, strict=True)]
        stretch = [number - 1 for number in accumulate(not flows for flows in chain.flows)]
        mixed = [int(better[number]) & one for number, one in zip(stretch, late, strict=True)]
        if mixed not in ([0] * len(late), late):
            found.append(_fillings(chain, mixed))
    return min(found, key=_total)


def _total(fillings: Fillings) -> int:
    return sum(map(_cycles, fillings))


def _cycles(fillings: Sequence[Filling]) -> int:
    return sum(one.scheduled.clock.total for one in fillings)


def _fillings(chain: Chain, ahead_from: Sequence[int]) -> Fillings:
    builder = BufferBuilder(chain.blocks[0][0].machine)
    ends = [*_Sequence(chain, builder, ahead_from).add(), len(builder.fillings)]
    return [builder.fillings[first:end] for first, end in pairwise([0, *ends])]


class _Sequence:
    """All items of a chain on their way to a builder."""

    def __init__(self, chain: Chain, builder: BufferBuilder, ahead_from: Sequence[int]) -> None:
        self.builder, self.machine = builder, builder.machine
        self.items = order(chain, ahead_from)
        self.waiting = Waiting([group for groups in chain.blocks for group in groups], last_uses(self.items))
        self.inputs, self.added = self._makers(chain)

    def _makers(self, chain: Chain) -> tuple[dict[int, list[int]], dict[int, list[int]]]:
        """Items whose outputs each group of a block that flows reads, by the number of the group: as inputs, and added
        to its outputs."""
        made = defaultdict(list)
        for item in self.items:
            made[item.block, item.group.index].append(item.number)
        inputs, added = {}, {}
        for block, groups in enumerate(chain.blocks):
            for group in groups if chain.flows[block] else ():
                read = sources(chain.blocks[block - 1], group)
                inputs[group.number] = [number for index in read.inputs for number in made[block - 1, index]]
                added[group.number] = [number for index in read.added for number in made[block - 1, index]]
        return inputs, added

    def _ready(self, item: Item, makers: Mapping[int, Sequence[int]]) -> bool:
        """Whether what an item reads has left before the filling at hand."""
        return all(self.builder.done_before("left", number) for number in makers.get(item.group.number, ()))

    def add(self) -> list[int]:
        """All of them to the builder; fillings before every block but the first that does not flow (count)."""
        start, before, ends = BEGIN, None, []
        for item in self.items:
            if item.begins:
                self.builder.close()
                ends.append(len(self.builder.fillings))
            self.builder.where = f"layer {item.group.work.name}"
            number, following = item.group.number, self._following(item)
            self._tell(self.waiting.rest(number, True, start))
            if item.group.predicted and item.how == ALONE:
                self.builder.add(partial(self._predict, item, before))
                start, before = item.alone, None
            rest = self.waiting.rest(number, False, start)
            if following is not None:
                rest += self.waiting.rest(following.group.number, True, start)
            self._tell(rest)
            self.builder.together(partial(self._work, item, following, before, self.waiting.left))
            start, before = (item.left, None) if item.leaves == OWN else (item.lists, item)
        self.builder.close()
        return ends[1:]

    def _work(
        self, item: Item, following: Item | None, before: Item | None, left: tuple[tuple[int, Records], ...]
    ) -> None:
        """Lists of an item, and fills beside them; outputs of the one before, or its own."""
        self.waiting.left = left
        self.builder.add(partial(self._planes, item))
        if following is not None:
            self.builder.add(partial(self._parts, following))
        self.builder.add(partial(self._lists, item, following, before))
        begun = self.builder.fill_cycles
        self.builder.add(partial(self._residual, item))
        fills = self.builder.fills
        self._ahead(item, following)
        end = begun + max(item.group.list_cycles, self._predict_cycles(item, following))
        for fill, after in self.waiting.beside(item.group.number, item.lists, end - self.builder.fill_cycles):
            self.builder.add(partial(self.builder.records, fill, after))
        if item.leaves == OWN:
            # A fill waits for the one before: behind another fill, the residuals are there.
            self.builder.add(partial(self._finish, item, item.group.work.residual and self.builder.fills == fills))

    def _tell(self, fills: Sequence[tuple[Records, After]]) -> None:
        """Words of groups that begin, or with which they are predicted; what waits longest comes last."""
        for fill, after in sorted(fills, key=lambda one: one[1]):
            self.builder.add(partial(self.builder.records, fill, after))

    def _following(self, item: Item) -> Item | None:
        """The item that is predicted while the lists of this one run."""
        found = self.items[item.number + 1] if item.number + 1 < len(self.items) else None
        return None if found is None or found.how == ALONE else found

    def _predict_cycles(self, item: Item, following: Item | None) -> int:
        """Of the prediction beside the lists of an item."""
        return 0 if following is None else following.group.written_cycles(following.tile, following.how, item.group)

    def _predict(self, item: Item, before: Item | None) -> None:
        self._parts(item)
        cycles = item.group.written_cycles(item.tile, ALONE, item.group)
        self._start(PREDICT, item, item, before, predict_cycles=cycles)

    def _lists(self, item: Item, following: Item | None, before: Item | None) -> None:
        flags = LISTS
        if following is not None:
            flags |= PREDICT | (BEHIND if following.how == BEHIND_LISTS else 0)
        cycles = item.group.list_cycles, self._predict_cycles(item, following)
        self._start(flags, item, following, before, True, *cycles)

    def _finish(self, item: Item, after: bool) -> None:
        self._start(FINISH, item, None, item, after)

    def _start(
        self, flags: int, item: Item, predicted: Item | None, leaving: Item | None, after: bool = True,
        list_cycles: int = 0, predict_cycles: int = 0,
    ) -> None:  # fmt: skip
        """Start the core; beside it, outputs of an item may leave."""
        store = None
        if leaving is not None:
            store = Store(leaving, self.builder.output_map(leaving), leaving.tile.rows, leaving.tile.columns)
            self.builder.mark("left", leaving.number)
            flags |= FINISH
        self.builder.command(Start(flags, item, predicted, store, after, list_cycles, predict_cycles))

    def _residual(self, item: Item) -> None:
        if item.group.work.residual:
            self.builder.require(self._ready(item, self.added))
            tile, count = item.tile, item.group.work.group_outputs
            own = self.builder.map(item, True, count, tile.rows, tile.columns)
            corner = tile.rows.start, tile.columns.start
            self.builder.planes(item, own, RESIDUAL, item.output_first, count, corner, tile.rows, tile.columns)

    def _ahead(self, item: Item, following: Item | None) -> None:
        """Fill for the items behind this one, into places that are free."""
        coming = list(takewhile(lambda one: not one.begins, self.items[item.number + 1 : item.number + 3]))
        if coming and self._ready(coming[0], self.inputs):
            self.builder.add(partial(self._planes, coming[0]))
        for one in coming[following is not None :]:
            if self._parts_apart(one) and self._ready(one, self.inputs):
                self.builder.add(partial(self._parts, one))

    def _input(self, item: Item) -> Map:
        return self.builder.map(
            item, False, item.group.work.group_channels, item.tile.input_rows, item.tile.input_columns
        )

    def _planes(self, item: Item) -> None:
        """What the lists of an item multiply, into one of the two sets of planes."""
        if ("planes", item.number) in self.builder.filled:
            return
        self.builder.require(self._ready(item, self.inputs))
        self.builder.mark("planes", item.number)
        work, tile = item.group.work, item.tile
        corner = (tile.rows.start * work.stride - work.padding[0], tile.columns.start * work.stride - work.padding[2])
        at = item.number % 2 << bits_for(self.machine.columns) | item.group.places.first["columns"]
        inputs = tile.input_rows, tile.input_columns
        self.builder.planes(item, self._input(item), INPUT_PLANE, at, work.group_channels, corner, *inputs)

    def _parts_apart(self, item: Item) -> bool:
        """Whether the parts of an item and of the one before, also of another group, are in places of their own."""
        near = self.items[max(0, item.number - 1) : item.number + 1]
        return all(one.group.parts_at for one in near)

    def _parts(self, item: Item) -> None:
        """How an item is predicted, and the inputs for that; after the core is done where others are in their place."""
        if ("parts", item.number) in self.builder.filled or not item.group.predicted:
            return
        self.builder.require(self._ready(item, self.inputs))
        self.builder.mark("parts", item.number)
        work, machine, tile = item.group.work, self.machine, item.tile
        parts, record = predicted_parts(work, tile, machine), records(machine)["part"]
        after = After.NOTHING if self._parts_apart(item) else After.CORE
        self.builder.parts(Parts(item, len(parts)), record.region, record.bits, after)
        for part, (own, _) in enumerate(parts, item.part_first):
            corner, inputs, at = part_corner(work, tile, own), part_inputs(work, tile, own), part * machine.held
            channels = work.group_channels
            self.builder.planes(item, self._input(item), PART_PLANE, at, channels, corner, *inputs, after)
