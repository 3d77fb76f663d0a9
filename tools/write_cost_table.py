"""Write the table of docs/explanation/zoo.md that says what every network gets right and what an image costs.

predfuse compare --run ... --against ... --json docs/measured/DATA.json      # one file for each data set
python tools/write_cost_table.py                                             # then: python tools/draw_figures.py
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from measured import ROOT, comparisons, write

from predfuse.report.zoo import with_table

PAGE = ROOT / "docs" / "explanation" / "zoo.md"
MARK = "<!-- costs: made by tools/write_cost_table.py -->", "<!-- costs: end -->"
HEADINGS = ("data", "network", "machine", "right", "95 % interval", "cycles", "uJ")


def rows(comparison: dict[str, Any]) -> list[list[str]]:
    """The networks of one comparison on all machines, the fastest first."""
    data = comparison["image_source"].removesuffix(" test images")
    costs = sorted(comparison["costs"], key=lambda cost: cost["cycles"])
    return [[data, *_cells(cost)] for cost in costs if cost["accuracy"] is not None]


def _cells(cost: dict[str, Any]) -> list[str]:
    tested = cost["accuracy"]
    network, machine = f"`{cost['network'].partition(', ')[0]}`, {cost['network'].partition(', ')[2]}", cost["machine"]
    right, interval = f"{tested['share']:.2%}", f"{tested['low']:.2%} to {tested['high']:.2%}"
    return [network, machine, right, interval, f"{cost['cycles']:,.0f}", f"{cost['energy_uj']:.1f}"]


def pages() -> dict[Path, str]:
    """The page with its table written anew.

    Raises:
        InputError: What was measured, or the page, cannot be read.
    """
    lines = [f"| {' | '.join(HEADINGS)} |", "| --- | --- | --- | ---: | --- | ---: | ---: |"]
    lines += [f"| {' | '.join(row)} |" for comparison in comparisons().values() for row in rows(comparison)]
    return {PAGE: with_table(PAGE, "\n".join(lines), MARK)}


if __name__ == "__main__":
    write(pages)
