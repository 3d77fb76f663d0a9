"""Ablations as a table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from predfuse.experiments.ablation_rows import Row
from predfuse.report.table import Table, count, optional

if TYPE_CHECKING:
    from predfuse.experiments.ablation_runs import Progress


def table_of(rows: Sequence[Row]) -> Table:
    """Every variant: accuracy by stage, points lost to the base, fused multiplications, cycles and energy on archon."""
    cells = [
        [
            *_accuracies(row, ""),
            "" if row.fused_multiplications is None else count(row.fused_multiplications),
            optional(row.total_cycles, ","),
            optional(row.energy_uj, ".1f"),
        ]
        for row in rows
    ]
    headings = ("variant", "vanilla", "pruned", "predicted", "lost", "mult.", "cycles", "uJ")
    return Table(headings, cells, "Variants; points lost are of the last stage")


def markdown(rows: Sequence[Row]) -> str:
    """The rows as a Markdown table; cycles and energy with their ratio to those of the base."""
    base = rows[0]
    cells = [
        [
            *_accuracies(row, "-"),
            optional(row.fused_multiplications, ",.0f", "-"),
            _with_ratio(row.total_cycles, base.total_cycles, ",.0f"),
            _with_ratio(row.energy_uj, base.energy_uj, ".1f"),
        ]
        for row in rows
    ]
    headings = ("variant", "vanilla", "pruned", "predicted", "lost", "multiplications", "cycles", "energy, uJ")
    return Table(headings, cells).markdown()


def _accuracies(row: Row, absent: str) -> list[str]:
    """Name, accuracy by stage, points lost."""
    shares = [optional(share, ".2%", absent) for share in (row.vanilla, row.pruned, row.predicted)]
    return [row.variant, *shares, absent if row.lost is None else f"{100 * row.lost:+.2f}"]


def _with_ratio(value: float | None, base: float | None, form: str) -> str:
    if value is None or base is None:
        return "-"
    return f"{value:{form}} ({value / base:.2f})"


def plan_table(left: Sequence[tuple[str, tuple[str, ...]]]) -> Table:
    """What is left to train by variant."""
    title = "To be trained; a stage that several need is with the one that makes it"
    return Table(("variant", "stages"), [[name, ", ".join(stages)] for name, stages in left], title)


def progress_line(progress: Progress) -> str:
    """A line for the terminal when a stage or a variant has ended."""
    return f"{progress.done} of {progress.count}: {progress.what}"
