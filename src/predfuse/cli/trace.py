"""``predfuse trace``: a PyTorch model turned into a network."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from predfuse.cli.options import AllowUnsupported
from predfuse.cli.output import Outputs
from predfuse.errors import InputError
from predfuse.experiments.analyze import entry_json
from predfuse.graph.io import save_network
from predfuse.graph.reference_name import is_reference
from predfuse.report.analyze import ledger_lines, ledger_summary
from predfuse.report.terminal import console
from predfuse.sources import ModuleOptions, open_source


def trace(
    source: Annotated[
        str, typer.Argument(help="package.module:function that returns a torch.nn.Module; it is run.", metavar="SOURCE")
    ],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="File to save the network in, for the other commands.")
    ] = None,
    allow_unsupported: AllowUnsupported = False,
    *,
    module: ModuleOptions,
    outputs: Outputs,
) -> None:
    """Turn a PyTorch model into a network, verify it, list what became of every layer, and save it."""
    outputs = replace(outputs, file=output)
    if not is_reference(source):
        what = "is no reference to a function"
        raise InputError(
            f"source {source!r}", what, "write package.module:function; other sources are networks already"
        )
    with console(stderr=True).status(f"Tracing {source}"):
        network, ledger = open_source(source, module, allow_unsupported=allow_unsupported)
    assert ledger is not None
    if output is not None:
        save_network(network, output)
    rows = [entry_json(entry) for entry in ledger]
    figures = {"network": network.name, "input_shape": list(network.input_shape), "ledger": rows}
    outputs.emit(f"Ledger of {network.name}", figures, rows, list(ledger_lines(ledger)))
    if output is not None:
        typer.echo(f"{output}: {len(network.nodes)} nodes, {ledger_summary(ledger)}", err=True)
