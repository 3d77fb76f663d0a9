"""``predfuse run``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

if TYPE_CHECKING:
    from predfuse.data.image_sources import ImageSet
    from predfuse.integer import MachineResult
    from predfuse.integer.program import Program

IMAGES_HELP = (
    "Data set (e.g. fashion-mnist-1000), .npy file of [N,C,H,W] uint8 pixels or normalised floats, safetensors file "
    "with such 'images' and perhaps 'labels' [N], image folder, or one picture."
)


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("run")(run)


def run(
    program_path: Annotated[Path, typer.Argument(help="Program written by predfuse compile.", metavar="PROGRAM")],
    images: Annotated[str, typer.Argument(help=IMAGES_HELP)],
    limit: Annotated[int | None, typer.Option("--limit", "-n", help="Only the first so many images.")] = None,
    machine: Annotated[str, typer.Option(help="fast, or reference (slow, checks every width).")] = "fast",
    resize: Annotated[bool, typer.Option("--resize", help="Crop and resample pictures to the program's size.")] = False,
    dump: Annotated[
        Path | None, typer.Option(help="New folder for every layer's integers and masks as .npy, with a manifest.")
    ] = None,
    json_path: Annotated[
        Path | None, typer.Option("--json", help="Also write the result as JSON; - writes JSON alone.")
    ] = None,
) -> None:
    """Run a program on images, in integers from the first layer to the scores."""
    import json
    import time

    from rich.console import Console
    from rich.progress import Progress

    from predfuse.data.image_sources import load_images
    from predfuse.errors import InputError
    from predfuse.files import require_writable, write_text_atomically
    from predfuse.integer import run_program
    from predfuse.integer.dump import dump_result, require_new_folder
    from predfuse.integer.fast_machine import FastMachine
    from predfuse.integer.program_io import load_program

    to_stdout = json_path == Path("-")
    if json_path is not None and not to_stdout:
        require_writable(json_path)
    if dump is not None:
        require_new_folder(dump)
    if machine not in ("fast", "reference"):
        raise InputError("--machine", f"is {machine!r}", "use fast or reference")
    program = load_program(program_path)
    found = load_images(images, program.input_shape, limit, resize)
    if found.labels is not None and program.labels and found.labels.max() >= len(program.labels):
        what = f"has label {found.labels.max()}, the program knows {len(program.labels)} classes"
        raise InputError(found.name, what, "use images of the data set the network was trained on")
    prepared: FastMachine | Literal["reference"] = FastMachine(program) if machine == "fast" else "reference"
    if isinstance(prepared, FastMachine):
        run_program(program, found.images[:1], machine=prepared)  # compiles the loops, which is not to be timed
    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("run", total=len(found.images))
        start = time.perf_counter()
        result = run_program(
            program,
            found.images,
            machine=prepared,
            keep=() if dump is None else ["input", *(node.name for node in program.nodes)],
            keep_masks=dump is not None,
            progress=lambda done: progress.advance(task, done),
        )
        seconds = (time.perf_counter() - start) / len(found.images)
    if dump is not None:
        dump_result(program, result, dump)
    summary = describe(program_path, program, found, result, machine, seconds)
    document = json.dumps(summary, indent=2) + "\n"
    if to_stdout:
        typer.echo(document, nl=False)
        return
    _print(summary, program, Console())
    if json_path is not None:
        write_text_atomically(json_path, document)


def describe(
    path: Path, program: Program, found: ImageSet, result: MachineResult, machine: str, seconds: float
) -> dict[str, Any]:
    """The JSON form of a run."""
    return {
        "program": str(path),
        "network": program.name,
        "images": found.name,
        "machine": machine,
        "count": len(found.images),
        "accuracy": None if found.labels is None else result.accuracy(found.labels),
        "predictions": result.predictions.tolist(),
        "labels": None if found.labels is None else found.labels.tolist(),
        "classes": list(program.labels),
        "scores": result.scores.tolist(),
        "score_fraction_bits": result.fraction_bits,
        "saturations": result.saturations,
        "milliseconds_per_image": 1e3 * seconds,
    }


SHOWN_IMAGES = 10


def _print(summary: dict[str, Any], program: Program, console: Any) -> None:
    from rich.markup import escape
    from rich.table import Table

    def label(index: int) -> str:
        return escape(program.labels[index]) if index < len(program.labels) else str(index)

    table = Table("image", "predicted", "score", "label", title=f"{program.name} on {escape(summary['images'])}")
    labels = summary["labels"]
    for index in range(min(summary["count"], SHOWN_IMAGES)):
        predicted = summary["predictions"][index]
        score = summary["scores"][index][predicted] * 2.0 ** -summary["score_fraction_bits"]
        table.add_row(str(index), label(predicted), f"{score:.3f}", "" if labels is None else label(labels[index]))
    if summary["count"] > SHOWN_IMAGES:
        table.add_row("...", "", "", "")
    console.print(table)
    saturated = {name: count for name, count in summary["saturations"].items() if count}
    accuracy = "" if summary["accuracy"] is None else f", accuracy {summary['accuracy']:.2%}"
    console.print(f"{summary['count']:,} images{accuracy}, {summary['milliseconds_per_image']:.2f} ms each")
    if saturated:
        listing = ", ".join(f"{escape(name)} {count:,}" for name, count in saturated.items())
        console.print(f"[yellow]saturated values: {listing}[/yellow]")
    else:
        console.print("no value saturated")
