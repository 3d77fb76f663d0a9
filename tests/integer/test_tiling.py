"""Tiles cover every output pixel once."""

from __future__ import annotations

import itertools

import numpy as np
from hypothesis import given, strategies as st

from predfuse.graph.nodes import window_size
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
