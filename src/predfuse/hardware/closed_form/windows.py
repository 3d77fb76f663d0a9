"""How many real input pixels sliding windows touch: halos counted, padding and skipped pixels not."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache


@dataclass(frozen=True)
class Window:
    """A sliding window along one dimension of an image.

    Attributes:
        size: Input pixels.
        out: Output pixels.
        kernel: Taps.
        stride: Input pixels between neighbouring outputs.
        padding: Imaginary zero pixels before the first.
        dilation: Input pixels between neighbouring taps.
    """

    size: int
    out: int
    kernel: int = 1
    stride: int = 1
    padding: int = 0
    dilation: int = 1


@lru_cache(maxsize=4096)
def pixels_touched(window: Window, tile: int) -> int:
    """Input pixels read when the output is worked through in tiles of ``tile`` pixels, summed over the tiles.

    Every tile reads each pixel it needs once; pixels that two tiles share (the halo) are read by both. With ``tile``
    1 every output reads its whole window anew; with ``tile >= out`` each pixel is read once.
    """
    total = 0
    for first in range(0, window.out, tile):
        touched = {
            output * window.stride + tap * window.dilation - window.padding
            for output in range(first, min(first + tile, window.out))
            for tap in range(window.kernel)
        }
        total += sum(0 <= pixel < window.size for pixel in touched)
    return total


@lru_cache(maxsize=4096)
def largest_tile(window: Window, tile: int) -> int:
    """Input pixels the largest tile of ``tile`` outputs needs, padding included (what a buffer must hold)."""
    return (min(tile, window.out) - 1) * min(window.stride, _span(window)) + _span(window)


def _span(window: Window) -> int:
    return (window.kernel - 1) * window.dilation + 1
