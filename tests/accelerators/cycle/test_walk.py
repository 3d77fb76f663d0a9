"""Archon walked through cycle by cycle, its gates, lanes and adders at work: the planned time and the exact sums.

The walk knows nothing of the vectorised model. It loads members from the banks, sends entries over the lanes, gates and
adds them, multiplies finished lists by the inputs under the tap, and counts. RTL has to do the same.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from compiler.test_blocks import compiled, integer_input
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import BlockCase, bottlenecks

from predfuse.accelerators.cycle.placement import place
from predfuse.accelerators.cycle.registers import (
    NO_COLUMN,
    LaneRegisters,
    Passes,
    channel_banks,
    group_passes,
    pass_times,
    release_cycles,
)
from predfuse.accelerators.cycle.work import block_work
from predfuse.compiler.arithmetic import round_half_up
from predfuse.compiler.nodes import PRODUCT_SHIFT, FusedBlock
from predfuse.ir import Array
from predfuse.machine.reference import _fused_group, predict_masks


@dataclass
class Member:
    """A channel in a lane: its gate word, which outputs it has, and which of them were sent."""

    gate: Array  # [P, Q] bool
    channel: int
    tap: int
    left: set[int]


@dataclass
class Walk:
    """One group of a block on one tile that covers the whole output."""

    node: FusedBlock
    group: int
    x: Array  # [Cg, H, W]
    gates: dict[tuple[int, int], Array]  # by channel and tap
    sizes: LaneRegisters
    passes: Passes
    sums: Array = field(init=False)  # [Og, P, Q]
    clock: int = 0
    products: int = 0
    last_read: dict[int, int] = field(default_factory=dict)  # cycle by channel
    lane_of: dict[int, int] = field(default_factory=dict)  # of the members being loaded

    def run(self) -> None:
        """All passes."""
        outputs = self.node.out_channels // self.node.groups
        shape = next(iter(self.gates.values())).shape
        self.sums = np.zeros((outputs, *shape), np.int64)
        banks = channel_banks(self.passes, self.sizes.banks)[self.passes.channel]
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
                self._load(loading, current + 1)
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
            gate = (bank + int(self.passes.tap[member])) % self.sizes.banks
            if self.lane_of[member] in lanes or gate in gates:
                continue
            lanes.add(self.lane_of[member])
            gates.add(gate)
            queues[bank].pop(0)
            self.last_read[int(self.passes.channel[member])] = self.clock

    def _lanes(self, index: int) -> list[int]:
        span = slice(self.passes.indptr[index], self.passes.indptr[index + 1])
        return [int(lane) for lane in place(self.passes.outputs[span], self.sizes.lanes, self.sizes.registers)]

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
            entry = round_half_up(np.int64(project * int(node.depthwise_bias[m])), node.depthwise_bias_shift[o])
            return int(entry) << int(node.depthwise_bias_exponent[o])
        depthwise = int(node.depthwise.reshape(-1, taps)[m, member.tap])
        factor = int(node.expand_bias[m] if column == NO_COLUMN else node.expand[m, column])
        inner = int(round_half_up(np.int64(project * factor), PRODUCT_SHIFT))
        if column == NO_COLUMN:
            entry = round_half_up(np.int64(inner * depthwise), node.expand_bias_shift[o])
            return int(entry) << int(node.expand_bias_exponent[o])
        return int(round_half_up(np.int64(inner * depthwise), node.weight_shift[o]))

    def _input(self, column: int, tap: int) -> Array:
        return shifted(self.node, self.x[column], tap, self.sums.shape[1:])


def shifted(node: FusedBlock, plane: Array, tap: int, shape: tuple[int, ...]) -> Array:
    """What every output pixel sees of a plane under one tap, 0 outside."""
    row, column = divmod(tap, node.kernel)
    result = np.zeros(shape, np.int64)
    for i in range(shape[0]):
        for j in range(shape[1]):
            r, c = i * node.stride + row - node.padding[0], j * node.stride + column - node.padding[2]
            if 0 <= r < plane.shape[0] and 0 <= c < plane.shape[1]:
                result[i, j] = plane[r, c]
    return result


@settings(max_examples=40)
@given(
    bottlenecks(with_predictor=True),
    st.integers(1, 4),
    st.integers(1, 3),
    st.integers(1, 3),
    st.integers(1, 5),
    st.integers(1, 3),
)
def test_the_walk_takes_the_planned_cycles_and_gives_the_exact_sums(
    case: BlockCase, lanes: int, parallel: int, row_words: int, loads: int, slices: int
) -> None:
    node, x = compiled(case), integer_input(case)
    mask1, mask2 = predict_masks(node, x)
    work = block_work(node, case.x.shape)  # type: ignore[arg-type]
    sizes = LaneRegisters(lanes, 3, parallel, loads, banks=2)
    size = -(-work.group_outputs // slices)
    for group in range(work.groups):
        spans = [
            slice(group * count, (group + 1) * count)
            for count in (work.group_outputs, work.group_middle, work.group_channels)
        ]
        outputs, middle, columns = spans
        gates = {
            (m, k): (
                mask2[middle][m] * shifted(node, mask1[middle][m], k, work.out_shape[1:])
                if k < work.taps
                else mask2[middle][m].astype(np.int64)
            )
            for m in range(work.group_middle)
            for k in range(work.taps + 1)
        }
        passes = group_passes(work, group, size, row_words, lanes * 3)
        times = pass_times(passes, sizes)
        walk = Walk(node, group, x[columns].astype(np.int64), gates, sizes, passes)
        walk.run()
        assert walk.clock == times.cycles and walk.products == passes.lists[0]
        exact = _fused_group(node, outputs, middle, x[columns].astype(np.int64), mask1[middle], mask2[middle])
        assert (walk.sums + node.output_bias[outputs][:, None, None] == exact).all()
        # When its gate words may be overwritten, no channel is read any more.
        release = release_cycles(passes, times, work.group_middle)
        assert all(cycle <= release[channel] for channel, cycle in walk.last_read.items())
