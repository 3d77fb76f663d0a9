"""``predfuse demo``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("demo")(demo)


def demo(
    json_path: Annotated[Path | None, typer.Option("--json", help="Write the figures as JSON.")] = None,
    report_path: Annotated[Path | None, typer.Option("--report", help="Write a self-contained HTML page.")] = None,
    run: Annotated[
        Path | None, typer.Option("--run", help="Output folder of predfuse train, or name in the zoo, to show.")
    ] = None,
    against: Annotated[
        Path | None, typer.Option("--against", help="Training run to compare with instead of the shipped one.")
    ] = None,
    images: Annotated[int, typer.Option("--images", min=1, help="How many test images.")] = 1000,
) -> None:
    """Classify real images plain, pruned, predicted and fused: accuracy, exactness, operations."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

    from predfuse.experiments import demo as demonstration
    from predfuse.files import require_writable, write_text_atomically

    for path in (json_path, report_path):
        if path is not None:
            require_writable(path)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        tasks: dict[str, TaskID] = {}

        def show(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = progress.add_task(what, total=total)
            progress.update(tasks[what], completed=done)

        result = demonstration.run_demo(
            run or demonstration.shipped_run(demonstration.SHIPPED_RUN),
            against or demonstration.shipped_run(demonstration.SHIPPED_RIVAL),
            images,
            show,
        )
    from predfuse.report.demo_tables import terminal

    Console().print(terminal(result))
    if json_path is not None:
        import json

        write_text_atomically(json_path, json.dumps(demonstration.as_json(result), indent=2) + "\n")
        typer.echo(f"Figures: {json_path}")
    if report_path is not None:
        from predfuse.report.demo import page
        from predfuse.report.page import render

        write_text_atomically(report_path, render(page(result)))
        typer.echo(f"Report: {report_path}")
