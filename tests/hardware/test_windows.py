"""Pixels touched by sliding windows, against marking them one by one."""

from __future__ import annotations

from hypothesis import given, strategies as st

from predfuse.graph.nodes import window_size
from predfuse.hardware.closed_form.windows import Window, largest_tile, pixels_touched


@st.composite
def windows(draw: st.DrawFn) -> Window:
    size, kernel, dilation = draw(st.integers(1, 20)), draw(st.integers(1, 5)), draw(st.integers(1, 2))
    stride, padding = draw(st.integers(1, 3)), draw(st.integers(0, 2))
    padding = max(padding, ((kernel - 1) * dilation + 1 - size + 1) // 2)
    out = window_size(size, kernel, stride, padding, padding, dilation)
    return Window(size, out, kernel, stride, padding, dilation)


def marked(window: Window, tile: int) -> int:
    total = 0
    for first in range(0, window.out, tile):
        seen = [False] * window.size
        for output in range(first, min(window.out, first + tile)):
            for tap in range(window.kernel):
                pixel = output * window.stride + tap * window.dilation - window.padding
                if 0 <= pixel < window.size:
                    seen[pixel] = True
        total += sum(seen)
    return total


@given(windows(), st.integers(1, 25))
def test_touched_pixels_are_those_that_marking_finds(window: Window, tile: int) -> None:
    assert pixels_touched(window, tile) == marked(window, tile)


@given(windows(), st.integers(1, 25))
def test_no_tile_needs_more_than_the_largest(window: Window, tile: int) -> None:
    for first in range(0, window.out, tile):
        last = min(window.out, first + tile) - 1
        span = (window.kernel - 1) * window.dilation + 1
        touched = {
            o * window.stride + t * window.dilation for o in range(first, last + 1) for t in range(window.kernel)
        }
        assert len(touched) <= largest_tile(window, tile) <= (last - first + 1 + tile) * max(window.stride, span)


def test_halos_are_counted_per_tile() -> None:
    window = Window(size=32, out=32, kernel=3, padding=1)
    assert pixels_touched(window, 8) == 9 + 10 + 10 + 9
    assert pixels_touched(window, 32) == 32
    assert pixels_touched(window, 1) == 2 + 30 * 3 + 2
