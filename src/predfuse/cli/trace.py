"""``predfuse trace``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from predfuse.cli.analyze import AllowUnsupported, Input, Weights


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("trace")(trace_command)


def trace_command(
    source: Annotated[str, typer.Argument(help="package.module:function that returns a torch.nn.Module; it is run.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="File to save the network in, for the other commands.")
    ] = None,
    weights: Weights = None,
    input_shape: Input = None,
    mean: Annotated[str, typer.Option("--mean", help="Per-channel mean of the images it takes, 0..1.")] = "",
    std: Annotated[str, typer.Option("--std", help="Per-channel divisor after that.")] = "",
    allow_unsupported: AllowUnsupported = False,
) -> None:
    """Turn a PyTorch model into a network, verify it, list what became of every layer, and save it."""
    import dataclasses

    from rich.console import Console

    from predfuse.files import require_writable
    from predfuse.report.analyze import ledger_lines, ledger_summary

    if output is not None:
        require_writable(output)
    from predfuse.ir_io import save_network
    from predfuse.trace.source import trace_reference

    with Console(stderr=True).status(f"Tracing {source}"):
        traced = trace_reference(source, weights, input_shape, allow_unsupported=allow_unsupported)
        network = dataclasses.replace(traced.network, mean=_floats("--mean", mean), std=_floats("--std", std))
    Console().print(*ledger_lines(traced.ledger), sep="\n")
    if output is not None:
        save_network(network, output)
        typer.echo(f"{output}: {len(network.nodes)} nodes, {ledger_summary(traced.ledger)}", err=True)


def _floats(option: str, text: str) -> tuple[float, ...]:
    from predfuse.errors import InputError

    try:
        return tuple(float(part) for part in text.split(",")) if text else ()
    except ValueError as error:
        raise InputError(option, f"is {text!r}", "write numbers with commas between them") from error
