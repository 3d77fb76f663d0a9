"""Taking a finished training run into the zoo."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from predfuse.errors import InputError
from predfuse.files import sha256_of_file, write_text_atomically
from predfuse.readers.documents import read_json_lines, read_mapping
from predfuse.training.checkpoint import read_tensors, write_tensors
from predfuse.training.config import TrainConfig, parse_config, stored_config, without_retired
from predfuse.training.loop import STATE
from predfuse.zoo.catalogue import (
    CARD,
    RESULTS,
    STAGES,
    Stage,
    card_text,
    full_name,
    results_text,
    root,
    stages,
)


def ship(run: Path, name: str, *, weights: bool = True, commit: str | None = None, where: Path | None = None) -> Path:
    """Copy a finished run into the zoo and bring ``results.csv`` up to date.

    Stages whose checkpoints another run of the zoo has shipped already, as those it went on from, are left out.

    Args:
        run: Output folder of ``predfuse train``.
        name: Folder in the zoo; an older run of that name is replaced.
        weights: Whether the checkpoints ship, or only configuration, log and facts.
        commit: Source the run was made with, where its checkpoints do not say.
        where: The zoo; default: the package's.

    Returns:
        The run's folder in the zoo.

    Raises:
        InputError: No such run, one that is not done, a stage of another configuration than the run's, or a log that
            lacks a stage.

    Source: docs/explanation/zoo.md.
    """
    base = where or root()
    if not name or Path(name).name != name:
        raise InputError(f"name {name!r}", "is no folder name", "use something like cifar10-fusionet-s")
    written = without_retired(read_mapping(run / "config.yaml"), str(run / "config.yaml"))
    written["data"]["root"] = None
    config = parse_config(written, str(run / "config.yaml"))
    paths = [path for stage in STAGES if (path := run / f"{stage}.safetensors").is_file()]
    if not paths:
        raise InputError(str(run), "holds no finished stage", "name the output folder of predfuse train")
    if (run / STATE).is_file():
        raise InputError(str(run), "has a stage that is not done", "go on with predfuse train first")
    log = _log(run / "log.jsonl")
    building = Path(tempfile.mkdtemp(prefix=f".{name}.", dir=base))
    try:
        entries = []
        shipped = {stage.sha256 for stage in stages(base) if stage.file is not None and stage.run != name}
        for path in paths:
            facts = _copy(path, building / path.name)
            made_by = stored_config(facts["config"], str(path))
            if not made_by.gives_the_same(config, path.stem):
                raise InputError(str(path), "was made with another configuration", "ship one run at a time")
            if sha256_of_file(building / path.name) in shipped:
                (building / path.name).unlink()
                continue
            entries.append(_stage(name, building / path.name, facts, made_by, log, weights, commit))
            if not weights:
                (building / path.name).unlink()
        if not entries:
            raise InputError(str(run), "is in the zoo already under another name", "ship another run")
        (building / "config.yaml").write_text(yaml.safe_dump(written, sort_keys=False))
        shutil.copyfile(run / "log.jsonl", building / "log.jsonl")
        (building / CARD).write_text(card_text(entries), encoding="utf-8")
        building.chmod(0o755)
        _swap(building, base / name)
    finally:
        shutil.rmtree(building, ignore_errors=True)
    write_text_atomically(base / RESULTS, results_text(stages(base)))
    return base / name


def _swap(new: Path, target: Path) -> None:
    """Put a finished folder in its place, whatever was there."""
    old = new.with_name(new.name + ".old")
    if target.exists():
        target.replace(old)
    new.replace(target)
    shutil.rmtree(old, ignore_errors=True)


def _copy(source: Path, target: Path) -> dict[str, Any]:
    """Copy a checkpoint without the place its data had; its facts."""
    tensors, facts = read_tensors(source)
    facts = {key: value for key, value in facts.items() if key not in ("format", "version")}
    facts["config"] = {**facts["config"], "data": {**facts["config"]["data"], "root": None}}
    facts["parameters"] = sum(tensor.numel() for tensor in tensors.values())
    write_tensors(target, tensors, {key: value for key, value in facts.items() if key != "parameters"})
    return facts


def _stage(
    run: str,
    file: Path,
    facts: Mapping[str, Any],
    made_by: TrainConfig,
    log: list[dict[str, Any]],
    weights: bool,
    commit: str | None,
) -> Stage:
    name, batch_size = str(facts["stage"]), made_by.batch_size
    own = [entry for entry in log if entry.get("stage") == name]
    if not own:
        raise InputError(run, f"its log says nothing about stage {name}", "ship the log the run wrote")
    seconds = _seconds(own, batch_size)
    speed = own[-1]["step"] * batch_size / seconds
    if name.startswith("predicted"):
        seconds += _seconds([entry for entry in log if entry.get("stage") == "layerwise"], batch_size)
    return Stage(
        run=run,
        data=str(facts["data"]),
        network=full_name(str(facts["architecture"]), made_by.network.options, facts),
        seed=made_by.seed_of(name),
        stage=name,
        recipe=made_by.recipe(name),
        test_accuracy=float(facts["test_accuracy"]),
        test_images=int(facts["test_images"]),
        parameters=int(facts["parameters"]),
        pointwise_sparsity=facts.get("pointwise_sparsity"),
        depthwise_sparsity=facts.get("depthwise_sparsity"),
        epochs=float(own[-1]["epoch"]),
        device=", ".join(dict.fromkeys(entry.get("device", "cpu") for entry in own)),
        training_hours=round(seconds / 3600, 3),
        images_per_second=round(speed, 1),
        commit=facts.get("commit") or commit,
        file=file.name if weights else None,
        file_bytes=file.stat().st_size if weights else None,
        sha256=sha256_of_file(file) if weights else None,
        held_out_images=int(facts.get("held_out_images", 0)),
        held_out_accuracy=facts.get("held_out_accuracy"),
    )


def _seconds(entries: list[dict[str, Any]], batch_size: int) -> float:
    """Wall time of one stage by its log; logs that do not say have the speed of every epoch."""
    if entries and "seconds" in entries[-1]:
        return float(entries[-1]["seconds"])
    seconds, before = 0.0, 0
    for entry in entries:
        seconds += (entry["step"] - before) * batch_size / entry["images_per_second"]
        before = entry["step"]
    return seconds


def _log(path: Path) -> list[dict[str, Any]]:
    return read_json_lines(path, "is no log of a training run", "name the output folder of predfuse train")
