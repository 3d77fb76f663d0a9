"""One training stage: steps, log, checkpoints, resume. The stages plug into it."""

from __future__ import annotations

import math
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from predfuse.data import Dataset
from predfuse.errors import InputError, PredfuseError
from predfuse.models.layers import Cnn
from predfuse.training.augment import Normaliser, Stream, order, variation, vary
from predfuse.training.checkpoint import fill, read_tensors, write_tensors
from predfuse.training.config import TrainConfig, VanillaConfig, stored_config
from predfuse.training.fast.cuda_graph import gradients
from predfuse.training.learning_rate import CosineSchedule
from predfuse.training.log import Log
from predfuse.training.parallel import Processes
from predfuse.training.watch import Watcher

STATE = "state.safetensors"
"""In the folder of a run while a stage of it is not done: what it goes on from."""


@dataclass
class Stage:
    """What one stage adds to the common loop.

    Attributes:
        name: In logs and file names.
        stream: Of random numbers, the order and variation of its images.
        steps: Optimiser steps in all.
        config: Learning rate, schedule, decay.
        loss: From model, inputs and labels.
        optimizers: Each with the base rates of its groups taken as the peak.
        set_mode: Puts the model's layers into training or evaluation mode.
        after_step: Called with the number of steps done (pruning).
        resumed: Called once the model has the weights an interrupted run left.
        facts: Extra entries for the log.
    """

    name: str
    stream: Stream
    steps: int
    config: VanillaConfig
    loss: Callable[[Cnn, Tensor, Tensor], Tensor]
    optimizers: list[torch.optim.Optimizer]
    set_mode: Callable[[Cnn], object] = lambda model: model.train()
    after_step: Callable[[int], None] = lambda step: None
    resumed: Callable[[], None] = lambda: None
    facts: Callable[[], Mapping[str, Any]] = dict


