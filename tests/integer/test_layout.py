"""Tiles cover every output pixel once; the order of list entries avoids bank conflicts and changes no list."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from predfuse.errors import InputError
from predfuse.fusion.weights import SparseLists
from predfuse.graph.nodes import window_size
from predfuse.integer.order import conflicts, order_lists
from predfuse.integer.tiling import tiles


@given(
    st.tuples(st.integers(1, 20), st.integers(1, 20)),
    st.sampled_from((1, 3, 5)),
    st.integers(1, 3),
    st.tuples(*[st.integers(0, 4)] * 4),
    st.tuples(st.integers(1, 9), st.integers(1, 9)),
)
def test_tiles_cover_the_image_and_their_inputs(
    size: tuple[int, int], kernel: int, stride: int, padding: tuple[int, int, int, int], tile: tuple[int, int]
) -> None:
    top, bottom, left, right = padding
    rows = window_size(size[0], kernel, stride, top, bottom)
    columns = window_size(size[1], kernel, stride, left, right)
    if rows < 1 or columns < 1:
        return
    covered = np.zeros((rows, columns), int)
    for part in tiles((1, *size), (1, rows, columns), (kernel, kernel), stride, padding, *tile):
        covered[part.rows.start : part.rows.stop, part.columns.start : part.columns.stop] += 1
        assert part.rows.size <= tile[0] and part.columns.size <= tile[1]
        assert part.pixels == part.rows.size * part.columns.size
        reached = {
            (i * stride + a - top, j * stride + b - left)
            for i in range(part.rows.start, part.rows.stop)
            for j in range(part.columns.start, part.columns.stop)
            for a in range(kernel)
            for b in range(kernel)
        }
        inside = {(i, j) for i, j in reached if 0 <= i < size[0] and 0 <= j < size[1]}
        span = itertools.product(
            range(part.input_rows.start, part.input_rows.stop), range(part.input_columns.start, part.input_columns.stop)
        )
        assert inside <= set(span)
        if inside:  # and no larger than they must be
            extent = [max(p[axis] for p in inside) - min(p[axis] for p in inside) + 1 for axis in (0, 1)]
            assert extent == [part.input_rows.size, part.input_columns.size]
            assert part.input_pixels == extent[0] * extent[1]
        else:
            assert part.input_pixels == 0
    assert (covered == 1).all()


@st.composite
def sparse_lists(draw: st.DrawFn) -> SparseLists:
    """Lists of distinct, ascending channels."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    channels = draw(st.integers(1, 40))
    rows = [np.flatnonzero(rng.random(channels) < rng.choice((0.05, 0.4))) for _ in range(draw(st.integers(1, 8)))]
    indptr = np.concatenate(([0], np.cumsum([row.size for row in rows])))
    channel = np.concatenate(rows).astype(np.int32)
    return SparseLists(indptr, channel, rng.integers(-99, 99, channel.size))


@given(sparse_lists(), st.integers(1, 8), st.integers(1, 16))
@settings(max_examples=100)
def test_ordering_keeps_every_list_and_adds_no_conflict(lists: SparseLists, lanes: int, banks: int) -> None:
    ordered = order_lists(lists, lanes, banks)
    np.testing.assert_array_equal(ordered.indptr, lists.indptr)
    for row in range(lists.rows):
        entries = slice(lists.indptr[row], lists.indptr[row + 1])
        before = sorted(zip(lists.channel[entries], lists.value[entries], strict=True))
        assert sorted(zip(ordered.channel[entries], ordered.value[entries], strict=True)) == before
    clashes = conflicts(ordered, lanes, banks)
    assert clashes == _conflicts_by_hand(ordered, lanes, banks)
    if lanes == 1:
        assert clashes == 0


def _conflicts_by_hand(lists: SparseLists, lanes: int, banks: int) -> int:
    bank = [int(channel) % banks for channel in lists.channel]
    return sum(bank[i] in bank[max(0, i - lanes + 1) : i] for i in range(len(bank)))


def test_ordering_resolves_what_can_be_resolved() -> None:
    """Channels 0, 4, 8 of bank 0 and 1, 5, 9 of bank 1 alternate for two lanes."""
    channel = np.array([0, 4, 8, 1, 5, 9], np.int32)
    lists = SparseLists(np.array([0, 6]), channel, np.arange(6))
    assert conflicts(lists, 2, 4) == 4
    ordered = order_lists(lists, 2, 4)
    assert conflicts(ordered, 2, 4) == 0
    assert ordered.channel.tolist() == [0, 1, 4, 5, 8, 9]


def test_random_lists_lose_most_conflicts() -> None:
    rng = np.random.default_rng(0)
    rows = [np.sort(rng.choice(512, 12, replace=False)) for _ in range(500)]
    lists = SparseLists(np.arange(0, 6001, 12), np.concatenate(rows).astype(np.int32), np.ones(6000, np.int64))
    assert conflicts(order_lists(lists, 8, 16), 8, 16) < conflicts(lists, 8, 16) / 2


def test_unusable_layouts_are_refused() -> None:
    lists = SparseLists(np.array([0, 1]), np.zeros(1, np.int32), np.ones(1, np.int64))
    with pytest.raises(InputError):
        order_lists(lists, 0, 4)
