"""Kills a search of 2,000 cheap evaluations in the middle, resumes it, and holds it against all points computed here.

PYTHONPATH=src:tests python tools/measure_explore.py FOLDER
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import explore_evaluations
import psutil

from predfuse.explore.evaluation import Cache
from predfuse.explore.networks import make_subject
from predfuse.explore.result import pareto_front
from predfuse.explore.search import Progress, explore
from predfuse.explore.space import parse_space

SPACE = """
machine: eyeriss-sparse
network: {name: mobilenetv2-s, fused: false, pruned: nothing}
fields:
  machine.array.rows: {from: 1, to: 10}
  machine.array.columns: {from: 1, to: 20}
  machine.global_buffer.banks: {from: 1, to: 10}
objectives: [total_cycles, energy_uj]
sampler: grid
"""
POINTS = 2000
KILLED_AT = 800


def main(folder: Path, killed: bool) -> None:
    """One run; ``killed`` kills itself in the middle."""
    began, sizes = time.monotonic(), {}

    def progress(now: Progress) -> None:
        if now.done % 400 == 0:
            sizes[now.done] = round(psutil.Process().memory_info().rss / 2**20)
        if killed and now.done == KILLED_AT:
            os.kill(os.getpid(), signal.SIGKILL)

    space = parse_space(SPACE, "space")
    before = len(Cache(folder / "cache"))
    result = explore(space, folder, workers=2, progress=progress, evaluation=explore_evaluations.cheap)
    seconds = time.monotonic() - began
    vectors = {}
    subject = make_subject(space.split(result.rows[0].point)[1])
    for row in result.rows:
        found = explore_evaluations.cheap(space.split(row.point)[0], subject).metrics
        assert found == row.outcome.metrics
        vectors[row.number] = (found["total_cycles"], found["energy_uj"])
    assert [row.number for row in result.rows] == list(range(POINTS)) and space.size == POINTS
    assert len({tuple(row.point.values()) for row in result.rows}) == POINTS
    assert result.front == pareto_front(vectors)
    assert before + result.computed == len(Cache(folder / "cache")) == POINTS
    print(f"{before} known after the kill, {result.computed} computed after it, front of {len(result.front)} as here")
    print(f"{result.computed / seconds:.1f} evaluations a second with start; driver's MiB by points: {sizes}")


if __name__ == "__main__":
    if len(sys.argv) == 2:
        done = subprocess.run([sys.executable, __file__, sys.argv[1], "killed"])
        assert done.returncode == -signal.SIGKILL
    main(Path(sys.argv[1]), killed=len(sys.argv) > 2)
