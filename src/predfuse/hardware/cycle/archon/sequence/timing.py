"""When fused blocks that follow each other have what done on a gateware, for the schedule of the DRAM beside it."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from predfuse.errors import InputError
from predfuse.hardware.block_work import BlockWork
from predfuse.hardware.cycle.archon.gateware import Machine
from predfuse.hardware.cycle.archon.group_plan import GroupPlan
from predfuse.hardware.cycle.archon.sequence.block import chain_fillings
from predfuse.hardware.cycle.archon.sequence.buffer import Filling
from predfuse.hardware.cycle.archon.sequence.commands import LISTS, Fill, Start
from predfuse.hardware.cycle.archon.sequence.group import Group, Records
from predfuse.hardware.cycle.archon.sequence.group_order import in_order
from predfuse.hardware.cycle.archon.sequence.limits import require_memories, require_sizes
from predfuse.hardware.cycle.archon.sequence.parts import machine_parts
from predfuse.hardware.cycle.archon.told_bits import enlarged
from predfuse.hardware.spec import ArchonSpec

STREAMED = ("channels", "parts", "passes", "codes")
"""Memories a leaner machine would read from its global buffer as it goes: as large as a network needs them."""


@dataclass(frozen=True)
class Stretch:
    """The time from one start of lists to the next, or to the end.

    Attributes:
        cycles: It takes.
        word_bits: Of words of groups that are filled meanwhile, also of the next block.
        used: Items of the block whose pixels are filled for the first time, numbered group by group, tile by tile; in
            the first stretch also those that came beside lists of the block before.
        left: Items of the block whose outputs leave, likewise. Those that leave beside the first lists of the next
            block, which flows, are in none: that block finds them in the buffer.
    """

    cycles: int
    word_bits: int
    used: tuple[int, ...]
    left: tuple[int, ...]


@dataclass(frozen=True)
class BlockTime:
    """A block on its gateware.

    Attributes:
        stretches: In order; the first ends with the first start of lists, or begins with the first start of the core
            where the block flows.
        predict_cycles: In which only a prediction runs.
    """

    stretches: tuple[Stretch, ...]
    predict_cycles: int

    @property
    def cycles(self) -> int:
        """Of the whole block."""
        return sum(one.cycles for one in self.stretches)


Block = tuple[BlockWork, Sequence[GroupPlan]]
"""A block and the plans of its groups."""


def chain_times(blocks: Sequence[Block], machine: Machine, reads: Sequence[bool] | None = None) -> list[BlockTime]:
    """The times of blocks that follow each other.

    Args:
        blocks: In order.
        machine: The gateware.
        reads: Whether each reads what the one before makes, and finds it in the global buffer; None: none does.

    Raises:
        InputError: The gateware does not hold one of them; the message says which and why.
    """
    ordered = in_order(
        [[_group(work, index, plan, machine) for index, plan in enumerate(plans)] for work, plans in blocks],
        [False] * len(blocks) if reads is None else reads,
    )
    chain, fillings = chain_fillings(ordered)
    words = [plans[one.index].stored_bits for own, (_, plans) in zip(chain.blocks, blocks, strict=True) for one in own]
    shares = _Shares(words, [one for own in fillings for one in own])
    stretches: list[list[Stretch]] = [[] for _ in blocks]
    for some in fillings:
        for block, stretch in _stretches(some, shares):
            stretches[block].append(stretch)
    starts = [one for some in fillings for own in some for one in own.commands if isinstance(one, Start)]
    alone = Counter[int]()
    for one in starts:
        alone[one.item.block] += max(0, one.predict_cycles - one.list_cycles)
    return [BlockTime(tuple(own), alone[block]) for block, own in enumerate(stretches)]


def block_time(work: BlockWork, plans: Sequence[GroupPlan], machine: Machine) -> BlockTime:
    """The time of a block that follows no other and is followed by none.

    Args:
        work: The block.
        plans: Its groups.
        machine: The gateware.

    Raises:
        InputError: The gateware does not hold the block; the message says why.
    """
    return chain_times([(work, plans)], machine)[0]


def _group(work: BlockWork, index: int, plan: GroupPlan, machine: Machine) -> Group:
    """A group as the gateware has it, numbered in its block.

    Raises:
        InputError: It has it not.
    """
    require_sizes(work, machine)
    if plan.slices > 1 or plan.group_fill is None or plan.times is None:
        raise InputError(f"layer {work.name}", f"has {plan.slices} slices of outputs", "enlarge pe.psum_regfile_words")
    gate_words = plan.memory_words // machine.banks
    require_memories(work.name, plan.group_fill.needs, gate_words, machine)
    return Group(work, index, index, machine, plan.group_fill.needs, plan.times.cycles, gate_words, plan.traffic)


class _Shares:
    """The words of every group, bit by bit with the accesses that fill them.

    Args:
        words: Of every group (bits).
        fillings: Of the chain.
    """

    def __init__(self, words: Sequence[int], fillings: Sequence[Filling]) -> None:
        self._words = words
        self._accesses = Counter[int]()
        for filling in fillings:
            for one in filling.commands:
                if isinstance(one, Fill) and isinstance(one.source, Records):
                    self._accesses[one.source.group] += one.accesses
        self._done = Counter[int]()

    def take(self, group: int, accesses: int) -> int:
        """Bits of the next so many accesses for a group."""
        words, every, before = self._words[group], self._accesses[group], self._done[group]
        self._done[group] += accesses
        return words * (before + accesses) // every - words * before // every


def _stretches(fillings: Sequence[Filling], shares: _Shares) -> Iterator[tuple[int, Stretch]]:
    """The commands of blocks that flow into each other between starts of lists, with whose lists run; one filling of
    the buffer follows the other at once."""
    word_bits = 0
    used: dict[int, list[int]] = defaultdict(list)  # by block
    seen: set[int] = set()
    left: list[int] = []
    begun = before = 0
    block = next(number for filling in fillings for number, _ in filling.scheduled.blocks)
    for filling in fillings:
        for one, turn in zip(filling.commands, filling.scheduled.turns, strict=False):
            if isinstance(one, Fill):
                if isinstance(one.source, Records):
                    word_bits += shares.take(one.source.group, one.accesses)
                elif one.source.number not in seen:
                    seen.add(one.source.number)
                    used[one.source.block].append(one.source.in_block)
                continue
            if one.flags & LISTS or one.item.block != block:
                yield block, Stretch(before + turn - begun, word_bits, tuple(used.pop(block, ())), tuple(left))
                begun, left, word_bits, block = before + turn, [], 0, one.item.block
            if one.store is not None and one.store.item.block == block:
                left.append(one.store.item.in_block)
        before += filling.scheduled.clock.total
    yield block, Stretch(before - begun, word_bits, tuple(used[block]), tuple(left))


def network_machine(spec: ArchonSpec, blocks: Sequence[Block]) -> Machine:
    """The gateware of a specification, with streamed memories as large as the blocks of a network need them.

    Raises:
        InputError: There is no gateware of it.
    """
    machine = Machine.of(spec)
    wanted = dict.fromkeys(STREAMED, 0)
    for work, plans in blocks:
        tiles = work.tiles(machine.tile_rows, machine.tile_columns)
        try:
            parts = max(len(machine_parts(work, tile, machine)) for tile in tiles)
        except InputError:
            continue  # the time of this block says why
        wanted |= {"parts": max(wanted["parts"], parts), "channels": max(wanted["channels"], work.group_middle)}
        for plan in plans:
            for name, count in plan.group_fill.needs.items() if plan.group_fill is not None else ():
                if name in wanted:
                    wanted[name] = max(wanted[name], count)
    return enlarged(machine, wanted)
