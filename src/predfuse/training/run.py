"""A whole training run: vanilla -> prune -> predict, each stage from the checkpoint of the one before."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

import torch
import yaml
from torch import Tensor

from predfuse import __version__, data, models
from predfuse.data import Dataset
from predfuse.errors import InputError
from predfuse.files import write_text_atomically
from predfuse.models.layers import Cnn
from predfuse.predictor.initialise import insert_predictors
from predfuse.predictor.layerwise import layerwise_loss
from predfuse.provenance import source_commit
from predfuse.training.augment import Stream
from predfuse.training.checkpoint import load_checkpoint, read_tensors, save_checkpoint
from predfuse.training.config import (
    DistilledConfig,
    PredictConfig,
    PruneConfig,
    TrainConfig,
    VanillaConfig,
    stored_config,
)
from predfuse.training.device import choose_device, describe
from predfuse.training.fast.choose import use_kernels
from predfuse.training.log import Journal
from predfuse.training.loop import Stage, Trainer, parameter_groups
from predfuse.training.losses import Loss, cross_entropy, distillation, with_signs
from predfuse.training.memory import keep_freed_memory
from predfuse.training.parallel import Processes
from predfuse.training.pruning import Pruner, cubic_sparsity, make_shifts_prunable

log = logging.getLogger(__name__)

MOMENTUM = 0.9
"""Nesterov's, of all end-to-end training."""


def _sgd(model: Cnn, config: VanillaConfig) -> torch.optim.Optimizer:
    groups = [group for group in parameter_groups(model, config.weight_decay) if group["params"]]
    return torch.optim.SGD(groups, lr=config.learning_rate, momentum=MOMENTUM, nesterov=True)


def vanilla_stage(trainer: Trainer, model: Cnn, config: VanillaConfig) -> Stage:
    """Ordinary training."""
    use_kernels(model, trainer.device, pruned=False)
    steps = trainer.steps(config.epochs)
    return Stage("vanilla", Stream.VANILLA, steps, config, cross_entropy(config.label_smoothing), [_sgd(model, config)])


def prune_stage(trainer: Trainer, model: Cnn, config: PruneConfig, loss: Loss) -> Stage:
    """Magnitude pruning of weights and, if so configured, shifts along a cubic schedule, then recovery."""
    use_kernels(model, trainer.device)
    steps = trainer.steps(config.epochs)
    ramp = max(1, round(steps * config.ramp_fraction))
    if config.shift_sparsity:
        make_shifts_prunable(model)
    pruner = Pruner(model)
    finals = (config.pointwise_sparsity, config.depthwise_sparsity, config.shift_sparsity, config.outside_sparsity)

    def after_step(step: int) -> None:
        if step <= ramp and (step % config.update_every_steps == 0 or step == ramp):
            pruner.prune(*(cubic_sparsity(final, step / ramp) for final in finals))
        else:
            pruner.apply()

    return Stage(
        "pruned",
        Stream.PRUNED,
        steps,
        config,
        loss,
        [_sgd(model, config)],
        after_step=after_step,
        resumed=pruner.hold_zeros,
        facts=lambda: _sparsity(pruner),
    )


def _sparsity(pruner: Pruner) -> dict[str, float]:
    return {f"{kind}_sparsity": round(value, 4) for kind, value in pruner.sparsity().items()}


def _adam(model: Cnn, rate: float, config: PredictConfig) -> torch.optim.Optimizer:
    """Optimiser of the predictors' latents."""
    parameters = [(name, p) for name, p in model.named_parameters() if ".predictor." in name]
    weights = [p for name, p in parameters if name.endswith("_weight")]
    offsets = [p for name, p in parameters if name.endswith("_offset")]
    groups = [{"params": weights, "lr": rate}, {"params": offsets, "lr": rate * config.offset_rate_factor}]
    return torch.optim.Adam(groups, betas=(0.9, 0.99))


