"""``predfuse analyze``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from predfuse.cli.network_options import SOURCE_HELP, AllowUnsupported, Input, Weights, module_options


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("analyze")(analyze_command)


def analyze_command(
    source: Annotated[str, typer.Argument(help=SOURCE_HELP)],
    weights: Weights = None,
    input_shape: Input = None,
    allow_unsupported: AllowUnsupported = False,
    keep: Annotated[
        str, typer.Option("--keep", help="Shares of 1x1 and of depthwise weights the pruned forms keep.")
    ] = "0.2,0.3",
    json_path: Annotated[
        Path | None, typer.Option("--json", help="Also write the analysis as JSON; - writes JSON alone.")
    ] = None,
    report: Annotated[Path | None, typer.Option("--report", help="Also write a self-contained HTML page.")] = None,
) -> None:
    """Say what fusion would buy on a network: every block, its operations and cycles, and what to change."""
    import json

    from rich.console import Console

    from predfuse.files import require_writable, write_text_atomically

    to_stdout = json_path == Path("-")
    for path in (None if to_stdout else json_path, report):
        if path is not None:
            require_writable(path)
    pointwise, depthwise = _shares(keep)
    options = module_options(weights, input_shape)
    from predfuse.experiments.analyze import analyze
    from predfuse.sources import open_source

    with Console(stderr=True).status(f"Analyzing {source}"):
        network, ledger = open_source(source, options, allow_unsupported=allow_unsupported)
        analysis = analyze(network, ledger, pointwise, depthwise, allow_unsupported=allow_unsupported)
    document = json.dumps(analysis.as_json(), indent=2) + "\n"
    if to_stdout:
        typer.echo(document, nl=False)
    else:
        from predfuse.report.analyze import terminal

        Console().print(terminal(analysis))
        if json_path is not None:
            write_text_atomically(json_path, document)
    if report is not None:
        from predfuse.report.analyze import page
        from predfuse.report.page import render

        write_text_atomically(report, render(page(analysis)))
        typer.echo(f"report: {report}", err=True)


def _shares(text: str) -> tuple[float, float]:
    from predfuse.errors import InputError

    try:
        pointwise, depthwise = (float(part) for part in text.split(","))
    except ValueError as error:
        raise InputError("--keep", f"is {text!r}", "write two shares, e.g. 0.2,0.3") from error
    return pointwise, depthwise
