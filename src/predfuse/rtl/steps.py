"""A fused block for the gateware: images of the global buffer, and what every start of the core has to do."""

from __future__ import annotations

from predfuse.arrays import Int16Array
from predfuse.graph.nodes import Shape
from predfuse.hardware.cycle.archon.gateware import Machine
from predfuse.hardware.cycle.archon.sequence.block import block_fillings
from predfuse.hardware.cycle.archon.sequence.buffer import Filling
from predfuse.hardware.cycle.archon.sequence.commands import FINISH, LISTS, Start
from predfuse.hardware.cycle.archon.sequence.schedule import Clock
from predfuse.integer.nodes import FusedBlock
from predfuse.rtl.image import Encoder, Image
from predfuse.rtl.starts import Measured, Step, outputs_at
from predfuse.rtl.streams import emit_group


class BlockPlan:
    """A block for the gateware: what all its inputs share.

    Args:
        node: The block.
        in_shape: ``(C, H, W)`` of its input.
        machine: The gateware.

    Attributes:
        streams: Its groups in words.
        fillings: Of the global buffer, for one input.

    Raises:
        InputError: The gateware does not hold the block, or the global buffer not a tile.
    """

    def __init__(self, node: FusedBlock, in_shape: Shape, machine: Machine) -> None:
        self.node, self.machine = node, machine
        self.streams = [emit_group(node, in_shape, group, machine) for group in range(node.groups)]
        self.fillings = block_fillings([stream.sizes for stream in self.streams])
        self._encoder = Encoder(self.streams)

    @property
    def clock(self) -> Clock:
        """Where the cycles of one input go."""
        return sum((one.scheduled.clock for one in self.fillings), Clock())

    def images(self, x: Int16Array, y: Int16Array) -> list[Image]:
        """Everything to do for some inputs, one after the other.

        Args:
            x: ``[N, C, H, W]`` int16 inputs of the block.
            y: ``[N, O, P, Q]`` int16 outputs that the integer machine gives for them.
        """
        return [
            self._image(filling, x[number], y[number], number) for number in range(len(x)) for filling in self.fillings
        ]

    def _image(self, filling: Filling, x: Int16Array, y: Int16Array, number: int) -> Image:
        read = filling.output_line * self.machine.line
        steps = [self._step(one, y, number, read) for one in filling.commands if isinstance(one, Start)]
        return Image(
            lines=self._encoder.lines(filling, x),
            start_row=filling.list_line,
            read_row=filling.output_line,
            read_rows=self.machine.buffer_lines - filling.output_line,
            steps=tuple(steps),
            planned=filling.scheduled.clock,
        )

    def _step(self, start: Start, y: Int16Array, number: int, read: int) -> Step:
        """What a start has to do, where lines of outputs begin with pixel ``read``."""
        times = self.streams[start.item.group.number].times
        begun = times.ends - times.list_cycles - 1 if start.flags & LISTS else ()
        at, pixels = outputs_at(start.store, y)
        expected = Measured(start.list_cycles, start.predict_cycles, tuple(int(cycle) for cycle in begun))
        return Step(start.flags, f"image {number}, {_told(start)}", expected, at - read, pixels)


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
