"""``predfuse analyze``: what fusion would buy on a network."""

from __future__ import annotations

from typing import Annotated

import typer

from predfuse.cli.options import Accelerators, AllowUnsupported, Source
from predfuse.cli.output import Outputs
from predfuse.errors import InputError
from predfuse.experiments.analyze import analyze as analyze_network
from predfuse.report.analyze import page, terminal
from predfuse.report.page import render
from predfuse.report.terminal import console
from predfuse.sources import ModuleOptions, open_source


def analyze(
    source: Source,
    allow_unsupported: AllowUnsupported = False,
    keep: Annotated[
        str, typer.Option("--keep", help="Shares of 1x1 and of depthwise weights the pruned forms keep.")
    ] = "0.2,0.3",
    accelerators: Accelerators = None,
    *,
    module: ModuleOptions,
    outputs: Outputs,
) -> None:
    """Say what fusion would buy on a network: every block, its operations and cycles, and what to change."""
    pointwise, depthwise = _shares(keep)
    with console(stderr=True).status(f"Analyzing {source}"):
        network, ledger = open_source(source, module, allow_unsupported=allow_unsupported)
        analysis = analyze_network(
            network,
            ledger,
            pointwise,
            depthwise,
            allow_unsupported=allow_unsupported,
            machines=accelerators or (),
        )
    figures = analysis.as_json()
    outputs.emit(
        f"What fusion buys on {network.name}",
        figures,
        figures["blocks"],
        terminal(analysis),
        lambda: render(page(analysis)),
    )


def _shares(text: str) -> tuple[float, float]:
    try:
        pointwise, depthwise = (float(part) for part in text.split(","))
    except ValueError as error:
        raise InputError("--keep", f"is {text!r}", "write two shares, e.g. 0.2,0.3") from error
    return pointwise, depthwise
