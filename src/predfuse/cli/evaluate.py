"""``predfuse evaluate``."""

from __future__ import annotations

from pathlib import Path

import typer


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("evaluate")(evaluate)


def evaluate(
    checkpoints: list[Path] = typer.Argument(..., help="Checkpoints written by predfuse train."),
    data: str = typer.Option("", "--data", "-d", help="Data set; default: the one the checkpoint was trained on."),
    root: Path | None = typer.Option(None, "--root", help="Folder of the data set; default: the usual places."),
    limit: int | None = typer.Option(None, "--limit", help="Use only the first test images."),
    size: int | None = typer.Option(None, "--size", help="Side in pixels the pictures of an image folder get."),
    json_path: Path | None = typer.Option(None, "--json", help="Also write the figures to this file."),
) -> None:
    """Accuracy of trained networks on a test set, in PyTorch."""
    import json

    from rich.console import Console
    from rich.table import Table

    from predfuse.errors import InputError
    from predfuse.files import require_writable, write_text_atomically

    if json_path is not None:
        require_writable(json_path)
    from predfuse import data as datasets
    from predfuse.training.checkpoint import load_checkpoint
    from predfuse.training.images import Normaliser
    from predfuse.training.loop import accuracy

    table = Table("checkpoint", "network", "stage", "data", "images", "accuracy")
    rows = []
    for path in checkpoints:
        model, metadata = load_checkpoint(path)
        name = data or str(metadata["data"])
        test = datasets.load(name, "test", root=root, limit=limit, size=size)
        if test.images.shape[1] != model.input_shape[0] or len(test.classes) != len(metadata["labels"]):
            raise InputError(str(path), f"does not fit the data {name}", "name data of the same channels and classes")
        figure = accuracy(model, test, Normaliser(tuple(metadata["mean"]), tuple(metadata["std"])))
        rows.append(
            {
                "checkpoint": str(path),
                "network": model.architecture,
                "stage": metadata["stage"],
                "data": name,
                "images": len(test),
                "accuracy": figure,
            }
        )
        table.add_row(str(path), model.architecture, metadata["stage"], name, str(len(test)), f"{figure:.2%}")
    Console().print(table)
    if json_path is not None:
        write_text_atomically(json_path, json.dumps(rows, indent=2) + "\n")
