"""Sizes of the gateware: taken from a specification, given to SystemVerilog as parameters, and what widths follow."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property, lru_cache

from predfuse.errors import InputError
from predfuse.hardware.cycle.archon.maps import pitches
from predfuse.hardware.cycle.archon.predictor import unit_rows
from predfuse.hardware.cycle.archon.registers import LaneRegisters
from predfuse.hardware.prices import SUM_SURPLUS
from predfuse.hardware.spec import ArchonSpec
from predfuse.integer.widths import bias_factor_bits


def bits_for(count: int) -> int:
    """Bits of a number below ``count``: ``$clog2``."""
    return max(0, (count - 1).bit_length())


MEMORIES = {
    "rule": "outputs", "column": "columns", "pass": "passes", "code": "codes", "channel": "channels",
    "depthwise": "tap_words", "expand": "column_words", "project": "project_rows", "map": "slots", "slot": "slots",
}  # fmt: skip
"""The memory a record lies in, by its size: it may hold two groups. Group records and bases have two places."""
PREDICTOR_TERM = 15 * 4
"""Range of a term of a score: activations of 4 bits, weights up to 4."""


@dataclass(frozen=True)
class Machine:
    """Parameters of ``machine.sv``, in lower case; all memories are given in words of a bank.

    Attributes:
        tile_rows: Rows of output pixels worked on at once.
        tile_columns: Columns of them.
        lanes: Entries of a list sent in a cycle.
        lane_rows: Members a lane holds in one of its two sets.
        words: Project weights a member carries.
        lists: Lists in progress.
        outputs: Outputs of a group, a multiple of ``lists``.
        banks: Of the memories beside the lanes and of the gate memory.
        slots: Channels of a bank, of one group or two.
        kernel: Largest window, which is the grid of taps.
        side: Of the square hidden plane.
        unit_rows: Of them expanded at once; a plane of more is walked in turns.
        inputs: Terms a unit of the predictor adds in a cycle.
        held: Input channels of a group a unit holds.
        columns: Input channels of a group.
        writes: Gate words handed over in a cycle.
        queue: Gate words that wait at a bank.
        channels: Middle channels of a group.
        parts: Parts a tile may be predicted in.
        passes: Of a group.
        codes: Load codes of a bank.
        gate_words: Of a bank of the gate memory.
        tap_words: Depthwise weights of a bank.
        column_words: Expand weights of a bank, all columns.
        project_rows: Rows of project weights of a bank.
        accumulator: Bits of a partial sum.
        sum: Bits of the sum of a list.
        buffer_banks: Banks of the global buffer.
        buffer_pixels: 16-bit pixels of one of its words.
        buffer_lines: Words of one of its banks.
        buffer_words: Pixels of one access as the model reads inputs for the predictor.
        fill_cycles: Added to the first reading of inputs.
        loads: Members that load codes send to lanes in a cycle at most, never more than there are banks.
        together: Records of a kind in a word of the write port at most, for every bank.
        access_rows: Of a plane that the fill unit brings in an access at most, a power of two.
        finished_rows: Of a tile that leave in a cycle at most, a power of two.
        bits: Of a word; the gateware is made for 16.
    """

    tile_rows: int = 8
    tile_columns: int = 8
    lanes: int = 11
    lane_rows: int = 7
    words: int = 4
    lists: int = 2
    outputs: int = 32
    banks: int = 12
    slots: int = 64
    kernel: int = 3
    side: int = 10
    unit_rows: int = 10
    inputs: int = 16
    held: int = 32
    columns: int = 32
    writes: int = 7
    queue: int = 8
    channels: int = 768
    parts: int = 16
    passes: int = 1024
    codes: int = 2048
    gate_words: int = 284
    tap_words: int = 128
    column_words: int = 512
    project_rows: int = 78
    accumulator: int = 40
    sum: int = 24
    buffer_banks: int = 8
    buffer_pixels: int = 4
    buffer_lines: int = 480
    buffer_words: int = 4
    fill_cycles: int = 8
    loads: int = 12
    together: int = 16
    access_rows: int = 1
    finished_rows: int = 1
    bits: int = 16

    @staticmethod
    def of(spec: ArchonSpec) -> Machine:
        """The gateware of a specification.

        Raises:
            InputError: It is no machine with gates in registers, generated weights and a predictor of its own.
        """
        own, design = spec.design.structures, spec.design
        if own is None or design.gates != "registers" or design.predictor != "dedicated":
            raise InputError(spec.name, "has no gateware", "use archon or a machine with its structures")
        if own.predictor_units < math.isqrt(own.hidden_plane_pixels) or own.predictor_channels > 1:
            what = "expands less than a row of its hidden plane, or several channels at once: that is no gateware"
            raise InputError(spec.name, what, "enlarge predictor_units, or set predictor_channels to 1")
        if spec.bits != Machine.bits:
            raise InputError(spec.name, f"has no gateware for words of {spec.bits} bits", f"use bits: {Machine.bits}")
        machine = Machine.sized(spec)
        row = max(machine.plane_columns, machine.side) + machine.buffer_pixels - 1
        if machine.buffer_pixels < 2 or machine.line < row or not machine.commands_of_a_line:
            what = f"has a global buffer of {machine.line} pixels a line: too few for a row of pixels or a command"
            raise InputError(spec.name, what, "enlarge global_buffer.banks or its width_bits, at least 32")
        return machine

    @staticmethod
    def sized(spec: ArchonSpec) -> Machine:
        """Sizes and with them the widths of all fields, also of what the gateware cannot do."""
        own, design, banks = spec.design.structures, spec.design, spec.mask_buffer.banks
        assert own is not None
        return Machine(
            tile_rows=design.tile_rows,
            tile_columns=design.tile_columns,
            lanes=spec.lanes,
            lane_rows=own.lane_registers,
            words=own.project_row_words,
            lists=design.parallel_lists,
            outputs=design.parallel_lists * spec.pe.psum_regfile_words,
            banks=banks,
            kernel=math.isqrt(own.predictor_taps),
            side=math.isqrt(own.hidden_plane_pixels),
            unit_rows=unit_rows(own),
            inputs=own.predictor_inputs,
            held=2 * own.predictor_inputs,
            columns=2 * own.predictor_inputs,
            writes=own.gate_writes,
            queue=own.gate_queue_words,
            gate_words=spec.mask_buffer.depth // banks,
            tap_words=own.tap_memory_words // banks,
            project_rows=own.project_memory_words // own.project_row_words // banks,
            buffer_banks=spec.global_buffer.banks,
            buffer_pixels=spec.access_words,
            buffer_lines=spec.global_buffer.depth // spec.global_buffer.banks,
            buffer_words=min(spec.array_words_per_access, spec.access_words),
            fill_cycles=design.fill_cycles,
            loads=own.channel_loads,
            together=own.port_records,
            access_rows=own.access_rows,
            finished_rows=own.finished_rows,
            slots=own.bank_channels,
            column_words=own.bank_expand_words,
            bits=spec.bits,
            accumulator=2 * spec.bits + SUM_SURPLUS,
            sum=spec.bits + SUM_SURPLUS,
        )

    @property
    def taps(self) -> int:
        return self.kernel**2

    @property
    def expand_score(self) -> int:
        """Bits of a score of the predictor's first stage: with sign, as far from 0 as its sums range."""
        return 1 + bits_for(PREDICTOR_TERM * self.columns + 1)

    @property
    def depthwise_score(self) -> int:
        """Bits of a score of its second stage, alike."""
        return 1 + bits_for(PREDICTOR_TERM * self.taps + 1)

    @property
    def pixels(self) -> int:
        """Output pixels of a tile."""
        return self.tile_rows * self.tile_columns

    @property
    def plane_rows(self) -> int:
        """Rows of an input plane: a tile at stride 2 with its halo."""
        return 2 * (self.tile_rows - 1) + self.kernel

    @property
    def plane_columns(self) -> int:
        return 2 * (self.tile_columns - 1) + self.kernel

    def turns(self, hidden_rows: int) -> int:
        """In which the rows of a hidden plane are expanded, one round of input channels in each."""
        return -(-hidden_rows // self.unit_rows)

    @property
    def data(self) -> int:
        """Bits of the write port: of the widest word."""
        rows = self.bits * max(self.plane_rows * self.plane_columns, self.side**2, self.tile_columns)
        return max(rows, *(self.copies(name) * record.bits for name, record in records(self).items()))

    def copies(self, name: str) -> int:
        """Records of a kind that are written at once: some for every bank beside the lanes, or some."""
        return together(self)[name] * (self.banks if records(self)[name].region in BANK_REGIONS else 1)

    def port_words(self, name: str, count: int) -> int:
        """Words of the write port for so many records of a kind, in every bank."""
        return -(-count // together(self)[name])

    def high(self, memory: str, count: int) -> int:
        """Where so many records begin at the high end of a memory (not slots): a whole word, an output in its list."""
        name = next(name for name, own in MEMORIES.items() if own == memory)
        step = together(self)[name] * (self.lists if name == "rule" else 1)
        return int(getattr(self, memory) - count) // step * step

    @cached_property
    def line(self) -> int:
        """Pixels of a line of the global buffer: a word of every bank."""
        return self.buffer_banks * self.buffer_pixels

    @property
    def command_bits(self) -> int:
        """Bits of a command, whatever it is."""
        known = commands(self)
        return COMMAND_BITS + max(known["fill"].bits, sum(known[name].bits for name in ("flags", "item", "store")))

    @cached_property
    def commands_of_a_line(self) -> int:
        """Commands that stand in a line of the global buffer."""
        return 16 * self.line // self.command_bits

    @property
    def pieces(self) -> int:
        """Most rows, or parts of a word, the fill unit puts one record together from."""
        return max(self.plane_rows, self.side, -(-self.data // (16 * self.line)))

    @property
    def lane_registers(self) -> LaneRegisters:
        """The lanes in the terms of the cycle model."""
        return LaneRegisters(self.lanes, self.lane_rows, self.lists, min(self.loads, self.banks), self.banks)

    def parameters(self) -> dict[str, int]:
        """Parameters of ``machine.sv``."""
        modelled = ("buffer_words", "fill_cycles", "loads", "bits")
        sizes = {name.upper(): value for name, value in asdict(self).items() if name not in modelled}
        widths = {name.upper(): commands(self)[name].bits for name in ("fill", "item", "store")}
        return {**sizes, "DATA": self.data, "LINE": self.line, "PITCHES": pitches(self), **widths}


@dataclass(frozen=True)
class Record:
    """Bit fields of one kind of word, the first in the lowest bits.

    Attributes:
        region: What the write port calls it.
        fields: Name, bits and how many of them follow each other.
    """

    region: int
    fields: tuple[tuple[str, int, int], ...]

    @property
    def bits(self) -> int:
        return sum(width * count for _, width, count in self.fields)


@lru_cache
def records(machine: Machine) -> Mapping[str, Record]:
    """Every kind of word the gateware is told, but planes of pixels (words, row by row)."""
    tap, output, column = bits_for(machine.taps + 1), bits_for(machine.outputs), bits_for(machine.columns)
    bank, slot, passes = bits_for(machine.banks), bits_for(machine.slots), bits_for(machine.passes)
    gate, unit, channel = bits_for(machine.gate_words), bits_for(machine.held), bits_for(machine.channels)
    at, rows, lines = (bits_for(size + 1) for size in (machine.side, machine.tile_rows, machine.tile_columns))
    one, word, bias = 1, machine.bits, bias_factor_bits(machine.bits)
    biases = ("expand", bias, one), ("depthwise", bias, one)
    return {
        "group": Record(
            0,
            (
                ("stride_2", 1, one), ("expand_gated", 1, one), ("depthwise_gated", 1, one), ("hidden_max", 4, one),
                ("input_min", 4, one), ("input_max", 4, one), ("input_shift", 6, one), ("residual", 1, one),
                ("residual_shift", 6, one), ("rounds", bits_for(machine.held // machine.inputs + 1), one),
                ("channels", unit + 1, one), ("output_first", output, one), ("output_end", output + 1, one),
                ("pass_first", passes, one), ("pass_end", passes + 1, one), ("channel_first", channel, one),
                ("channel_end", channel + 1, one), ("code_first", bits_for(machine.codes), one), ("halves", 2, one),
                ("turns", bank, machine.taps + 1),
            ),
        ),
        "rule": Record(
            1,
            (
                ("weight_shift", 6, one), ("expand_bias_shift", 6, one), ("depthwise_bias_shift", 6, one),
                ("expand_bias_exponent", 4, one), ("depthwise_bias_exponent", 4, one),
                ("bias", machine.accumulator, one), ("shift", 6, one), ("place", 16, one),
            ),
        ),
        "pass": Record(2, (("kind", 2, one), ("goes_on", 1, one), ("tap", tap, one), ("column", column, one))),
        "code": Record(3, (("code", bits_for(machine.lanes + 2), one),)),
        "map": Record(4, (("slots", 1, machine.slots),)),
        "column": Record(5, (("slots", 1, machine.slots), ("base", bits_for(machine.column_words), one))),
        "slot": Record(6, (("base", bits_for(machine.project_rows), one), *biases, ("rows", 4, one))),
        "bases": Record(7, (("gate", gate, one), ("tap", bits_for(machine.tap_words), one))),
        "depthwise": Record(9, (("value", word, one),)),
        "expand": Record(10, (("value", word, one),)),
        "project": Record(
            12, (("weights", word, machine.words), ("outputs", output, machine.words), ("valid", 1, machine.words))
        ),
        "channel": Record(
            13,
            (
                ("expand", 3, machine.held), ("expand_offset", machine.expand_score, one),
                ("shift", bits_for(machine.expand_score), one), ("depthwise", 3, machine.taps),
                ("depthwise_offset", machine.depthwise_score, one),
                ("wanted", 1, machine.taps + 1), ("bank", bank, one), ("slot", slot, one), ("release", passes + 1, one),
            ),
        ),
        "part": Record(
            16,
            (
                ("reading_cycles", 16, one), ("row_first", at, one), ("row_end", at, one), ("column_first", at, one),
                ("column_end", at, one), ("out_rows", rows, one), ("out_columns", lines, one),
                ("place", bits_for(machine.pixels), one), ("turns", bits_for(machine.turns(machine.side) + 1), one),
            ),
        ),
    }  # fmt: skip


@lru_cache
def together(machine: Machine) -> Mapping[str, int]:
    """Records of each kind that a word of the write port holds for every bank, one behind the other.

    A power of two, up to that of the machine, as many as a line of the global buffer holds, of which the memory (half
    of the slots, the outputs of a list) is two or more words. Group records and parts come one by one.
    """
    sizes = {name: getattr(machine, memory) for name, memory in MEMORIES.items()}
    sizes |= {"slot": machine.slots // 2, "rule": machine.outputs // machine.lists, "group": 1, "part": 1}
    sizes |= dict.fromkeys(("map", "bases"), 1 << bits_for(machine.taps + 2))
    found = {}
    for name, record in records(machine).items():
        bits, count = record.bits * (machine.banks if record.region in BANK_REGIONS else 1), machine.together
        while count > 1 and (count * bits > 16 * machine.line or sizes[name] % count or sizes[name] < 2 * count):
            count //= 2
        found[name] = count
    return found


def commands(machine: Machine) -> dict[str, Record]:
    """Fields of the commands, by the unit they are for; a start of the core has flags, an item and a store."""
    row, bank, span = bits_for(machine.buffer_lines), bits_for(machine.buffer_banks), bits_for(machine.buffer_banks + 1)
    gate, part, pixel = bits_for(machine.gate_words), bits_for(machine.parts), bits_for(machine.buffer_pixels)
    piece, column, one = bits_for(machine.pieces + 1), bits_for(machine.line + 1), 1
    flags = ("planes", "half", "predict_half", "set")
    return {
        "fill": Record(
            1,
            (
                ("region", 5, one), ("index", 16, one), ("count", 16, one), ("row", row, one), ("bank", bank, one),
                ("piece_rows", row, one), ("piece_banks", bank, one), ("record_rows", row, one),
                ("record_banks", bank, one), ("pixel", pixel, one), ("span", span, one), ("piece_first", piece, one),
                ("piece_end", piece, one), ("column_first", column, one), ("column_end", column, one),
                ("pitch", bits_for(pitches(machine) + 1), one),
            ),
        ),
        "flags": Record(2, (("lists", 1, one), ("predict", 1, one), ("behind", 1, one), ("finish", 1, one))),
        "item": Record(
            2,
            (
                ("read_offset", gate, one), ("write_offset", gate, one), ("rows", bits_for(machine.tile_rows + 1), one),
                ("part_first", part, one), ("part_end", part + 1, one), *((name, 1, one) for name in flags),
            ),
        ),
        "store": Record(
            2,
            (
                ("row", row, one), ("bank", bank, one), ("next_rows", row, one), ("next_banks", bank, one),
                ("plane_rows", row, one), ("pixel", pixel, one), ("columns", bits_for(machine.tile_columns + 1), one),
                ("pitch", 2, one),
            ),
        ),
    }  # fmt: skip


COMMAND_BITS = 3  # its kind (0 ends the list, 1 and 3 fill, 2 starts the core) and whether it waits for the other unit
BANK_REGIONS = range(3, 13)  # written in all banks beside the lanes at once
INPUT_PLANE, PART_PLANE, RESIDUAL = 14, 15, 17  # regions of the write port that hold pixels
