"""Fused blocks for the gateware: images of the global buffer, and what every start of the core has to do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from predfuse.arrays import Int16Array
from predfuse.graph.nodes import Shape
from predfuse.hardware.cycle.archon.gateware import Machine
from predfuse.hardware.cycle.archon.sequence.block import chain_fillings, in_order
from predfuse.hardware.cycle.archon.sequence.buffer import Filling
from predfuse.hardware.cycle.archon.sequence.commands import FINISH, LISTS, Start
from predfuse.integer.nodes import FusedBlock
from predfuse.rtl.image import Encoder, Image
from predfuse.rtl.starts import Measured, Step, outputs_at
from predfuse.rtl.streams import GroupStream, emit_group


@dataclass(frozen=True, eq=False)
class BlockPlan:
    """A block for the gateware: what all its inputs share.

    Attributes:
        node: The block.
        machine: The gateware.
        streams: Its groups in words, in the order in which they are worked on.
        fillings: Of the global buffer, for one input.
        encoder: Of the chain it is in.
    """

    node: FusedBlock
    machine: Machine
    streams: tuple[GroupStream, ...]
    fillings: tuple[Filling, ...]
    encoder: Encoder

    def images(self, x: Int16Array, y: Int16Array, number: int) -> list[Image]:
        """Everything to do for one input.

        Args:
            x: ``[C, H, W]`` int16 input of the block.
            y: ``[O, P, Q]`` int16 outputs that the integer machine gives for it.
            number: Of the input, for messages.
        """
        return [self._image(filling, x, y, number) for filling in self.fillings]

    def _image(self, filling: Filling, x: Int16Array, y: Int16Array, number: int) -> Image:
        read = filling.output_line * self.machine.line
        steps = [self._step(one, y, number, read) for one in filling.commands if isinstance(one, Start)]
        return Image(
            lines=self.encoder.lines(filling, x),
            start_row=filling.list_line,
            read_row=filling.output_line,
            read_rows=self.machine.buffer_lines - filling.output_line,
            steps=tuple(steps),
            planned=filling.scheduled.clock,
        )

    def _step(self, start: Start, y: Int16Array, number: int, read: int) -> Step:
        """What a start has to do, where lines of outputs begin with pixel ``read``."""
        (times,) = (one.times for one in self.streams if one.group == start.item.group.index)
        begun = times.ends - times.list_cycles - 1 if start.flags & LISTS else ()
        at, pixels = outputs_at(start.store, y)
        expected = Measured(start.list_cycles, start.predict_cycles, tuple(int(cycle) for cycle in begun))
        return Step(start.flags, f"image {number}, {_told(start)}", expected, at - read, pixels)


def plan_chain(blocks: Sequence[tuple[FusedBlock, Shape]], machine: Machine) -> list[BlockPlan]:
    """Blocks that follow each other, in one sequence.

    Args:
        blocks: With ``(C, H, W)`` of the input of each, in order.
        machine: The gateware.

    Raises:
        InputError: The gateware does not hold a block, or the global buffer not a tile.
    """
    ordered = in_order(
        [[emit_group(node, shape, group, machine).sizes for group in range(node.groups)] for node, shape in blocks]
    )
    streams = [
        [emit_group(node, shape, one.index, machine, one.number) for one in own]
        for (node, shape), own in zip(blocks, ordered, strict=True)
    ]
    encoder = Encoder([stream for own in streams for stream in own])
    fillings = chain_fillings([[stream.sizes for stream in own] for own in streams])
    return [
        BlockPlan(node, machine, tuple(own), tuple(parts), encoder)
        for (node, _), own, parts in zip(blocks, streams, fillings, strict=True)
    ]


def plan_block(node: FusedBlock, in_shape: Shape, machine: Machine) -> BlockPlan:
    """A block by itself.

    Args:
        node: The block.
        in_shape: ``(C, H, W)`` of its input.
        machine: The gateware.

    Raises:
        InputError: The gateware does not hold the block, or the global buffer not a tile.
    """
    return plan_chain([(node, in_shape)], machine)[0]


def _told(start: Start) -> str:
    """What a start is for, in words."""
    if start.flags == FINISH:
        return f"{start.item}, outputs"
    what = f"{start.item}, prediction"
    if start.flags & LISTS:
        what = f"{start.item}, lists"
        if start.predicted is not None:
            whose = "" if start.predicted.group is start.item.group else " of the next group"
            what += f", the next prediction{whose} {start.predicted.how}"
    return what if start.store is None else f"{what}; outputs of {start.store.item}"
