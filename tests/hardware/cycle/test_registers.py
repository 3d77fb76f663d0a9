"""Lane registers and lists against slow versions that walk through every cycle and every fused weight."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, strategies as st
from strategies import SEEDS, BlockCase, bottlenecks

from predfuse.arrays import Array
from predfuse.errors import InputError
from predfuse.hardware.block_work import bias_entries, block_work, list_entries
from predfuse.hardware.cycle.archon.gate_banks import fullest_bank, tap_turns
from predfuse.hardware.cycle.archon.pass_order import cheapest_order
from predfuse.hardware.cycle.archon.passes import Passes, channel_banks, divided, group_passes, split_rows
from predfuse.hardware.cycle.archon.placement import assign_banks, place
from predfuse.hardware.cycle.archon.registers import (
    LaneRegisters,
    pass_times,
    plan_passes,
    release_cycles,
)


def slow_lists(members: list[set[int]], lane: list[int], parallel: int) -> int:
    """Send the lists of a pass: every cycle each multiplier takes one entry per lane of its present list."""
    outputs = sorted(set().union(*members)) if members else []
    waiting = [
        [[lane[m] for m, read in enumerate(members) if output in read] for output in outputs if output % parallel == i]
        for i in range(parallel)
    ]
    cycles = 0
    while any(waiting):
        cycles += 1
        for lists in waiting:
            if not lists:
                continue
            for sent in set(lists[0]):
                lists[0].remove(sent)
            if not lists[0]:
                lists.pop(0)
    return cycles


def slow_loads(banks: list[int], turns: list[int], lanes: list[int], loads: int, total: int) -> int:
    """Load members: every cycle up to ``loads``; a bank sends its next one, those with most left first, if neither its
    lane nor its bank of the gate memory is taken."""
    queues = {bank: [m for m, other in enumerate(banks) if other == bank] for bank in sorted(set(banks))}
    cycles = 0
    while any(queues.values()):
        cycles += 1
        lanes_taken: set[int] = set()
        gates_taken: set[int] = set()
        for bank in sorted(queues, key=lambda bank: -len(queues[bank])):
            if not queues[bank] or len(lanes_taken) == loads:
                break
            lane, gate = lanes[queues[bank][0]], (bank + turns[queues[bank][0]]) % total
            if lane not in lanes_taken and gate not in gates_taken:
                queues[bank].pop(0)
                lanes_taken.add(lane)
                gates_taken.add(gate)
    return cycles


def random_passes(rng: np.random.Generator, passes: int, channels: int, outputs: int) -> Passes:
    lengths = rng.integers(1, channels + 1, passes)
    channel = [np.sort(rng.choice(channels, length, replace=False)) for length in lengths]
    words = [int(rng.integers(1, 1 << outputs)) for _ in range(lengths.sum())]
    return Passes(
        np.concatenate(([0], np.cumsum(lengths))),
        np.concatenate(channel),
        np.array(words, np.uint64),
        rng.integers(0, 5, lengths.sum()),
        np.arange(passes),
        np.zeros(passes, np.int64),
        5,
    )


@given(
    SEEDS,
    st.integers(1, 6),
    st.integers(1, 8),
    st.integers(1, 3),
    st.integers(1, 4),
    st.integers(1, 6),
    st.sampled_from((0, 30, 57)),
)
def test_pass_times(seed: int, passes: int, lanes: int, parallel: int, loads: int, banks: int, first: int) -> None:
    rng = np.random.default_rng(seed)
    case = random_passes(rng, passes, channels=10, outputs=7)
    case = replace(case, outputs=case.outputs << np.uint64(first))  # the last of 64 outputs among them
    sizes = LaneRegisters(lanes, -(-10 // lanes), parallel, loads, banks)
    bank = assign_banks(case.indptr, case.channel, 10, banks)
    turns = rng.integers(0, banks, 6)
    times = pass_times(case, bank, turns, sizes)
    assert np.bincount(bank, minlength=banks).max() <= -(-10 // banks)
    expected_lists, expected_loads = [], []
    for index in range(passes):
        span = slice(case.indptr[index], case.indptr[index + 1])
        members = [{o for o in range(64) if int(word) >> o & 1} for word in case.outputs[span]]
        lane = times.lanes[span].tolist()
        assert max(Counter(lane).values()) <= sizes.registers
        expected_lists.append(slow_lists(members, lane, parallel))
        source, turn = bank[case.channel[span]].tolist(), turns[case.tap[span]].tolist()
        expected_loads.append(slow_loads(source, turn, lane, loads, banks))
        # Lanes for which loads are short make no list longer.
        placed = place(case.outputs[span], lanes, sizes.registers).tolist()
        assert expected_loads[-1] <= slow_loads(source, turn, placed, loads, banks)
        for output in range(64):
            own = [m for m, read in enumerate(members) if output in read]
            longest, before = (Counter(some[m] for m in own) for some in (lane, placed))
            assert max(longest.values(), default=0) <= max(before.values(), default=0)
    assert times.list_cycles.tolist() == expected_lists
    assert times.load_cycles.tolist() == expected_loads
    assert channel_banks(case, banks).tolist() == bank[: case.channel.max() + 1].tolist()
    # Two sets of registers: while the lists of a pass run, the next is loaded; both sets change hands together.
    clock, ends = expected_loads[0], []
    for index in range(passes):
        ends.append(clock + expected_lists[index])
        clock += max(expected_lists[index], expected_loads[index + 1] if index + 1 < passes else 0)
    assert times.cycles == clock and times.ends.tolist() == ends
    last = {int(c): ends[i] for i in range(passes) for c in case.channel[case.indptr[i] : case.indptr[i + 1]]}
    assert release_cycles(case, times, 12).tolist() == [last.get(channel, 0) for channel in range(12)]
    held = Counter(((bank[case.channel] + turns[case.tap]) % banks).tolist())
    assert fullest_bank(bank[case.channel], turns[case.tap], banks) == max(held.values())


def test_placement_finds_a_colouring() -> None:
    # Twelve channels, each in one of the lists 3i, 3i+1, 3i+2 with the two beside it: four lanes of three suffice.
    words = np.array([0b111 << (3 * (i // 3)) for i in range(12)], np.uint64)
    lane = place(words, 3, 4)
    assert all(len(set(lane[i : i + 3].tolist())) == 3 for i in range(0, 12, 3))


def test_search_is_better_than_greedy() -> None:
    rng = np.random.default_rng(3)
    words = np.array(
        [sum(1 << int(o) for o in np.flatnonzero(rng.random(24) < 0.2)) or 1 for _ in range(52)], np.uint64
    )
    lane = place(words, 16, 4)

    def cycles(lane: Array) -> int:
        lists = [[lane[m] for m in range(52) if int(words[m]) >> o & 1] for o in range(24)]
        return sum(max(Counter(members).values(), default=0) for members in lists)

    in_order = np.arange(52) % 16
    fewest = sum(-(-sum(int(word) >> o & 1 for word in words) // 16) for o in range(24))
    assert cycles(lane) <= fewest + 3 < cycles(in_order)


@given(bottlenecks(), st.integers(1, 4))
def test_passes_have_the_entries_of_the_lists(case: BlockCase, slice_outputs: int) -> None:
    work = block_work(case.block, case.x.shape)
    weights, biases = list_entries(work), bias_entries(work)
    for group in range(work.groups):
        span = slice(group * work.group_middle, (group + 1) * work.group_middle)
        entries = weights[span].sum() + biases[0][span].sum() + biases[1][span].sum()
        passes = divided(group_passes(work, group, slice_outputs, row_words=2), banks=3, capacity=3)
        assert sum(int(word).bit_count() for word in passes.outputs) == entries
        assert max((int(word).bit_count() for word in passes.outputs), default=0) <= 2
        assert np.diff(passes.indptr).max(initial=0) <= 3
        assert passes.indptr[-1] == len(passes.channel) == len(passes.outputs) == len(passes.tap)
        assert len(passes.column) == len(passes.indptr) - 1


@given(st.lists(st.integers(1, (1 << 64) - 1), min_size=1, max_size=20), st.integers(1, 9))
def test_rows_share_the_outputs_of_a_channel(words: list[int], row_words: int) -> None:
    count = len(words)
    indptr = np.array([0, count // 2, count])
    channels = np.arange(count)
    whole = Passes(indptr, channels, np.array(words, np.uint64), channels % 3, np.arange(2), np.arange(2), 3)
    rows = split_rows(whole, row_words)
    for channel, word in enumerate(words):
        own = [int(part) for part in rows.outputs[rows.channel == channel]]
        assert sum(own) == word and all(a & b == 0 for i, a in enumerate(own) for b in own[:i])
        assert len(own) == -(-word.bit_count() // row_words)
        assert all(0 < part.bit_count() <= row_words for part in own)
    cut = rows.indptr[1]
    assert set(rows.channel[:cut].tolist()) == set(range(count // 2)) and rows.indptr[-1] == len(rows.channel)
    assert (rows.tap == rows.channel % 3).all()


@given(SEEDS, st.integers(1, 4), st.integers(1, 5), st.integers(1, 6))
def test_passes_are_divided_evenly_bank_by_bank(seed: int, passes: int, banks: int, capacity: int) -> None:
    whole = random_passes(np.random.default_rng(seed), passes, channels=20, outputs=3)
    found, bank = divided(whole, banks, capacity), channel_banks(whole, banks)
    members = [list(range(*found.indptr[index : index + 2])) for index in range(len(found.column))]
    told = list(zip(whole.channel.tolist(), whole.outputs.tolist(), whole.tap.tolist(), strict=True))
    assert max(map(len, members)) <= capacity and sum(map(len, members)) == len(told)
    for number in range(passes):
        own = told[whole.indptr[number] : whole.indptr[number + 1]]
        parts = [part for part, column in zip(members, found.column, strict=True) if column == number]
        assert len(parts) == -(-len(own) // capacity)
        for one in range(banks):
            counts = [sum(bank[found.channel[m]] == one for m in part) for part in parts]
            assert max(counts) - min(counts) <= 1
            # A bank finds its members in their order.
            sent = [m for part in parts for m in part if bank[found.channel[m]] == one]
            in_parts = [(int(found.channel[m]), int(found.outputs[m]), int(found.tap[m])) for m in sent]
            assert in_parts == [member for member in own if bank[member[0]] == one]


@given(st.lists(st.tuples(st.integers(1, 9), st.integers(1, 9)), min_size=1, max_size=6))
def test_no_order_takes_fewer_cycles(passes: list[tuple[int, int]]) -> None:
    def cycles(order: Sequence[int]) -> int:
        beside = sum(max(passes[one][1], passes[two][0]) for one, two in itertools.pairwise(order))
        return passes[order[0]][0] + beside + passes[order[-1]][1]

    loads, lists = np.array(passes).T
    order = cheapest_order(loads, lists).tolist()
    assert sorted(order) == list(range(len(passes)))
    assert cycles(order) == min(map(cycles, itertools.permutations(order)))


@given(bottlenecks(), st.integers(1, 3), st.integers(1, 4), st.integers(1, 3), st.integers(1, 4))
def test_a_plan_has_all_passes(case: BlockCase, outputs: int, lanes: int, registers: int, banks: int) -> None:
    """In another order, parts behind each other, slice by slice of the outputs, and never slower than as they were."""
    work = block_work(case.block, case.x.shape)
    sizes = LaneRegisters(lanes, registers, 2, 3, banks)
    for group in range(work.groups):
        whole = group_passes(work, group, outputs, 2)
        first, parts = plan_passes(whole, sizes), divided(whole, banks, lanes * registers)
        assert _told(first.passes) == _told(parts)
        plan = first.in_fewest_cycles()
        assert sorted(_told(plan.passes)) == sorted(_told(parts))
        assert plan.passes.goes_on.sum() == parts.goes_on.sum()
        assert (np.diff(plan.passes.first_output) >= 0).all()
        again = pass_times(plan.passes, plan.bank, plan.turns, sizes)
        assert (again.list_cycles == plan.times.list_cycles).all() and (again.lanes == plan.times.lanes).all()
        assert (again.load_cycles == plan.times.load_cycles).all()
        assert (again.read_cycles == plan.times.read_cycles).all()
        assert (
            plan.times.cycles <= pass_times(parts, plan.bank, plan.turns, sizes).cycles or outputs < work.group_outputs
        )


@given(SEEDS, st.integers(1, 8))
def test_no_turn_of_a_tap_hands_words_over_sooner(seed: int, banks: int) -> None:
    """Words of a channel go to banks one at a time: as many cycles as the fullest bank has of them."""
    rng = np.random.default_rng(seed)
    case = random_passes(rng, 4, channels=12, outputs=3)
    words = {(int(channel), int(tap)) for channel, tap in zip(case.channel, case.tap, strict=True)}

    def cycles(turns: Sequence[int]) -> int:
        own = Counter((channel, turns[tap]) for channel, tap in words)
        return sum(max(count for (one, _), count in own.items() if one == channel) for channel in dict(words))

    turns = tap_turns(case, banks).tolist()
    assert len(turns) == case.taps + 1 and 0 <= min(turns) <= max(turns) < banks
    if banks > case.taps:
        assert turns == list(range(case.taps + 1))
    for one in range(len(turns)):
        for turn in range(banks):
            assert cycles([*turns[:one], turn, *turns[one + 1 :]]) >= cycles(turns)
    for one, other in itertools.combinations(range(len(turns)), 2):
        exchanged = list(turns)
        exchanged[one], exchanged[other] = turns[other], turns[one]
        assert cycles(exchanged) >= cycles(turns)


def _told(passes: Passes) -> list[tuple[object, ...]]:
    """Every pass with its members."""
    members = list(zip(passes.channel.tolist(), passes.outputs.tolist(), passes.tap.tolist(), strict=True))
    spans = itertools.pairwise(passes.indptr.tolist())
    keys = zip(passes.column.tolist(), passes.first_output.tolist(), spans, strict=True)
    return [(column, first, members[begin:end]) for column, first, (begin, end) in keys]


def test_refuses_more_channels_than_registers() -> None:
    nothing = np.zeros(1, np.int64)
    passes = Passes(np.array([0, 5]), np.arange(5), np.ones(5, np.uint64), np.zeros(5, int), nothing, nothing, 1)
    with pytest.raises(InputError, match="a pass has 5 members, the lanes hold 4"):
        pass_times(passes, np.zeros(5, np.int64), np.zeros(2, np.int64), LaneRegisters(2, 2, 1, 1, 1))
