"""``predfuse run``: a program on images."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.progress import Progress

from predfuse.cli.options import IMAGES_HELP, AllOrCount, Size, Split, require_size
from predfuse.cli.output import Outputs
from predfuse.data.image_sources import ImageSet
from predfuse.errors import InputError
from predfuse.files import require_new_folder
from predfuse.integer import MachineResult, run_program
from predfuse.integer.calibration_images import images_for
from predfuse.integer.dump import dump_result
from predfuse.integer.fast_machine import FastMachine
from predfuse.integer.program import Program
from predfuse.integer.program_io import load_program
from predfuse.report.table import Table
from predfuse.report.terminal import console


def run(
    program_path: Annotated[Path, typer.Argument(help="Program written by predfuse compile.", metavar="PROGRAM")],
    images: Annotated[str, typer.Argument(help=IMAGES_HELP, metavar="IMAGES")],
    count: AllOrCount = None,
    machine: Annotated[str, typer.Option(help="fast, or reference (slow, checks every width).")] = "fast",
    dump: Annotated[
        Path | None, typer.Option(help="New folder for every layer's integers and masks as .npy, with a manifest.")
    ] = None,
    size: Size = None,
    split: Split = "test",
    *,
    outputs: Outputs,
) -> None:
    """Run a program on images, in integers from the first layer to the scores."""
    if dump is not None:
        require_new_folder(dump)
    if machine not in ("fast", "reference"):
        raise InputError("--machine", f"is {machine!r}", "use fast or reference")
    program = load_program(program_path)
    found = images_for(program, images, count, require_size(size, program.input_shape), split)
    if found.labels is not None and program.labels and found.labels.max() >= len(program.labels):
        what = f"has label {found.labels.max()}, the program knows {len(program.labels)} classes"
        raise InputError(found.name, what, "use images of the data set the network was trained on")
    prepared: FastMachine | Literal["reference"] = FastMachine(program) if machine == "fast" else "reference"
    if isinstance(prepared, FastMachine):
        run_program(program, found.images[:1], machine=prepared)  # compiles the loops, which is not to be timed
    with Progress(console=console(stderr=True), transient=True) as progress:
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
    predictions = summary["predictions"]
    labels = summary["labels"] or [None] * len(predictions)
    rows = [
        {"image": index, "predicted": predicted, "label": label, "score": int(scores[predicted])}
        for index, (predicted, label, scores) in enumerate(zip(predictions, labels, summary["scores"], strict=True))
    ]
    title = f"{program.name} on {found.name}"
    outputs.emit(title, summary, rows, list(_parts(summary, program)))


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


def _parts(summary: dict[str, Any], program: Program) -> Iterator[str | Table]:
    """What the command shows: the first images, and what holds for all of them."""

    def label(index: int) -> str:
        return program.labels[index] if index < len(program.labels) else str(index)

    rows = []
    labels = summary["labels"]
    for index in range(min(summary["count"], SHOWN_IMAGES)):
        predicted = summary["predictions"][index]
        score = summary["scores"][index][predicted] * 2.0 ** -summary["score_fraction_bits"]
        rows.append([str(index), label(predicted), f"{score:.3f}", "" if labels is None else label(labels[index])])
    if summary["count"] > SHOWN_IMAGES:
        rows.append(["..."])
    headings = ("image", "predicted", "score", "label")
    yield Table(headings, rows, f"{program.name} on {summary['images']}", text_columns=frozenset((0, 1, 3)))
    accuracy = "" if summary["accuracy"] is None else f", accuracy {summary['accuracy']:.2%}"
    yield f"{summary['count']:,} images{accuracy}, {summary['milliseconds_per_image']:.2f} ms each"
    saturated = [f"{name} {count:,}" for name, count in summary["saturations"].items() if count]
    yield f"saturated values: {', '.join(saturated)}" if saturated else "no value saturated"
