"""The training an ablation needs: stages that variants share counted once, what is left, and how long it takes.

Work is counted in activations: images of a stage, times the values its convolutions write per image, times what the
stage does with each. A step of a small network is bound by memory, so that seconds about follow this.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch
from torch import nn

from predfuse import data, models
from predfuse.models.layers import Cnn
from predfuse.readers.documents import parse_json, read_json_lines
from predfuse.training.config import DataConfig, DistilledConfig, TrainConfig

STAGE_EFFORT = {"vanilla": 1.0, "pruned": 0.7, "layerwise": 1.6}
"""Time per image over that of a vanilla step; rounded from steps of several ``fusionet-s`` on one core."""
TUNING_EFFORT = 1.0
"""The same for the end-to-end tuning of predictors."""
TEACHER_EFFORT = 0.25
"""The same for the forward pass of a network that is learnt from."""


@dataclass(frozen=True)
class Task:
    """One stage of one variant.

    Attributes:
        stage: As the checkpoint is called.
        config: What decides its result; equal configurations give equal checkpoints.
        images: Presented in the stage, repeats counted.
        work: See the module.
    """

    stage: str
    config: TrainConfig
    images: float
    work: float


def stage_names(config: TrainConfig) -> tuple[str, ...]:
    """The stages a run of this configuration has, in their order."""
    if config.prune is None:
        return ("vanilla",)
    if config.predict is None:
        return ("vanilla", "pruned")
    return ("vanilla", "pruned", "layerwise", *(f"predicted-{tuning}" for tuning in config.predict.tuning))


def tasks(config: TrainConfig) -> list[Task]:
    """The stages of a run with the work of each.

    Raises:
        InputError: The data or the network are not usable.
    """
    train_images, shape, classes = _data(config.data)
    options = json.dumps({"input_shape": shape, "num_classes": classes, **config.network.options}, sort_keys=True)
    activations = _activations(config.network.name, options)
    found = []
    for stage in stage_names(config):
        own = config.up_to(stage)
        images, effort = _effort(own, stage, train_images)
        found.append(Task(stage, own, images, images * effort * activations))
    return found


def _effort(config: TrainConfig, stage: str, train_images: int) -> tuple[float, float]:
    """Images of a stage, configured as far as it goes, and the time of each over that of a vanilla step."""
    effort = STAGE_EFFORT.get(stage, TUNING_EFFORT)
    if stage == "vanilla":
        return config.vanilla.epochs * train_images, effort
    settings: DistilledConfig | None = config.prune if stage == "pruned" else config.predict
    assert settings is not None
    if stage == "layerwise":
        assert config.predict is not None
        return config.predict.layerwise_steps * config.batch_size, effort
    return settings.epochs * train_images, effort + _teachers(settings) * TEACHER_EFFORT


def _teachers(config: DistilledConfig) -> int:
    """How many networks a stage runs besides the one it trains."""
    return config.needs_teacher + config.needs_guide


@cache
def _data(source: DataConfig) -> tuple[int, tuple[int, ...], int]:
    """Training images, shape of one, and classes."""
    train = data.load(source.name, "train", root=source.root, limit=source.limit, size=source.size)
    return len(train.labels), tuple(train.images.shape[1:]), len(train.classes)


@cache
def _activations(network: str, options: str) -> int:
    """Values all convolutions of a network write for one image."""
    return activations_per_image(models.build(network, **parse_json("options", options)))


@torch.no_grad()
def activations_per_image(model: Cnn) -> int:
    """Values all convolutions of a registered network write for one image."""
    written: list[int] = []
    hooks = [
        module.register_forward_hook(lambda _, __, output: written.append(output.numel()))
        for module in model.modules()
        if isinstance(module, nn.Conv2d)
    ]
    training = model.training
    model.eval()(torch.zeros(1, *model.input_shape))
    model.train(training)
    for hook in hooks:
        hook.remove()
    return sum(written)


def unfinished(found: list[Task], folder: Path) -> list[Task]:
    """Those of a variant's stages whose checkpoints its folder lacks."""
    return [task for task in found if not (folder / f"{task.stage}.safetensors").exists()]


def hours_left(variants: Mapping[Path, list[Task]], jobs: int = 1) -> float | None:
    """Estimate from the logs of what is done, by the folder of each variant; None before anything is."""
    seconds = work = 0.0
    for folder, own in variants.items():
        spent = _spent(folder / "log.jsonl")
        for task in own:
            if task.stage in spent and task.images:
                own_seconds, steps = spent[task.stage]
                seconds += own_seconds
                work += task.work * min(1.0, steps * task.config.batch_size / task.images)
    return work_left(variants) * seconds / work / jobs / 3600 if work else None


def shares_left(variants: Mapping[Path, list[Task]]) -> dict[Path, float]:
    """Part of the remaining work that falls to each variant, by folder; shared stages count for the first."""
    own = _own_work_left(variants)
    return {folder: work / max(sum(own.values()), 1e-9) for folder, work in own.items()}


def work_left(variants: Mapping[Path, list[Task]]) -> float:
    """Work of all stages nobody has finished, each counted once."""
    return sum(_own_work_left(variants).values())


def _own_work_left(variants: Mapping[Path, list[Task]]) -> dict[Path, float]:
    missing = {folder: unfinished(own, folder) for folder, own in variants.items()}
    known = [task.config for folder, own in variants.items() for task in own if task not in missing[folder]]
    left = dict.fromkeys(variants, 0.0)
    for folder, own in missing.items():
        for task in own:
            if task.config not in known:
                known.append(task.config)
                left[folder] += task.work
    return left


def _spent(path: Path) -> dict[str, tuple[float, int]]:
    """Seconds and steps of every stage in a log."""
    if not path.is_file():
        return {}
    entries = read_json_lines(path, whole=False)
    return {entry["stage"]: (entry["seconds"], entry["step"]) for entry in entries if "seconds" in entry}
