"""A table as headings and rows of text, the figures in its cells, and its form in Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

_PREFIXES = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))


@dataclass(frozen=True)
class Table:
    """A table, shown by the terminal and by pages alike.

    Attributes:
        headings: One per column.
        rows: Ready-made text, one per column.
        caption: What the numbers are, with units.
        strong_rows: Indices of rows set in bold (totals).
        text_columns: Indices of columns aligned as text; the others are aligned as numbers.
    """

    headings: Sequence[str]
    rows: Sequence[Sequence[str]]
    caption: str = ""
    strong_rows: frozenset[int] = frozenset()
    text_columns: frozenset[int] = frozenset((0,))

    def markdown(self) -> str:
        """The table in Markdown, without its caption."""
        rules = ["---" if place in self.text_columns else "---:" for place in range(len(self.headings))]
        lines = [self.headings, rules, *self.rows]
        return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def count(value: float) -> str:
    """A count with three significant digits and a decimal prefix: ``1.23 M``; below 1,000 as it is."""
    for factor, prefix in _PREFIXES:
        if abs(value) >= factor * 0.9995:
            return f"{_three_digits(value / factor)} {prefix}"
    return f"{value:.0f}" if abs(value) >= 100 or value == int(value) else _three_digits(value)


def _three_digits(value: float) -> str:
    if abs(value) >= 99.95:
        return f"{value:.0f}"
    return f"{value:.1f}" if abs(value) >= 9.995 else f"{value:.2f}"


def optional(value: float | None, form: str, absent: str = "") -> str:
    """A number in a format of :func:`format`, or what stands where there is none."""
    return absent if value is None else format(value, form)
