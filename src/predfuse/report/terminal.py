"""The terminal: its console, and how tables and paragraphs look there."""

from __future__ import annotations

import os
from typing import TypeAlias

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.measure import Measurement
from rich.table import Table as RichTable

from predfuse.report.table import Table

NARROW = 80
"""Columns of the narrowest terminal; wider tables get less air between their columns."""


def console(stderr: bool = False) -> Console:
    """A console; where ``NO_COLOR`` is set it writes no escape sequence at all, so no bold either."""
    return Console(stderr=stderr, color_system=None if os.environ.get("NO_COLOR") else "auto")


Part: TypeAlias = str | tuple[str, ...] | Table
"""A paragraph, which is wrapped; lines to be copied, which are not; or a table."""


def show(part: Part, on: Console) -> None:
    """Print a part of what a command shows."""
    if isinstance(part, Table):
        on.print(rich_table(part, on))
    elif isinstance(part, str):
        on.print(part, markup=False, highlight=False)
    else:
        on.print(*part, sep="\n", markup=False, highlight=False, soft_wrap=True)


def rich_table(table: Table, on: Console) -> RichTable:
    """The table as rich draws it; columns of text may wrap, the first excepted."""
    result = RichTable(
        title=escape(table.caption), title_justify="left", title_style="bold", box=SIMPLE_HEAD, pad_edge=False
    )
    for place, heading in enumerate(table.headings):
        justify = "left" if place in table.text_columns else "right"
        result.add_column(escape(heading), justify=justify, no_wrap=not place)  # type: ignore[arg-type]
    for place, row in enumerate(table.rows):
        result.add_row(*map(escape, row), style="bold" if place in table.strong_rows else "")
    if Measurement.get(on, on.options.update(width=1000), result).maximum > NARROW:
        result.padding = (0, 0)
    return result
