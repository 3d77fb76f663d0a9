"""``predfuse export``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from predfuse.cli.network_options import SOURCE_HELP, Input, Mean, Std, Weights, module_options


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("export")(export)


def export(
    source: Annotated[str, typer.Argument(help=SOURCE_HELP)],
    output: Annotated[Path, typer.Option("--output", "-o", help="File to write: .onnx or .pt2 (torch.export).")],
    form: Annotated[
        str,
        typer.Option(
            "--form",
            help="plain (activation functions), predicted (the predictors' masks in their place) or fused (predicted "
            "blocks as sums of their surviving fused weights).",
        ),
    ] = "plain",
    format_name: Annotated[
        str | None, typer.Option("--format", help="onnx or torch; by default what the suffix says.")
    ] = None,
    precision: Annotated[
        str | None,
        typer.Option(
            help="float32 or float64 within; default: float64 for predicted and fused, where rounding decides masks."
        ),
    ] = None,
    images: Annotated[
        str | None, typer.Option("--images", help="Check on these: data set, folder or file; default: random ones.")
    ] = None,
    count: Annotated[int, typer.Option("--count", "-n", help="How many of them.")] = 16,
    resize: Annotated[bool, typer.Option("--resize", help="Crop and resample pictures to the network's size.")] = False,
    weights: Weights = None,
    input_shape: Input = None,
    mean: Mean = "",
    std: Std = "",
) -> None:
    """Export a network for other runtimes; the file is kept only if running it gives the network's values.

    ONNX files hold standard operators only (opset 17), take any batch size and are checked in onnxruntime, layer by
    layer and from end to end.
    """
    from typing import cast

    from rich.console import Console

    from predfuse.data.image_sources import load_images
    from predfuse.export.arrays import Form, Precision, require_form_name, require_precision
    from predfuse.export.files import export_network, format_of
    from predfuse.files import require_writable
    from predfuse.integer.calibrate import normalise
    from predfuse.sources import load_source

    chosen = format_of(output, format_name)
    require_form_name(form)
    if precision is not None:
        require_precision(precision)
    require_writable(output)
    network = load_source(source, module_options(weights, input_shape, mean, std))
    given = None
    if images is not None:
        given = normalise(network, load_images(images, network.input_shape, count, resize).images)
    with Console(stderr=True).status(f"Exporting {network.name}"):
        check = export_network(network, output, cast(Form, form), chosen, given, cast("Precision | None", precision))
    typer.echo(f"{output}: {network.name}, {form}, {output.stat().st_size:,} bytes\n{check.summary()}")
