"""``predfuse demo``: real images through the trained networks."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from predfuse.cli.options import Count
from predfuse.cli.output import Outputs
from predfuse.experiments import demo as demonstration
from predfuse.experiments.contenders import DEMO_RUN
from predfuse.report.demo import page
from predfuse.report.demo_tables import terminal
from predfuse.report.page import render
from predfuse.report.terminal import console


def demo(
    run: Annotated[
        Path | None, typer.Option("--run", help="Output folder of predfuse train, or name in the zoo, to show.")
    ] = None,
    against: Annotated[
        Path | None, typer.Option("--against", help="Training run to compare with instead of the shipped one.")
    ] = None,
    count: Count = 1000,
    *,
    outputs: Outputs,
) -> None:
    """Classify real images plain, pruned, predicted and fused: accuracy, exactness, operations."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console(stderr=True), transient=True) as progress:
        tasks: dict[str, TaskID] = {}

        def step(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = progress.add_task(what, total=total)
            progress.update(tasks[what], completed=done)

        result = demonstration.run_demo(run or DEMO_RUN, against, count, step)
    figures = demonstration.as_json(result)
    outputs.emit(
        "Demonstration",
        figures,
        figures["blocks"],
        terminal(result),
        lambda: render(page(result)),
    )
