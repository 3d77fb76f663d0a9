"""The zoo as tables: in the terminal, and in Markdown between two markers of a file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from predfuse.errors import InputError
from predfuse.experiments.training_cost import TrainingCost
from predfuse.predictor.errors import BlockErrors
from predfuse.predictor.format import PredictorFormat
from predfuse.readers.boundary import JSON_BYTES, read_text
from predfuse.report.table import Table, optional
from predfuse.zoo.catalogue import Stage, Summary

ZOO = "<!-- zoo: made by predfuse zoo table --write -->", "<!-- zoo: end -->"
ABLATIONS = "<!-- ablations: made by predfuse zoo ablations --write -->", "<!-- ablations: end -->"


def run_table(entries: Sequence[Stage]) -> Table:
    """Every run and stage."""
    rows = [
        [
            entry.run,
            entry.stage,
            f"{entry.test_accuracy:.2%}",
            f"{entry.training_hours:.1f}",
            f"{entry.file_bytes / 1e3:.0f}" if entry.file_bytes is not None else "",
            (entry.sha256 or "")[:8],
        ]
        for entry in entries
    ]
    headings = ("run", "stage", "accuracy", "hours", "kB", "SHA-256")
    return Table(headings, rows, "Trained networks", text_columns=frozenset((0, 1)))


def summary_table(summaries: Sequence[Summary]) -> Table:
    """Mean and range over the seeds."""
    rows = [
        [s.data, s.network, s.stage, str(s.seeds), f"{s.mean:.2%}", f"{s.lowest:.2%} to {s.highest:.2%}"]
        for s in summaries
    ]
    headings = ("data", "network", "stage", "seeds", "accuracy", "range")
    return Table(headings, rows, "Accuracy over seeds", text_columns=frozenset((0, 1, 2)))


def errors_table(stage: str, made: PredictorFormat, blocks: Sequence[BlockErrors]) -> Table:
    """What wrong masks do to the blocks of one network."""
    rows = [
        [block.block, *(optional(share, ".2%") for share in (block.weights, block.activations, block.both, block.own))]
        for block in blocks
    ]
    weights = "ternary weights" if made.largest_weight == 1 else f"weights up to {made.largest_weight}"
    headings = ("block", weights, f"{made.bits}-bit activations", "both", "its own predictor")
    return Table(headings, rows, f"{stage}: wrong masks, of the output's variance")


def cost_table(cost: TrainingCost) -> Table:
    """Speed and hours of every stage, here, and of vanilla training on a GPU."""
    rows = [
        [stage.stage, cost.measured_on, f"{stage.images_per_second:.1f}", *_amount(stage.images, stage.hours)]
        for stage in cost.stages
    ]
    estimate = _amount(cost.stages[0].images, cost.gpu_hours)
    rows.append(["vanilla", "GPU, an estimate, not measured", f"{cost.gpu_images_per_second:.0f}", *estimate])
    title = (
        f"Training {cost.network}: {cost.multiplications / 1e6:.0f} M multiplications forwards, "
        f"{cost.activations / 1e6:.1f} M activations an image"
    )
    headings = ("stage", "where", "images/s", "M images", "time")
    return Table(headings, rows, title, text_columns=frozenset((0, 1)))


def _amount(images: float, hours: float) -> tuple[str, str]:
    return f"{images / 1e6:.1f}", _duration(hours)


def _duration(hours: float) -> str:
    return f"{hours:.1f} hours" if hours < 72 else f"{hours / 24:.0f} days"


def markdown(summaries: Sequence[Summary]) -> str:
    """A row per data set and network: accuracy by stage with its range, seeds and training hours."""
    rows = []
    for data, network in dict.fromkeys((s.data, s.network) for s in summaries):
        own = {s.stage: s for s in summaries if (s.data, s.network) == (data, network)}
        predicted = [s for stage, s in own.items() if stage.startswith("predicted")]
        best = max(predicted, key=lambda s: s.mean, default=None)
        shown = [own.get("vanilla"), own.get("pruned"), best]
        cells = [_accuracy(s) for s in shown]
        if best is not None:
            cells[2] += f" ({best.stage.removeprefix('predicted-')})"
        last = next(s for s in reversed(shown) if s is not None)
        rows.append([data, f"`{network}`", *cells, _seeds(shown), f"{last.training_hours:.1f}"])
    headings = ("data", "network", "vanilla", "pruned", "predicted", "seeds", "hours")
    return Table(headings, rows, text_columns=frozenset(range(7))).markdown()


def _seeds(shown: Sequence[Summary | None]) -> str:
    counts = [s.seeds for s in shown if s is not None]
    return str(counts[0]) if len(set(counts)) == 1 else ", ".join(map(str, counts))


def _accuracy(summary: Summary | None) -> str:
    if summary is None:
        return "-"
    if summary.seeds == 1:
        return f"{summary.mean:.2%}"
    return f"{summary.mean:.2%} ({summary.lowest:.2%} to {summary.highest:.2%})"


def with_table(path: Path, text: str, markers: tuple[str, str] = ZOO) -> str:
    """The contents of a Markdown file with what stands between the markers replaced.

    Raises:
        InputError: It cannot be read, or lacks the markers.
    """
    return with_tables(path, {markers: text})


def with_tables(path: Path, tables: Mapping[tuple[str, str], str]) -> str:
    """The contents of a Markdown file with what stands between several pairs of markers replaced.

    Raises:
        InputError: It cannot be read, or lacks markers.

    Source: docs/explanation/zoo.md.
    """
    whole = read_text(path, JSON_BYTES, "name a Markdown file")
    for (first, last), text in tables.items():
        before, begin, rest = whole.partition(first)
        _, end, after = rest.partition(last)
        if not begin or not end:
            raise InputError(str(path), "lacks the markers of the table", f"add the lines {first} and {last}")
        whole = f"{before}{first}\n\n{text}\n{last}{after}"
    return whole
