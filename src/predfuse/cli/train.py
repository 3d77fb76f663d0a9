"""``predfuse train``."""

from __future__ import annotations

from pathlib import Path

import typer
from rich.console import Console
from rich.table import Table


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("train")(train)


def train(
    config: Path = typer.Argument(..., help="YAML configuration of the run."),
    output: Path = typer.Option(..., "--output", "-o", help="Folder of the run; an interrupted one goes on."),
    device: str = typer.Option("auto", help="cpu, cuda, or auto: a GPU if PyTorch sees one."),
    overrides: list[str] = typer.Option([], "--set", "-s", help="KEY=VALUE, e.g. vanilla.epochs=3; may be repeated."),
) -> None:
    """Train a network: vanilla, then pruned, then predicted.

    Interrupted runs (even by kill -9) go on to the very weights an uninterrupted run gives when the same command is
    given again on the same kind of device. Under torchrun the images of every step are shared by the processes.
    """
    import json

    from predfuse.training.config import load_config
    from predfuse.training.run import Run

    run = Run(load_config(config, overrides), output, device)
    paths = run.train()
    if not run.processes.first:
        return
    from predfuse.training.checkpoint import read_tensors

    table = Table(title=f"{run.config.network.name} on {run.config.data.name}")
    for heading in ("stage", "test accuracy", "checkpoint"):
        table.add_column(heading)
    for stage, path in paths.items():
        metadata = read_tensors(path)[1]
        table.add_row(stage, f"{metadata['test_accuracy']:.2%}", str(path))
    Console().print(table)
    typer.echo(json.dumps({stage: str(path) for stage, path in paths.items()}), err=True)
