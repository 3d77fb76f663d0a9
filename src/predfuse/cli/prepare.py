"""``predfuse prepare``: predictors for a trained network."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from predfuse.cli.options import (
    CalibrationCount,
    CalibrationImages,
    Csv,
    Input,
    Json,
    Mean,
    Output,
    Report,
    Size,
    Source,
    Std,
    Weights,
    module_options,
    require_size,
)
from predfuse.cli.output import Outputs
from predfuse.fusion.execute import run_network
from predfuse.fusion.results import BlockStatistics
from predfuse.graph.io import save_network
from predfuse.integer.calibrate import normalise
from predfuse.integer.calibration_images import calibration_images
from predfuse.predictor.network import prepare_network
from predfuse.predictor.prepare import PrepareConfig
from predfuse.report.terminal import console
from predfuse.sources import load_source


def prepare(
    source: Source,
    output: Output,
    images: CalibrationImages = None,
    count: CalibrationCount = None,
    size: Size = None,
    bits: Annotated[int, typer.Option(help="Bits of the predictors' activations, 2 to 8.")] = 4,
    largest_weight: Annotated[
        int, typer.Option(help="Of the predictors' weights: 1 (ternary), or 2 or 4, with these powers of two.")
    ] = 1,
    blocks: Annotated[list[str] | None, typer.Option("--block", help="Only this block; may be repeated.")] = None,
    steps: Annotated[int, typer.Option(help="Steps in which the predictors learn the true signs.", min=0)] = 200,
    check: Annotated[int, typer.Option(help="Images the table is measured on.", min=1)] = 16,
    weights: Weights = None,
    input_shape: Input = None,
    mean: Mean = "",
    std: Std = "",
    json_path: Json = None,
    csv_path: Csv = None,
    report: Report = None,
) -> None:
    """Give a trained network predictors, without labels: fitted on images, then tuned layer by layer.

    The weights stay as they are. Train on with predfuse train, or with your own loop in Python (predfuse.prepare), to
    let the network adapt to its predicted masks.
    """
    outputs = Outputs(json_path, csv_path, report, file=output)
    config = PrepareConfig(bits, tuple(blocks) if blocks else None, largest_weight=largest_weight)
    network = load_source(source, module_options(weights, input_shape, mean, std))
    found = calibration_images(network, images, count, require_size(size, network.input_shape))
    normalised = normalise(network, found.images)
    with Progress(console=console(stderr=True), transient=True) as progress:
        task = progress.add_task("tune", total=steps * (len(blocks or ()) or len(list(network.bottlenecks()))))
        prepared = prepare_network(
            network, normalised, config, steps=steps, progress=lambda loss: progress.advance(task)
        )
    measured = run_network(prepared, normalised[:check], "predicted")
    save_network(prepared, output)
    rows = [describe(block) for block in measured.blocks if block.execution == "predicted"]
    figures = {"network": network.name, "images": found.name, "file": str(output), "blocks": rows}

    def show(shown: Console) -> None:
        shown.print(_table(network.name, rows))
        fitted = f"fitted on {len(found.images)} images of {found.name}"
        shown.print(f"{output}: {fitted}; table on {min(check, len(normalised))}", soft_wrap=True, highlight=False)

    outputs.emit(f"Predictors of {network.name}", figures, rows, show)


def describe(block: BlockStatistics) -> dict[str, Any]:
    """The JSON form of one block's predictor; shares of all its gates, 0..1."""
    stages = {"expand": block.expand, "depthwise": block.depthwise}
    figures = ("survivors", "false_on_share", "false_off_share")
    return {
        "name": block.name,
        **{f"{stage}_{figure}": getattr(counts, figure) for stage, counts in stages.items() for figure in figures},
    }


def _table(network: str, rows: list[dict[str, Any]]) -> Table:
    table = Table(title=f"Predictors of {network}", caption="shares of all gates of the stage")
    table.add_column("block", no_wrap=True)
    for heading in ("expand on", "false on", "false off", "depthwise on", "false on", "false off"):
        table.add_column(heading, justify="right")
    for row in rows:
        table.add_row(*(f"{value:.1%}" if isinstance(value, float) else value for value in row.values()))
    return table
