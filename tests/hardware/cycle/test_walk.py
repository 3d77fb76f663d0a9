"""Archon walked through cycle by cycle, its gates, lanes and adders at work: the planned time and the exact sums.

The walk knows nothing of the vectorised model. It expands the channels of a tile pixel by pixel and term by term into
two hidden planes, forms gate words from them and writes them; loads members from the banks, sends entries over the
lanes, gates and adds them, multiplies finished lists by the inputs under the tap, and counts. RTL has to do the same.
"""

from __future__ import annotations

import functools
from collections import Counter
from dataclasses import dataclass, field

import numpy as np
from hardware.cycle.machines import archon
from hypothesis import assume, given, settings, strategies as st
from integer.block_cases import compiled, integer_input
from strategies import BlockCase, bottlenecks

from predfuse.arrays import Array
from predfuse.hardware.block_work import block_work
from predfuse.hardware.cycle.archon.gate_memory import PredictorRate, gate_traffic, written_cycles
from predfuse.hardware.cycle.archon.passes import NO_COLUMN, Passes, group_passes
from predfuse.hardware.cycle.archon.predictor import rectangle_accesses, tile_predict_time
from predfuse.hardware.cycle.archon.registers import LaneRegisters, PassPlan, plan_passes, release_cycles
from predfuse.hardware.spec import ArchonSpec
from predfuse.integer.arithmetic import round_half_up
from predfuse.integer.nodes import FusedBlock
from predfuse.integer.reference import _fused_group, predict_masks
from predfuse.integer.tiling import Span, Tile
from predfuse.integer.widths import product_shift


@dataclass
class Member:
    """A channel in a lane: its gate word, which outputs it has, and which of them were sent."""

    gate: Array  # [P, Q] bool
    channel: int
    tap: int
    left: set[int]


