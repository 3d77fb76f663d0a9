"""``predfuse zoo``: the trained networks of the package."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from predfuse import zoo
from predfuse.cli.options import Count, Device, Root
from predfuse.cli.output import Outputs
from predfuse.errors import PredfuseError
from predfuse.experiments.ablation_rows import read_rows
from predfuse.experiments.training_cost import training_cost
from predfuse.files import write_text_atomically
from predfuse.report.ablation import markdown as ablation_markdown
from predfuse.report.terminal import Part, console
from predfuse.report.zoo import ABLATIONS, ZOO, cost_table, errors_table, markdown, run_table, summary_table, with_table
from predfuse.zoo import hub
from predfuse.zoo.errors import run_errors
from predfuse.zoo.ship import ship

commands = typer.Typer()


@commands.callback(invoke_without_command=True)
def list_zoo(context: typer.Context, *, outputs: Outputs) -> None:
    """List the trained networks, check them, or take a finished run in."""
    if context.invoked_subcommand is not None:
        return
    entries = zoo.stages()
    figures = [asdict(entry) for entry in entries]

    hint = "A name stands for its folder in compare --run and demo --run; predfuse zoo check verifies checksums."
    parts: list[Part] = [run_table(entries), summary_table(zoo.summaries(entries)), (hint,)]
    outputs.emit("Trained networks", figures, figures, parts)


@commands.command("check")
def check() -> None:
    """Compare every shipped file with its recorded size and SHA-256."""
    wrong = zoo.check()
    if wrong:
        raise PredfuseError("; ".join(wrong))
    shipped = sum(entry.file is not None for entry in zoo.stages())
    typer.echo(f"{shipped} checkpoints are the ones their cards describe")


@commands.command("table")
def table(
    write: Annotated[
        Path | None, typer.Option("--write", help="Replace the table between the zoo markers of this Markdown file.")
    ] = None,
) -> None:
    """The accuracies as docs/explanation/zoo.md shows them, in Markdown."""
    _show(write, markdown(zoo.summaries(zoo.stages())))


@commands.command("ablations")
def ablations(
    write: Annotated[
        Path | None,
        typer.Option("--write", help="Replace the table between the ablation markers of this Markdown file."),
    ] = None,
) -> None:
    """What each choice of a small CIFAR-10 FusioNet-S costs and saves, in Markdown."""
    _show(write, ablation_markdown(read_rows(zoo.root() / zoo.ABLATION_RESULTS)), ABLATIONS)


def _show(page: Path | None, text: str, markers: tuple[str, str] = ZOO) -> None:
    """Put a table between the markers of a Markdown page, or show it."""
    if page is None:
        typer.echo(text, nl=False)
    else:
        write_text_atomically(page, with_table(page, text, markers))


@commands.command("errors")
def errors(
    run: Annotated[str, typer.Argument(help="Name in the zoo, or folder of a run.", metavar="RUN")],
    count: Count = 250,
    largest_weight: Annotated[
        int | None,
        typer.Option(help="Of predictors made of the blocks' weights: 1 (ternary), 2 or 4; default: as the run's own."),
    ] = None,
    root: Root = None,
    *,
    outputs: Outputs,
) -> None:
    """What the masks of a run's predictors do to its blocks, and what would remain with other predictors.

    All figures are squared errors of a block's output over its variance, for the inputs the block has under true masks.
    """
    with console(stderr=True).status("Running the networks"):
        made, found = run_errors(run, count, root, largest_weight)
    figures = {stage: [asdict(block) for block in blocks] for stage, blocks in found.items()}
    rows = [{"stage": stage, **block} for stage, blocks in figures.items() for block in blocks]

    tables = [errors_table(stage, made, blocks) for stage, blocks in found.items()]
    outputs.emit(f"Errors of the predictors of {run}", figures, rows, tables)


@commands.command("add")
def add(
    run: Annotated[Path, typer.Argument(help="Output folder of predfuse train.", metavar="RUN")],
    name: Annotated[str, typer.Argument(help="Folder in the zoo.", metavar="NAME")],
    checkpoints: Annotated[bool, typer.Option(help="Ship the checkpoints too, not the facts alone.")] = True,
    commit: Annotated[str | None, typer.Option(help="Source of the run, where its checkpoints do not say.")] = None,
) -> None:
    """Take a finished training run into the zoo of this checkout."""
    typer.echo(f"wrote {ship(run, name, weights=checkpoints, commit=commit)}")


@commands.command("push")
def push(
    run: Annotated[str, typer.Argument(help="Name in the zoo, or a folder with a card.json.", metavar="RUN")],
    destination: Annotated[
        str, typer.Argument(help="hf://OWNER/NAME on the Hugging Face hub, or a new folder.", metavar="DESTINATION")
    ],
) -> None:
    """Send a run's checkpoints, facts and a model card to a hub repository; a new repository is private."""
    typer.echo(f"wrote {hub.push(run, destination)}")


@commands.command("pull")
def pull(
    source: Annotated[str, typer.Argument(help="hf://OWNER/NAME on the Hugging Face hub, or a folder.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="New folder to write.")],
) -> None:
    """Fetch a run from a hub repository and verify every file; nothing is written if one is not as its card says."""
    entries = hub.pull(source, output)
    typer.echo(f"{output}: {', '.join(entry.stage for entry in entries if entry.file is not None)}")


@commands.command("cost")
def cost(
    network: Annotated[str, typer.Argument(help="Registered name.", metavar="NETWORK")] = "fusionet",
    epochs: Annotated[float, typer.Option(min=0.01, help="Of vanilla training.")] = 200,
    pruned_epochs: Annotated[float, typer.Option(min=0.01, help="Of pruning and recovery.")] = 100,
    predicted_epochs: Annotated[float, typer.Option(min=0.01, help="Of tuning the predictors end to end.")] = 50,
    count: Count = 50_000,
    batch: Annotated[int, typer.Option(min=2, help="Images per timed step.")] = 16,
    steps: Annotated[int, typer.Option(min=1, help="Timed steps.")] = 3,
    device: Device = "cpu",
    gpu_tflops: Annotated[float, typer.Option(min=0.1, help="Peak of the GPU estimated for.")] = 19.5,
    gpu_bandwidth: Annotated[float, typer.Option(min=1, help="Its memory bandwidth in GB/s.")] = 1555,
    *,
    outputs: Outputs,
) -> None:
    """Time a few training steps of every stage here; say what a whole training takes, and estimate it for a GPU.

    The GPU is an NVIDIA A100 (40 GB) by its data sheet, if no other is described.
    """
    with console(stderr=True).status(f"Timing training steps on {'one core' if device == 'cpu' else device}"):
        found = training_cost(
            network,
            {"vanilla": epochs * count, "pruned": pruned_epochs * count, "predicted": predicted_epochs * count},
            batch=batch,
            steps=steps,
            device=device,
            peak_flops=gpu_tflops * 1e12,
            bandwidth_bytes_per_second=gpu_bandwidth * 1e9,
        )
    stages = [{**asdict(stage), "hours": stage.hours} for stage in found.stages]
    outputs.emit(f"Training {network}", {**asdict(found), "stages": stages}, stages, [cost_table(found)])
