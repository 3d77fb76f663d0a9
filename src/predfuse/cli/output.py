"""Where a command's figures go: tables on the terminal, JSON, CSV and an HTML page, to files or standard output."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from predfuse.errors import InputError
from predfuse.files import as_csv, require_writable, write_text_atomically
from predfuse.report.terminal import Part, console, show

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
        parts: Sequence[Part],
        page: Callable[[], str] | None = None,
    ) -> None:
        """Write everything that was asked for, then show the tables where standard output is free.

        Args:
            title: Of a plain report.
            figures: All figures as plain JSON values.
            rows: The main table as plain values.
            parts: Tables, paragraphs and lines for the terminal.
            page: Makes the HTML report; by default it holds ``parts``.
        """
        if self.json is not None:
            write(self.json, json.dumps(figures, indent=2) + "\n")
        if self.csv is not None:
            write(self.csv, as_csv(rows))
        if self.report is not None:
            write(self.report, _plain_page(title, parts) if page is None else page())
        if not self.to_stdout:
            terminal = console()
            for part in parts:
                show(part, terminal)
        for path in (self.json, self.csv, self.report):
            if path not in (None, STDOUT):
                typer.echo(f"wrote {path}", err=True)


def outputs(
    json_path: Annotated[
        Path | None, typer.Option("--json", help="Also write every figure as JSON; - is standard output.")
    ] = None,
    csv_path: Annotated[
        Path | None, typer.Option("--csv", help="Also write the main table as CSV; - is standard output.")
    ] = None,
    report: Annotated[
        Path | None, typer.Option("--report", help="Also write a self-contained HTML page; - is standard output.")
    ] = None,
) -> Outputs:
    """What the options of every command that shows a table say."""
    return Outputs(json_path, csv_path, report)


def write(path: Path, text: str) -> None:
    """Write a text to a file, all or nothing, or to standard output."""
    if path == STDOUT:
        typer.echo(text, nl=False)
    else:
        write_text_atomically(path, text)


def _plain_page(title: str, parts: Sequence[Part]) -> str:
    from predfuse.report.page import Page, Section, render

    plain = [piece for part in parts for piece in (part if isinstance(part, tuple) else (part,))]
    return render(Page(title, "", [Section(title, plain)]))
