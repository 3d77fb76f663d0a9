"""What the gateware is told of a group of a fused block: its passes, load codes, memories, rules and channels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from predfuse.arrays import Int64Array, Mask
from predfuse.graph.nodes import Shape
from predfuse.hardware.block_work import BlockWork, block_work
from predfuse.hardware.cycle.archon.gate_banks import fullest_bank
from predfuse.hardware.cycle.archon.gate_memory import gate_traffic
from predfuse.hardware.cycle.archon.gateware import Machine, bits_for
from predfuse.hardware.cycle.archon.load_codes import load_codes
from predfuse.hardware.cycle.archon.passes import WEIGHT, Passes, group_passes
from predfuse.hardware.cycle.archon.prediction_order import predicted_behind, prediction_order
from predfuse.hardware.cycle.archon.registers import PassPlan, PassTimes, plan_passes, release_cycles
from predfuse.hardware.cycle.archon.sequence.group import Group
from predfuse.hardware.cycle.archon.sequence.limits import require_memories
from predfuse.hardware.cycle.archon.sequence.places import Places, places
from predfuse.integer.nodes import FusedBlock
from predfuse.rtl.limits import require_fit, require_sums
from predfuse.rtl.narrow import narrowed
from predfuse.rtl.words import Packer, Word


@dataclass(frozen=True, eq=False)
class GroupStream:
    """One group of a fused block, ready for the gateware.

    Attributes:
        node: The block.
        work: What it asks of the machine.
        group: Which group.
        machine: The gateware.
        words: For its memories, valid for all tiles.
        passes: As planned.
        times: Of them.
        release: ``[channels of the group]`` when the lists need the gate words of a channel no longer (cycles).
        order: Channels in the order of prediction.
        bank: ``[channels of the group]``.
        turns: ``[taps + 1]`` by how many banks further the gate words of every tap are.
        sizes: Of its words.
    """

    node: FusedBlock
    work: BlockWork
    group: int
    machine: Machine
    words: tuple[Word, ...]
    passes: Passes
    times: PassTimes
    release: Int64Array
    order: Int64Array
    bank: Int64Array
    turns: Int64Array
    sizes: Group

    @property
    def gate_words(self) -> int:
        """Of the fullest bank of the gate memory."""
        return self.sizes.gate_words

    @property
    def places(self) -> Places:
        """Where its words are."""
        return self.sizes.places


def _gated(work: BlockWork, group: int) -> Mask:
    """``[Mg, K + 1]`` bool: gate words of every channel."""
    span = slice(group * work.group_middle, (group + 1) * work.group_middle)
    live = work.live_channels[span][:, None]
    gated: Mask = np.concatenate((work.depthwise[span], work.depthwise_bias[span][:, None]), axis=1) & live
    return gated


def grid_taps(kernel: int, machine: Machine) -> list[int]:
    """Taps of a window on the machine's grid of taps, and the one that stands for mask 2 alone."""
    taps = [row * machine.kernel + column for row in range(kernel) for column in range(kernel)]
    return [*taps, machine.taps]


def emit_group(
    node: FusedBlock, in_shape: Shape, group: int, machine: Machine, number: int | None = None
) -> GroupStream:
    """Everything the gateware is told of a group.

    Args:
        node: The block.
        in_shape: ``(C, H, W)`` of its input.
        group: Which of its groups.
        machine: The gateware.
        number: Of the group in its chain, where groups take turns at the ends of the memories; None: as in the block.

    Raises:
        InputError: The block needs something the gateware does not have; the message says what.
    """
    work = block_work(node.as_bottleneck(), in_shape)
    require_fit(node, work, machine)
    plan = plan_passes(group_passes(work, group, work.group_outputs, machine.words), machine.lane_registers)
    bank = np.zeros(work.group_middle, np.int64)
    bank[: len(plan.bank)] = plan.bank
    channel, tap = np.nonzero(_gated(work, group))
    behind = predicted_behind(work, fullest_bank(bank[channel], plan.turns[tap], machine.banks), machine)
    if not behind:
        plan = plan.in_fewest_cycles()
    passes, times = plan.passes, plan.times
    require_sums(node, work, group, passes, machine.sum)
    release = release_cycles(passes, times, work.group_middle)
    live = np.flatnonzero(work.live_channels[group * work.group_middle : (group + 1) * work.group_middle])
    emitter = _Emitter(node, work, group, group if number is None else number, machine, plan, bank, live)
    order = live[prediction_order(release[live], bank[live], behind)]
    words = [*emitter.rules(), *emitter.memories(), *emitter.pass_words(), *emitter.channels(order, behind)]
    words.append(emitter.group_word())
    told = node, work, group, machine, tuple(words)
    return GroupStream(*told, passes, times, release, order, bank, plan.turns, emitter.sizes(release, order))


