"""Tiles: the rectangles of output pixels an array of PEs works on at once, with the input pixels each needs."""

from __future__ import annotations

from dataclasses import dataclass

from predfuse.graph.nodes import Padding, Shape


@dataclass(frozen=True)
class Span:
    """Pixels ``start <= i < stop`` along one dimension."""

    start: int
    stop: int

    @property
    def size(self) -> int:
        return self.stop - self.start

    def within(self, other: Span) -> Span:
        """Those of them that are also of another span."""
        start = max(self.start, other.start)
        return Span(start, max(start, min(self.stop, other.stop)))


@dataclass(frozen=True)
class Tile:
    """One rectangle of output pixels.

    Attributes:
        rows: Output rows.
        columns: Output columns.
        input_rows: Input rows its windows reach, those inside the image (the halo included).
        input_columns: Input columns likewise.
    """

    rows: Span
    columns: Span
    input_rows: Span
    input_columns: Span

    @property
    def pixels(self) -> int:
        """Output pixels."""
        return self.rows.size * self.columns.size

    @property
    def input_pixels(self) -> int:
        """Input pixels."""
        return self.input_rows.size * self.input_columns.size


def tiles(
    input_shape: Shape,
    output_shape: Shape,
    kernel: tuple[int, int],
    stride: int,
    padding: Padding,
    tile_rows: int,
    tile_columns: int,
) -> tuple[Tile, ...]:
    """Cut an output image into tiles, row by row; those at the right and lower edge may be smaller.

    Args:
        input_shape: ``(C, H, W)``.
        output_shape: ``(O, P, Q)``.
        kernel: ``(rows, columns)`` of the window.
        stride: Pixels.
        padding: ``(top, bottom, left, right)`` pixels.
        tile_rows: Output pixels a full tile is high.
        tile_columns: Output pixels a full tile is wide.
    """
    rows = _cut(output_shape[1], tile_rows)
    columns = _cut(output_shape[2], tile_columns)
    return tuple(
        Tile(
            row,
            column,
            _reach(row, input_shape[1], kernel[0], stride, padding[0]),
            _reach(column, input_shape[2], kernel[1], stride, padding[2]),
        )
        for row in rows
        for column in columns
    )


def _cut(size: int, step: int) -> tuple[Span, ...]:
    return tuple(Span(start, min(start + step, size)) for start in range(0, size, step))


def _reach(span: Span, size: int, kernel: int, stride: int, before: int) -> Span:
    """Input pixels inside the image that the windows of output pixels ``span`` reach."""
    # Windows wholly before or behind the image reach nothing of it.
    first = max(span.start, (before - kernel) // stride + 1)
    last = min(span.stop - 1, (size - 1 + before) // stride)
    if first > last:
        return Span(0, 0)
    return Span(max(first * stride - before, 0), min(last * stride - before + kernel, size))
