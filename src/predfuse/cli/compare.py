"""``predfuse compare``: networks on the machines made for them, side by side."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from predfuse.cli.options import Count, Csv, Json, Report, Root
from predfuse.cli.output import Outputs, write
from predfuse.errors import InputError
from predfuse.experiments.compare import CompareResult
from predfuse.experiments.compare import compare as run_comparison
from predfuse.hardware.cycle.trace import chrome_trace
from predfuse.report.compare import breakdown_table, cost_table, headline, render_report, terminal_table, who_table
from predfuse.report.terminal import console


def compare(
    networks: Annotated[
        str,
        typer.Option(help="shipped: trained, with accuracy. published: full size, calibrated only (takes minutes)."),
    ] = "shipped",
    fidelity: Annotated[str, typer.Option(help="cycle: what a real machine takes. paper: closed forms.")] = "cycle",
    count: Count = 100,
    json_path: Json = None,
    csv_path: Csv = None,
    report: Report = None,
    trace: Annotated[
        Path | None, typer.Option("--trace", help="Also write the best machine's timeline for ui.perfetto.dev.")
    ] = None,
    root: Root = None,
    run: Annotated[
        Path | None,
        typer.Option("--run", help="Output folder of predfuse train, or name in the zoo, of the network to fuse."),
    ] = None,
    against: Annotated[
        Path | None, typer.Option("--against", help="The same of the compact network on dense and sparse.")
    ] = None,
) -> None:
    """Accuracy, cycles, time, energy and area: compact on dense, pruned on sparse, fused on Archon.

    The published networks take at most four images.
    """
    outputs = Outputs(json_path, csv_path, report, text=trace)
    if trace is not None and fidelity == "paper":
        raise InputError("--trace", "needs cycle fidelity", "leave out --fidelity paper")
    with console(stderr=True).status("comparing") as status:
        result = run_comparison(
            networks,  # type: ignore[arg-type]  # checked there
            fidelity,  # type: ignore[arg-type]
            count,
            root=root,
            progress=lambda text: status.update(text),
            run=run,
            against=against,
        )
    if trace is not None and result.best.run is not None:
        write(trace, json.dumps(chrome_trace(result.best.run)) + "\n")
    figures = result.as_json()
    outputs.emit(
        "Comparison", figures, figures["machines"], lambda shown: _print(result, shown), lambda: render_report(result)
    )


def _print(result: CompareResult, console: Console) -> None:
    for shown in (who_table(result), cost_table(result), breakdown_table(result)):
        console.print(terminal_table(shown))
    console.print(headline(result), highlight=False)
    for note in result.notes:
        console.print(f"Note: {note}", highlight=False)