def layerwise_stage(trainer: Trainer, model: Cnn, config: PredictConfig) -> Stage:
    """Every predictor learns its own block's true signs; the main network stands still."""
    use_kernels(model, trainer.device)
    optimizer = _adam(model, config.layerwise_learning_rate, config)

    def loss(model: Cnn, images: Tensor, labels: Tensor) -> Tensor:
        return layerwise_loss(model, images)

    return Stage(
        "layerwise",
        Stream.LAYERWISE,
        config.layerwise_steps,
        config,
        loss,
        [optimizer],
        set_mode=lambda model: model.eval(),
    )


def predict_stage(
    trainer: Trainer,
    model: Cnn,
    config: PredictConfig,
    tuning: Literal["joint", "frozen"],
    loss: Loss,
) -> Stage:
    """End-to-end tuning through the predicted masks.

    ``frozen`` trains the predictors and the project batch norms only (as published); ``joint`` everything, the pruned
    weights staying zero.
    """
    use_kernels(model, trainer.device)
    if config.gates == "signs":
        loss = with_signs(loss, config.sign_share, model)
        for _, block in model.bottlenecks():
            block.surrogate = False
    pruner = Pruner(model)
    if tuning == "frozen":
        for key, parameter in model.named_parameters():
            parameter.requires_grad_(".predictor." in key or ".project_norm." in key)

    def set_mode(model: Cnn) -> None:
        model.train(tuning == "joint")
        if tuning == "frozen":
            for _, block in model.bottlenecks():
                block.project_norm.train()

    return Stage(
        f"predicted-{tuning}",
        Stream.JOINT if tuning == "joint" else Stream.FROZEN,
        trainer.steps(config.epochs),
        config,
        loss,
        [_sgd(model, config), _adam(model, config.predictor_learning_rate, config)],
        set_mode=set_mode,
        after_step=lambda step: pruner.apply(),
        facts=lambda: _sparsity(pruner),
    )


def build_model(config: TrainConfig, train: Dataset) -> Cnn:
    """The configured network for the data's image shape and classes."""
    channels, height, width = train.images.shape[1:]
    options: dict[str, Any] = {"input_shape": (channels, height, width), "num_classes": len(train.classes)}
    model = models.build(config.network.name, seed=config.seed, **{**options, **config.network.options})
    if model.input_shape[0] != channels:
        raise InputError("network.options.input_shape", f"data has {channels} channels", "leave the option out")
    return model


class Run:
    """One configured run in one folder; finished stages are taken from their checkpoints.

    Args:
        config: The whole run.
        folder: Its log and checkpoints; those of another device are gone on from like any other.
        device: ``"cpu"``, ``"cuda"``, or ``"auto"`` for a GPU if there is one.

    Raises:
        InputError: No such device, unusable data or folder.
    """

    def __init__(self, config: TrainConfig, folder: Path, device: str = "cpu") -> None:
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
        self._open_folder()
        journal = Journal(folder / "log.jsonl" if self.processes.first else None, self.made_with)
        train, held_out = train.without_every(source.held_out) if source.held_out else (train, None)
        self.trainer = Trainer(config, train, test, folder, self.processes, journal, self.device, held_out)

    def _open_folder(self) -> None:
        path = self.folder / "config.yaml"
        if self.processes.first:
            try:
                self.folder.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise InputError(str(self.folder), f"cannot be created ({error.strerror})", "choose another") from error
            write_text_atomically(path, yaml.safe_dump(self.config.model_dump(mode="json"), sort_keys=False))
        self.processes.wait()

    def train(self) -> dict[str, Path]:
        """Run every stage that is not finished yet; checkpoint paths by stage name."""
        config, trainer = self.config, self.trainer
        if config.prune is not None and config.prune.shift_sparsity:
            make_shifts_prunable(build_model(config, trainer.train))  # refuse what has none before training it
        vanilla = self._stage(
            lambda: self._placed(build_model(config, trainer.train)),
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
        if predict is None or not predict.tuning:
            return paths
        names = [f"predicted-{tuning}" for tuning in predict.tuning]
        if not all(self._path(name).exists() for name in names):  # the layer-wise stage is needed by them alone
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
            insert_predictors(model, images, predict.format, predict.ranges)
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
            self._require_made_by_this_config(path, name)
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
