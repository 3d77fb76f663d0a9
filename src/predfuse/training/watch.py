"""Watching a run: a progress bar on a terminal, a line now and then without one, TensorBoard where it is installed."""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

SECONDS = 30.0
"""Between two lines where there is no terminal."""


class Watcher:
    """What a run tells; this one does not listen."""

    def started(self, stage: str, done: int, steps: int) -> None:
        """A stage of ``steps`` steps begins, or goes on after ``done`` of them."""

    def stepped(self, done: int, loss: Callable[[], float]) -> None:
        """A step is done. Asking for the mean loss waits for a GPU, so it is asked for when it is shown."""

    def logged(self, entry: Mapping[str, Any]) -> None:
        """An entry of the log: after every epoch, with the accuracies when they are due."""

    def said(self, text: str) -> None:
        """Something a user should know."""


class Lines(Watcher):
    """A line every so many seconds.

    Args:
        write: Takes a line.
        seconds: Between two lines.
        clock: Seconds since any fixed time.
    """

    def __init__(
        self, write: Callable[[str], None], seconds: float = SECONDS, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._write, self._seconds, self._clock = write, seconds, clock
        self._stage, self._begun, self._steps, self._since, self._shown, self._accuracy = "", 0, 0, 0.0, 0.0, ""

    def started(self, stage: str, done: int, steps: int) -> None:
        self._stage, self._begun, self._steps, self._accuracy = stage, done, steps, ""
        self._since = self._shown = self._clock()

    def stepped(self, done: int, loss: Callable[[], float]) -> None:
        now = self._clock()
        if now - self._shown < self._seconds or done == self._steps:
            return
        self._shown = now
        left = (now - self._since) / max(1, done - self._begun) * (self._steps - done)
        parts = [f"{self._stage}: step {done} of {self._steps}", f"loss {loss():.4f}", self._accuracy, duration(left)]
        self._write(", ".join(part for part in parts if part) + " left in this stage")

    def logged(self, entry: Mapping[str, Any]) -> None:
        self._accuracy = accuracy_text(entry) or self._accuracy
        if entry["step"] == self._steps:
            self._write(f"{self._stage}: all {self._steps} steps done, loss {entry['loss']:.4f}, {self._accuracy}")

    def said(self, text: str) -> None:
        self._write(text)


class Bar(Watcher):
    """A progress bar with loss and accuracy; see :func:`watching`."""

    def __init__(self, progress: Progress) -> None:
        self._progress, self._task, self._accuracy, self._shown = progress, TaskID(0), "", 0.0

    def started(self, stage: str, done: int, steps: int) -> None:
        self._accuracy = ""
        self._task = self._progress.add_task(stage, total=steps, completed=done, facts="")

    def stepped(self, done: int, loss: Callable[[], float]) -> None:
        now = time.monotonic()
        if now - self._shown > 0.5:
            self._shown = now
            self._progress.update(self._task, facts=f"loss {loss():.4f} {self._accuracy}")
        self._progress.update(self._task, completed=done)

    def logged(self, entry: Mapping[str, Any]) -> None:
        self._accuracy = accuracy_text(entry) or self._accuracy
        self._progress.update(self._task, facts=f"loss {entry['loss']:.4f} {self._accuracy}")

    def said(self, text: str) -> None:
        self._progress.console.print(text, markup=False, highlight=False)


class TensorBoard(Watcher):
    """The numbers of the log as TensorBoard's events in the run's folder, by stage and step."""

    _writer: Any

    def __init__(self, folder: Path) -> None:
        self._folder, self._writer = folder, None

    def logged(self, entry: Mapping[str, Any]) -> None:
        if self._writer is None:  # not before the run holds its folder
            from torch.utils.tensorboard import SummaryWriter

            self._writer = SummaryWriter(str(self._folder))
        for name, value in entry.items():
            if isinstance(value, int | float) and name != "step":
                self._writer.add_scalar(f"{entry['stage']}/{name}", value, entry["step"])
        self._writer.flush()


@contextmanager
def watching(folder: Path, console: Console) -> Iterator[tuple[Watcher, ...]]:
    """The watchers of a command: on ``console``, and TensorBoard's where it is installed (the extra ``track``)."""
    board = (TensorBoard(folder),) if importlib.util.find_spec("tensorboard") is not None else ()
    if not console.is_terminal:
        yield (Lines(lambda line: console.print(line, markup=False, highlight=False, soft_wrap=True)), *board)
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, TextColumn("{task.fields[facts]}"), console=console) as progress:
        yield (Bar(progress), *board)


def accuracy_text(entry: Mapping[str, Any]) -> str:
    """``"accuracy 88.1 %"`` of a log entry: of the held-out images before that of the test images; empty without."""
    found = entry.get("held_out_accuracy", entry.get("test_accuracy"))
    return "" if found is None else f"accuracy {found:.1%}".replace("%", " %")


def duration(seconds: float) -> str:
    """``"40 s"``, ``"12 min"`` or ``"3.4 h"``."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
