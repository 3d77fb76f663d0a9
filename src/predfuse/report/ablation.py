"""Ablations as a table."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table

from predfuse.experiments.ablation import Row
from predfuse.report.terminal import count, narrow, percent, table


def table_of(rows: Sequence[Row]) -> Table:
    """Every variant: accuracy by stage, points lost to the base, fused multiplications, cycles and energy on archon."""
    cells = [
        [
            row.variant,
            *(percent(value, 2) if value is not None else "" for value in (row.vanilla, row.pruned, row.predicted)),
            f"{100 * row.lost:+.2f}",
            count(row.fused_multiplications) if row.fused_multiplications is not None else "",
            f"{row.total_cycles:,}" if row.total_cycles is not None else "",
            f"{row.energy_uj:.1f}" if row.energy_uj is not None else "",
        ]
        for row in rows
    ]
    headings = ("variant", "vanilla", "pruned", "predicted", "lost", "mult.", "cycles", "uJ")
    return narrow(table("Variants; points lost are of the last stage", headings, cells))
