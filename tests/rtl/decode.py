"""Reads the words of a group back as the gateware does: which member goes where and when, what it multiplies.

Written from the tables of docs/explanation/rtl.md and the SystemVerilog, and shares no code with what makes the words:
a field in the wrong place, a wrong rank or a code too few shows as a load that was never planned.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol


class Written(Protocol):
    """One record."""

    @property
    def region(self) -> int: ...
    @property
    def bank(self) -> int: ...
    @property
    def index(self) -> int: ...
    @property
    def bits(self) -> int: ...


@dataclass(frozen=True)
class Load:
    """A member of a pass on its way to a lane.

    Attributes:
        cycle: After the loads of its pass have begun.
        bank: Beside the lanes.
        slot: Of the channel there.
        tap: On the machine's grid; the last stands for mask 2 alone.
        lane: To which it goes.
        gate_bank: Where its gate word is.
        gate_at: Address there.
        factor: Expand weight or bias.
        depthwise: Weight of the tap; 0 where there is none.
        project: Weight by output of the group.
    """

    cycle: int
    bank: int
    slot: int
    tap: int
    lane: int
    gate_bank: int
    gate_at: int
    factor: int
    depthwise: int
    project: dict[int, int]


@dataclass(frozen=True)
class Rule:
    """What is done to an output: shifts of its entries, exponents of bias sums, and the finish."""

    weight_shift: int
    expand_bias_shift: int
    depthwise_bias_shift: int
    expand_bias_exponent: int
    depthwise_bias_exponent: int
    bias: int
    shift: int
    place: int


@dataclass(frozen=True)
class Channel:
    """A channel of the predictor.

    Attributes:
        bank: Of the channel.
        slot: There.
        release: Its words may be overwritten when more than this many passes are done.
        expand: Weights, 0 or a signed power of two.
        expand_offset: Of the first score.
        shift: Of the hidden activation.
        depthwise: Weights on the grid of taps.
        depthwise_offset: Of the second score.
        writes: ``(tap, bank, address)`` of its gate words.
    """

    bank: int
    slot: int
    release: int
    expand: tuple[int, ...]
    expand_offset: int
    shift: int
    depthwise: tuple[int, ...]
    depthwise_offset: int
    writes: tuple[tuple[int, int, int], ...]


class _Bits:
    """Takes fields from the low end."""

    def __init__(self, bits: int) -> None:
        self.bits = bits

    def take(self, width: int) -> int:
        value = self.bits & ((1 << width) - 1)
        self.bits >>= width
        return value

    def signed(self, width: int) -> int:
        value = self.take(width)
        return value - (value >> (width - 1) << width)


def _clog2(value: int) -> int:
    return (value - 1).bit_length()


def scores(sizes: Mapping[str, int]) -> tuple[int, int]:
    """Bits of the scores of the predictor's two stages: signed numbers up to the range of their sums."""
    first, second = (60 * terms for terms in (sizes["COLUMNS"], sizes["KERNEL"] ** 2))
    return first.bit_length() + 1, second.bit_length() + 1