@dataclass
class Trainer:
    """Runs stages of one configured run in one folder.

    Attributes:
        config: The whole run's configuration.
        train: Training images.
        test: Test images; looked at when a stage ends, and after epochs only where no images are held out.
        folder: Receives the log and the resumable state.
        processes: This process among those of the run.
        log: Receives an entry per epoch.
        device: Where the images lie and the models are trained.
        held_out: Images kept from training to choose by.
        watchers: Told how it goes.
    """

    config: TrainConfig
    train: Dataset
    test: Dataset
    folder: Path
    processes: Processes
    log: Log
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    held_out: Dataset | None = None
    watchers: tuple[Watcher, ...] = ()
    normalise: Normaliser = field(init=False)
    _images: Tensor = field(init=False)
    _labels: Tensor = field(init=False)

    def __post_init__(self) -> None:
        self.normalise = Normaliser(self.train.mean, self.train.std, self.device)
        self._images = torch.from_numpy(self.train.images).to(self.device)
        self._labels = torch.from_numpy(self.train.labels).to(self.device)
        if self.config.batch_size % self.processes.count:
            raise InputError("batch_size", f"not divisible by {self.processes.count} processes", "change one of them")
        if len(self._labels) < self.config.batch_size:
            raise InputError(
                f"data {self.train.name}",
                f"{len(self._labels)} images are fewer than batch_size {self.config.batch_size}",
                "use more images or smaller batches",
            )

    @property
    def steps_per_epoch(self) -> int:
        return len(self._labels) // self.config.batch_size

    def steps(self, epochs: float) -> int:
        """Optimiser steps of so many epochs, at least 1."""
        return max(1, round(epochs * self.steps_per_epoch))

    def batch(self, seed: int, stage: Stage, step: int, permutation: Tensor) -> tuple[Tensor, Tensor]:
        """This process's share of the batch of one step; the same images however many processes share it."""
        size = self.config.batch_size
        start = step % self.steps_per_epoch * size
        chosen = permutation[start : start + size]
        data = self.config.data
        random = variation(seed, stage.stream, step)
        images = vary(self._images[chosen], data.crop_padding_pixels, data.flip, random, data.cutout_pixels)
        share = size // self.processes.count
        mine = slice(self.processes.rank * share, (self.processes.rank + 1) * share)
        return self.normalise(images[mine]), self._labels[chosen[mine]]

    def run(self, model: Cnn, stage: Stage) -> dict[str, float]:
        """Train ``model`` through one stage, taking up an interrupted one where it was; its accuracies by name."""
        accuracies: dict[str, float] = {}
        step, clock = self._resume(model, stage)
        schedule = CosineSchedule(stage.optimizers, stage.steps, stage.config.warmup_fraction)
        saved = time.monotonic()
        window = _Window()
        permutation, permuted = Tensor(), -1
        seed = self.config.seed_of(stage.name)
        stage.set_mode(model)
        on_gpu = self.device.type == "cuda" and self.processes.count == 1
        compute = gradients(model, stage.loss, captured=on_gpu)
        for watcher in self.watchers:
            watcher.started(stage.name, step, stage.steps)
        with stop_between_steps(self.processes.count == 1) as asked_to_stop:
            while step < stage.steps:
                epoch = step // self.steps_per_epoch
                if epoch != permuted:
                    permutation = order(len(self._labels), seed, stage.stream, epoch).to(self.device)
                    permuted = epoch
                images, labels = self.batch(seed, stage, step, permutation)
                rate = schedule.set(step)
                self._step(model, stage, compute(images, labels), window)
                step += 1
                stage.after_step(step)
                for watcher in self.watchers:
                    watcher.stepped(step, window.mean_loss)
                if step % self.steps_per_epoch == 0 or step == stage.steps:
                    self._synchronise_statistics(model)
                    accuracies = self._report(model, stage, step, rate, window, clock)
                    window = _Window()
                    stage.set_mode(model)
                if asked_to_stop() and step < stage.steps:
                    self._save(model, stage, step, clock)
                    self._say(f"stage {stage.name} is saved at step {step}; the same command goes on from there")
                    raise KeyboardInterrupt
                if time.monotonic() - saved > self.config.checkpoint_seconds and self.processes.count == 1:
                    self._save(model, stage, step, clock)
                    saved = time.monotonic()
        if not accuracies and self.processes.first:  # no step was left
            accuracies = self.accuracies(model, last=True)
        return accuracies

    def _step(self, model: Cnn, stage: Stage, loss: Tensor, window: _Window) -> None:
        self.processes.mean(p.grad for p in model.parameters() if p.grad is not None)
        for optimizer in stage.optimizers:
            optimizer.step()
        window.add(loss, self.config.batch_size)

    def _synchronise_statistics(self, model: Cnn) -> None:
        self.processes.mean(buffer for buffer in model.buffers() if buffer.is_floating_point())

    def accuracies(self, model: Cnn, last: bool) -> dict[str, float]:
        """Accuracy on the held-out images, and on the test images at the end of a stage or where none are held out."""
        sets = {
            "held_out_accuracy": self.held_out,
            "test_accuracy": self.test if last or self.held_out is None else None,
        }
        return {name: accuracy(model, images, self.normalise) for name, images in sets.items() if images is not None}

    def _report(
        self, model: Cnn, stage: Stage, step: int, rate: float, window: _Window, clock: _Clock
    ) -> dict[str, float]:
        """Log an epoch, with the accuracies (returned) if they are due."""
        if not math.isfinite(window.mean_loss()):
            raise PredfuseError(f"stage {stage.name}: the loss became {window.mean_loss()}; lower the learning rate")
        if not self.processes.first:
            return {}
        speed = round(window.images_per_second, 1)
        due = step == stage.steps or step // self.steps_per_epoch % self.config.evaluate_every_epochs == 0
        found = self.accuracies(model, step == stage.steps) if due else {}
        entry = {
            "stage": stage.name,
            "epoch": round(step / self.steps_per_epoch, 4),
            "step": step,
            "loss": round(window.mean_loss(), 5),
            **found,
            "last_learning_rate": rate,
            "images_per_second": speed,
            "seconds": round(clock.seconds, 1),
            **stage.facts(),
        }
        self.log.write(entry)
        for watcher in self.watchers:
            watcher.logged(entry)
        return found

    def _say(self, text: str) -> None:
        for watcher in self.watchers:
            watcher.said(text)

    @property
    def _state_path(self) -> Path:
        return self.folder / STATE

    def _save(self, model: Cnn, stage: Stage, step: int, clock: _Clock) -> None:
        tensors = {f"model.{name}": tensor for name, tensor in model.state_dict().items()}
        for index, optimizer in enumerate(stage.optimizers):
            for number, state in optimizer.state_dict()["state"].items():
                for key, value in state.items():
                    if isinstance(value, Tensor):
                        tensors[f"optimizer.{index}.{number}.{key}"] = value
        facts = {
            "stage": stage.name,
            "step": step,
            "seconds": clock.seconds,
            "config": self.config.up_to(stage.name).model_dump(mode="json"),
        }
        write_tensors(self._state_path, tensors, facts)

    def _resume(self, model: Cnn, stage: Stage) -> tuple[int, _Clock]:
        """Load the state of an interrupted run of this stage; the step to go on with (0: from the start)."""
        if not self._state_path.exists() or self.processes.count > 1:
            return 0, _Clock()
        tensors, facts = read_tensors(self._state_path)
        if facts["stage"] != stage.name:
            return 0, _Clock()
        if not stored_config(facts["config"], str(self._state_path)).gives_the_same(self.config, stage.name):
            raise InputError(str(self._state_path), "belongs to another configuration", "use another output folder")
        fill(model, _under("model.", tensors), str(self._state_path))
        for index, optimizer in enumerate(stage.optimizers):
            state: dict[int, dict[str, Tensor]] = {}
            for name, tensor in tensors.items():
                kind, *rest = name.split(".")
                if kind == "optimizer" and rest[0] == str(index):
                    state.setdefault(int(rest[1]), {})[rest[2]] = tensor
            optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
        stage.resumed()
        self._say(f"stage {stage.name}: going on at step {facts['step']} of {stage.steps}")
        return int(facts["step"]), _Clock(float(facts.get("seconds", 0.0)))

    def forget_state(self) -> None:
        """Remove the resumable state of a finished stage."""
        if self.processes.first:
            self._state_path.unlink(missing_ok=True)


