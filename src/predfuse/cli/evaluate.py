"""``predfuse evaluate``: accuracy of networks on a test set."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from torch import nn

from predfuse import data as datasets
from predfuse.cli.options import SOURCE_HELP, AllOrCount, Root, Size, Split
from predfuse.cli.output import Outputs
from predfuse.errors import InputError
from predfuse.exporters.arrays import Form
from predfuse.exporters.module import to_module
from predfuse.graph.nodes import Shape
from predfuse.readers.boundary import is_folder
from predfuse.report.table import Table
from predfuse.sources import ModuleOptions, load_source
from predfuse.tensor_file import stored_format
from predfuse.training.augment import Normaliser
from predfuse.training.checkpoint import FORMAT, load_checkpoint
from predfuse.training.loop import accuracy
from predfuse.training.memory import keep_freed_memory
from predfuse.training.runs import trained_size


@dataclass(frozen=True, eq=False)
class Candidate:
    """A network to evaluate.

    Attributes:
        module: From normalised images to scores.
        name: What the network is called.
        stage: Of its training; how its blocks run where that is not known.
        input_shape: ``(C, H, W)``.
        mean: Per-channel mean of images of 0..1.
        std: Per-channel divisor after that.
        classes: How many it tells apart.
        data: What it was trained on; may be empty.
        size: Side in pixels its pictures were resampled to, if they were.
    """

    module: nn.Module
    name: str
    stage: str
    input_shape: Shape
    mean: tuple[float, ...]
    std: tuple[float, ...]
    classes: int
    data: str
    size: int | None


def evaluate(
    sources: Annotated[list[str], typer.Argument(help=SOURCE_HELP, metavar="SOURCE...")],
    images: Annotated[
        str,
        typer.Option("--images", help="Data set or image folder, with labels; default: that of the training."),
    ] = "",
    root: Root = None,
    count: AllOrCount = None,
    size: Size = None,
    split: Split = "test",
    *,
    module: ModuleOptions,
    outputs: Outputs,
) -> None:
    """Accuracy of networks on a data set, in PyTorch; blocks with predictors run with predicted masks."""
    keep_freed_memory()
    rows: list[dict[str, Any]] = []
    for source in sources:
        candidate = _candidate(source, module)
        name = images or candidate.data
        if not name:
            raise InputError(source, "does not say what data it was trained on", "name a data set (--images)")
        if is_folder(name):
            name = f"{datasets.FOLDER_PREFIX}{name}"
        side = candidate.size if size is None and not images else size
        test = datasets.load(name, split, root=root, limit=count, size=side)
        if test.images.shape[1:] != candidate.input_shape or len(test.classes) != candidate.classes:
            mend = "name data of the same channels, size and classes"
            raise InputError(source, f"does not fit the data {name}", mend)
        if not candidate.mean:
            raise InputError(source, "does not say how its images are normalised", "give --mean and --std")
        figure = accuracy(candidate.module, test, Normaliser(candidate.mean, candidate.std))
        rows.append(
            {
                "checkpoint": source,
                "network": candidate.name,
                "stage": candidate.stage,
                "data": name,
                "images": len(test),
                "accuracy": figure,
            }
        )
    cells = [[*map(str, list(row.values())[:-1]), f"{row['accuracy']:.2%}"] for row in rows]
    headings = ("model", "network", "stage", "data", "images", "accuracy")
    outputs.emit("Accuracy", rows, rows, [Table(headings, cells, text_columns=frozenset(range(4)))])


def _candidate(source: str, options: ModuleOptions) -> Candidate:
    """A checkpoint as the model that was trained, any other source as the network it stands for."""
    if stored_format(Path(source)) == FORMAT:
        model, facts = load_checkpoint(Path(source))
        return Candidate(
            module=model,
            name=model.architecture,
            stage=facts["stage"],
            input_shape=model.input_shape,
            mean=tuple(facts["mean"]),
            std=tuple(facts["std"]),
            classes=len(facts["labels"]),
            data=str(facts.get("data", "")),
            size=trained_size(facts),
        )
    network = load_source(source, options)
    form: Form = "predicted" if any(block.predictor is not None for block in network.bottlenecks()) else "plain"
    return Candidate(
        module=to_module(network, form),
        name=network.name,
        stage=form,
        input_shape=network.input_shape,
        mean=network.mean,
        std=network.std,
        classes=network.shapes()[network.output][0],
        data=str(network.metadata.get("data", "")),
        size=network.metadata.get("size"),
    )
