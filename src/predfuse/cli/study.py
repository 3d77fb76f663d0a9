"""``predfuse study``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from predfuse.cli.network_options import SOURCE_HELP, Input, Mean, Std, Weights, module_options


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("study")(study)


def study(
    source: Annotated[
        str,
        typer.Argument(help=SOURCE_HELP + " A registered name is calibrated on real images first.", metavar="MODEL"),
    ] = "fusionet",
    images: Annotated[
        str | None, typer.Option(help="Images for a MODEL that is a file or function: data set, folder or file.")
    ] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", help="How many images.")] = 1,
    field: Annotated[
        list[str] | None, typer.Option("--field", "-f", help="Only sweep this field; may be repeated; 'none' for none.")
    ] = None,
    weights: Weights = None,
    input_shape: Input = None,
    mean: Mean = "",
    std: Std = "",
    json_path: Annotated[
        Path | None, typer.Option("--json", help="Also write every figure as JSON; - writes JSON alone.")
    ] = None,
    report: Annotated[Path | None, typer.Option("--report", help="Also write an HTML report with plots.")] = None,
    data_root: Annotated[Path | None, typer.Option("--data", help="Folder of data sets (for CIFAR-10).")] = None,
) -> None:
    """What each choice of Archon's microarchitecture is worth: ladder, sweep and Pareto front."""
    import json

    from rich.console import Console

    from predfuse import models
    from predfuse.data.image_sources import load_images
    from predfuse.errors import InputError
    from predfuse.experiments.calibrated import calibrated
    from predfuse.experiments.study import study as run_study
    from predfuse.files import require_writable, write_text_atomically
    from predfuse.integer.calibrate import normalise
    from predfuse.report.study import LADDER_CAPTION, SWEEP_CAPTION, front_table, render_report, study_table
    from predfuse.report.terminal import narrow, table
    from predfuse.sources import load_source

    to_stdout = json_path == Path("-")
    for path in (None if to_stdout else json_path, report):
        if path is not None:
            require_writable(path)
    if limit < 1:
        raise InputError("--limit", f"is {limit}", "use 1 or more images")
    fields = None if not field else [name for name in field if name != "none"]
    with Console(stderr=True).status("calibrating") as status:
        if source in models.names():
            made = calibrated(source, limit, root=data_root)
            network, pixels, pictures = made.network, made.images, f"{made.source}; calibrated, not trained"
        else:
            network = load_source(source, module_options(weights, input_shape, mean, std))
            if images is None:
                raise InputError("--images", "are missing", "name the images the network is to be run on")
            found = load_images(images, network.input_shape, limit)
            pixels, pictures = normalise(network, found.images), found.name
        result = run_study(network, pixels, pictures, fields, progress=lambda label: status.update(label))
    text = json.dumps(result.as_json(), indent=2) + "\n"
    if report is not None:
        write_text_atomically(report, render_report(result))
    if to_stdout:
        typer.echo(text, nl=False)
        return
    if json_path is not None:
        write_text_atomically(json_path, text)
    console = Console()
    parts = [study_table(result, ("published", "ladder", "shipped"), LADDER_CAPTION)]
    if any(point.part in ("sweep", "bandwidth") for point in result.points):
        parts.append(study_table(result, ("shipped", "sweep", "bandwidth"), SWEEP_CAPTION))
    for shown in (*parts, front_table(result)):
        console.print(narrow(table(shown.caption, shown.headings, shown.rows, sorted(shown.strong_rows))))
    console.print(f"{result.network}, {result.images} image(s): {result.source}", highlight=False)
    for path in (json_path, report):
        if path is not None:
            typer.echo(f"wrote {path}")
