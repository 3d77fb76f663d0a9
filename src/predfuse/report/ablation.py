"""Ablations as a table."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table

from predfuse.experiments.ablation import Row
from predfuse.experiments.ablation_runs import Progress
from predfuse.report.terminal import count, narrow, percent, table


def table_of(rows: Sequence[Row]) -> Table:
    """Every variant: accuracy by stage, points lost to the base, fused multiplications, cycles and energy on archon."""
    cells = [
        [
            row.variant,
            *(percent(value, 2) if value is not None else "" for value in (row.vanilla, row.pruned, row.predicted)),
            f"{100 * row.lost:+.2f}" if row.lost is not None else "",
            count(row.fused_multiplications) if row.fused_multiplications is not None else "",
            f"{row.total_cycles:,}" if row.total_cycles is not None else "",
            f"{row.energy_uj:.1f}" if row.energy_uj is not None else "",
        ]
        for row in rows
    ]
    headings = ("variant", "vanilla", "pruned", "predicted", "lost", "mult.", "cycles", "uJ")
    return narrow(table("Variants; points lost are of the last stage", headings, cells))


def markdown(rows: Sequence[Row]) -> str:
    """The same in Markdown; cycles and energy with their ratio to those of the base."""
    base = rows[0]
    lines = [
        "| variant | vanilla | pruned | predicted | lost | multiplications | cycles | energy, uJ |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for row in rows:
        accuracies = [
            f"{value:.2%}" if value is not None else "-" for value in (row.vanilla, row.pruned, row.predicted)
        ]
        lost = f"{100 * row.lost:+.2f}" if row.lost is not None else "-"
        hardware = [
            f"{row.fused_multiplications:,.0f}" if row.fused_multiplications is not None else "-",
            _with_ratio(row.total_cycles, base.total_cycles, ",.0f"),
            _with_ratio(row.energy_uj, base.energy_uj, ".1f"),
        ]
        lines.append("| " + " | ".join([row.variant, *accuracies, lost, *hardware]) + " |")
    return "\n".join(lines) + "\n"


def _with_ratio(value: float | None, base: float | None, form: str) -> str:
    if value is None or base is None:
        return "-"
    return f"{value:{form}} ({value / base:.2f})"


def plan_table(shares: Sequence[tuple[str, float]], hours: float | None) -> Table:
    """What is left to train by variant, in hours where anything is measured, else as parts of the whole."""
    title = "To be trained, shared stages with the first that needs them"
    if hours is None:
        return narrow(table(title, ("variant", "of the work"), [[name, percent(share)] for name, share in shares]))
    rows = [[name, percent(share), f"{share * hours:.1f}"] for name, share in shares]
    return narrow(
        table(
            title,
            ("variant", "of the work", "hours"),
            [*rows, ["all", percent(sum(share for _, share in shares)), f"{hours:.1f}"]],
        )
    )


def progress_line(progress: Progress) -> str:
    """A line for the terminal when a variant starts."""
    left = "" if progress.hours is None else f", about {progress.hours:.1f} h for all that is left"
    return f"variant {progress.number} of {progress.count}: {progress.variant}{left}"
