"""``predfuse compare``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from predfuse.experiments.compare import CompareResult


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("compare")(compare)


def compare(
    networks: Annotated[
        str,
        typer.Option(help="shipped: trained, with accuracy. published: full size, calibrated only (takes minutes)."),
    ] = "shipped",
    fidelity: Annotated[str, typer.Option(help="cycle: what a real machine takes. paper: closed forms.")] = "cycle",
    images: Annotated[int, typer.Option("--images", "-n", help="Test images (at most 4 of the published set).")] = 100,
    json_path: Annotated[
        Path | None, typer.Option("--json", help="Also write every figure as JSON; - writes JSON alone.")
    ] = None,
    report: Annotated[Path | None, typer.Option("--report", help="Also write an HTML report.")] = None,
    trace: Annotated[
        Path | None, typer.Option("--trace", help="Also write the best machine's timeline for ui.perfetto.dev.")
    ] = None,
    data_root: Annotated[Path | None, typer.Option("--data", help="Folder of data sets (for CIFAR-10).")] = None,
    run: Annotated[
        Path | None,
        typer.Option("--run", help="Output folder of predfuse train, or name in the zoo, of the network to fuse."),
    ] = None,
    against: Annotated[
        Path | None, typer.Option("--against", help="The same of the compact network on dense and sparse.")
    ] = None,
) -> None:
    """Accuracy, cycles, time, energy and area: compact on dense, pruned on sparse, fused on Archon."""
    import json

    from rich.console import Console

    from predfuse.errors import InputError
    from predfuse.experiments.compare import compare as run_comparison
    from predfuse.files import require_writable, write_text_atomically

    to_stdout = json_path == Path("-")
    for path in (None if to_stdout else json_path, report, trace):
        if path is not None:
            require_writable(path)
    if trace is not None and fidelity == "paper":
        raise InputError("--trace", "needs cycle fidelity", "leave out --fidelity paper")
    with Console(stderr=True).status("comparing") as status:
        result = run_comparison(
            networks,  # type: ignore[arg-type]  # checked there
            fidelity,  # type: ignore[arg-type]
            images,
            root=data_root,
            progress=lambda text: status.update(text),
            run=run,
            against=against,
        )
    text = json.dumps(result.as_json(), indent=2) + "\n"
    if report is not None:
        from predfuse.report.compare import render_report

        write_text_atomically(report, render_report(result))
    if trace is not None and result.best.run is not None:
        from predfuse.hardware.cycle.trace import chrome_trace

        write_text_atomically(trace, json.dumps(chrome_trace(result.best.run)) + "\n")
    if to_stdout:
        typer.echo(text, nl=False)
        return
    if json_path is not None:
        write_text_atomically(json_path, text)
    _print(result, Console())
    for path in (json_path, report, trace):
        if path is not None:
            typer.echo(f"wrote {path}")


def _print(result: CompareResult, console: Console) -> None:
    from predfuse.report.compare import breakdown_table, cost_table, headline, terminal_table, who_table

    for shown in (who_table(result), cost_table(result), breakdown_table(result)):
        console.print(terminal_table(shown))
    console.print(headline(result), highlight=False)
    for note in result.notes:
        console.print(f"Note: {note}", highlight=False)
