"""``predfuse bench``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("bench")(bench)


def bench(
    run: Annotated[
        Path | None, typer.Option("--run", help="Output folder of predfuse train to time instead of the shipped one.")
    ] = None,
    images: Annotated[int, typer.Option("--images", min=1, help="Test images per round.")] = 100,
    full_size: Annotated[bool, typer.Option(help="Also time the full-size FusioNet in integers.")] = True,
    json_path: Annotated[Path | None, typer.Option("--json", help="Write the figures as JSON.")] = None,
) -> None:
    """Time prediction, training, the fused network, integers with cycles against limits; exit 1 if too slow."""
    import json

    from rich.console import Console
    from rich.table import Table

    from predfuse.errors import PredfuseError
    from predfuse.experiments import bench as benchmark
    from predfuse.experiments.demo import SHIPPED_RUN, shipped_run
    from predfuse.files import require_writable, write_text_atomically

    if json_path is not None:
        require_writable(json_path)
    with Console(stderr=True).status("Timing on one core"):
        result = benchmark.run_bench(run or shipped_run(SHIPPED_RUN), images, full_size=full_size)
    table = Table(title=f"{result.network}, {result.images} images, one core")
    table.add_column("how")
    for heading in ("images/s", "time over vanilla", "limit"):
        table.add_column(heading, justify="right")
    table.add_row("PyTorch, vanilla", f"{result.vanilla:.1f}", "1.00", "")
    limit = f"at most {benchmark.MAX_PREDICTED_RATIO:.2f}"
    table.add_row("PyTorch, predicted masks", f"{result.predicted:.1f}", f"{result.predicted_ratio:.2f}", limit)
    for stage, ratio in result.training.items():
        limit = f"at least {benchmark.MIN_TRAINING_RATIO:.2f} as fast"
        table.add_row(f"training, {stage}: over layers", "", f"{ratio:.2f} as fast", limit)
    for mode, speed in result.executed.items():
        limit = f"{benchmark.MIN_FUSED_IMAGES_PER_SECOND:g} images/s" if mode == "fused" else ""
        table.add_row(f"executor, {mode}", f"{speed:.1f}", f"{result.vanilla / speed:.2f}", limit)
    for name, speed in result.simulated.items():
        limits = benchmark.MIN_SIMULATED_IMAGES_PER_SECOND
        limit = f"{limits[name]:.2g} images/s" if name in limits else ""
        table.add_row(f"{name}: integers and cycles", f"{speed:.1f}", "", limit)
    Console().print(table)
    if json_path is not None:
        write_text_atomically(json_path, json.dumps(result.as_json(), indent=2) + "\n")
        typer.echo(f"Figures: {json_path}")
    if result.missed:
        raise PredfuseError("too slow: " + "; ".join(result.missed))
