"""``predfuse simulate``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from predfuse.sources import HELP

if TYPE_CHECKING:
    from rich.console import Console

    from predfuse.accelerators import SimulationResult


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("simulate")(simulate)


def simulate(
    source: Annotated[str, typer.Argument(help=HELP, metavar="MODEL")],
    accelerator: Annotated[
        str, typer.Option("--accelerator", "-a", help="Shipped accelerator (see predfuse accelerators) or YAML file.")
    ],
    fidelity: Annotated[str, typer.Option(help="paper: the published closed forms.")] = "paper",
    prune: Annotated[
        bool,
        typer.Option("--prune", help="First prune blocks by magnitude: 20 % of 1x1, 30 % of depthwise weights stay."),
    ] = False,
    allow_unsupported: Annotated[
        bool, typer.Option("--allow-unsupported", help="List layers the machine cannot run instead of failing.")
    ] = False,
    json_path: Annotated[
        Path | None, typer.Option("--json", help="Also write the result as JSON; - writes JSON alone.")
    ] = None,
) -> None:
    """Cycles, utilisation and energy of one image, per layer and stage, with a ledger of every node."""
    import json

    from rich.console import Console

    from predfuse.accelerators import load_spec, prune_blocks
    from predfuse.accelerators import simulate as simulate_network
    from predfuse.files import require_writable, write_text_atomically
    from predfuse.sources import load_source

    to_stdout = json_path == Path("-")
    if json_path is not None and not to_stdout:
        require_writable(json_path)
    spec = load_spec(accelerator)
    network = load_source(source)
    if prune:
        network = prune_blocks(network)
    result = simulate_network(network, spec, fidelity, allow_unsupported=allow_unsupported)
    text = json.dumps(result.as_json(), indent=2) + "\n"
    if to_stdout:
        typer.echo(text, nl=False)
        return
    _print(result, Console())
    if json_path is not None:
        write_text_atomically(json_path, text)
        typer.echo(f"wrote {json_path}")


def _print(result: SimulationResult, console: Console) -> None:
    from predfuse.report.terminal import narrow, table, text_columns

    rows = [
        [
            row.layer,
            row.stage,
            f"{row.compute_cycles:,}",
            f"{row.stall_cycles:,}",
            f"{row.utilisation:.1%}",
            f"{row.total_energy_uj:,.2f}",
        ]
        for row in result.rows
    ]
    rows.append(
        [
            "total",
            "",
            f"{result.compute_cycles:,}",
            f"{result.stall_cycles:,}",
            "",
            f"{result.total_energy_uj:,.2f}",
            "",
        ]
    )
    title = f"{result.network} on {result.accelerator}, {result.fidelity} fidelity, one image"
    headings = ["layer", "stage", "compute cycles", "stall cycles", "utilisation", "uJ"]
    console.print(narrow(text_columns(table(title, headings, rows, [len(rows) - 1]), 1)))
    mappings = [[row.layer, row.stage, str(row.pes), row.mapping] for row in result.rows]
    console.print(
        text_columns(table("Mapping", ["layer", "stage", "PEs", "which dimension lies where"], mappings), 1, 3)
    )
    energy = result.energy_pj
    whole = sum(energy.values()) or 1.0
    parts = [[name, f"{pj * 1e-6:,.2f}", f"{pj / whole:.1%}"] for name, pj in energy.items() if pj]
    console.print(table("Energy by component", ["component", "uJ", "share"], parts))
    entries = [[entry.node, entry.status, entry.reason] for entry in result.ledger]
    console.print(text_columns(table("Ledger", ["node", "status", "why"], entries), 1, 2))
    console.print(f"{result.total_cycles:,} cycles, {result.milliseconds:.3f} ms at {result.clock_mhz:g} MHz")
    for note in result.notes:
        console.print(f"Note: {note}", highlight=False)
