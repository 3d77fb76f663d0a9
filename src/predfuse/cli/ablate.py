"""``predfuse ablate``: variants of one configuration, trained and compared."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from predfuse.cli.options import Device, OutputFolder
from predfuse.cli.output import Outputs
from predfuse.errors import InputError
from predfuse.report.terminal import console


def ablate(
    variants: Annotated[Path, typer.Argument(help="YAML: a base configuration and its variants.", metavar="VARIANTS")],
    output: OutputFolder,
    jobs: Annotated[int, typer.Option("--jobs", "-j", min=1, help="Stages trained at the same time.")] = 1,
    device: Device = "auto",
    plan: Annotated[bool, typer.Option("--plan", help="Only say what is left to train.")] = False,
    *,
    outputs: Outputs,
) -> None:
    """Train variants of one configuration and compare accuracy, cycles and energy.

    Stages that variants have in common are trained once; one that fails stops no other. ablation.csv and ablation.json
    are brought up to date after every variant.
    """
    try:
        from predfuse.experiments.ablation import plan_ablation, run_ablation
        from predfuse.report.ablation import plan_table, progress_line, table_of
    except ModuleNotFoundError as error:
        raise InputError("ablate", f"needs {error.name}", "install predfuse[explore]") from error
    if plan:
        left = plan_ablation(variants, output)
        rows_left = [{"variant": name, "stages": list(stages)} for name, stages in left]
        outputs.emit("What is left to train", rows_left, rows_left, [plan_table(left)])
        return
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(str(output), f"cannot be created ({error.strerror})", "choose another folder") from error
    errors = console(stderr=True)
    rows = run_ablation(
        variants,
        output,
        lambda progress: errors.print(progress_line(progress), markup=False, highlight=False),
        jobs,
        device,
    )
    figures = [asdict(row) for row in rows]
    outputs.emit("Ablation", figures, figures, [table_of(rows)])
    typer.echo(f"wrote {output / 'ablation.csv'} and {output / 'ablation.json'}", err=True)
