"""``predfuse prepare``: predictors for a trained network."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any

import typer
from rich.progress import Progress

from predfuse.cli.options import CalibrationCount, CalibrationImages, Output, Size, Source, Split, require_size
from predfuse.cli.output import Outputs
from predfuse.errors import InputError
from predfuse.fusion.execute import run_network
from predfuse.fusion.results import BlockStatistics
from predfuse.graph.io import save_network
from predfuse.hardware import ArchonSpec, load_spec
from predfuse.integer.calibrate import normalise
from predfuse.integer.calibration_images import calibration_images
from predfuse.predictor.format import MOST_BITS
from predfuse.predictor.network import prepare_network
from predfuse.predictor.prepare import PrepareConfig
from predfuse.report.table import Table
from predfuse.report.terminal import console
from predfuse.sources import ModuleOptions, load_source


def prepare(
    source: Source,
    output: Output,
    images: CalibrationImages = None,
    count: CalibrationCount = None,
    size: Size = None,
    split: Split = None,
    bits: Annotated[
        int | None, typer.Option(help="Of the predictors' activations, 2 to 8; default: 4, or the machine's.")
    ] = None,
    largest_weight: Annotated[
        int | None,
        typer.Option(help="Of the predictors' weights: 1 (ternary, default), 2, 4: powers of two; or the machine's."),
    ] = None,
    accelerator: Annotated[
        str | None,
        typer.Option("--accelerator", "-a", help="Archon it is for: predictors as wide as it runs them, up to 8 bits."),
    ] = None,
    blocks: Annotated[list[str] | None, typer.Option("--block", help="Only this block; may be repeated.")] = None,
    steps: Annotated[
        int | None,
        typer.Option(help="Steps in which the predictors learn the true signs; default: 200, fewer slow ones.", min=0),
    ] = None,
    check: Annotated[int, typer.Option(help="Images the table is measured on.", min=1)] = 16,
    *,
    module: ModuleOptions,
    outputs: Outputs,
) -> None:
    """Give a trained network predictors, without labels: fitted on images, then tuned layer by layer.

    The weights stay as they are. Train on with predfuse train, or with your own loop in Python (predfuse.prepare), to
    let the network adapt to its predicted masks.
    """
    outputs = replace(outputs, file=output)
    widest = (4, 1) if accelerator is None else _widest(accelerator)
    config = PrepareConfig(
        widest[0] if bits is None else bits,
        tuple(blocks) if blocks else None,
        largest_weight=widest[1] if largest_weight is None else largest_weight,
        steps=steps,
    )
    network = load_source(source, module)
    found = calibration_images(network, images, count, require_size(size, network.input_shape), split)
    normalised = normalise(network, found.images)
    with Progress(console=console(stderr=True), transient=True) as progress:
        task = progress.add_task("tune", total=None)
        prepared = prepare_network(
            network, normalised, config, progress=lambda loss, total: progress.update(task, total=total, advance=1)
        )
    measured = run_network(prepared, normalised[:check], "predicted")
    save_network(prepared, output)
    rows = [describe(block) for block in measured.blocks if block.execution == "predicted"]
    figures = {"network": network.name, "images": found.name, "file": str(output), "blocks": rows}

    shares = [[f"{value:.1%}" if isinstance(value, float) else value for value in row.values()] for row in rows]
    headings = ("block", "expand on", "false on", "false off", "depthwise on", "false on", "false off")
    table = Table(headings, shares, f"Predictors of {network.name}: shares of all gates of the stage")
    tuned = f"in {prepared.metadata['layerwise_steps']} steps; table on {min(check, len(normalised))}"
    fitted = f"fitted on {len(found.images)} images of {found.name} {tuned}"
    outputs.emit(f"Predictors of {network.name}", figures, rows, [table, (f"{output}: {fitted}",)])


def _widest(accelerator: str) -> tuple[int, int]:
    """Bits of activations and largest weight of the predictors a machine runs."""
    spec = load_spec(accelerator)
    if not isinstance(spec, ArchonSpec):
        raise InputError(accelerator, "runs no predictors", "name an Archon")
    return min(spec.activation_bits, MOST_BITS), spec.design.largest_predictor_weight


def describe(block: BlockStatistics) -> dict[str, Any]:
    """The JSON form of one block's predictor; shares of all its gates, 0..1."""
    stages = {"expand": block.expand, "depthwise": block.depthwise}
    figures = ("survivors", "false_on_share", "false_off_share")
    return {
        "name": block.name,
        **{f"{stage}_{figure}": getattr(counts, figure) for stage, counts in stages.items() for figure in figures},
    }
