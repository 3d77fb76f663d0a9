"""``predfuse compare``: networks on the machines made for them, side by side."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from predfuse.cli.options import Accelerators, Count, Root
from predfuse.cli.output import Outputs, write
from predfuse.errors import InputError
from predfuse.experiments.compare import compare as run_comparison
from predfuse.hardware.cycle.trace import chrome_trace
from predfuse.report.compare import headlines, render_report, terminal_tables
from predfuse.report.table import Table
from predfuse.report.terminal import console

TABLES = ("same_network", "bounds", "different_networks", "bandwidths", "machines")
"""Of the figures, in the order of the CSV."""


def compare(
    networks: Annotated[
        str,
        typer.Option(help="shipped: trained, with accuracy. published: full size, calibrated only (takes minutes)."),
    ] = "shipped",
    fidelity: Annotated[str, typer.Option(help="cycle: what a real machine takes. paper: closed forms.")] = "cycle",
    count: Count = 100,
    trace: Annotated[
        Path | None, typer.Option("--trace", help="Also write the best machine's timeline for ui.perfetto.dev.")
    ] = None,
    root: Root = None,
    run: Annotated[
        list[Path] | None,
        typer.Option(
            "--run", help="Output of predfuse train, or name in the zoo, of a network to fuse; several times."
        ),
    ] = None,
    against: Annotated[
        list[Path] | None, typer.Option("--against", help="The same of a compact network; several times.")
    ] = None,
    accelerators: Accelerators = None,
    tail: Annotated[
        bool, typer.Option("--tail", help="Prune the 1x1 layers outside the blocks of unfused networks too.")
    ] = False,
    curves: Annotated[
        bool, typer.Option("--curves", help="All areas of the shipped machines, and DRAM of 64 to 1,024 bits a cycle.")
    ] = False,
    *,
    outputs: Outputs,
) -> None:
    """Fused networks beside themselves unfused, beside others, and as published: accuracy, cycles, energy, area.

    The published networks take at most four images.
    """
    outputs = replace(outputs, text=trace)
    if trace is not None and fidelity == "paper":
        raise InputError("--trace", "needs cycle fidelity", "leave out --fidelity paper")
    with console(stderr=True).status("comparing") as status:
        result = run_comparison(
            networks,  # type: ignore[arg-type]  # checked there
            fidelity,  # type: ignore[arg-type]
            count,
            root=root,
            progress=lambda text: status.update(text),
            runs=run or (),
            against=against or (),
            accelerators=accelerators or (),
            tail=tail,
            curves=curves,
        )
    if trace is not None and result.best.run is not None:
        write(trace, json.dumps(chrome_trace(result.best.run)) + "\n")
    figures = result.as_json()
    rows = [{"table": name, **row} for name in TABLES for row in figures.get(name, ())]
    parts: list[str | Table] = [
        *terminal_tables(result),
        *headlines(result),
        *(f"Note: {note}" for note in result.notes),
    ]
    outputs.emit("Comparison", figures, rows, parts, lambda: render_report(result))
