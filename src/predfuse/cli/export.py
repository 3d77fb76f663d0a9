"""``predfuse export``: a network for other runtimes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, cast

import numpy as np
import typer

from predfuse.arrays import ImageArray
from predfuse.cli.options import Count, Images, Output, Size, Source, Split, require_size
from predfuse.data.dataset import Part
from predfuse.errors import InputError
from predfuse.exporters.arrays import Form, Precision, require_form_name, require_precision
from predfuse.exporters.files import export_network, format_of
from predfuse.files import require_writable
from predfuse.integer.calibrate import normalise
from predfuse.integer.calibration_images import images_for
from predfuse.integer.memory_files import write_memory_files
from predfuse.integer.program import Program
from predfuse.integer.program_io import is_program, load_program
from predfuse.integer.qonnx import export_qonnx
from predfuse.report.terminal import console
from predfuse.sources import ModuleOptions, load_source


def export(
    source: Source,
    output: Output,
    form: Annotated[
        str,
        typer.Option(
            "--form",
            help="plain (activation functions), predicted (the predictors' masks in their place) or fused (predicted "
            "blocks as sums of their surviving fused weights); memory: a compiled program's integers as $readmemh "
            "files and a C header, in a new folder; qonnx: a program's plain layers as QONNX.",
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
    images: Images = None,
    count: Count = 16,
    size: Size = None,
    split: Split = "test",
    *,
    module: ModuleOptions,
) -> None:
    """Export a network for other runtimes; the file is kept only if running it gives the network's values.

    It is checked on the images, on random ones where none are named.

    ONNX files hold standard operators only (opset 17), take any batch size and are checked in onnxruntime, layer by
    layer and from end to end.
    """
    if form in ("memory", "qonnx"):
        if not is_program(source):
            what = f"is no compiled program, which --form {form} takes"
            raise InputError(source, what, "compile it: predfuse compile")
        if form == "qonnx":
            _export_qonnx(load_program(Path(source)), output, images, count, split)
            return
        files = write_memory_files(load_program(Path(source)), output)
        typer.echo(f"{output}: {files} memory files, program.h, manifest.json")
        return
    chosen = format_of(output, format_name)
    require_form_name(form)
    if precision is not None:
        require_precision(precision)
    require_writable(output)
    network = load_source(source, module)
    given = None
    if images is not None:
        resize = require_size(size, network.input_shape)
        given = normalise(network, images_for(network, images, count, resize, split).images)
    with console(stderr=True).status(f"Exporting {network.name}"):
        check = export_network(network, output, cast(Form, form), chosen, given, cast("Precision | None", precision))
    typer.echo(f"{output}: {network.name}, {form}, {output.stat().st_size:,} bytes\n{check.summary()}")


def _export_qonnx(program: Program, output: Path, images: str | None, count: int, split: Part) -> None:
    require_writable(output)
    shape = program.input_shape
    if images is None:
        given: ImageArray = np.random.default_rng(0).integers(0, 256, (count, *shape)).astype(np.uint8)
    else:
        given = images_for(program, images, count, split=split).images
    with console(stderr=True).status(f"Exporting {program.name}"):
        checked = export_qonnx(program, output, given)
    typer.echo(f"{output}: {program.name}, qonnx, {output.stat().st_size:,} bytes; {checked} images equal bit for bit")
