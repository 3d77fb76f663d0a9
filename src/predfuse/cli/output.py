"""Where a command's figures go: tables on the terminal, JSON, CSV and an HTML page, to files or standard output."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer
from rich.console import Console

from predfuse.errors import InputError
from predfuse.files import require_writable, write_text_atomically
from predfuse.report.terminal import console

STDOUT = Path("-")
"""As a path: standard output, which then gets nothing else."""

Rows = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Outputs:
    """The places one command writes to; all are tried before any work is done.

    Attributes:
        json: Every figure.
        csv: The main table, one line a row, units in the headings.
        report: A self-contained HTML page.
        text: A further text file, which the command writes itself.
        file: A file that is no text and so cannot go to standard output; the command writes it.

    Raises:
        InputError: A file cannot be written, or two go to standard output.
    """

    json: Path | None = None
    csv: Path | None = None
    report: Path | None = None
    text: Path | None = None
    file: Path | None = None

    def __post_init__(self) -> None:
        """Try all of them."""
        paths = [path for path in (self.json, self.csv, self.report, self.text) if path is not None]
        if paths.count(STDOUT) > 1:
            raise InputError("-", "is given twice", "send one thing to standard output, the others to files")
        if self.file == STDOUT:
            raise InputError("--output", "cannot be standard output", "name a file")
        for path in (*paths, self.file):
            if path not in (None, STDOUT):
                require_writable(path)

    @property
    def to_stdout(self) -> bool:
        """Whether standard output is taken, so that no table may be printed there."""
        return STDOUT in (self.json, self.csv, self.report, self.text)

    def emit(
        self,
        title: str,
        figures: Any,
        rows: Rows,
        show: Callable[[Console], None],
        page: Callable[[], str] | None = None,
    ) -> None:
        """Write everything that was asked for, then show the tables where standard output is free.

        Args:
            title: Of a plain report.
            figures: All figures as plain JSON values.
            rows: The main table.
            show: Prints the tables.
            page: Makes the HTML report; by default it holds the main table.
        """
        if self.json is not None:
            write(self.json, json.dumps(figures, indent=2) + "\n")
        if self.csv is not None:
            write(self.csv, as_csv(rows))
        if self.report is not None:
            write(self.report, plain_report(title, rows) if page is None else page())
        if not self.to_stdout:
            show(console())
        for path in (self.json, self.csv, self.report):
            if path not in (None, STDOUT):
                typer.echo(f"wrote {path}", err=True)


def write(path: Path, text: str) -> None:
    """Write a text to a file, all or nothing, or to standard output."""
    if path == STDOUT:
        typer.echo(text, nl=False)
    else:
        write_text_atomically(path, text)


def as_csv(rows: Rows) -> str:
    """Rows as CSV; what is nested gets dotted headings."""
    flat = [dict(_flat(row)) for row in rows]
    headings = list(dict.fromkeys(name for row in flat for name in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, headings, lineterminator="\n")
    writer.writeheader()
    writer.writerows(flat)
    return text.getvalue()


def plain_report(title: str, rows: Rows) -> str:
    """The main table by itself as an HTML page."""
    from predfuse.report.page import Page, Section, Table, render

    flat = [dict(_flat(row)) for row in rows]
    headings = list(dict.fromkeys(name for row in flat for name in row))
    cells = [[_cell(row.get(name)) for name in headings] for row in flat]
    text = frozenset(
        place for place, name in enumerate(headings) if any(isinstance(row.get(name), str) for row in flat)
    )
    return render(Page(title, "", [Section(title, [Table(headings, cells, text_columns=text)])]))


def _flat(row: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, Any]]:
    for name, value in row.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield prefix + name, json.dumps(value) if isinstance(value, list | tuple) else value


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    return "" if value is None else str(value)
