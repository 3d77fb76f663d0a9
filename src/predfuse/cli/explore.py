"""``predfuse explore``: search over fields of machines and options of networks."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from predfuse.cli.options import OutputFolder, Root
from predfuse.cli.output import Outputs
from predfuse.errors import InputError
from predfuse.files import write_text_atomically
from predfuse.report.terminal import console

if TYPE_CHECKING:
    from predfuse.explore.search import Progress


def explore(
    space: Annotated[Path, typer.Argument(help="Search file, see docs/how-to/explore.md.", metavar="SPACE.yaml")],
    out: OutputFolder,
    jobs: Annotated[int, typer.Option("--jobs", "-j", help="Processes on this machine.")] = 2,
    scheduler: Annotated[
        str | None, typer.Option(help="Address of a running Dask scheduler, in place of processes here.")
    ] = None,
    keep_going: Annotated[
        bool, typer.Option("--keep-going", help="Record and skip evaluations that fail again and again.")
    ] = False,
    cache: Annotated[Path | None, typer.Option(help="Folder of outcomes that searches share.")] = None,
    area: Annotated[
        float | None,
        typer.Option(
            help="Area (mm2) machines fill to nine tenths or more, in place of the file's limit.", metavar="MM2"
        ),
    ] = None,
    network: Annotated[str | None, typer.Option(help="Network in place of the file's, its other fields kept.")] = None,
    evaluations: Annotated[
        int | None, typer.Option(help="Points to evaluate, in place of the file's number.", metavar="N")
    ] = None,
    begin: Annotated[
        list[str] | None, typer.Option(help="Machine whose sizes are measured first; more than one may be named.")
    ] = None,
    root: Root = None,
    *,
    outputs: Outputs,
) -> None:
    """Search over fields of a machine and options of a network: Pareto front, hypervolume, what each field matters."""
    if jobs < 1:
        raise InputError("-j", f"is {jobs}", "use 1 or more jobs")
    try:
        from predfuse.explore.machines import machine_files, stale_machine_files
        from predfuse.explore.report import front_table, render_report, summary
        from predfuse.explore.search import explore as run_search
        from predfuse.explore.space import load_space
    except ModuleNotFoundError as error:
        raise InputError("explore", f"needs {error.name}", "install predfuse[explore]") from error

    described = load_space(space, area, network, evaluations, begin or ())
    result = run_search(
        described,
        out,
        workers=jobs,
        scheduler=scheduler,
        keep_going=keep_going,
        cache=cache,
        root=root,
        progress=_ProgressLines(console(stderr=True)),
    )
    files = {
        "result.json": json.dumps(result.as_json(), indent=2) + "\n",
        "points.csv": result.as_csv(),
        "report.html": render_report(result),
    }
    machines = machine_files(result, out)
    for name, text in (files | machines).items():
        write_text_atomically(out / name, text)
    figures = result.as_json()
    last = f"{summary(result)}; {result.computed:,} computed in this run"
    outputs.emit("Search", figures, figures["rows"], [front_table(result), last], lambda: render_report(result))
    for name in files:
        typer.echo(f"wrote {out / name}", err=True)
    for stale in stale_machine_files(result, out):
        stale.unlink()
    if machines:
        typer.echo(f"wrote the front's machines: {out}/{described.machine.name}-*.yaml ({len(machines):,})", err=True)
    if not result.front:
        what = f"no point runs the network within its limits ({result.rows[-1].outcome.reason})"
        raise InputError(str(space), what, "widen them or the fields")


class _ProgressLines:
    """Prints a line of progress every few seconds, and the dashboard's address first."""

    EVERY_SECONDS = 5.0

    def __init__(self, console: Console) -> None:
        self._console, self._last = console, 0.0

    def __call__(self, progress: Progress) -> None:
        if not self._last:
            self._console.print(f"dashboard: {progress.dashboard}", highlight=False)
        now = time.monotonic()
        if now - self._last < self.EVERY_SECONDS and progress.done < progress.total:
            return
        self._last = now
        left = "" if progress.seconds_left is None else f", {progress.seconds_left / 60:.1f} min left"
        failed = f", {progress.failed} failed" if progress.failed else ""
        text = f"{progress.done:,} of {progress.total:,} points ({progress.computed:,} computed now{failed}){left}"
        self._console.print(text, highlight=False)
