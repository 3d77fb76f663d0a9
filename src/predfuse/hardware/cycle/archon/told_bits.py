"""Bits a group takes in the DRAM and the global buffer for what its lists are told, in the words of the gateware.

Factors and the maps of where they are stand in :func:`predfuse.hardware.cycle.archon.group_plan.factor_bits`; output
numbers of project weights and wanted gate words follow from the maps when memories are filled.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from predfuse.hardware.block_work import BlockWork
from predfuse.hardware.cycle.archon.gateware import Machine, Record, records
from predfuse.hardware.spec import ArchonSpec

WORD_STEP = 32
"""Memories have a multiple of so many records: whole words of the write port in each half."""


@dataclass(frozen=True)
class ToldBits:
    """What a group is told.

    Attributes:
        once: Group record, rules of outputs, bases of memories (bits).
        sent: Passes and load codes, read for every tile (bits).
        channel: Of every middle channel for the predictor, besides its weights (bits).
    """

    once: int
    sent: int
    channel: int


def told_machine(work: BlockWork, passes: int, fullest: int, spec: ArchonSpec) -> Machine:
    """The gateware of a machine, enlarged where a group needs it.

    Args:
        work: The block.
        passes: Of the group (count).
        fullest: Channels of the fullest bank; search is as wide as that needs.
        spec: The machine.
    """
    least = Machine.sized(spec)
    wanted = {"columns": work.group_channels, "slots": fullest, "passes": passes, "channels": work.group_middle}
    return replace(enlarged(least, wanted), kernel=max(least.kernel, work.kernel))


def enlarged(machine: Machine, wanted: Mapping[str, int]) -> Machine:
    """The same gateware, its memories with at least so many records each, by their sizes."""
    larger = {name: count for name, count in wanted.items() if count > getattr(machine, name)}
    return replace(machine, **{name: -(-count // WORD_STEP) * WORD_STEP for name, count in larger.items()})


def told_bits(
    work: BlockWork, channels: int, passes: int, codes: Sequence[int], behind: bool, machine: Machine
) -> ToldBits:
    """The bits of a group.

    Where no tile is predicted behind lists, channels come in the order of their slots, bank by bank, and nothing waits
    for a release: none of the three is told.

    Args:
        work: The block.
        channels: Middle channels that are live (count).
        passes: Of the group (count).
        codes: Load codes of every bank, with one behind the last (count).
        behind: Whether a tile is predicted behind the lists of the tile before.
        machine: The gateware.
    """
    known = records(machine)
    once = {
        "group": 1,
        "rule": work.group_outputs,
        "bases": machine.banks * (machine.taps + 1),
    }
    column = machine.banks * work.group_channels * _bits(known["column"], "base")
    slot = channels * _bits(known["slot"], "base", "rows")
    order = ("bank", "slot", "release") if behind else ()
    return ToldBits(
        once=column + slot + sum(count * known[name].bits for name, count in once.items()),
        sent=passes * known["pass"].bits + sum(codes) * known["code"].bits,
        channel=_bits(known["channel"], "expand_offset", "shift", "depthwise_offset", *order),
    )


def _bits(record: Record, *names: str) -> int:
    return sum(width * count for name, width, count in record.fields if name in names)
