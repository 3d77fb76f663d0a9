"""Words of the gateware's write port: bit fields packed into them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from predfuse.errors import InputError
from predfuse.hardware.cycle.archon.gateware import Machine, Record, records


@dataclass(frozen=True)
class Word:
    """A record: a word of the write port has some of every bank.

    Attributes:
        region: Which memories or registers (:func:`predfuse.hardware.cycle.archon.gateware.records`).
        bank: Of the memories beside the lanes, 0 elsewhere.
        index: Address, in records.
        bits: The data.
    """

    region: int
    bank: int
    index: int
    bits: int


class Packer:
    """Packs fields into the words of a machine.

    Args:
        machine: Its sizes.
        known: Kinds of words; default: those of its write port.
    """

    def __init__(self, machine: Machine, known: Mapping[str, Record] | None = None) -> None:
        self._records = records(machine) if known is None else known

    def word(self, record: str, index: int, bank: int = 0, /, **fields: int | list[int]) -> Word:
        """One word; every field has to be given and to fit.

        Raises:
            InputError: A value needs more bits than its field has.
        """
        known, bits, at = self._records[record], 0, 0
        assert set(fields) == {name for name, _, _ in known.fields}, record
        for name, width, count in known.fields:
            value = fields[name]
            values = value if isinstance(value, list) else [value]
            assert len(values) == count, (record, name)
            for number in values:
                if not -(1 << width >> 1) <= number < 1 << width:
                    what = f"{number} does not fit the {width} bits of {record}.{name}"
                    raise InputError("gateware", what, "enlarge the machine or use a smaller network")
                bits |= (number & ((1 << width) - 1)) << at
                at += width
        return Word(known.region, bank, index, bits)
