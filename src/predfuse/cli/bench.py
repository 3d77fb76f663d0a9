"""``predfuse bench``: this installation timed against limits."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from predfuse.cli.options import Count
from predfuse.cli.output import Outputs
from predfuse.errors import PredfuseError
from predfuse.experiments import bench as benchmark
from predfuse.experiments.contenders import SHIPPED_RUN
from predfuse.report.table import Table
from predfuse.report.terminal import console


def bench(
    run: Annotated[
        Path | None, typer.Option("--run", help="Output folder of predfuse train to time instead of the shipped one.")
    ] = None,
    count: Count = 100,
    full_size: Annotated[bool, typer.Option(help="Also time the full-size FusioNet in integers.")] = True,
    *,
    outputs: Outputs,
) -> None:
    """Time prediction, training, the fused network, integers with cycles against limits; exit 1 if too slow."""
    with console(stderr=True).status("Timing on one core"):
        result = benchmark.run_bench(run or SHIPPED_RUN, count, full_size=full_size)
    rows = _rows(result)
    title = f"{result.network}, {result.images} images, one core"
    table = Table(("how", "images/s", "time over vanilla", "limit"), [list(row.values()) for row in rows], title)
    outputs.emit(title, result.as_json(), rows, [table])
    if result.missed:
        raise PredfuseError("too slow: " + "; ".join(result.missed))


def _rows(result: benchmark.BenchResult) -> list[dict[str, str]]:
    """How, images per second, time over vanilla, and the limit."""
    vanilla, predicted = result.vanilla, result.predicted
    limit = f"at most {benchmark.MAX_PREDICTED_RATIO:.2f}"
    cells = [
        ("PyTorch, vanilla", f"{vanilla:.1f}", "1.00", ""),
        ("PyTorch, predicted masks", f"{predicted:.1f}", f"{result.predicted_ratio:.2f}", limit),
    ]
    for stage, ratio in result.training.items():
        limit = f"at least {benchmark.MIN_TRAINING_RATIO:.2f} as fast"
        cells.append((f"training, {stage}: over layers", "", f"{ratio:.2f} as fast", limit))
    for mode, speed in result.executed.items():
        limit = f"{benchmark.MIN_FUSED_IMAGES_PER_SECOND:g} images/s" if mode == "fused" else ""
        cells.append((f"executor, {mode}", f"{speed:.1f}", f"{vanilla / speed:.2f}", limit))
    for name, speed in result.simulated.items():
        limits = benchmark.MIN_SIMULATED_IMAGES_PER_SECOND
        limit = f"{limits[name]:.2g} images/s" if name in limits else ""
        cells.append((f"{name}: integers and cycles", f"{speed:.1f}", "", limit))
    for name, seconds in result.evaluation_seconds.items():
        limits = benchmark.MAX_EVALUATION_SECONDS
        limit = f"{1 / limits[name]:.1f} images/s" if name in limits else ""
        cells.append((f"evaluation, {name}", f"{1 / seconds:.2f}", "", limit))
    return [dict(zip(("how", "images_per_second", "time_over_vanilla", "limit"), row, strict=True)) for row in cells]
