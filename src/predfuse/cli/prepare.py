"""``predfuse prepare``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from predfuse.cli.network_options import SOURCE_HELP, Input, Mean, Std, Weights, module_options

if TYPE_CHECKING:
    from predfuse.fusion.results import BlockStatistics


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("prepare")(prepare)


def prepare(
    source: Annotated[str, typer.Argument(help=SOURCE_HELP)],
    output: Annotated[Path, typer.Option("--output", "-o", help="Network file to write.")],
    images: Annotated[
        str | None,
        typer.Option(
            "--images",
            help="Images to fit on: data set, safetensors file, image folder, or 'random' "
            "(default: what the network was trained on).",
        ),
    ] = None,
    count: Annotated[int, typer.Option("--count", "-n", help="How many images.")] = 256,
    resize: Annotated[bool, typer.Option("--resize", help="Crop and resample pictures to the network's size.")] = False,
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
    json_path: Annotated[
        Path | None, typer.Option("--json", help="Also write the figures as JSON; - writes JSON alone.")
    ] = None,
) -> None:
    """Give a trained network predictors, without labels: fitted on images, then tuned layer by layer.

    The weights stay as they are. Train on with predfuse train, or with your own loop in Python (predfuse.prepare), to
    let the network adapt to its predicted masks.
    """
    import json

    from rich.console import Console
    from rich.progress import Progress

    from predfuse.files import require_writable, write_text_atomically
    from predfuse.fusion.execute import run_network
    from predfuse.graph.io import save_network
    from predfuse.integer.calibrate import normalise
    from predfuse.integer.calibration_images import calibration_images
    from predfuse.predictor.network import prepare_network
    from predfuse.predictor.prepare import PrepareConfig
    from predfuse.sources import load_source

    to_stdout = json_path == Path("-")
    for path in (output, None if to_stdout else json_path):
        if path is not None:
            require_writable(path)
    config = PrepareConfig(bits, tuple(blocks) if blocks else None, largest_weight=largest_weight)
    network = load_source(source, module_options(weights, input_shape, mean, std))
    found = calibration_images(network, images, count, resize)
    normalised = normalise(network, found.images)
    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("tune", total=steps)
        prepared = prepare_network(
            network, normalised, config, steps=steps, progress=lambda loss: progress.advance(task)
        )
    measured = run_network(prepared, normalised[:check], "predicted")
    save_network(prepared, output)
    rows = [describe(block) for block in measured.blocks if block.execution == "predicted"]
    document = json.dumps(
        {"network": network.name, "images": found.name, "file": str(output), "blocks": rows}, indent=2
    )
    if to_stdout:
        typer.echo(document)
        return
    Console().print(_table(network.name, rows))
    typer.echo(
        f"{output}: fitted on {len(found.images)} images of {found.name}; table on {min(check, len(normalised))}"
    )
    if json_path is not None:
        write_text_atomically(json_path, document + "\n")


def describe(block: BlockStatistics) -> dict[str, Any]:
    """The JSON form of one block's predictor; shares of all its gates, 0..1."""
    stages = {"expand": block.expand, "depthwise": block.depthwise}
    figures = ("survivors", "false_on_share", "false_off_share")
    return {
        "name": block.name,
        **{f"{stage}_{figure}": getattr(counts, figure) for stage, counts in stages.items() for figure in figures},
    }


def _table(network: str, rows: list[dict[str, Any]]) -> Any:
    from rich.table import Table

    table = Table(title=f"Predictors of {network}", caption="shares of all gates of the stage")
    table.add_column("block", no_wrap=True)
    for heading in ("expand on", "false on", "false off", "depthwise on", "false on", "false off"):
        table.add_column(heading, justify="right")
    for row in rows:
        table.add_row(*(f"{value:.1%}" if isinstance(value, float) else value for value in row.values()))
    return table
