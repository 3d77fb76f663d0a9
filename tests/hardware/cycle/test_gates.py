"""Counts of gates against masks multiplied pixel by pixel."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from strategies import SEEDS, BlockCase, bottlenecks, random_masks

from predfuse.errors import InputError
from predfuse.fusion.masks import ON
from predfuse.graph.nodes import INPUT, Bottleneck
from predfuse.hardware.block_work import block_work
from predfuse.hardware.cycle.archon.gates import gates


@given(bottlenecks(), SEEDS)
def test_equals_masks_under_the_taps(case: BlockCase, seed: int) -> None:
    block = case.block
    work = block_work(block, case.x.shape)
    mask1, mask2 = random_masks(np.random.default_rng(seed), case)
    found = gates(work, mask1, mask2)
    height, width = mask1.shape[1:]
    both = np.zeros((work.middle, work.taps), int)
    for i in range(mask2.shape[1]):
        for j in range(mask2.shape[2]):
            for tap in range(work.taps):
                row = i * block.stride + tap // block.kernel - block.padding[0]
                column = j * block.stride + tap % block.kernel - block.padding[2]
                if 0 <= row < height and 0 <= column < width:
                    both[:, tap] += (mask2[:, i, j] == ON) & (mask1[:, row, column] == ON)
    assert (found.both_count == both).all()
    assert (found.second_count == (mask2 == ON).sum(axis=(1, 2))).all()


def test_refuses_masks_of_another_block() -> None:
    block = Bottleneck(
        "b1", (INPUT,), np.ones((2, 1)), np.ones(2), np.ones((2, 3, 3)), np.ones(2), np.ones((1, 2)), np.ones(1)
    )
    work = block_work(block, (1, 12, 12))
    ones = np.ones((2, 12, 12), np.int8)
    with pytest.raises(InputError, match="layer b1: has masks"):
        gates(work, ones[:1], ones)
