"""``predfuse ablate``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("ablate")(ablate)


def ablate(
    variants: Annotated[Path, typer.Argument(help="YAML: a base configuration and its variants.", metavar="VARIANTS")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder of the runs; interrupted ones go on.")],
    jobs: Annotated[int, typer.Option("--jobs", "-j", min=1, help="Variants trained at the same time.")] = 1,
    device: Annotated[str, typer.Option(help="cpu, cuda, or auto: a GPU if PyTorch sees one.")] = "auto",
    plan: Annotated[bool, typer.Option("--plan", help="Only say what is left to train.")] = False,
) -> None:
    """Train variants of one configuration and compare accuracy, cycles and energy.

    Stages that variants have in common are trained once. ablation.csv and ablation.json are brought up to date after
    every variant.
    """
    from rich.console import Console

    from predfuse.errors import InputError
    from predfuse.experiments.ablation import plan_ablation, run_ablation
    from predfuse.report.ablation import plan_table, progress_line, table_of

    if plan:
        Console().print(plan_table(*plan_ablation(variants, output, jobs)))
        return
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(str(output), f"cannot be created ({error.strerror})", "choose another folder") from error
    errors = Console(stderr=True)
    rows = run_ablation(
        variants,
        output,
        lambda progress: errors.print(progress_line(progress), markup=False, highlight=False),
        jobs,
        device,
    )
    Console().print(table_of(rows))
    typer.echo(f"wrote {output / 'ablation.csv'} and {output / 'ablation.json'}")
