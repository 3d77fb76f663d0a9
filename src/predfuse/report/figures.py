"""Figures of results: bars with the parity line, stacked bars, points with ranges, feature maps and masks."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from predfuse.arrays import Array, UInt8Array
from predfuse.errors import InputError
from predfuse.report.svg import BLUE, GREEN, GREY, INK, ORANGE, PALE, RED, Anchor, Drawing

COLOURS = (BLUE, ORANGE, GREEN, RED, "#7b5ea7", "#4aa3a2", "#a0743c", GREY)
CHARACTER = 6.4
"""Width of a character of 12 pixels, about (pixels)."""
Box = tuple[float, float, float, float]
"""Left, upper, right and lower end (pixels)."""


def ratios(title: str, rows: Sequence[tuple[str, float]], worse: str, better: str) -> Drawing:
    """Bars on a logarithmic axis that start at 1: to the left what is worse, to the right what is better.

    Args:
        title: What is compared.
        rows: A name and a ratio above 0 each, from top to bottom.
        worse: What a ratio below 1 means.
        better: What a ratio above 1 means.

    Raises:
        InputError: No row, or a ratio that is not above 0.
    """
    if not rows or any(not ratio > 0 for _, ratio in rows):
        raise InputError("figure", "has no rows, or a ratio that is not above 0", "give ratios")
    logs = [math.log2(ratio) for _, ratio in rows]
    scale = 330 / max(max([*logs, 0.5]) - min([*logs, -0.5]), 1)
    middle, top, step = 58 - min([*logs, -0.5]) * scale, 62.0, 36.0
    wide = max(446, 20 + CHARACTER * max(len(name) for name, _ in rows))  # as long as the longest name
    drawing = Drawing(wide, top + step * len(rows) + 6, title)
    drawing.text(14, 24, title, 15, bold=True)
    drawing.text(middle - 8, 48, f"◀ {worse}", 12, RED, "end")
    drawing.text(middle + 8, 48, f"{better} ▶", 12, GREEN)
    for number, (name, ratio) in enumerate(rows):
        y, length, wins = top + step * number, logs[number] * scale, ratio >= 1
        drawing.text(14, y + 10, name, 12)
        drawing.rectangle(middle + min(length, 0), y + 15, max(abs(length), 1), 13, GREEN if wins else RED)
        drawing.text(
            middle + length + (5 if wins else -5), y + 26, f"{ratio:.2g}x", 12, INK, "start" if wins else "end", True
        )
    drawing.line([(middle, top - 26), (middle, top - 4)])
    for number in range(len(rows)):
        drawing.line([(middle, top + step * number + 13), (middle, top + step * number + 30)])
    return drawing


def stacked(title: str, rows: Mapping[str, Mapping[str, float]], unit: str) -> Drawing:
    """Bars of parts, the same colours for the same parts, and a legend.

    Args:
        title: What is shown.
        rows: Parts (0 or above) by name, by the name of the bar.
        unit: Of all parts.

    Raises:
        InputError: No row.
    """
    if not rows:
        raise InputError("figure", "has no rows", "give at least one bar")
    parts = list(dict.fromkeys(part for row in rows.values() for part in row))
    left = 24 + CHARACTER * max(len(name) for name in rows)
    wide, step, top = 420.0, 30.0, 40.0
    largest = max(sum(row.values()) for row in rows.values()) or 1.0
    legend = _legend_rows(parts, left + wide + 80)
    drawing = Drawing(left + wide + 90, top + step * len(rows) + 20 * len(legend) + 12, title)
    drawing.text(14, 24, title, 14, bold=True)
    for number, (name, row) in enumerate(rows.items()):
        x, y = left, top + step * number
        drawing.text(left - 8, y + 15, name, 12, anchor="end")
        for part, value in row.items():
            drawing.rectangle(x, y, value / largest * wide, 21, COLOURS[parts.index(part) % len(COLOURS)])
            x += value / largest * wide
        drawing.text(
            x + 6, y + 15, f"{sum(row.values()):,.4g} {unit}" if largest < 1e4 else f"{sum(row.values()):,.0f}"
        )
    for line, entries in enumerate(legend):
        y = top + step * len(rows) + 20 * line + 6
        for x, part in entries:
            drawing.rectangle(x, y, 11, 11, COLOURS[parts.index(part) % len(COLOURS)])
            drawing.text(x + 16, y + 10, part, 12)
    return drawing


def _legend_rows(parts: Sequence[str], width: float) -> list[list[tuple[float, str]]]:
    rows: list[list[tuple[float, str]]] = [[]]
    x = 14.0
    for part in parts:
        needed = 30 + CHARACTER * len(part)
        if rows[-1] and x + needed > width:
            rows.append([])
            x = 14.0
        rows[-1].append((x, part))
        x += needed
    return rows


@dataclass(frozen=True)
class Point:
    """A point of :func:`scatter`.

    Attributes:
        name: Written beside it.
        x: Where it stands, above 0.
        y: Where it stands.
        low: Lower end of its range in y; the same as ``y`` if there is none.
        high: Upper end.
        kind: Points of a kind have one colour.
    """

    name: str
    x: float
    y: float
    low: float
    high: float
    kind: str


def scatter(title: str, points: Sequence[Point], x_title: str, y_title: str) -> Drawing:
    """Points over a logarithmic x axis, with their ranges in y.

    Args:
        title: What is shown.
        points: At least one.
        x_title: Quantity and unit of x.
        y_title: Quantity and unit of y.

    Raises:
        InputError: No point, or an x that is not above 0.
    """
    if not points or any(not point.x > 0 for point in points):
        raise InputError("figure", "has no points, or an x that is not above 0", "give points")
    left, right, top, bottom = 64.0, 560.0, 60.0, 310.0
    logs = [math.log10(point.x) for point in points]
    first, last = min(logs) - 0.12, max(logs) + 0.12
    low, high = min(p.low for p in points), max(p.high for p in points)
    margin = max((high - low) * 0.12, 1e-3)
    low, high = low - margin, high + margin
    drawing = Drawing(right + 40 + CHARACTER * max(11, *(len(point.kind) for point in points)), bottom + 54, title)
    drawing.text(14, 24, title, 14, bold=True)

    def place(x: float, y: float) -> tuple[float, float]:
        across = (math.log10(x) - first) / (last - first)
        return left + across * (right - left), bottom - (y - low) / (high - low) * (bottom - top)

    for number in range(5):
        value = low + (high - low) * number / 4
        y = place(points[0].x, value)[1]
        drawing.line([(left, y), (right, y)], PALE)
        drawing.text(left - 6, y + 4, f"{value:.4g}", 11, GREY, "end")
    for exponent in range(math.floor(first), math.ceil(last) + 1):
        for factor in (1, 1.5, 2, 3, 5, 7):
            value = factor * 10.0**exponent
            if first <= math.log10(value) <= last:
                x = place(value, low)[0]
                drawing.line([(x, bottom), (x, bottom + 4)], GREY)
                drawing.text(
                    x, bottom + 18, f"{value:,.4g}" if value < 1e4 else f"{value / 1e3:,.0f} K", 11, GREY, "middle"
                )
    drawing.line([(left, top), (left, bottom), (right, bottom)], GREY)
    drawing.text((left + right) / 2, bottom + 40, x_title, 12, anchor="middle")
    drawing.text(left, top - 6, y_title, 11, GREY)
    kinds, taken = list(dict.fromkeys(point.kind for point in points)), []
    for number, kind in enumerate(kinds if len(kinds) > 1 else ()):
        drawing.circle(right + 20, top + 18 * number, 5, COLOURS[number % len(COLOURS)])
        drawing.text(right + 30, top + 18 * number + 4, kind, 11)
        taken.append((right + 12, top + 18 * number - 9, right + 300, top + 18 * number + 9))
    places = [place(point.x, point.y) for point in points]
    taken += [(x - 6, y - 6, x + 6, y + 6) for x, y in places]
    for point, (x, y) in zip(points, places, strict=True):
        colour = COLOURS[kinds.index(point.kind) % len(COLOURS)]
        drawing.line([(x, place(point.x, point.low)[1]), (x, place(point.x, point.high)[1])], colour, 2)
        drawing.circle(x, y, 5, colour)
        words_x, words_y, anchor = _free_place(x, y, CHARACTER * len(point.name), taken)
        drawing.text(words_x, words_y, point.name, 11, anchor=anchor)
    return drawing


def _free_place(x: float, y: float, wide: float, taken: list[Box]) -> tuple[float, float, Anchor]:
    """Where the name of a point stands: beside it, the first place that is free; it is taken then."""
    choices: tuple[tuple[float, float, Anchor], ...] = (
        *((x + 9, y + 4 + down, "start") for down in (0, -13, 13)),
        *((x - 9, y + 4 + down, "end") for down in (0, -13, 13)),
    )
    boxes = [(at - (wide if anchor == "end" else 0), line - 11, line + 2) for at, line, anchor in choices]
    found = [(left, above, left + wide, below) for left, above, below in boxes]
    free = [
        all(box[2] <= one[0] or one[2] <= box[0] or box[3] <= one[1] or one[3] <= box[1] for one in taken)
        for box in found
    ]
    chosen = free.index(True) if any(free) else 0
    taken.append(found[chosen])
    return choices[chosen]


def maps(title: str, rows: Mapping[str, Array], side: float = 64, columns: int = 8) -> Drawing:
    """Feature maps and masks as small pictures, a row of channels under every name.

    Args:
        title: What is shown.
        rows: ``[C, H, W]`` by name: masks (bool, or int8 with the states of :mod:`predfuse.fusion.masks`: off is
            grey, on blue, saturated orange), or values (any other type; each row is scaled to its own range).
        side: Of a picture (pixels).
        columns: Channels shown, at most.

    Raises:
        InputError: No row, or one that is not ``[C, H, W]``.
    """
    if not rows or any(array.ndim != 3 for array in rows.values()):
        raise InputError("figure", "has no rows, or one that is not [C, H, W]", "give feature maps")
    step = side + 26
    shown = max(min(len(array), columns) for array in rows.values())
    wide = max(28 + shown * (side + 6), 28 + max(CHARACTER * len(name) for name in (title, *rows)) * 1.15)
    drawing = Drawing(wide, 40 + step * len(rows), title)
    drawing.text(14, 24, title, 14, bold=True)
    for number, (name, array) in enumerate(rows.items()):
        y = 40 + step * number
        drawing.text(14, y + 12, name, 12)
        for channel, picture in enumerate(_pictures(array[:columns])):
            x = 14 + channel * (side + 6)
            drawing.rectangle(x - 1, y + 17, side + 2, side + 2, PALE)
            drawing.pixels(x, y + 18, side, side, picture)
    return drawing


def _pictures(array: Array) -> UInt8Array:
    if array.dtype in (np.bool_, np.int8):
        palette = np.array([(228, 232, 236), (47, 109, 181), (217, 130, 43)], np.uint8)
        return palette[array.astype(np.int64)]
    low, high = float(array.min()), float(array.max())
    return np.round((array - low) / max(high - low, 1e-12) * 255).astype(np.uint8)
