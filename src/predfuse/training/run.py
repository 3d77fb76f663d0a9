"""A whole training run: vanilla -> prune -> predict, each stage from the checkpoint of the one before."""

from __future__ import annotations

import fcntl
import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import torch
import yaml

from predfuse import __version__, data, models
from predfuse.data import Dataset
from predfuse.errors import InputError
from predfuse.files import remove_abandoned, write_text_atomically
from predfuse.models.layers import Cnn
from predfuse.predictor.initialise import insert_predictors
from predfuse.provenance import source_commit
from predfuse.training.checkpoint import load_checkpoint, read_tensors, save_checkpoint
from predfuse.training.config import DistilledConfig, PredictConfig, TrainConfig, stored_config
from predfuse.training.device import choose_device, describe
from predfuse.training.fast.choose import use_kernels
from predfuse.training.log import Log
from predfuse.training.loop import Stage, Trainer
from predfuse.training.losses import Loss, cross_entropy, distillation
from predfuse.training.memory import keep_freed_memory
from predfuse.training.own_network import own_model
from predfuse.training.parallel import Processes
from predfuse.training.pruning import make_shifts_prunable
from predfuse.training.stages import layerwise_stage, predict_stage, prune_stage, vanilla_stage
from predfuse.training.watch import Watcher

log = logging.getLogger(__name__)

LOCK = ".lock"
"""File in a run's folder that the process at work in it holds locked; it stays, and says nothing by being there."""


