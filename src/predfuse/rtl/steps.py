"""Fused blocks for the gateware: images of the global buffer, and what every start of the core has to do."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from predfuse.arrays import Int16Array
from predfuse.graph.nodes import Shape
from predfuse.hardware.cycle.archon.gateware import Machine
from predfuse.hardware.cycle.archon.sequence.block import chain_fillings
from predfuse.hardware.cycle.archon.sequence.buffer import Filling
from predfuse.hardware.cycle.archon.sequence.commands import FINISH, LISTS, Start, Store
from predfuse.hardware.cycle.archon.sequence.flow import Chain
from predfuse.hardware.cycle.archon.sequence.group_order import in_order
from predfuse.integer.nodes import FusedBlock
from predfuse.rtl.image import Encoder, Image
from predfuse.rtl.starts import Measured, Step, outputs_at
from predfuse.rtl.streams import GroupStream, emit_group


@dataclass(frozen=True, eq=False)
class ChainPlan:
    """Blocks that follow each other, for the gateware: what all inputs share.

    Attributes:
        nodes: The blocks.
        machine: The gateware.
        streams: Groups of every block in words, in the order in which they are worked on.
        fillings: Of the global buffer, for one input; each with the number of the block that it begins with.
        encoder: Writes them down.
        reads: Whether each block reads what the one before makes.
        flows: Whether it begins beside the last lists of the one before.
    """

    nodes: tuple[FusedBlock, ...]
    machine: Machine
    streams: tuple[tuple[GroupStream, ...], ...]
    fillings: tuple[tuple[int, Filling], ...]
    encoder: Encoder
    reads: tuple[bool, ...]
    flows: tuple[bool, ...]

    def images(self, inputs: Sequence[Int16Array], outputs: Sequence[Int16Array], number: int) -> list[Image]:
        """Everything to do for one input. A block that reads what the one before makes finds in an image what has left
        with those before it, and 0 for the rest.

        Args:
            inputs: ``[C, H, W]`` int16 input of every block.
            outputs: ``[O, P, Q]`` int16 outputs that the integer machine gives for them.
            number: Of the input, for messages.
        """
        known = [np.zeros_like(x) if reading else x for x, reading in zip(inputs, self.reads, strict=True)]
        images = []
        for block, filling in self.fillings:
            images.append(self._image(block, filling, known, outputs, number))
            for one in filling.commands:
                if isinstance(one, Start) and one.store is not None:
                    self._leave(one.store, known, outputs)
        return images

    def _leave(self, store: Store, known: Sequence[Int16Array], outputs: Sequence[Int16Array]) -> None:
        """What leaves is known to the next block, if that reads it."""
        block, rows, columns = store.item.block, store.rows, store.columns
        if block + 1 < len(known) and self.reads[block + 1]:
            channels = store.item.group.outputs
            part = np.s_[channels, rows.start : rows.stop, columns.start : columns.stop]
            known[block + 1][part] = outputs[block][part]

    def _image(
        self, block: int, filling: Filling, inputs: Sequence[Int16Array], outputs: Sequence[Int16Array], number: int
    ) -> Image:
        read = filling.output_line * self.machine.line
        told = zip(filling.commands, filling.scheduled.turns, strict=False)
        steps = [self._step(one, turn, outputs, number, read) for one, turn in told if isinstance(one, Start)]
        return Image(
            lines=self.encoder.lines(filling, inputs),
            start_row=filling.list_line,
            read_row=filling.output_line,
            read_rows=self.machine.buffer_lines - filling.output_line,
            steps=tuple(steps),
            planned=filling.scheduled.clock,
            block=block,
            blocks=filling.scheduled.blocks,
        )

    def _step(self, start: Start, turn: int, outputs: Sequence[Int16Array], number: int, read: int) -> Step:
        """What a start has to do, where lines of outputs begin with pixel ``read``."""
        block = start.item.block
        (times,) = (one.times for one in self.streams[block] if one.group == start.item.group.index)
        begun = times.ends - times.list_cycles - 1 if start.flags & LISTS else ()
        leaves = block if start.store is None else start.store.item.block
        at, pixels = outputs_at(start.store, outputs)
        expected = Measured(start.list_cycles, start.predict_cycles, tuple(int(cycle) for cycle in begun))
        what = f"image {number}, {_told(start)}"
        return Step(block, leaves, start.flags, what, turn, expected, at - read, pixels)


def plan_chain(
    blocks: Sequence[tuple[FusedBlock, Shape]], machine: Machine, reads: Sequence[bool] | None = None
) -> ChainPlan:
    """Blocks that follow each other, in one sequence.

    Args:
        blocks: With ``(C, H, W)`` of the input of each, in order.
        machine: The gateware.
        reads: Whether each reads what the one before makes, and finds it in the global buffer; None: none does.

    Raises:
        InputError: The gateware does not hold a block, or the global buffer not a tile.
    """
    reading = (False,) * len(blocks) if reads is None else tuple(reads)
    chain = in_order(
        [[emit_group(node, shape, group, machine).sizes for group in range(node.groups)] for node, shape in blocks],
        reading,
    )
    streams = tuple(
        tuple(emit_group(node, shape, one.index, machine, one.number) for one in own)
        for (node, shape), own in zip(blocks, chain.blocks, strict=True)
    )
    encoder = Encoder([stream for own in streams for stream in own])
    told, found = chain_fillings(Chain(tuple(tuple(stream.sizes for stream in own) for own in streams), chain.flows))
    fillings = tuple(one for some in found for one in _with_blocks(some))
    return ChainPlan(tuple(node for node, _ in blocks), machine, streams, fillings, encoder, reading, told.flows)


def _with_blocks(fillings: Sequence[Filling]) -> Iterator[tuple[int, Filling]]:
    """Fillings for blocks that flow into each other, each with the number of the block that it begins with."""
    block = next(number for filling in fillings for number, _ in filling.scheduled.blocks)
    for filling in fillings:
        yield block, filling
        block = [block, *(number for number, _ in filling.scheduled.blocks)][-1]


def plan_block(node: FusedBlock, in_shape: Shape, machine: Machine) -> ChainPlan:
    """A block by itself.

    Args:
        node: The block.
        in_shape: ``(C, H, W)`` of its input.
        machine: The gateware.

    Raises:
        InputError: The gateware does not hold the block, or the global buffer not a tile.
    """
    return plan_chain([(node, in_shape)], machine)


def _told(start: Start) -> str:
    """What a start is for, in words."""
    if start.flags == FINISH:
        return f"{start.item}, outputs"
    what = f"{start.item}, prediction"
    if start.flags & LISTS:
        what = f"{start.item}, lists"
        if start.predicted is not None:
            whose = "" if start.predicted.group is start.item.group else " of the next group"
            whose = " of the next block" if start.predicted.block != start.item.block else whose
            what += f", the next prediction{whose} {start.predicted.how}"
    return what if start.store is None else f"{what}; outputs of {start.store.item}"
