"""Outputs leave beside the next lists only where nothing of theirs is overwritten meanwhile, whatever the sizes."""

from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import replace

import numpy as np
from hypothesis import given, settings, strategies as st
from rtl.machines import THREE, spec_of

from predfuse.hardware.block_work import BlockWork
from predfuse.hardware.cycle.archon.group_plan import plan_groups
from predfuse.hardware.cycle.archon.sequence.flow import Chain
from predfuse.hardware.cycle.archon.sequence.order import LISTS_START, Item, order
from predfuse.hardware.cycle.archon.sequence.timing import _group, block_time


def test_rules_and_sums_of_the_next_item_are_apart() -> None:
    ran: Counter[str] = Counter()

    @settings(max_examples=150)
    @given(
        st.sampled_from((3, 6, 10)),
        st.sampled_from((1, 2, 4)),
        st.integers(1, 12),
        st.integers(1, 3),
        st.integers(3, 5),
    )
    def check(words: int, together: int, outputs: int, groups: int, rows: int) -> None:
        machine = replace(THREE, outputs=3 * words, together=together)
        work = _work(groups, min(outputs, machine.outputs), rows)
        plans = plan_groups(work, spec_of(machine))
        block_time(work, plans, machine)  # a word that waits longer than for the last start fails there
        own = tuple(replace(_group(work, index, plan, machine), number=index) for index, plan in enumerate(plans))
        for one, two in itertools.pairwise(order(Chain((own,), (False,)), [0])):
            beside, same = one.leaves == LISTS_START, one.group is two.group
            apart = _sums(one).isdisjoint(_sums(two)) and (same or _rules(one).isdisjoint(_rules(two)))
            assert apart or not beside
            ran["beside, groups" if not same else "beside, tiles"] += beside
            ran["never apart, in half of all sums"] += not apart and 2 * len(_sums(two)) < machine.outputs + 3

    check()
    assert min(ran[name] for name in ("beside, groups", "beside, tiles", "never apart, in half of all sums")) > 0, ran


def _rules(item: Item) -> set[int]:
    own = item.group.places
    return set(range(own.first["outputs"], own.end["outputs"]))


def _sums(item: Item) -> set[tuple[int, int]]:
    """List and word of every sum."""
    machine = item.group.machine
    half = machine.outputs // machine.lists // 2 * machine.lists
    first = item.group.places.first["outputs"] + half * item.second
    places = [(first + output) % machine.outputs for output in range(item.group.work.group_outputs)]
    return {(place % machine.lists, place // machine.lists) for place in places}


def _work(groups: int, outputs: int, rows: int) -> BlockWork:
    """Groups of two inputs and four middle channels, all weights there."""
    middle = 4 * groups
    return BlockWork(
        name="b1",
        in_shape=(2 * groups, rows, rows),
        out_shape=(outputs * groups, rows, rows),
        groups=groups,
        kernel=1,
        stride=1,
        padding=(0, 0, 0, 0),
        residual=False,
        expand=np.ones((middle, 2), np.bool_),
        depthwise=np.ones((middle, 1), np.bool_),
        project=np.ones((groups * outputs, 4), np.bool_),
        expand_bias=np.zeros(middle, np.bool_),
        depthwise_bias=np.zeros(middle, np.bool_),
        predictor_bits=4,
    )