def build_model(config: TrainConfig, train: Dataset) -> Cnn:
    """The configured network for the data's image shape and classes.

    Raises:
        InputError: No such network, or it does not fit the data or the stages.

    Source: predfuse.models.build.
    """
    if config.network.name not in models.names():
        return own_model(config, train)
    channels, height, width = train.images.shape[1:]
    options: dict[str, Any] = {"input_shape": (channels, height, width), "num_classes": len(train.classes)}
    model = models.build_from(config.network.name, {**options, **config.network.options}, config.seed)
    if model.input_shape[0] != channels:
        raise InputError("network.options.input_shape", f"data has {channels} channels", "leave the option out")
    return model


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """The folder, made if need be, for this process alone. The system releases the lock of a process that dies.

    Raises:
        InputError: The folder cannot be used, or another process holds it.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = (folder / LOCK).open("a+")
    except OSError as error:
        raise InputError(str(folder), f"cannot be used ({error.strerror})", "choose another folder") from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            file.seek(0)
            by = file.read().strip()
            what = f"is being trained in{f' by process {by}' if by else ''}"
            raise InputError(str(folder), what, "wait for it, or choose another folder") from error
        file.truncate(0)
        with suppress(OSError):  # on a full disk only the message above says less
            os.write(file.fileno(), b"%d\n" % os.getpid())
        remove_abandoned(folder)
        yield


class Run:
    """One configured run in one folder; finished stages are taken from their checkpoints.

    Args:
        config: The whole run.
        folder: Its log and checkpoints; those of another device are gone on from like any other.
        device: ``"cpu"``, ``"cuda"``, or ``"auto"`` for a GPU if there is one.
        watchers: Told how the run goes.

    Raises:
        InputError: No such device, unusable data, or a network that cannot be made or does not fit.

    Source: docs/how-to/training.md.
    """

    def __init__(
        self, config: TrainConfig, folder: Path, device: str = "cpu", watchers: Sequence[Watcher] = ()
    ) -> None:
        self.config, self.folder = config, folder
        self.device = choose_device(device)
        # the commit of what was loaded: the checkout may move on during the run
        self.made_with = {"commit": source_commit(), "device": describe(self.device)}
        keep_freed_memory()
        if config.threads:
            torch.set_num_threads(config.threads)
        self.processes = Processes.join()
        source = config.data
        train = data.load(source.name, "train", root=source.root, limit=source.limit, size=source.size)
        test = data.load(source.name, "test", root=source.root, limit=source.limit, size=source.size)
        log_file = Log(folder / "log.jsonl" if self.processes.first else None, self.made_with)
        train, held_out = train.without_every(source.held_out) if source.held_out else (train, None)
        self.trainer = Trainer(config, train, test, folder, self.processes, log_file, self.device, held_out)
        self.trainer.watchers = tuple(watchers) if self.processes.first else ()
        self._fresh = None if self._path("vanilla").exists() else build_model(config, train)
        if config.prune is not None and config.prune.shift_sparsity:
            make_shifts_prunable(build_model(config, train))  # refuse what has none before training it

    def train(self) -> dict[str, Path]:
        """Run every stage that is not finished yet; checkpoint paths by stage name.

        Raises:
            InputError: The folder cannot be used, another training is at work in it, or it holds another run's stages.
        """
        if not self.processes.first:
            self.processes.wait()  # until the folder is there
            return self._train()
        with _locked(self.folder):
            for stage in self.config.stages:
                if self._path(stage).exists():
                    self._require_made_by_this_config(self._path(stage), stage)
            write_text_atomically(
                self.folder / "config.yaml", yaml.safe_dump(self.config.model_dump(mode="json"), sort_keys=False)
            )
            self.processes.wait()
            return self._train()

    def _train(self) -> dict[str, Path]:
        config, trainer = self.config, self.trainer
        vanilla = self._stage(
            lambda: self._placed(self._fresh or build_model(config, trainer.train)),
            "vanilla",
            lambda model: vanilla_stage(trainer, model, config.vanilla),
        )
        paths = {"vanilla": vanilla}
        if config.prune is None:
            return paths
        prune, predict = config.prune, config.predict
        pruned = paths["pruned"] = self._stage(
            lambda: self._load(vanilla),
            "pruned",
            lambda model: prune_stage(trainer, model, prune, self._loss(prune, vanilla, vanilla)),
        )
        if predict is None:
            return paths
        names = self.config.stages[3:]
        # The layer-wise stage is needed by those alone, or is the last one that is wanted.
        if not names or not all(self._path(name).exists() for name in names):
            paths["layerwise"] = self._layerwise(pruned, predict)
        for name, tuning in zip(names, predict.tuning, strict=True):
            paths[name] = self._stage(
                lambda: self._load(paths["layerwise"]),
                name,
                lambda model, tuning=tuning: predict_stage(
                    trainer, model, predict, tuning, self._loss(predict, vanilla, pruned)
                ),
            )
        return paths

    def _layerwise(self, before: Path, predict: PredictConfig) -> Path:
        def fitted() -> Cnn:
            model = self._load(before)
            images = self.trainer.normalise(torch.from_numpy(self.trainer.train.images[: predict.calibration_images]))
            insert_predictors(model, images, predict.format)
            return model

        return self._stage(fitted, "layerwise", lambda model: layerwise_stage(self.trainer, model, predict))

    def _loss(self, config: DistilledConfig, vanilla: Path, before: Path) -> Loss:
        """The loss of a stage that follows ``before``."""
        if not config.needs_teacher and not config.needs_guide:
            return cross_entropy(config.label_smoothing)
        teacher = self._load(vanilla) if config.needs_teacher else None
        guide = self._load(before) if config.needs_guide else None
        if guide is not None:
            use_kernels(guide, self.device)
        if teacher is not None:
            use_kernels(teacher, self.device, pruned=False)
        return distillation(config, teacher, guide)

    def _load(self, path: Path) -> Cnn:
        model, _ = load_checkpoint(path, self.config.network.name)
        return self._placed(model)

    def _placed(self, model: Cnn) -> Cnn:
        return model.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]

    def _path(self, stage: str) -> Path:
        return self.folder / f"{stage}.safetensors"

    def _stage(self, load: Callable[[], Cnn], name: str, make: Callable[..., Stage]) -> Path:
        """Train one stage from the model ``load`` gives, unless it is finished; its checkpoint."""
        path = self._path(name)
        if path.exists():
            log.info("stage %s is finished: %s", name, path)
            return path
        model = load()
        stage = make(model)
        accuracies = self.trainer.run(model, stage)
        return self._finish(model, name, {**accuracies, **stage.facts()})

    def _require_made_by_this_config(self, path: Path, stage: str) -> None:
        made_by = stored_config(read_tensors(path)[1].get("config"), str(path))
        if not made_by.gives_the_same(self.config, stage):
            raise InputError(str(path), "was made with another configuration", "choose another output folder")

    def _finish(self, model: Cnn, name: str, facts: Mapping[str, Any]) -> Path:
        path = self._path(name)
        trainer = self.trainer
        if self.processes.first:
            train = trainer.train
            metadata = {
                "stage": name,
                "test_images": len(trainer.test.labels),
                **({} if trainer.held_out is None else {"held_out_images": len(trainer.held_out.labels)}),
                "data": train.name,
                "mean": train.mean,
                "std": train.std,
                "labels": train.classes,
                "config": self.config.up_to(name).model_dump(mode="json"),
                "predfuse": __version__,
                "torch": torch.__version__,
                "processes": self.processes.count,
                **self.made_with,
                **facts,
            }
            save_checkpoint(path, model, metadata)
            trainer.forget_state()
        self.processes.wait()
        return path
