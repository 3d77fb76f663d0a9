"""Training the variants of an ablation on Dask workers: a task for every stage, those that variants share made once."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch
import yaml
from dask.typing import Key
from distributed import Client, Future, as_completed

from predfuse.explore.cluster import connected
from predfuse.files import write_bytes_atomically, write_text_atomically
from predfuse.training.config import TrainConfig
from predfuse.training.run import Run

Measured = TypeVar("Measured")
Paths = dict[str, Path]
"""Checkpoints by stage."""


@dataclass(frozen=True)
class Variant:
    """One variant to be trained.

    Attributes:
        name: As in the file.
        config: Its whole configuration.
        folder: Where its run is.
    """

    name: str
    config: TrainConfig
    folder: Path

    def path(self, stage: str) -> Path:
        """Where the checkpoint of a stage lies or will lie."""
        return self.folder / f"{stage}.safetensors"

    def key(self, stage: str) -> str:
        """Digest of what decides the result of a stage; equal ones give equal checkpoints."""
        return hashlib.sha256(f"{stage} {self.config.up_to(stage).model_dump_json()}".encode()).hexdigest()


@dataclass(frozen=True)
class Progress:
    """A stage has ended, or a variant has been measured.

    Attributes:
        what: It, in words.
        done: How many have ended, this one included.
        count: Of all.
    """

    what: str
    done: int
    count: int


def owners(variants: list[Variant]) -> dict[str, tuple[Variant, str]]:
    """Which variant makes every stage, by key: one that has it already, else the first that needs it; in order."""
    found: dict[str, tuple[Variant, str]] = {}
    for variant in variants:
        for stage in variant.config.stages:
            held = found.setdefault(variant.key(stage), (variant, stage))
            if variant.path(stage).exists() and not held[0].path(stage).exists():
                found[variant.key(stage)] = (variant, stage)
    return found


def train_variants(
    variants: list[Variant],
    measure: Callable[[Variant], Measured],
    finished: Callable[[Variant, Measured], None],
    progress: Callable[[Progress], None],
    jobs: int,
    device: str,
) -> dict[str, str]:
    """Train and measure all variants; what fails stops only what is built on it.

    Args:
        variants: In the order in which they are begun.
        measure: What is run for each once it is trained, on a worker.
        finished: Told what that gave.
        progress: Told of every stage and variant.
        jobs: Workers, processes on this machine.
        device: ``"cpu"``, ``"cuda"``, ``"auto"``; all share it.

    Returns:
        The variants that failed, by name, and why.
    """
    made_by = owners(variants)
    failed: dict[str, str] = {}
    with connected(jobs) as client:
        trained = _submit(client, made_by, max(1, (os.cpu_count() or 1) // jobs), device)
        waited: dict[Key, Variant | str] = {}
        for key, future in trained.items():
            variant, stage = made_by[key]
            waited[future.key] = f"{stage} of {variant.name}"
        results = as_completed(trained.values(), raise_errors=False)
        for number, variant in enumerate(variants):
            last = trained[variant.key(variant.config.stages[-1])]
            future = client.submit(_finish, variant, measure, last, key=f"variant-{number}", pure=False)
            waited[future.key] = variant
            results.add(future)
        for done, future in enumerate(results, start=1):
            what, error = waited[future.key], future.exception()
            if isinstance(what, Variant):
                if error is None:
                    finished(what, future.result())
                else:
                    failed[what.name] = " ".join(f"{error}".split())
                what = what.name
            progress(Progress(what if error is None else f"{what} failed", done, len(waited)))
    return failed


def _submit(
    client: Client, made_by: dict[str, tuple[Variant, str]], threads: int, device: str
) -> dict[str, Future[Paths]]:
    """A task per stage, each after the one before it in its variant, so that no two work in one folder at once."""
    tasks: dict[str, Future[Paths]] = {}

    def task(key: str) -> Future[Paths]:
        if key not in tasks:
            variant, stage = made_by[key]
            place = variant.config.stages.index(stage)
            before: Future[Paths] | Paths = task(variant.key(variant.config.stages[place - 1])) if place else {}
            tasks[key] = client.submit(_train, variant, stage, before, threads, device, key=f"stage-{key}", pure=False)
        return tasks[key]

    for key in made_by:
        task(key)
    return tasks


def _train(variant: Variant, stage: str, before: Paths, threads: int, device: str) -> Paths:
    """One stage in the folder of its variant, from those before it, wherever they were made."""
    _taken_over(variant, before)
    if not variant.path(stage).exists():
        torch.set_num_threads(variant.config.threads or threads)
        Run(variant.config.up_to(stage), variant.folder, device).train()
    return {**before, stage: variant.path(stage)}


def _finish(variant: Variant, measure: Callable[[Variant], Measured], paths: Paths) -> Measured:
    _taken_over(variant, paths)
    config = yaml.safe_dump(variant.config.model_dump(mode="json"), sort_keys=False)
    write_text_atomically(variant.folder / "config.yaml", config)
    return measure(variant)


def _taken_over(variant: Variant, paths: Paths) -> None:
    """Copy the checkpoints other variants have made."""
    variant.folder.mkdir(parents=True, exist_ok=True)
    for stage, path in paths.items():
        if not variant.path(stage).exists():
            write_bytes_atomically(variant.path(stage), path.read_bytes())