class _Emitter:
    """Makes the words of one group."""

    def __init__(
        self,
        node: FusedBlock,
        work: BlockWork,
        group: int,
        number: int,
        machine: Machine,
        plan: PassPlan,
        bank: Int64Array,
        live: Int64Array,
    ) -> None:
        passes, times, self.turns = plan.passes, plan.times, plan.turns
        self.node, self.work, self.machine, self.passes, self.times = node, work, machine, passes, times
        self.bank, self.pack, self.grid = bank, Packer(machine), grid_taps(node.kernel, machine)
        self.middle = slice(group * work.group_middle, (group + 1) * work.group_middle)
        self.outputs = slice(group * work.group_outputs, (group + 1) * work.group_outputs)
        self.slots = [[int(m) for m in live if bank[m] == b] for b in range(machine.banks)]
        self.gated = _gated(work, group)
        self.depthwise = node.depthwise.reshape(-1, work.taps)[self.middle]
        self.expand, self.project = node.expand[self.middle], node.project[self.outputs]
        self.kinds = passes.kinds
        self.codes = load_codes(passes, times, bank, machine.lane_registers)
        self.needs = self._needs(len(live))
        self.gate_bases, self.fullest_gate_bank = self._gate_bases()
        require_memories(node.name, self.needs, self.fullest_gate_bank, machine)
        self.group, self.number = group, number
        self.places = places(self.needs, self.needs["slots"], number % 2, machine)
        self.first = self.places.first
        self.slot = {m: slot for own in self.slots for slot, m in enumerate(own, self.places.slot_first)}

    def sizes(self, release: Int64Array, order: Int64Array) -> Group:
        """The group without its words."""
        machine, bank = self.machine, self.bank
        taps = [(m, np.flatnonzero(self.gated[m])) for m in order]
        words = [np.stack((np.full(len(own), m), own)) for m, own in taps]
        traffic = (
            gate_traffic(self.passes, self.times, machine.lane_registers, bank, self.turns, words, release)
            if words
            else None
        )
        return Group(
            self.work, self.number, self.group, machine, self.needs, self.times.cycles, self.fullest_gate_bank, traffic
        )

    def _needs(self, channels: int) -> dict[str, int]:
        """Records of each memory in the fullest bank."""
        project = self._project_rows()
        return {
            "outputs": self.work.group_outputs,
            "columns": self.work.group_channels,
            "passes": len(self.kinds),
            "codes": max(map(len, self.codes)) + 1,  # behind the last stands one that ends no part
            "channels": channels,
            "slots": max(map(len, self.slots)),
            "tap_words": max(int(self.gated[own, :-1].sum()) for own in self.slots),
            "column_words": max(int(np.count_nonzero(self.expand[own])) for own in self.slots),
            "project_rows": max(int(project[own].sum()) for own in self.slots),
        }

    def _project_rows(self) -> Int64Array:
        """``[middle]`` rows of project weights of every channel."""
        rows: Int64Array = -(-np.count_nonzero(self.project, axis=0) // self.machine.words)
        return rows

    def _gate_bases(self) -> tuple[dict[tuple[int, int], int], int]:
        """Where the words of a bank and tap begin, and the words of the fullest gate bank."""
        filled = [0] * self.machine.banks
        bases = {}
        for b, own in enumerate(self.slots):
            for k in range(self.work.taps + 1):
                gate = (b + int(self.turns[k])) % self.machine.banks
                bases[b, k] = filled[gate]
                filled[gate] += int(self.gated[own, k].sum())
        return bases, max(filled)

    def group_word(self) -> Word:
        node, predictor, machine = self.node, self.node.predictor, self.machine
        first, end, turns = self.first, self.places.end, [0] * (machine.taps + 1)
        for k, tap in enumerate(self.grid):
            turns[tap] = int(self.turns[k])
        return self.pack.word(
            "group",
            self.places.half,
            stride_2=int(node.stride == 2),
            expand_gated=int(node.expand_gated),
            depthwise_gated=int(node.depthwise_gated),
            hidden_max=predictor.hidden_max,
            input_min=predictor.input_min,
            input_max=predictor.input_max,
            input_shift=node.predictor_shift,
            residual=int(node.residual),
            residual_shift=node.residual_shift,
            rounds=-(-self.work.group_channels // machine.inputs),
            channels=self.work.group_channels,
            output_first=first["outputs"],
            output_end=end["outputs"],
            pass_first=first["passes"],
            pass_end=end["passes"],
            channel_first=first["channels"],
            channel_end=end["channels"],
            code_first=first["codes"],
            halves=self.places.halves,
            turns=turns,
        )

    def rules(self) -> list[Word]:
        node, shuffled = self.node, self.node.out_channels // self.node.shuffle_groups
        return [
            self.pack.word(
                "rule",
                index,
                weight_shift=int(node.weight_shift[o]),
                expand_bias_shift=int(node.expand_bias_shift[o]),
                depthwise_bias_shift=int(node.depthwise_bias_shift[o]),
                expand_bias_exponent=int(node.expand_bias_exponent[o]),
                depthwise_bias_exponent=int(node.depthwise_bias_exponent[o]),
                bias=int(node.output_bias[o]),
                shift=int(node.shift[o]),
                place=o % shuffled * node.shuffle_groups + o // shuffled,
            )
            for index, o in enumerate(range(self.outputs.start, self.outputs.stop), self.first["outputs"])
        ]

    def memories(self) -> list[Word]:
        """Maps and factors of every bank."""
        words: list[Word] = []
        for b, own in enumerate(self.slots):
            words += self._tap_words(b, own) + self._column_words(b, own) + self._slot_words(b, own)
        return words

    def _map(self, flags: Mask) -> list[int]:
        before = self.places.slot_first
        return [0] * before + [int(flag) for flag in flags] + [0] * (self.machine.slots - before - len(flags))

    def _tap_words(self, b: int, own: list[int]) -> list[Word]:
        machine, words, filled = self.machine, [], self.first["tap_words"]
        halves = self.places.halves << bits_for(machine.taps + 2)
        used = dict(zip(self.grid, range(self.work.taps + 1), strict=True))
        for tap in range(machine.taps + 1):
            k = used.get(tap)
            flags = self.gated[own, k] if k is not None else np.zeros(0, np.bool_)
            words.append(self.pack.word("map", halves | tap, b, slots=self._map(flags)))
            gate = self.gate_bases[b, k] if k is not None else 0
            values = [self.depthwise[m, k] for m, flag in zip(own, flags, strict=False) if flag and tap < machine.taps]
            # An empty region may begin behind the last word.
            base = filled if values else 0
            at = self.places.half << bits_for(machine.taps + 2) | tap
            words.append(self.pack.word("bases", at, b, gate=gate if flags.any() else 0, tap=base))
            for value in values:
                words.append(self.pack.word("depthwise", filled, b, value=int(value)))
                filled += 1
        biased = (self.node.expand_bias[self.middle][own] != 0) & self.work.depthwise[self.middle][own].any(axis=1)
        words.append(self.pack.word("map", halves | machine.taps + 1, b, slots=self._map(biased)))
        return words

    def _column_words(self, b: int, own: list[int]) -> list[Word]:
        words, filled = [], self.first["column_words"]
        for column in range(self.work.group_channels):
            present = self.expand[own, column] != 0
            base = filled if present.any() else 0
            words.append(
                self.pack.word("column", self.first["columns"] + column, b, slots=self._map(present), base=base)
            )
            for value in self.expand[own, column][present]:
                words.append(self.pack.word("expand", filled, b, value=int(value)))
                filled += 1
        return words

    def _slot_words(self, b: int, own: list[int]) -> list[Word]:
        machine, words, filled = self.machine, [], self.first["project_rows"]
        for slot, m in enumerate(own, self.places.slot_first):
            read = np.flatnonzero(self.project[:, m])
            rows = [read[first : first + machine.words] for first in range(0, len(read), machine.words)]
            expand, depthwise = (
                int(part[self.middle.start + m]) for part in (self.node.expand_bias, self.node.depthwise_bias)
            )
            words.append(
                self.pack.word("slot", slot, b, base=filled, expand=expand, depthwise=depthwise, rows=len(rows))
            )
            for row in rows:
                spare = [0] * (machine.words - len(row))
                weights = [int(self.project[o, m]) for o in row] + spare
                outputs, valid = [int(o) + self.first["outputs"] for o in row] + spare, [1] * len(row) + spare
                words.append(self.pack.word("project", filled, b, weights=weights, outputs=outputs, valid=valid))
                filled += 1
        return words

    def pass_words(self) -> list[Word]:
        """Passes, and the codes of every bank: the lane a member goes to, a cycle of waiting, the end of a part."""
        machine, passes = self.machine, self.passes
        taps = passes.tap[passes.indptr[:-1]]
        words = [
            self.pack.word(
                "pass",
                index,
                kind=int(kind),
                goes_on=int(follows),
                tap=self.grid[tap] if kind == WEIGHT else 0,
                column=self.first["columns"] + max(int(column), 0),
            )
            for index, (kind, follows, tap, column) in enumerate(
                zip(self.kinds, passes.goes_on, taps, passes.column, strict=True), self.first["passes"]
            )
        ]
        for b, own in enumerate(self.codes):
            # Behind the last stands a code that ends no part.
            for index, code in enumerate((*own.tolist(), machine.lanes), self.first["codes"]):
                words.append(self.pack.word("code", index, b, code=code))
        return words

    def channels(self, order: Int64Array, behind: bool) -> list[Word]:
        """What the predictor needs, in its order; releases where a tile is predicted ``behind`` lists."""
        machine, first = self.machine, self.middle.start
        predictor = narrowed(self.node.name, self.node.predictor, first + order, machine.expand_score)
        release = np.zeros(self.work.group_middle, np.int64)
        owner = np.repeat(np.arange(len(self.kinds)), np.diff(self.passes.indptr))
        np.maximum.at(release, self.passes.channel, owner)
        words = []
        for row, m in enumerate(order):
            depthwise, wanted = [0] * machine.taps, [0] * (machine.taps + 1)
            for k, tap in enumerate(self.grid):
                wanted[tap] = int(self.gated[m, k])
                if k < self.work.taps:
                    depthwise[tap] = _power(int(predictor.depthwise[row].reshape(-1)[k]))
            expand = [_power(int(weight)) for weight in predictor.expand[row]]
            words.append(
                self.pack.word(
                    "channel",
                    self.first["channels"] + row,
                    expand=expand + [0] * (machine.held - len(expand)),
                    expand_offset=int(predictor.expand_offset[row]),
                    shift=int(predictor.shift[row]),
                    depthwise=depthwise,
                    depthwise_offset=int(predictor.depthwise_offset[row]),
                    wanted=wanted,
                    bank=int(self.bank[m]),
                    slot=self.slot[int(m)],
                    release=int(release[m]) if behind else 0,
                )
            )
        return words


def _power(weight: int) -> int:
    """A predictor's weight in three bits: 0 for none or 1 more than the exponent of two, and its sign."""
    return abs(weight).bit_length() | (4 if weight < 0 else 0)
