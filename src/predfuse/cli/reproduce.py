"""``predfuse reproduce``: published experiments done again."""

from __future__ import annotations

import typer

from predfuse.cli.options import Seed
from predfuse.cli.output import Outputs
from predfuse.experiments.ics21 import reproduce as reproduce_ics21
from predfuse.report.ics21 import render_report, terminal
from predfuse.report.terminal import console

commands = typer.Typer(no_args_is_help=True)


@commands.callback()
def reproduce() -> None:
    """Do published experiments again and show the figures side by side."""


@commands.command("ics21")
def ics21(seed: Seed = 0, *, outputs: Outputs) -> None:
    """The tables of ICS 2021: cycles and energy of every layer, published, ours and their ratio.

    The seed is of the initial weights and matters to the sparse machine.

    The terminal shows the layers of published tables; the JSON file and the report hold all networks.
    """
    with console(stderr=True).status("simulating"):
        result = reproduce_ics21(seed)
    figures = result.as_json()
    outputs.emit("ICS 2021", figures, figures["rows"], list(terminal(result)), lambda: render_report(result))
