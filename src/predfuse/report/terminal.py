"""Terminal tables with numbers a person can read at a glance."""

from __future__ import annotations

import os
from collections.abc import Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

_PREFIXES = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))


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


def percent(share: float, digits: int = 1) -> str:
    """A share 0..1 in per cent."""
    return f"{share:.{digits}%}"


def ratio(value: float) -> str:
    """A factor: ``9.5x``."""
    return f"{value:.1f}x"


def table(title: str, headings: Sequence[str], rows: Sequence[Sequence[str]], strong_rows: Sequence[int] = ()) -> Table:
    """A table whose first column is text and whose other columns are numbers; some rows may be set in bold."""
    result = Table(title=title, title_justify="left", title_style="bold", box=SIMPLE_HEAD, pad_edge=False)
    for place, heading in enumerate(headings):
        result.add_column(heading, justify="right" if place else "left", no_wrap=not place)
    for place, row in enumerate(rows):
        result.add_row(*row, style="bold" if place in strong_rows else "")
    return result


def text_columns(shown: Table, *places: int) -> Table:
    """The same table with some further columns aligned as text."""
    for place in places:
        shown.columns[place].justify = "left"
    return shown


def narrow(shown: Table) -> Table:
    """The same table with less air between its columns, for those that would not fit into 80 characters."""
    shown.padding = (0, 0)
    return shown


def console(stderr: bool = False) -> Console:
    """A console; where ``NO_COLOR`` is set it writes no escape sequence at all, so no bold either."""
    return Console(stderr=stderr, color_system=None if os.environ.get("NO_COLOR") else "auto")