def together(sizes: Mapping[str, int]) -> dict[int, tuple[int, int]]:
    """By region: records in a word of the write port, for every bank that has its own, and the bits of each."""
    taps, project = sizes["KERNEL"] ** 2, sizes["WORDS"] * (16 + _clog2(sizes["OUTPUTS"]) + 1)
    first, second = scores(sizes)
    channel = 3 * sizes["HELD"] + first + _clog2(first) + second + 4 * taps + 1 + _clog2(sizes["BANKS"])
    channel += _clog2(sizes["SLOTS"]) + _clog2(sizes["PASSES"]) + 1
    bases, maps = _clog2(sizes["GATE_WORDS"]) + _clog2(sizes["TAP_WORDS"]), 1 << _clog2(taps + 2)
    alone = {
        1: (48 + sizes["ACCUMULATOR"], sizes["OUTPUTS"] // sizes["LISTS"]),
        2: (3 + _clog2(taps + 1) + _clog2(sizes["COLUMNS"]), sizes["PASSES"]),
        13: (channel, sizes["CHANNELS"]),
    }
    of_banks = {
        3: (_clog2(sizes["LANES"] + 2), sizes["CODES"]),
        4: (sizes["SLOTS"], maps),
        5: (sizes["SLOTS"] + _clog2(sizes["COLUMN_WORDS"]), sizes["COLUMNS"]),
        6: (_clog2(sizes["PROJECT_ROWS"]) + 24 + 24 + 4, sizes["SLOTS"] // 2),
        7: (bases, maps),
        9: (16, sizes["TAP_WORDS"]),
        10: (16, sizes["COLUMN_WORDS"]),
        12: (project, sizes["PROJECT_ROWS"]),
    }
    found = {0: (1, 0)}  # nobody asks for the bits
    for banks, regions in ((1, alone), (sizes["BANKS"], of_banks)):
        for region, (bits, size) in regions.items():
            fit = [n for n in (16, 8, 4, 2) if banks * bits * n <= 16 * sizes["LINE"] and size % n == 0]
            found[region] = max((n for n in fit if size // n > 1 and n <= sizes["TOGETHER"]), default=1), bits
    return found


class Decoder:
    """The words of a group in the memories of the gateware.

    Args:
        written: All records of the group.
        sizes: Parameters of ``archon.sv``.
    """

    def __init__(self, written: Sequence[Written], sizes: Mapping[str, int]) -> None:
        self._sizes = sizes
        self._taps = sizes["KERNEL"] ** 2
        self._memory = {(word.region, word.bank, word.index): word.bits for word in written}
        self._left: list[list[tuple[int, int, int]]] = [[] for _ in range(sizes["BANKS"])]
        # Of the two group records one.
        record = next(word for word in written if word.region == 0)
        self._half, group = record.index, _Bits(record.bits)
        for width in (1, 1, 1, 4, 4, 4, 6, 1, 6, _clog2(sizes["HELD"] // sizes["INPUTS"] + 1)):
            group.take(width)
        group.take(_clog2(sizes["HELD"]) + 1)
        self._outputs, self._passes, self._predicted = (
            range(group.take(_clog2(sizes[name])), group.take(_clog2(sizes[name]) + 1))
            for name in ("OUTPUTS", "PASSES", "CHANNELS")
        )
        self._at = [group.take(_clog2(sizes["CODES"]))] * sizes["BANKS"]
        self._halves = group.take(2)
        self._turns = [group.take(_clog2(sizes["BANKS"])) for _ in range(self._taps + 1)]

    def rules(self) -> list[Rule]:
        """Of every output of the group."""
        rules = []
        for output in self._outputs:
            bits = _Bits(self._memory[1, 0, output])
            shifts = bits.signed(6), bits.signed(6), bits.signed(6), bits.take(4), bits.take(4)
            rules.append(Rule(*shifts, bits.signed(self._sizes["ACCUMULATOR"]), bits.signed(6), bits.take(16)))
        return rules

    def channels(self) -> list[Channel]:
        """In the order of prediction."""
        sizes, found = self._sizes, []
        first, second = scores(sizes)
        for index in self._predicted:
            bits = _Bits(self._memory[13, 0, index])
            expand = tuple(_weight(bits.take(3)) for _ in range(sizes["HELD"]))
            expand_offset, shift = bits.signed(first), bits.take(_clog2(first))
            depthwise = tuple(_weight(bits.take(3)) for _ in range(self._taps))
            depthwise_offset, wanted = bits.signed(second), bits.take(self._taps + 1)
            bank, slot = bits.take(_clog2(sizes["BANKS"])), bits.take(_clog2(sizes["SLOTS"]))
            release = bits.take(_clog2(sizes["PASSES"]) + 1)
            writes = tuple((k, *self._gate(bank, slot, k)) for k in range(self._taps + 1) if wanted >> k & 1)
            stage = (bank, slot, release, expand, expand_offset, shift)
            found.append(Channel(*stage, depthwise, depthwise_offset, writes))
        return found

    def passes(self) -> list[tuple[Load, ...]]:
        """The loads of every pass, in order; call it once."""
        return [tuple(self._pass(index)) for index in self._passes]

    def _pass(self, index: int) -> Iterator[Load]:
        sizes, bits = self._sizes, _Bits(self._memory[2, 0, index])
        kind, goes_on = bits.take(2), bits.take(1)
        tap, column = bits.take(_clog2(self._taps + 1)), bits.take(_clog2(sizes["COLUMNS"]))
        for bank in range(sizes["BANKS"]):
            if not goes_on:
                self._left[bank] = list(self._members(bank, kind, tap, column))
            members, cycle = self._left[bank], 0
            while members:
                code = self._code(bank)
                self._at[bank] += 1
                if code == sizes["LANES"] + 1:
                    break
                if code < sizes["LANES"]:
                    yield self._load(cycle, bank, kind, column, code, members.pop(0))
                    if members and self._code(bank) == sizes["LANES"] + 1:
                        self._at[bank] += 1
                        break
                cycle += 1

    def _code(self, bank: int) -> int:
        return self._memory[3, bank, self._at[bank]]

    def _members(self, bank: int, kind: int, tap: int, column: int) -> Iterator[tuple[int, int, int]]:
        """Slot, tap and row of project weights."""
        taps = self._taps
        if kind == 0:
            chosen = self._map(bank, tap) & self._column(bank, column)[0]
        else:
            chosen = self._map(bank, taps + 1 if kind == 1 else taps)
        for slot in range(self._sizes["SLOTS"]):
            if not chosen >> slot & 1:
                continue
            mixed = [k for k in range(taps) if self._map(bank, k) >> slot & 1]
            for k in [tap] if kind == 0 else mixed if kind == 1 else [taps]:
                for row in range(self._slot(bank, slot)[-1]):
                    yield slot, k, row

    def _load(self, cycle: int, bank: int, kind: int, column: int, lane: int, member: tuple[int, int, int]) -> Load:
        slot, tap, row = member
        gate_bank, gate_at = self._gate(bank, slot, tap)
        depthwise = 0
        if tap < self._taps:
            rank = (self._map(bank, tap) & ((1 << slot) - 1)).bit_count()
            depthwise = _Bits(self._memory[9, bank, self._bases(bank, tap)[1] + rank]).signed(16)
        if kind == 0:
            map_, base = self._column(bank, column)
            at = base + (map_ & ((1 << slot) - 1)).bit_count()
            factor = _Bits(self._memory[10, bank, at]).signed(16)
        else:
            factor = self._slot(bank, slot)[kind]
        return Load(cycle, bank, slot, tap, lane, gate_bank, gate_at, factor, depthwise, self._row(bank, slot, row))

    def _row(self, bank: int, slot: int, row: int) -> dict[int, int]:
        words, width = self._sizes["WORDS"], _clog2(self._sizes["OUTPUTS"])
        bits = _Bits(self._memory[12, bank, self._slot(bank, slot)[0] + row])
        weights = [bits.signed(16) for _ in range(words)]
        outputs = [bits.take(width) for _ in range(words)]
        return {outputs[word] - self._outputs.start: weights[word] for word in range(words) if bits.bits >> word & 1}

    def _gate(self, bank: int, slot: int, tap: int) -> tuple[int, int]:
        rank = (self._map(bank, tap) & ((1 << slot) - 1)).bit_count()
        return (bank + self._turns[tap]) % self._sizes["BANKS"], self._bases(bank, tap)[0] + rank

    def _map(self, bank: int, tap: int) -> int:
        """Of the slots of the group alone."""
        low = self._sizes["SLOTS"] // 2
        mine = (1 << low) - 1 if self._halves == 1 else -1 << low if self._halves == 2 else -1
        return self._memory[4, bank, self._halves << _clog2(self._taps + 2) | tap] & mine

    def _column(self, bank: int, column: int) -> tuple[int, int]:
        """Map and base."""
        bits = _Bits(self._memory[5, bank, column])
        return bits.take(self._sizes["SLOTS"]), bits.bits

    def _slot(self, bank: int, slot: int) -> tuple[int, int, int, int]:
        """Base of its project rows, expand and depthwise bias, and how many rows."""
        bits = _Bits(self._memory[6, bank, slot])
        return bits.take(_clog2(self._sizes["PROJECT_ROWS"])), bits.signed(24), bits.signed(24), bits.take(4)

    def _bases(self, bank: int, tap: int) -> tuple[int, int]:
        """Of gate words and of depthwise weights."""
        bits = _Bits(self._memory[7, bank, self._half << _clog2(self._taps + 2) | tap])
        return bits.take(_clog2(self._sizes["GATE_WORDS"])), bits.bits


def _weight(code: int) -> int:
    size = (0, 1, 2, 4)[code & 3]
    return -size if code & 4 else size
