"""Kills a search of 2,000 evaluations in the middle, resumes it, holds it against all points computed here; its pace.

PYTHONPATH=src python tools/measure_explore.py FOLDER
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil

from predfuse.explore.evaluation import Cache, evaluate
from predfuse.explore.networks import make_subject
from predfuse.explore.result import SearchResult, pareto_front
from predfuse.explore.search import Progress, explore
from predfuse.explore.space import Space, parse_space

SPACE = """
machine: eyeriss-sparse
network: {name: mobilenetv2-s, fused: false, pruned: nothing, options: {width: 0.25, input_shape: [3, 8, 8]}}
fields:
  machine.array.rows: {from: 3, to: 12}
  machine.array.columns: {from: 3, to: 22}
  machine.global_buffer.banks: {from: 1, to: 10}
objectives: [total_cycles, energy_uj]
sampler: grid
"""
POINTS = 2000
KILLED_AT = 800
PACED_POINTS, FIRST_PACED = 300, 40
"""Points of a run that only measures the pace, and those that pass while workers start and compile."""


def search(folder: Path, workers: int, points: int, killed: bool = False) -> tuple[Space, SearchResult]:
    """One run, its pace and the driver's memory on the way; ``killed`` kills itself in the middle."""
    sizes: dict[int, int] = {}
    began: dict[int, float] = {}

    def progress(now: Progress) -> None:
        began[now.computed] = time.monotonic()
        if now.done in (200, 1000, POINTS):
            sizes[now.done] = round(psutil.Process().memory_info().rss / 2**20)
        if killed and now.done == KILLED_AT:
            os.kill(os.getpid(), signal.SIGKILL)

    space = parse_space(f"{SPACE}evaluations: {points}\n", "space")
    result = explore(space, folder, workers=workers, progress=progress)
    last = max(began)
    pace = (last - FIRST_PACED) / (began[last] - began[FIRST_PACED])
    print(f"{workers} workers: {pace:.2f} evaluations a second over the last {last - FIRST_PACED}; ", end="")
    print(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores; driver's MiB by points: {sizes}", flush=True)
    return space, result


def hold_against_all(folder: Path) -> None:
    """The resumed search has every point once, with the outcome and the front of all points computed here."""
    before = len(Cache(folder / "cache"))
    space, result = search(folder, 2, POINTS)
    vectors = {}
    subject = make_subject(space.split(result.rows[0].point)[1])
    for row in result.rows:
        found = evaluate(space.split(row.point)[0], subject).metrics
        assert found == row.outcome.metrics
        vectors[row.number] = (found["total_cycles"], found["energy_uj"])
    assert [row.number for row in result.rows] == list(range(POINTS)) and space.size == POINTS
    assert len({tuple(row.point.values()) for row in result.rows}) == POINTS
    assert result.front == pareto_front(vectors)
    assert before + result.computed == len(Cache(folder / "cache")) == POINTS
    print(f"{before} known after the kill, {result.computed} computed after it, front of {len(result.front)} as here")


if __name__ == "__main__":
    given = Path(sys.argv[1])
    if len(sys.argv) > 2:
        search(given / "killed", 2, POINTS, killed=True)
    done = subprocess.run([sys.executable, __file__, str(given), "killed"])
    assert done.returncode == -signal.SIGKILL
    hold_against_all(given / "killed")
    for count in (1, 2):
        search(given / str(count), count, PACED_POINTS)
