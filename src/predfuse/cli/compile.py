"""``predfuse compile``: a network turned into an integer program."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Annotated, Any

import typer
from rich.progress import Progress

from predfuse.cli.options import CalibrationCount, CalibrationImages, Output, Size, Source, Split, require_size
from predfuse.cli.output import Outputs
from predfuse.files import sha256_of_file
from predfuse.hardware.cycle.warn_unpruned import warn_unpruned
from predfuse.integer.agreement import Agreement, compile_and_compare
from predfuse.integer.calibration_images import calibration_images
from predfuse.integer.fast_machine import FastMachine
from predfuse.integer.options import CompileOptions
from predfuse.integer.program import FusedBlock, Program
from predfuse.integer.program_io import save_program
from predfuse.integer.run import run_program
from predfuse.report.table import Table, optional
from predfuse.report.terminal import Part, console
from predfuse.sources import ModuleOptions, load_source


def compile_command(
    source: Source,
    output: Output,
    images: CalibrationImages = None,
    count: CalibrationCount = None,
    size: Size = None,
    split: Split = None,
    bits: Annotated[int, typer.Option(help="Bits of activations, weights and factors, with sign: 16 or 8.")] = 16,
    weight_bits: Annotated[
        int, typer.Option(help="Bits of weights and of fused weights, with sign; 0: as many as --bits.")
    ] = 0,
    sum_bits: Annotated[
        int, typer.Option(help="Bits of the adders of fused weights, with sign; 0: four more than --bits.")
    ] = 0,
    accumulator_bits: Annotated[int, typer.Option(help="Bits of the widest accumulator, with sign.")] = 48,
    margin: Annotated[float, typer.Option(help="Headroom over the largest calibration value (factor).")] = 1.125,
    require_fused: Annotated[
        bool, typer.Option("--require-fused", help="Refuse networks with a block that has no predictor.")
    ] = False,
    tile: Annotated[str | None, typer.Option(help="Does nothing.", hidden=True)] = None,
    lanes: Annotated[str | None, typer.Option(help="Does nothing.", hidden=True)] = None,
    banks: Annotated[str | None, typer.Option(help="Does nothing.", hidden=True)] = None,
    *,
    module: ModuleOptions,
    outputs: Outputs,
) -> None:
    """Compile a network to integers: calibrate, quantise, fuse, check every width.

    Blocks with a predictor are fused; others become their three convolutions. The program is then run on the
    calibration images; values that did not fit are counted and shown.
    """
    outputs = replace(outputs, file=output)
    for option, given in (("--tile", tile), ("--lanes", lanes), ("--banks", banks)):
        if given is not None:
            typer.echo(f"{option} never changed anything and will go: leave it out", err=True)
    options = CompileOptions(bits, weight_bits, sum_bits, accumulator_bits, margin, require_fused)
    network = load_source(source, module)
    calibration = calibration_images(network, images, count, require_size(size, network.input_shape), split)
    with Progress(console=console(stderr=True), transient=True) as progress:
        task = progress.add_task("calibrate", total=len(calibration.images))
        checked = compile_and_compare(
            network,
            calibration.images,
            options,
            facts={"calibration": calibration.name},
            progress=lambda done: progress.advance(task, done),
        )
        program, agreement, saturated = checked.program, checked.agreement, Counter(checked.saturations)
        rest = calibration.images[agreement.images :]
        if len(rest):
            task = progress.add_task("check", total=len(rest))
            result = run_program(
                program, rest, machine=checked.machine, progress=lambda done: progress.advance(task, done)
            )
            saturated.update(result.saturations)
    save_program(program, output)
    unpruned = warn_unpruned(program, calibration.images)
    layers = [describe(node, checked.machine, saturated[node.name]) for node in program.nodes]
    saturations = saturated.total()
    summary = {
        "program": str(output),
        "sha256": sha256_of_file(output),
        "network": program.name,
        "calibration": calibration.name,
        "calibration_images": len(calibration.images),
        "layers": layers,
        "saturations": saturations,
        "agreement": agreement.facts(),
        "unpruned": list(unpruned),
    }

    parts: list[Part] = [_table(program, layers)]
    if agreement.blocks:
        parts.append(_agreement_table(agreement))
    parts.append(
        f"integers give the network's class on {agreement.classes_agree:.1%} of {agreement.images} calibration "
        f"images; scores differ by a relative {agreement.output_error:.2g}"
    )
    if checked.warning:
        parts.append(f"warning: {checked.warning}")
    calibrated = f"calibrated on {len(calibration.images)} images of {calibration.name}"
    parts.append((f"{output}: {calibrated}, {saturations} saturated values on them",))
    outputs.emit(f"{program.name} in integers", summary, layers, parts)


def _agreement_table(agreement: Agreement) -> Table:
    rows = [[name, f"{error:.2g}", f"{agreement.drift[name]:.2g}"] for name, error in agreement.blocks.items()]
    caption = "Integers against the network: relative root mean square errors"
    return Table(["block", "fed its own input", "in the running program"], rows, caption)


def describe(node: Any, machine: FastMachine, saturations: int) -> dict[str, Any]:
    """The JSON form of one compiled layer."""
    fused = isinstance(node, FusedBlock)
    lists = machine.blocks[node.name].lists if fused else None
    return {
        "name": node.name,
        "type": type(node).__name__,
        "execution": "fused" if fused else "plain",
        "fraction_bits": node.fraction_bits,
        "weight_bits": node.weight_bits if fused else None,
        "sum_bits": node.sum_bits if fused else None,
        "accumulator_bits": getattr(node, "accumulator_bits", None),
        "fused_weights": len(lists.weights) if lists else None,
        "bias_entries": len(lists.expand_bias) + len(lists.depthwise_bias) if lists else None,
        "saturations": saturations,
    }


_KINDS = {
    "IntegerConv": "conv",
    "FusedBlock": "fused",
    "IntegerPool": "pool",
    "IntegerAdd": "add",
    "IntegerConcat": "concat",
    "IntegerShuffle": "shuffle",
}


def _table(program: Program, layers: list[dict[str, Any]]) -> Table:
    fused = any(layer["execution"] == "fused" for layer in layers)
    rows = []
    for layer in layers:
        keys = ("weight_bits", "sum_bits", "accumulator_bits")
        bits = "/".join(str(layer[key]) for key in keys if layer[key] is not None)
        lists = [optional(layer[key], ",") for key in ("fused_weights", "bias_entries")] if fused else []
        scale = f"2^{-layer['fraction_bits']}"
        rows.append([layer["name"], _KINDS[layer["type"]], scale, bits, *lists, f"{layer['saturations']:,}"])
    headings = ["layer", "kind", "scale", "bits", *(("fused weights", "biases") if fused else ()), "saturated"]
    widths = "weights / their sums / accumulator" if fused else "accumulator"
    return Table(headings, rows, f"{program.name} in integers; bits: {widths}", text_columns=frozenset((0, 1)))
