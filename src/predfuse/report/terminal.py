"""The terminal: its console, and how tables and paragraphs look there."""

from __future__ import annotations

import os
from typing import TypeAlias

from rich.box import SIMPLE_HEAD
from rich.cells import cell_len
from rich.console import Console
from rich.markup import escape
from rich.measure import Measurement
from rich.table import Table as RichTable

from predfuse.report.table import Table

NARROW = 80
"""Columns of the narrowest terminal; wider tables get less air between their columns."""
FOLDED = 16
"""Columns a word of text may demand; longer ones, paths for instance, are broken where room is scarce."""


def console(stderr: bool = False) -> Console:
    """A console; where ``NO_COLOR`` is set it writes no escape sequence at all, so no bold either."""
    return Console(stderr=stderr, color_system=None if os.environ.get("NO_COLOR") else "auto")


Part: TypeAlias = str | tuple[str, ...] | Table
"""A paragraph, which is wrapped; lines to be copied, which are not; or a table."""


def show(part: Part, on: Console) -> None:
    """Print a part of what a command shows."""
    if isinstance(part, Table):
        drawn = rich_table(part, on)
        if drawn is not None:
            on.print(drawn)
        else:
            on.print(*_records(part), sep="\n", markup=False, highlight=False, soft_wrap=True)
    elif isinstance(part, str):
        on.print(part, markup=False, highlight=False)
    else:
        on.print(*part, sep="\n", markup=False, highlight=False, soft_wrap=True)


def rich_table(table: Table, on: Console) -> RichTable | None:
    """The table as rich draws it, or None where the terminal is too narrow for whole words and numbers side by side."""
    result = RichTable(
        title=escape(table.caption), title_justify="left", title_style="bold", box=SIMPLE_HEAD, pad_edge=False
    )
    for place, heading in enumerate(table.headings):
        justify = "left" if place in table.text_columns else "right"
        result.add_column(escape(heading), justify=justify, overflow="fold")  # type: ignore[arg-type]
    for place, row in enumerate(table.rows):
        result.add_row(*map(escape, row), style="bold" if place in table.strong_rows else "")
    widest = Measurement.get(on, on.options.update(width=1000), result).maximum
    if widest > NARROW:
        result.padding = (0, 0)
    if widest > on.width:
        widths = _widths(table, on.width - len(table.headings) - 1)
        if widths is None:
            return None
        for column, width in zip(result.columns, widths, strict=True):
            column.width = width
    return result


def _widths(table: Table, room: int) -> list[int] | None:
    """Width of every column, so that numbers stay whole and words too, but for very long ones; None if none fit."""
    least, most = [], []
    for place, heading in enumerate(table.headings):
        cells, is_text = [row[place] for row in table.rows], place in table.text_columns
        words = [*heading.split(), *(word for cell in cells for word in (cell.split() if is_text else [cell]))]
        longest = max(map(cell_len, words), default=0)
        least.append(min(longest, FOLDED) if is_text else longest)
        most.append(max(map(cell_len, (heading, *cells))))
    spare = room - sum(least)
    if spare < 0:
        return None
    for turn, place in enumerate(sorted(range(len(least)), key=lambda place: most[place] - least[place])):
        more = min(most[place] - least[place], spare // (len(least) - turn))
        least[place] += more
        spare -= more
    return least


def _records(table: Table) -> list[str]:
    """A table row by row, a line a cell."""
    margin = max(map(cell_len, table.headings))
    lines = [table.caption] if table.caption else []
    for row in table.rows:
        lines += ["", *(f"{heading:{margin}}  {cell}" for heading, cell in zip(table.headings, row, strict=True))]
    return [*lines, ""]
