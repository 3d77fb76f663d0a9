"""``predfuse zoo``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

_commands = typer.Typer(help="List the trained networks, check them, or take a finished run in.")


def register(app: typer.Typer) -> None:
    """Add the command group."""
    app.add_typer(_commands, name="zoo")


@_commands.callback(invoke_without_command=True)
def list_zoo(
    context: typer.Context,
    json_path: Annotated[Path | None, typer.Option("--json", help="Write all facts as JSON; - prints them.")] = None,
) -> None:
    """List the trained networks, check them, or take a finished run in."""
    if context.invoked_subcommand is not None:
        return
    import json
    from dataclasses import asdict

    from rich.console import Console

    from predfuse import zoo
    from predfuse.files import write_text_atomically
    from predfuse.report.zoo import run_table, summary_table

    entries = zoo.stages()
    if json_path is not None:
        text = json.dumps([asdict(entry) for entry in entries], indent=2) + "\n"
        if json_path == Path("-"):
            typer.echo(text, nl=False)
            return
        write_text_atomically(json_path, text)
    console = Console()
    console.print(run_table(entries))
    console.print(summary_table(zoo.summaries(entries)))
    console.print(
        "A name stands for its folder in compare --run and demo --run; predfuse zoo check verifies checksums."
    )


@_commands.command("check")
def check() -> None:
    """Compare every shipped file with its recorded size and SHA-256."""
    from predfuse import zoo
    from predfuse.errors import PredfuseError

    wrong = zoo.check()
    if wrong:
        raise PredfuseError("; ".join(wrong))
    shipped = sum(entry.file is not None for entry in zoo.stages())
    typer.echo(f"{shipped} checkpoints are the ones their cards describe")


@_commands.command("table")
def table(
    write: Annotated[
        Path | None, typer.Option("--write", help="Replace the table between the zoo markers of this Markdown file.")
    ] = None,
) -> None:
    """The accuracies as the README shows them, in Markdown."""
    from predfuse import zoo
    from predfuse.files import write_text_atomically
    from predfuse.report.zoo import markdown, with_table

    text = markdown(zoo.summaries(zoo.stages()))
    if write is None:
        typer.echo(text, nl=False)
        return
    write_text_atomically(write, with_table(write, text))


@_commands.command("ablations")
def ablations(
    write: Annotated[
        Path | None,
        typer.Option("--write", help="Replace the table between the ablation markers of this Markdown file."),
    ] = None,
) -> None:
    """What each choice of a small CIFAR-10 FusioNet-S costs and saves, in Markdown."""
    from predfuse import zoo
    from predfuse.experiments.ablation import read_rows
    from predfuse.files import write_text_atomically
    from predfuse.report.ablation import markdown
    from predfuse.report.zoo import ABLATIONS, with_table

    text = markdown(read_rows(zoo.root() / zoo.ABLATION_RESULTS))
    if write is None:
        typer.echo(text, nl=False)
        return
    write_text_atomically(write, with_table(write, text, ABLATIONS))


@_commands.command("errors")
def errors(
    run: Annotated[str, typer.Argument(help="Name in the zoo, or folder of a run.", metavar="RUN")],
    images: Annotated[int, typer.Option(min=1, help="Test images.")] = 250,
    largest_weight: Annotated[
        int | None,
        typer.Option(help="Of predictors made of the blocks' weights: 1 (ternary), 2 or 4; default: as the run's own."),
    ] = None,
    root: Annotated[Path | None, typer.Option("--root", help="Folder of the data set; default: usual places.")] = None,
    json_path: Annotated[Path | None, typer.Option("--json", help="Also write the figures to this file.")] = None,
) -> None:
    """What the masks of a run's predictors do to its blocks, and what would remain with other predictors.

    All figures are squared errors of a block's output over its variance, for the inputs the block has under true masks.
    """
    import json
    from dataclasses import asdict

    from rich.console import Console

    from predfuse.files import require_writable, write_text_atomically
    from predfuse.report.zoo import errors_table
    from predfuse.zoo.errors import run_errors

    if json_path is not None:
        require_writable(json_path)
    with Console(stderr=True).status("Running the networks"):
        made, found = run_errors(run, images, root, largest_weight)
    for stage, blocks in found.items():
        Console().print(errors_table(stage, made, blocks))
    if json_path is not None:
        text = json.dumps({stage: [asdict(block) for block in blocks] for stage, blocks in found.items()}, indent=2)
        write_text_atomically(json_path, text + "\n")


@_commands.command("add")
def add(
    run: Annotated[Path, typer.Argument(help="Output folder of predfuse train.", metavar="RUN")],
    name: Annotated[str, typer.Argument(help="Folder in the zoo.", metavar="NAME")],
    weights: Annotated[bool, typer.Option(help="Ship the checkpoints too, not the facts alone.")] = True,
    commit: Annotated[str | None, typer.Option(help="Source of the run, where its checkpoints do not say.")] = None,
) -> None:
    """Take a finished training run into the zoo of this checkout."""
    from predfuse import zoo

    typer.echo(f"wrote {zoo.ship(run, name, weights=weights, commit=commit)}")


@_commands.command("cost")
def cost(
    network: Annotated[str, typer.Argument(help="Registered name.", metavar="NETWORK")] = "fusionet",
    epochs: Annotated[float, typer.Option(min=0.01, help="Of vanilla training.")] = 200,
    pruned_epochs: Annotated[float, typer.Option(min=0.01, help="Of pruning and recovery.")] = 100,
    predicted_epochs: Annotated[float, typer.Option(min=0.01, help="Of tuning the predictors end to end.")] = 50,
    images: Annotated[int, typer.Option(min=1, help="Training images of the data set.")] = 50_000,
    batch: Annotated[int, typer.Option(min=2, help="Images per timed step.")] = 16,
    steps: Annotated[int, typer.Option(min=1, help="Timed steps.")] = 3,
    device: Annotated[str, typer.Option(help="cpu (one core), cuda, or auto: a GPU if PyTorch sees one.")] = "cpu",
    gpu_tflops: Annotated[float, typer.Option(min=0.1, help="Peak of the GPU estimated for.")] = 19.5,
    gpu_bandwidth: Annotated[float, typer.Option(min=1, help="Its memory bandwidth in GB/s.")] = 1555,
) -> None:
    """Time a few training steps of every stage here; say what a whole training takes, and estimate it for a GPU.

    The GPU is an NVIDIA A100 (40 GB) by its data sheet, if no other is described.
    """
    from rich.console import Console

    from predfuse.experiments.training_cost import training_cost
    from predfuse.report.zoo import cost_table

    with Console(stderr=True).status(f"Timing training steps on {'one core' if device == 'cpu' else device}"):
        found = training_cost(
            network,
            {
                "vanilla": epochs * images,
                "pruned": pruned_epochs * images,
                "predicted": predicted_epochs * images,
            },
            batch=batch,
            steps=steps,
            device=device,
            peak_flops=gpu_tflops * 1e12,
            bandwidth_bytes_per_second=gpu_bandwidth * 1e9,
        )
    Console().print(cost_table(found))
