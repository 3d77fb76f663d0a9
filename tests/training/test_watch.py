"""What a run tells while it trains: lines, stops and going on, and that two trainings never share a folder."""

from __future__ import annotations

import fcntl
import signal
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console

from predfuse.errors import InputError
from predfuse.training.checkpoint import read_tensors
from predfuse.training.config import load_config
from predfuse.training.run import LOCK, Run
from predfuse.training.watch import Lines, Watcher, duration, watching

SHORT = ["vanilla.epochs=2", "prune=null", "predict=null"]


class StopsAt(Watcher):
    """Asks for a stop, as Ctrl-C does, while a step is being reported; keeps what is said."""

    def __init__(self, step: int, number: signal.Signals) -> None:
        self.step, self.number, self.heard = step, number, list[str]()

    def stepped(self, done: int, loss: Callable[[], float]) -> None:
        if done == self.step:
            signal.raise_signal(self.number)

    def said(self, text: str) -> None:
        self.heard.append(text)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_run_says_so_and_goes_on_to_the_same_bits(
    config_path: Path, tmp_path: Path, number: signal.Signals
) -> None:
    config = load_config(config_path, SHORT)
    whole = Run(config, tmp_path / "whole").train()["vanilla"]
    first, second = StopsAt(3, number), StopsAt(-1, number)
    before = signal.getsignal(number)
    with pytest.raises(KeyboardInterrupt):
        Run(config, tmp_path / "stopped", watchers=(first,)).train()
    assert first.heard == ["stage vanilla is saved at step 3; the same command goes on from there"]
    resumed = Run(config, tmp_path / "stopped", watchers=(second,)).train()["vanilla"]
    assert second.heard == ["stage vanilla: going on at step 3 of 8"] and signal.getsignal(number) == before
    ours, theirs = read_tensors(resumed)[0], read_tensors(whole)[0]
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_a_second_training_in_a_folder_is_refused_and_a_dead_ones_lock_is_not(
    config_path: Path, tmp_path: Path
) -> None:
    config = load_config(config_path, SHORT)
    with (tmp_path / LOCK).open("a+") as other:
        other.write("4711\n")
        other.flush()
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(InputError, match="is being trained in by process 4711"):
            Run(config, tmp_path).train()
        assert [path.name for path in tmp_path.iterdir()] == [LOCK]
    (tmp_path / ".state.safetensors.abcd_123.tmp").touch()  # killed while it wrote
    assert Run(config, tmp_path).train()["vanilla"].exists()
    assert not list(tmp_path.glob("*.tmp")) and not list(tmp_path.glob(".*.tmp"))


def test_lines_come_now_and_then_with_loss_accuracy_and_time_left() -> None:
    lines: list[str] = []
    now = [0.0]
    watcher = Lines(lines.append, seconds=30, clock=lambda: now[0])
    watcher.started("pruned", 100, 400)
    for step in range(101, 401):
        now[0] += 1
        watcher.stepped(step, lambda: 0.5)
        if step == 150:
            watcher.logged({"stage": "pruned", "step": 150, "loss": 0.5, "test_accuracy": 0.881})
    watcher.logged({"stage": "pruned", "step": 400, "loss": 0.25, "held_out_accuracy": 0.9, "test_accuracy": 0.89})
    assert len(lines) == 10
    assert lines[0] == "pruned: step 130 of 400, loss 0.5000, 4 min left in this stage"
    assert lines[1] == "pruned: step 160 of 400, loss 0.5000, accuracy 88.1 %, 4 min left in this stage"
    assert lines[-1] == "pruned: all 400 steps done, loss 0.2500, accuracy 90.0 %"


def test_durations() -> None:
    assert [duration(seconds) for seconds in (41, 300, 9000)] == ["41 s", "5 min", "2.5 h"]


def test_tensorboard_gets_the_log_where_it_is_installed(config_path: Path, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    with watching(tmp_path, Console(quiet=True)) as watchers:
        watchers[-1].logged({"stage": "vanilla", "step": 8, "loss": 0.25, "device": "cpu"})
    events: Any = EventAccumulator(str(tmp_path))
    events.Reload()
    assert events.Tags()["scalars"] == ["vanilla/loss"]
    assert [(event.step, event.value) for event in events.Scalars("vanilla/loss")] == [(8, 0.25)]


def test_a_bar_on_a_terminal_shows_loss_and_accuracy(tmp_path: Path) -> None:
    console = Console(force_terminal=True, width=200, record=True, quiet=False, file=(tmp_path / "out").open("w"))
    entry: Mapping[str, Any] = {"stage": "vanilla", "step": 4, "loss": 0.25, "held_out_accuracy": 0.5}
    with watching(tmp_path / "run", console) as (bar, *_):
        bar.started("vanilla", 0, 8)
        bar.stepped(4, lambda: 0.25)
        bar.logged(entry)
        bar.said("stage vanilla: hello")
    shown = console.export_text()
    assert "stage vanilla: hello" in shown and "loss 0.2500 accuracy 50.0 %" in shown and "4/8" in shown