@contextmanager
def stop_between_steps(active: bool) -> Iterator[Callable[[], bool]]:
    """Whether Ctrl-C or a termination was asked for; the second time it interrupts at once, as it does elsewhere.

    A step that is interrupted leaves weights no later run could go on from to the same bits.

    Args:
        active: False, or another thread than the main one, which gets no signals, leaves everything as it is.
    """
    asked: list[int] = []
    if not active or threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return

    def handle(number: int, frame: object) -> None:
        if asked:
            raise KeyboardInterrupt
        asked.append(number)

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: bool(asked)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Those whose names start so, by the rest of their names."""
    return {name[len(prefix) :]: tensor for name, tensor in tensors.items() if name.startswith(prefix)}


@torch.no_grad()
def accuracy(model: nn.Module, data: Dataset, normalise: Normaliser) -> float:
    """Fraction of the images classified correctly; the model, on the normaliser's device, is left evaluating."""
    model.eval()
    images, labels = torch.from_numpy(data.images), torch.from_numpy(data.labels)
    correct, batch = 0, 250
    for start in range(0, len(labels), batch):
        scores = model(normalise(images[start : start + batch]))
        correct += int((scores.argmax(1).cpu() == labels[start : start + batch]).sum())
    return correct / len(labels)


@dataclass(frozen=True)
class _Clock:
    """Wall time of a stage, without the pauses of an interrupted one."""

    before: float = 0.0
    started: float = field(default_factory=time.monotonic)

    @property
    def seconds(self) -> float:
        return self.before + time.monotonic() - self.started


@dataclass
class _Window:
    """Loss and speed since the last report. The loss is summed where it is, so that no step waits for a GPU."""

    loss: Tensor | float = 0.0
    steps: int = 0
    images: int = 0
    started: float = field(default_factory=time.monotonic)

    def add(self, loss: Tensor, images: int) -> None:
        self.loss = self.loss + loss.double()
        self.steps += 1
        self.images += images

    def mean_loss(self) -> float:
        return float(self.loss) / max(1, self.steps)

    @property
    def images_per_second(self) -> float:
        return self.images / max(1e-9, time.monotonic() - self.started)
