"""``predfuse export``."""

from __future__ import annotations

from pathlib import Path

import typer


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("export")(export)


def export(
    source: str = typer.Argument(..., help="Registered network, checkpoint of predfuse train, or saved network."),
    output: Path = typer.Option(..., "--output", "-o", help="File to write: .onnx or .pt2 (torch.export)."),
    form: str = typer.Option(
        "plain",
        "--form",
        help="plain (activation functions), predicted (the predictors' masks in their place) or fused (predicted "
        "blocks as sums of their surviving fused weights).",
    ),
    format_name: str | None = typer.Option(None, "--format", help="onnx or torch; by default what the suffix says."),
) -> None:
    """Export a network for other runtimes; the file is kept only if running it gives the network's values.

    ONNX files hold standard operators only (opset 17), take any batch size and are checked in onnxruntime, layer by
    layer.
    """
    from typing import cast

    from rich.console import Console

    from predfuse.export.arrays import Form
    from predfuse.export.files import export_network, format_of
    from predfuse.files import require_writable
    from predfuse.sources import load_source

    format_of(output, format_name)
    require_writable(output)
    network = load_source(source)
    with Console(stderr=True).status(f"Exporting {network.name}"):
        check = export_network(network, output, cast(Form, form), format_name)
    size = output.stat().st_size
    typer.echo(
        f"{output}: {network.name}, {form}, {size:,} bytes; worst layer {check.worst_layer} off by "
        f"{check.worst_error:.1e} of its largest value, output by {check.output_error:.1e} "
        f"({check.agreeing} of {check.images} images within 1e-4)"
    )
