"""Layers and stages of one simulated image as a table."""

from __future__ import annotations

from predfuse.hardware.result import SimulationResult
from predfuse.report.table import Table


def stage_table(result: SimulationResult, caption: str) -> Table:
    """Cycles, use of the array and energy by layer and stage, and their totals."""
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
    totals = (f"{result.compute_cycles:,}", f"{result.stall_cycles:,}", "", f"{result.total_energy_uj:,.2f}")
    headings = ("layer", "stage", "compute cycles", "stall cycles", "utilisation", "uJ")
    return Table(headings, [*rows, ["total", "", *totals]], caption, frozenset((len(rows),)), frozenset((0, 1)))
