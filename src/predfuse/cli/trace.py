"""``predfuse trace``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from predfuse.cli.network_options import AllowUnsupported, Input, Mean, Std, Weights, module_options


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
    mean: Mean = "",
    std: Std = "",
    allow_unsupported: AllowUnsupported = False,
) -> None:
    """Turn a PyTorch model into a network, verify it, list what became of every layer, and save it."""
    from rich.console import Console

    from predfuse.errors import InputError
    from predfuse.files import require_writable
    from predfuse.report.analyze import ledger_lines, ledger_summary

    if output is not None:
        require_writable(output)
    from predfuse.graph.io import save_network
    from predfuse.sources import is_reference, open_source

    if not is_reference(source):
        what = "is no reference to a function"
        raise InputError(
            f"source {source!r}", what, "write package.module:function; other sources are networks already"
        )
    options = module_options(weights, input_shape, mean, std)
    with Console(stderr=True).status(f"Tracing {source}"):
        network, ledger = open_source(source, options, allow_unsupported=allow_unsupported)
    assert ledger is not None
    Console().print(*ledger_lines(ledger), sep="\n")
    if output is not None:
        save_network(network, output)
        typer.echo(f"{output}: {len(network.nodes)} nodes, {ledger_summary(ledger)}", err=True)
