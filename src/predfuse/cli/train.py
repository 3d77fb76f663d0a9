"""``predfuse train``: a network in three stages."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from predfuse.cli.options import Device, OptionalOutputFolder
from predfuse.cli.output import Outputs
from predfuse.errors import InputError
from predfuse.report.table import Table
from predfuse.report.terminal import console
from predfuse.training import describe
from predfuse.training.checkpoint import read_tensors
from predfuse.training.config import load_config
from predfuse.training.run import Run
from predfuse.training.watch import watching


def train(
    config: Annotated[Path | None, typer.Argument(help="YAML configuration of the run.", metavar="CONFIG")] = None,
    output: OptionalOutputFolder = None,
    device: Device = "auto",
    seed: Annotated[int | None, typer.Option("--seed", help="Instead of the configuration's seed.", min=0)] = None,
    overrides: Annotated[
        list[str] | None, typer.Option("--set", "-s", help="KEY=VALUE, e.g. vanilla.epochs=3; may be repeated.")
    ] = None,
    template: Annotated[bool, typer.Option("--template", help="Print a commented configuration instead.")] = False,
    schema: Annotated[bool, typer.Option("--schema", help="Print the JSON schema of a configuration instead.")] = False,
    *,
    outputs: Outputs,
) -> None:
    """Train a network: vanilla, then pruned, then predicted.

    Interrupted runs (even by kill -9) go on to the very weights an uninterrupted run gives when the same command is
    given again on the same kind of device. Under torchrun the images of every step are shared by the processes.
    """
    if template or schema:
        typer.echo(describe.template() if template else describe.schema(), nl=False)
        return
    if config is None or output is None:
        missing, mend = (
            ("CONFIG", "predfuse train --template writes one") if config is None else ("-o", "name a folder")
        )
        raise InputError(missing, "is missing", mend)
    seeds = [] if seed is None else [f"seed={seed}"]
    settings = load_config(config, [*(overrides or []), *seeds])
    with watching(output, console(stderr=True)) as watchers:
        run = Run(settings, output, device, watchers)
        paths = run.train()
    if not run.processes.first:
        return
    accuracies = ("held_out_accuracy", "test_accuracy") if run.config.data.held_out else ("test_accuracy",)
    facts = {stage: read_tensors(path)[1] for stage, path in paths.items()}
    rows = [
        {"stage": stage, **{name: facts[stage][name] for name in accuracies}, "checkpoint": str(path)}
        for stage, path in paths.items()
    ]
    title = f"{run.config.network.name} on {run.config.data.name}"
    cells = [[row["stage"], *(f"{row[name]:.2%}" for name in accuracies), row["checkpoint"]] for row in rows]
    headings = ["stage", *(name.replace("_", " ") for name in accuracies), "checkpoint"]
    outputs.emit(title, rows, rows, [Table(headings, cells, title, text_columns=frozenset((0, len(headings) - 1)))])
