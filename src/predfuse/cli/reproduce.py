"""``predfuse reproduce``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from predfuse.experiments.ics21 import Reproduction

_commands = typer.Typer(help="Do published experiments again and show the figures side by side.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Add the command group."""
    app.add_typer(_commands, name="reproduce")


@_commands.callback()
def reproduce() -> None:
    """Do published experiments again and show the figures side by side."""


@_commands.command("ics21")
def ics21(
    json_path: Annotated[
        Path | None, typer.Option("--json", help="Also write every figure as JSON; - writes JSON alone.")
    ] = None,
    report: Annotated[Path | None, typer.Option("--report", help="Also write an HTML report.")] = None,
    seed: Annotated[int, typer.Option(help="Of the initial weights; matters to the sparse machine.")] = 0,
) -> None:
    """The tables of ICS 2021: cycles and energy of every layer, published, ours and their ratio.

    The terminal shows the layers of published tables; the JSON file and the report hold all networks.
    """
    import json

    from rich.console import Console

    from predfuse.experiments.ics21 import reproduce as reproduce_ics21
    from predfuse.files import require_writable, write_text_atomically

    to_stdout = json_path == Path("-")
    for path in (None if to_stdout else json_path, report):
        if path is not None:
            require_writable(path)
    with Console(stderr=True).status("simulating"):
        result = reproduce_ics21(seed)
    text = json.dumps(result.as_json(), indent=2) + "\n"
    if report is not None:
        from predfuse.report.ics21 import render_report

        write_text_atomically(report, render_report(result))
    if to_stdout:
        typer.echo(text, nl=False)
        return
    if json_path is not None:
        write_text_atomically(json_path, text)
    _print(result, Console())
    for path in (json_path, report):
        if path is not None:
            typer.echo(f"wrote {path}")


def _print(result: Reproduction, console: Console) -> None:
    from predfuse.report.ics21 import (
        HEADLINE_CAPTION,
        cases,
        cycle_totals_table,
        energy_difference_table,
        energy_totals_table,
        headline_table,
        layer_table,
    )
    from predfuse.report.terminal import narrow, table

    for network, accelerator, rows in cases(result):
        if any(row.published_energy_uj is not None for row in rows):
            console.print(narrow(table(f"{network} on {accelerator}", *layer_table(rows))))
    console.print(narrow(table("Cycles per image", *cycle_totals_table(result.totals))))
    console.print(narrow(table("Energy per image (uJ)", *energy_totals_table(result.totals))))
    console.print(narrow(table("Energy: where ours differs from the published", *energy_difference_table(result))))
    for area in result.areas:
        parts = [[component, f"{um2:,.1f}"] for component, um2 in area.items.items()]
        parts += [["total", f"{area.area_um2:,.1f}"], ["published", f"{area.published_area_um2:,.0f}"]]
        strong = [len(parts) - 2, len(parts) - 1]
        console.print(table(f"Area of {area.accelerator}", ["component", "um2"], parts, strong))
    console.print(narrow(table("Speedup", *headline_table(result))))
    console.print(HEADLINE_CAPTION, highlight=False)
    console.print("[bold]Slips of the published tables[/bold] (marked * above)")
    for slip in result.slips:
        console.print(f"- {slip.network}, {slip.layer}: {slip.what}", highlight=False)
    console.print("[bold]Remarks[/bold]")
    for remark in result.remarks:
        console.print(f"- {remark}", highlight=False)
    console.print("Source of the published figures: " + result.source, highlight=False)
