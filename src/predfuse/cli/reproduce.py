"""``predfuse reproduce``: published experiments done again."""

from __future__ import annotations

import typer
from rich.console import Console

from predfuse.cli.options import Csv, Json, Report, Seed
from predfuse.cli.output import Outputs
from predfuse.experiments.ics21 import Reproduction
from predfuse.experiments.ics21 import reproduce as reproduce_ics21
from predfuse.report.ics21 import (
    HEADLINE_CAPTION,
    cases,
    cycle_totals_table,
    energy_difference_table,
    energy_totals_table,
    headline_table,
    layer_table,
    render_report,
)
from predfuse.report.terminal import console, narrow, table

commands = typer.Typer(no_args_is_help=True)


@commands.callback()
def reproduce() -> None:
    """Do published experiments again and show the figures side by side."""


@commands.command("ics21")
def ics21(
    json_path: Json = None,
    csv_path: Csv = None,
    report: Report = None,
    seed: Seed = 0,
) -> None:
    """The tables of ICS 2021: cycles and energy of every layer, published, ours and their ratio.

    The seed is of the initial weights and matters to the sparse machine.

    The terminal shows the layers of published tables; the JSON file and the report hold all networks.
    """
    outputs = Outputs(json_path, csv_path, report)
    with console(stderr=True).status("simulating"):
        result = reproduce_ics21(seed)
    figures = result.as_json()
    outputs.emit(
        "ICS 2021",
        figures,
        figures["rows"],
        lambda shown: _print(result, shown),
        lambda: render_report(result),
    )


def _print(result: Reproduction, console: Console) -> None:
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
