"""Steps of a block whose gateware is known to the cycle: what the DRAM moves is laid beside its schedule."""

from __future__ import annotations

from collections.abc import Sequence

from predfuse.hardware.cycle.archon.group_plan import GroupPlan
from predfuse.hardware.cycle.archon.sequence.timing import BlockTime
from predfuse.hardware.cycle.archon.tile_work import Item
from predfuse.hardware.cycle.elementwise import stream_bits
from predfuse.hardware.cycle.memory.buffer import Place
from predfuse.hardware.cycle.memory.steps import Step, split_step
from predfuse.hardware.spec import ArchonSpec


def timed_steps(
    layer: str, groups: Sequence[GroupPlan], items: Sequence[Item], time: BlockTime, spec: ArchonSpec, place: Place
) -> list[Step]:
    """A step for every stretch of the schedule, in parts where it loads much.

    Words and pixels arrive before the stretch in which they are filled, and leave their place in the buffer with it.

    Args:
        layer: Name of the block.
        groups: Of the block.
        items: Group by group, tile by tile.
        time: Of the block on its gateware.
        spec: The machine.
        place: Where its feature maps are.
    """
    free, tiles = place.free_words * spec.bits, len(items) // len(groups)
    # With the first tile of a group come its words, which a stretch has by itself.
    own = [
        item.load_bits - (number % tiles == 0) * groups[number // tiles].stored_bits
        for number, item in enumerate(items)
    ]
    steps: list[Step] = []
    for index, stretch in enumerate(time.stretches):
        step = Step(
            layer=layer,
            load_bits=stretch.word_bits + sum(own[number] for number in stretch.used),
            store_bits=sum(items[number].store_bits for number in stretch.left),
            main_cycles=stretch.cycles,
            load_lag=2,
            room_bits=free,
            waits=index == 0,
            reads_stores=index == 0 and not place.input_on_chip,
        )
        steps += split_step(step, stream_bits(free))
    return steps
