"""Training the variants of an ablation, one after another or several at a time; common stages are trained once."""

from __future__ import annotations

import logging
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import yaml

from predfuse.errors import PredfuseError
from predfuse.experiments.ablation_work import Task, hours_left, unfinished
from predfuse.files import write_text_atomically
from predfuse.training.checkpoint import read_tensors
from predfuse.training.config import TrainConfig, stored_config
from predfuse.training.run import Run

log = logging.getLogger(__name__)

POLL_SECONDS = 0.2


@dataclass(frozen=True)
class Variant:
    """One variant to be trained.

    Attributes:
        name: As in the file.
        config: Its whole configuration.
        folder: Where its run is.
        tasks: Its stages.
    """

    name: str
    config: TrainConfig
    folder: Path
    tasks: list[Task]

    @property
    def missing(self) -> list[Task]:
        """Stages without a checkpoint."""
        return unfinished(self.tasks, self.folder)

    @property
    def paths(self) -> dict[str, Path]:
        """Its checkpoints by stage."""
        return {task.stage: self.folder / f"{task.stage}.safetensors" for task in self.tasks}


@dataclass(frozen=True)
class Progress:
    """A variant starts.

    Attributes:
        variant: Its name.
        number: Of the variants started, this one included.
        count: Of all variants.
        hours: Estimate for all that is left; None before anything is measured.
    """

    variant: str
    number: int
    count: int
    hours: float | None


def train_variants(
    variants: list[Variant],
    jobs: int,
    progress: Callable[[Progress], None],
    finished: Callable[[Variant], None],
    device: str = "cpu",
) -> None:
    """Train all on a device (``"cpu"``, ``"cuda"``, ``"auto"``); ``finished`` is called as soon as a variant is.

    Raises:
        PredfuseError: A training process failed; the others are stopped, to be taken up again later.
    """
    started = 0

    def start(variant: Variant) -> None:
        nonlocal started
        started += 1
        hours = hours_left({each.folder: each.tasks for each in variants}, jobs)
        variant.folder.mkdir(parents=True, exist_ok=True)
        take_over([other.folder for other in variants if other is not variant], variant)
        progress(Progress(variant.name, started, len(variants), hours))

    if jobs == 1:
        for variant in variants:
            start(variant)
            Run(variant.config, variant.folder, device).train()
            finished(variant)
        return
    waiting = list(variants)
    running: list[tuple[Variant, subprocess.Popen[bytes]]] = []
    with _stopped_in_the_end(running):
        while waiting or running:
            for pair in [pair for pair in running if pair[1].poll() is not None]:
                running.remove(pair)
                _require_success(*pair)
                finished(pair[0])
            ready = [variant for variant in waiting if not _awaits(variant, [other for other, _ in running])]
            if ready and len(running) < jobs:
                waiting.remove(ready[0])
                start(ready[0])
                running.append((ready[0], _process(ready[0], device)))
            else:
                time.sleep(POLL_SECONDS)


def _awaits(variant: Variant, running: list[Variant]) -> bool:
    """Whether one that runs is about to make a stage this one needs too."""
    being_made = [task.config for other in running for task in other.missing]
    return any(task.config in being_made for task in variant.missing)


def _process(variant: Variant, device: str) -> subprocess.Popen[bytes]:
    config = variant.folder / "config.yaml"
    write_text_atomically(config, yaml.safe_dump(variant.config.model_dump(mode="json"), sort_keys=False))
    command = [sys.executable, "-m", "predfuse", "train", str(config), "-o", str(variant.folder), "--device", device]
    with (variant.folder / "output.txt").open("ab") as output:
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT)


def _require_success(variant: Variant, process: subprocess.Popen[bytes]) -> None:
    if process.returncode == 0:
        return
    said = (variant.folder / "output.txt").read_text(encoding="utf-8", errors="replace").strip().splitlines()
    raise PredfuseError(f"variant {variant.name!r} failed ({said[-1] if said else f'exit {process.returncode}'})")


@contextmanager
def _stopped_in_the_end(running: list[tuple[Variant, subprocess.Popen[bytes]]]) -> Iterator[None]:
    """Interrupt what still runs, so that it saves its state."""
    try:
        yield
    finally:
        for _, process in running:
            process.send_signal(signal.SIGINT)
        for _, process in running:
            process.wait()


def take_over(others: list[Path], variant: Variant) -> None:
    """Copy the stages other variants have finished with what decides them configured alike."""
    wanted = {task.stage: task.config for task in variant.missing}
    for other in others:
        for stage in list(wanted):
            path = other / f"{stage}.safetensors"
            if path.exists() and _made_by(path).up_to(stage) == wanted[stage]:
                target = variant.folder / path.name
                temporary = target.with_suffix(".tmp")
                shutil.copyfile(path, temporary)
                temporary.replace(target)
                del wanted[stage]
                log.info("%s: stage %s is that of %s", variant.name, stage, other.name)


def _made_by(path: Path) -> TrainConfig:
    return stored_config(read_tensors(path)[1].get("config"), str(path))