@dataclass
class Predictor:
    """A group of a tile predicted by ``units`` pixels of ``inputs`` terms, ``writes`` gate words a cycle.

    Gate words wait in queues of ``depth`` words for a cycle in which their bank is not read; words of a channel are not
    begun before its ``release``.
    """

    node: FusedBlock
    group: int
    tile: Tile
    x: Array  # [Cg, H, W]
    order: list[int]  # channels of the group
    units: int
    inputs: int
    writes: int
    bank: Array  # [channels] of the project memory
    turns: Array  # [taps + 1] from there to that of the gate memory
    banks: int
    depth: int = 1 << 30
    clock: int = 0
    reads: dict[int, set[int]] = field(default_factory=dict)  # banks of the gate memory by cycle
    release: dict[int, int] = field(default_factory=dict)  # cycle by channel
    gates: dict[tuple[int, int], Array] = field(default_factory=dict)  # by channel and tap

    def run(self) -> None:
        """The first stage fills a free plane; the second forms the gate words of the plane filled first."""
        node, predictor = self.node, self.node.predictor
        pixels = [
            (row, column) for row in self._span(self.tile.input_rows) for column in self._span(self.tile.input_columns)
        ]
        terms = self.x.shape[0]
        work = [
            (pixels[first : first + self.units], range(term, min(term + self.inputs, terms)))
            for first in range(0, len(pixels), self.units)
            for term in range(0, terms, self.inputs)
        ]
        x = np.clip(self.x >> node.predictor_shift, predictor.input_min, predictor.input_max)
        planes: list[tuple[int, dict[tuple[int, int], int]]] = []  # full ones: channel, score by pixel
        waiting: list[tuple[int, int, Array]] = []  # gate words to be written
        queues: list[list[tuple[int, int, Array]]] = [[] for _ in range(self.banks)]
        channel, at, second = 0, 0, -1
        score = dict.fromkeys(pixels, 0)
        while planes or any(queues) or channel < len(self.order):
            full = len(planes)
            if planes and second < 0 and self.clock >= self.release.get(planes[0][0], 0):
                second = 0
                waiting = self._gate_words(*planes[0])
            if second >= 0:
                second += 1
                waiting = self._queue(waiting, queues)
            for bank, queue in enumerate(queues):
                if queue and bank not in self.reads.get(self.clock, set()):
                    m, tap, word = queue.pop(0)
                    self.gates[m, tap] = word
            self.clock += 1
            if channel < len(self.order) and full < 2:
                m = self._middle(self.order[channel])
                for pixel in work[at][0]:
                    for term in work[at][1]:
                        score[pixel] += int(predictor.expand[m, term]) * int(x[(term, *pixel)])
                at += 1
                if at == len(work):
                    planes.append((self.order[channel], score))
                    channel, at, score = channel + 1, 0, dict.fromkeys(pixels, 0)
            if second >= (-(-node.kernel // 3)) ** 2 and not waiting:  # nine taps a cycle
                planes.pop(0)
                second = -1

    def _queue(
        self, waiting: list[tuple[int, int, Array]], queues: list[list[tuple[int, int, Array]]]
    ) -> list[tuple[int, int, Array]]:
        """Hand over the first ``writes`` words whose queues have room and take none yet; the others go on waiting."""
        left, taken = [], set[int]()
        for word in waiting:
            bank = (int(self.bank[word[0]]) + int(self.turns[word[1]])) % self.banks
            if len(taken) < self.writes and bank not in taken and len(queues[bank]) < self.depth:
                queues[bank].append(word)
                taken.add(bank)
            else:
                left.append(word)
        return left

    def _span(self, span: Span) -> range:
        return range(span.start, span.stop)

    def _middle(self, channel: int) -> int:
        return self.group * (self.node.middle_channels // self.node.groups) + channel

    def _gate_words(self, channel: int, score: dict[tuple[int, int], int]) -> list[tuple[int, int, Array]]:
        """Gate words of a channel: of every tap it has a weight at, and of mask 2 alone if it has a shift."""
        node, predictor, m = self.node, self.node.predictor, self._middle(channel)
        rows, columns = self._span(self.tile.rows), self._span(self.tile.columns)
        taps = [divmod(tap, node.kernel) for tap in range(node.kernel**2)]
        on1 = np.zeros((len(taps), len(rows), len(columns)), np.int64)
        on2 = np.zeros((len(rows), len(columns)), np.int64)
        for i, row in enumerate(rows):
            for j, column in enumerate(columns):
                total = int(predictor.depthwise_offset[m])
                for tap, (down, across) in enumerate(taps):
                    pixel = row * node.stride + down - node.padding[0], column * node.stride + across - node.padding[2]
                    if pixel not in score:
                        continue  # outside the image
                    first = score[pixel] + int(predictor.expand_offset[m])
                    on1[tap, i, j] = first > 0 or not node.expand_gated
                    hidden = min(max(first >> int(predictor.shift[m]), 0), predictor.hidden_max)
                    total += int(predictor.depthwise[m, down, across]) * hidden
                on2[i, j] = total > 0 or not node.depthwise_gated
        words = [
            (channel, tap, on1[tap] * on2)
            for tap, (down, across) in enumerate(taps)
            if node.depthwise[m, down, across] != 0
        ]
        return words + [(channel, len(taps), on2)] * bool(node.depthwise_bias[m])


@dataclass
class Walk:
    """One group of a block on one tile."""

    node: FusedBlock
    group: int
    tile: Tile
    x: Array  # [Cg, H, W]
    gates: dict[tuple[int, int], Array]  # by channel and tap
    sizes: LaneRegisters
    plan: PassPlan  # of which banks and lanes are taken, no times
    sums: Array = field(init=False)  # [Og, P, Q]
    clock: int = 0
    products: int = 0
    last_read: dict[int, int] = field(default_factory=dict)  # cycle by channel
    gate_reads: dict[int, set[int]] = field(default_factory=dict)  # banks by cycle
    load_cycles: Counter[int] = field(default_factory=Counter)  # by pass
    list_cycles: Counter[int] = field(default_factory=Counter)
    lane_of: dict[int, int] = field(default_factory=dict)  # of the members being loaded

    @property
    def passes(self) -> Passes:
        return self.plan.passes

    def run(self) -> None:
        """All passes."""
        outputs = self.node.out_channels // self.node.groups
        shape = self.tile.rows.size, self.tile.columns.size
        self.sums = np.zeros((outputs, *shape), np.int64)
        banks = self.plan.bank[self.passes.channel]
        count = len(self.passes.indptr) - 1
        loading = self._queue(0, banks) if count else []
        lanes: list[list[Member]] = []
        running: list[list[int]] = [[] for _ in range(self.sizes.parallel_lists)]
        added = [np.zeros(shape, np.int64) for _ in running]
        current = -1
        while True:
            busy = any(running)
            if not busy and not any(loading):
                current += 1
                if current == count:
                    return
                lanes = self._fill_lanes(current)
                present = sorted({output for lane in lanes for member in lane for output in member.left})
                for multiplier, lists in enumerate(running):
                    lists += [o for o in present if o % self.sizes.parallel_lists == multiplier]
                loading = self._queue(current + 1, banks) if current + 1 < count else []
                continue
            self.clock += 1
            if any(loading):
                self.load_cycles[current + 1] += 1
                self._load(loading, current + 1)
            if busy:
                self.list_cycles[current] += 1
            for lists, total in zip(running, added, strict=True):
                if lists:
                    self._send(lists, lanes, current, total)

    def _queue(self, index: int, banks: Array) -> list[list[int]]:
        """Members of a pass by bank of the project memory."""
        span = range(self.passes.indptr[index], self.passes.indptr[index + 1])
        self.lane_of = dict(zip(span, self._lanes(index), strict=True))
        return [[member for member in span if banks[member] == bank] for bank in range(self.sizes.banks)]

    def _load(self, queues: list[list[int]], index: int) -> None:
        """Up to ``loads`` members, the next of a bank, none into a lane or from a gate bank that is taken."""
        lanes: set[int] = set()
        gates: set[int] = set()
        for bank in sorted(range(len(queues)), key=lambda bank: -len(queues[bank])):
            if not queues[bank] or len(lanes) == self.sizes.loads:
                break
            member = queues[bank][0]
            gate = (bank + int(self.plan.turns[self.passes.tap[member]])) % self.sizes.banks
            if self.lane_of[member] in lanes or gate in gates:
                continue
            lanes.add(self.lane_of[member])
            gates.add(gate)
            self.gate_reads.setdefault(self.clock - 1, set()).add(gate)
            queues[bank].pop(0)
            self.last_read[int(self.passes.channel[member])] = self.clock

    def _lanes(self, index: int) -> list[int]:
        span = slice(self.passes.indptr[index], self.passes.indptr[index + 1])
        return [int(lane) for lane in self.plan.times.lanes[span]]

    def _fill_lanes(self, index: int) -> list[list[Member]]:
        span = slice(self.passes.indptr[index], self.passes.indptr[index + 1])
        lane = self._lanes(index)
        lanes: list[list[Member]] = [[] for _ in range(self.sizes.lanes)]
        rows = zip(self.passes.channel[span], self.passes.tap[span], self.passes.outputs[span], lane, strict=True)
        for channel, tap, word, number in rows:
            outputs = {output for output in range(64) if int(word) >> output & 1}
            lanes[number].append(Member(self.gates[int(channel), int(tap)], int(channel), int(tap), outputs))
        assert max(map(len, lanes)) <= self.sizes.registers
        return lanes

    def _send(self, lists: list[int], lanes: list[list[Member]], index: int, total: Array) -> None:
        """One cycle of a multiplier: an entry a lane, gated and added at every pixel; a whole list is multiplied."""
        output = lists[0]
        column = int(self.passes.column[index])
        first = int(self.passes.first_output[index]) + output
        o = self.group * (self.node.out_channels // self.node.groups) + first
        tap = 0
        for lane in lanes:
            member = next((member for member in lane if output in member.left), None)
            if member is not None:
                member.left.remove(output)
                tap = member.tap
                total += member.gate * self._entry(o, column, member)
        if not any(output in member.left for lane in lanes for member in lane):
            lists.pop(0)
            self.products += column != NO_COLUMN
            self.sums[first] += total * (1 if column == NO_COLUMN else self._input(column, tap))
            total[:] = 0

    def _entry(self, o: int, column: int, member: Member) -> int:
        node, taps = self.node, self.node.kernel**2
        m = self.group * (node.middle_channels // node.groups) + member.channel
        project = int(node.project[o, member.channel])
        if member.tap == taps:
            entry = round_half_up(np.asarray(project * int(node.depthwise_bias[m])), node.depthwise_bias_shift[o])
            return int(entry) << int(node.depthwise_bias_exponent[o])
        depthwise = int(node.depthwise.reshape(-1, taps)[m, member.tap])
        factor = int(node.expand_bias[m] if column == NO_COLUMN else node.expand[m, column])
        inner = int(round_half_up(np.asarray(project * factor), product_shift(16)))
        if column == NO_COLUMN:
            entry = round_half_up(np.asarray(inner * depthwise), node.expand_bias_shift[o])
            return int(entry) << int(node.expand_bias_exponent[o])
        return int(round_half_up(np.asarray(inner * depthwise), node.weight_shift[o]))

    def _input(self, column: int, tap: int) -> Array:
        return shifted(self.node, self.x[column], tap, self.tile)


def shifted(node: FusedBlock, plane: Array, tap: int, tile: Tile) -> Array:
    """What every output pixel of a tile sees of a plane under one tap, 0 outside."""
    down, across = divmod(tap, node.kernel)
    result = np.zeros((tile.rows.size, tile.columns.size), np.int64)
    for i in range(tile.rows.size):
        for j in range(tile.columns.size):
            row = (tile.rows.start + i) * node.stride + down - node.padding[0]
            column = (tile.columns.start + j) * node.stride + across - node.padding[2]
            if 0 <= row < plane.shape[0] and 0 <= column < plane.shape[1]:
                result[i, j] = plane[row, column]
    return result


@settings(max_examples=40)
@given(
    bottlenecks(with_predictor=True),
    st.tuples(st.integers(1, 4), st.integers(1, 3), st.integers(1, 5)),
    st.integers(1, 3),
    st.integers(1, 3),
    st.tuples(st.integers(1, 4), st.integers(1, 4), st.integers(0, 15)),
    st.tuples(st.integers(0, 2), st.integers(1, 4), st.sampled_from((1, 2, 3, 30))),
)
def test_the_walk_takes_the_planned_cycles_and_gives_the_exact_sums(
    case: BlockCase,
    sizes: tuple[int, int, int],
    row_words: int,
    slices: int,
    tiling: tuple[int, int, int],
    predictor: tuple[int, int, int],
) -> None:
    node, x = compiled(case), integer_input(case)
    work = block_work(node.as_bottleneck(), case.x.shape)
    tiles = work.tiles(*tiling[:2])
    tile = tiles[tiling[2] % len(tiles)]
    assume(tile.input_pixels > 0)
    lanes = LaneRegisters(lanes=sizes[0], registers=3, parallel_lists=sizes[1], loads=sizes[2], banks=3)
    # Predictors that hold the inputs of a tile: of half, all, or twice the terms of a pixel at once.
    terms = max(1, (work.group_channels << predictor[0]) // 2)
    spec = predicting(-(-tile.input_pixels * work.group_channels // terms), terms, predictor[1])
    depth = predictor[2]
    for group in range(work.groups):
        outputs, middle, columns = (
            slice(group * count, (group + 1) * count)
            for count in (work.group_outputs, work.group_middle, work.group_channels)
        )
        plan = plan_passes(group_passes(work, group, -(-work.group_outputs // slices), row_words), lanes)
        plan = plan.in_fewest_cycles() if group % 2 == 0 else plan
        passes, times = plan.passes, plan.times
        release = release_cycles(passes, times, work.group_middle)
        live = np.flatnonzero(work.live_channels[middle])
        order = live[np.argsort(release[live], kind="stable")]
        inputs = x[columns].astype(np.int64)

        bank = np.concatenate((plan.bank, np.zeros(work.group_middle, np.int64)))
        predictor_of = functools.partial(
            Predictor, node, group, tile, inputs, order.tolist(), *_predictor_sizes(spec), bank, plan.turns, lanes.banks
        )
        ahead = predictor_of()
        ahead.run()
        words = (work.depthwise[middle].sum(axis=1) + work.depthwise_bias[middle])[order]
        assert len(ahead.gates) == words.sum()

        walk = Walk(node, group, tile, inputs, ahead.gates, lanes, plan)
        walk.run()
        assert walk.clock == times.cycles and walk.products == passes.lists[0]
        for walked, planned in ((walk.load_cycles, times.load_cycles), (walk.list_cycles, times.list_cycles)):
            assert [walked[index] for index in range(len(planned))] == planned.tolist()
        mask1, mask2 = predict_masks(node, x)
        exact = _fused_group(node, outputs, middle, inputs, mask1[middle], mask2[middle])
        pixels = exact[:, tile.rows.start : tile.rows.stop, tile.columns.start : tile.columns.stop]
        assert (walk.sums + node.output_bias[outputs][:, None, None] == pixels).all()
        # When its gate words may be overwritten, no channel is read any more.
        assert all(cycle <= release[channel] for channel, cycle in walk.last_read.items())
        if not len(order):
            continue

        # The next tile, were it alike: predicted alone, beside those lists, and into the places they release.
        time = tile_predict_time(work, words, tile, spec)
        reading = -(-work.group_channels * accesses(tile, spec) // spec.global_buffer.banks) + spec.design.fill_cycles
        assert [part[0] for part in time.parts] == [reading]
        gated = [
            np.array(sorted(key for key in ahead.gates if key[0] == channel), np.int64).reshape(-1, 2).T
            for channel in order
        ]
        traffic = gate_traffic(passes, times, lanes, bank, plan.turns, gated, release)
        late = {channel: int(release[channel]) - reading for channel in order.tolist()}
        later = {cycle - reading: read for cycle, read in walk.gate_reads.items()}
        for reads, places in (({}, {}), (later, {}), (later, late)):
            beside = predictor_of(depth=depth, reads=reads, release=places)
            beside.run()
            expected = written_cycles(
                traffic,
                PredictorRate(time.parts, time.tap_cycles, spec.design.structures.gate_writes, depth),  # type: ignore[union-attr]
                traffic.reads if reads else traffic.reads[:0],
                traffic.release if places else None,
            )
            assert expected == reading + beside.clock
            assert all((beside.gates[key] == gate).all() for key, gate in ahead.gates.items())


def predicting(units: int, inputs: int, writes: int) -> ArchonSpec:
    """An Archon with a predictor of some size and hidden planes for any tile."""
    sizes = {"predictor_units": units, "predictor_inputs": inputs, "gate_writes": writes, "hidden_plane_pixels": 400}
    spec = archon()
    own = spec.design.structures
    assert own is not None
    design = spec.design.model_copy(update={"structures": own.model_copy(update=sizes)})
    return spec.model_copy(update={"design": design})


def _predictor_sizes(spec: ArchonSpec) -> tuple[int, int, int]:
    own = spec.design.structures
    assert own is not None
    return own.predictor_units, own.predictor_inputs, own.gate_writes


def accesses(tile: Tile, spec: ArchonSpec) -> int:
    """Of the global buffer for one channel of a tile's inputs."""
    return rectangle_accesses(tile.input_rows.size, tile.input_columns.size, spec)
