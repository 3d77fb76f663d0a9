"""Gate words against masks multiplied pixel by pixel."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import SEEDS, BlockCase, bottlenecks, random_masks

from predfuse.errors import InputError
from predfuse.fusion.masks import ON
from predfuse.hardware.cycle.archon.gates import gates
from predfuse.hardware.cycle.archon.work import block_work


@given(bottlenecks(), SEEDS, st.integers(1, 8), st.integers(1, 8))
def test_equals_masks_under_the_taps(case: BlockCase, seed: int, rows: int, columns: int) -> None:
    block = case.block
    work = block_work(block, case.x.shape)  # type: ignore[arg-type]
    mask1, mask2 = random_masks(np.random.default_rng(seed), case)
    tiles = work.tiles(rows, columns)
    found = gates(work, mask1, mask2, tiles)
    height, width = mask1.shape[1:]
    both_count = np.zeros((work.middle, work.taps), int)
    for index, tile in enumerate(tiles):
        both = np.zeros((work.middle, work.taps), int)
        second = np.zeros(work.middle, int)
        for i in range(tile.rows.start, tile.rows.stop):
            for j in range(tile.columns.start, tile.columns.stop):
                second += mask2[:, i, j] == ON
                for tap in range(work.taps):
                    row = i * block.stride + tap // block.kernel - block.padding[0]
                    column = j * block.stride + tap % block.kernel - block.padding[2]
                    if 0 <= row < height and 0 <= column < width:
                        both[:, tap] += (mask2[:, i, j] == ON) & (mask1[:, row, column] == ON)
        assert (found.both_any[index] == (both > 0)).all()
        assert (found.second_any[index] == (second > 0)).all()
        both_count += both
    assert (found.both_count == both_count).all()
    assert (found.second_count == (mask2 == ON).sum(axis=(1, 2))).all()


def test_wide_images() -> None:
    # Rows of more than 64 bits, cut at every place.
    from strategies import sparse_array

    from predfuse.graph.nodes import INPUT, Bottleneck

    rng = np.random.default_rng(0)
    arrays = {name: sparse_array(rng, shape, 1.0, False) for name, shape in (("w", (2, 1)), ("b", (2,)), ("p", (1, 2)))}
    block = Bottleneck(
        "b1", (INPUT,), arrays["w"], arrays["b"], rng.normal(size=(2, 3, 3)), arrays["b"], arrays["p"], np.ones(1), 2
    )
    work = block_work(block, (1, 3, 301))
    mask1 = rng.integers(0, 2, (2, 3, 301)).astype(np.int8)
    mask2 = np.ones((2, 2, 151), np.int8)
    found = gates(work, mask1, mask2, work.tiles(1, 64))
    assert found.both_count[0, 4] == mask1[0, ::2, ::2].sum()
    assert found.both_count[1, 3] == mask1[1, ::2, 1::2].sum()


def test_refuses_masks_of_another_block_and_large_tiles() -> None:
    rng = np.random.default_rng(1)
    from predfuse.graph.nodes import INPUT, Bottleneck

    block = Bottleneck(
        "b1", (INPUT,), np.ones((2, 1)), np.ones(2), rng.normal(size=(2, 3, 3)), np.ones(2), np.ones((1, 2)), np.ones(1)
    )
    work = block_work(block, (1, 12, 12))
    ones = np.ones((2, 12, 12), np.int8)
    with pytest.raises(InputError, match="layer b1: has masks"):
        gates(work, ones[:1], ones, work.tiles(8, 8))
    with pytest.raises(InputError, match="more than 64 PEs"):
        gates(work, ones, ones, work.tiles(9, 9))
