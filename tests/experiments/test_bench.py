"""The benchmark runs a training run's networks and says which limits hold."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

from predfuse import models
from predfuse.cli import app
from predfuse.errors import InputError, PredfuseError
from predfuse.experiments import bench
from predfuse.experiments.bench import BenchResult
from predfuse.fusion.results import Mode
from predfuse.predictor.initialise import insert_predictors
from predfuse.training.checkpoint import save_checkpoint
from predfuse.training.pruning import Pruner


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny untrained FusioNet as training would leave it: vanilla, pruned, with predictors."""
    folder = tmp_path_factory.mktemp("run")
    options: dict[str, Any] = {
        "stage_channels": [8, 8],
        "stage_middle": [32, 32],
        "stage_blocks": [1, 1],
        "last_channels": 8,
    }
    model = models.build("fusionet", input_shape=[1, 28, 28], stem_stride=2, tail_channels=16, **options)
    facts = {"data": "fashion-mnist", "mean": [0.3], "std": [0.3]}
    save_checkpoint(folder / "vanilla.safetensors", model, {**facts, "stage": "vanilla"})
    Pruner(model).prune(0.5, 0.5)
    save_checkpoint(folder / "pruned.safetensors", model, {**facts, "stage": "pruned"})
    insert_predictors(model, torch.rand(8, 1, 28, 28))
    save_checkpoint(folder / "predicted-joint.safetensors", model, {**facts, "stage": "predicted-joint"})
    return folder


def test_figures_of_a_run(run_folder: Path, tmp_path: Path) -> None:
    threads = torch.get_num_threads()
    path = tmp_path / "bench.json"
    outcome = CliRunner().invoke(
        app, ["bench", "--run", str(run_folder), "-n", "4", "--no-full-size", "--json", str(path)]
    )
    assert outcome.exit_code == 0 or isinstance(outcome.exception, PredfuseError)
    figures = json.loads(path.read_text())
    assert (figures["network"], figures["images"]) == ("fusionet", 4)
    assert set(figures["executed_images_per_second"]) == {"true", "predicted", "fused"}
    assert set(figures["simulated_images_per_second"]) == {"fusionet"}
    assert 0 < figures["evaluation_seconds"]["fusionet on archon"] < 10
    assert set(figures["training_ratio"]) == {"pruned", "predicted"} and min(figures["training_ratio"].values()) > 0
    speeds = {**figures["executed_images_per_second"], **figures["pytorch_images_per_second"]}
    assert all(speed > 1 for speed in speeds.values())
    assert figures["predicted_ratio"] == pytest.approx(
        speeds["vanilla"] / figures["pytorch_images_per_second"]["predicted"]
    )
    assert torch.get_num_threads() == threads


def test_limits_are_judged() -> None:
    executed: dict[Mode, float] = {"true": 90.0, "predicted": 60.0, "fused": 50.0}
    evaluated = {"fusionet-s on archon": 0.5, "other on archon": 9.0}
    result = BenchResult("net", 10, 250.0, 100.0, {"pruned": 1.2}, executed, {"fusionet-s": 20.0}, evaluated)
    assert result.predicted_ratio == 2.5 and result.missed == ()
    slow = dataclasses.replace(
        result,
        predicted=99.0,
        training={"pruned": 1.1},
        executed={**result.executed, "fused": 49.0},
        simulated={"fusionet-s": 19.0},
        evaluation_seconds={"fusionet-s on archon": 0.51},
    )
    assert slow.missed == (
        "predicted takes 2.53x vanilla, more than 2.5x",
        "pruned training is 1.10x as fast as layers, less than 1.2x",
        "fused runs 49.0 images/s, less than 50",
        "fusionet-s in integers with cycles runs 19.00 images/s, less than 20",
        "evaluating fusionet-s on archon takes 0.510 s, more than 0.5",
    )


def test_blocks_as_a_network_of_their_own() -> None:
    whole, blocks = models.network("mobilenetv2"), bench.blocks_of("mobilenetv2")
    assert [node.name for node in blocks.nodes] == [node.name for node in whole.bottlenecks()]
    shapes = whole.shapes()
    assert all(shapes[name] == shape for name, shape in blocks.shapes().items() if name != "input")


def test_rounds_take_the_best_of_each_job(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, 3.0, 3.0, 4.0, 4.0, 6.0, 6.0, 9.0])
    monkeypatch.setattr("predfuse.experiments.bench.time.process_time", lambda: next(clock))
    assert bench._best_seconds([lambda: None, lambda: None], 2) == [2.0, 1.0]


def test_folders_without_a_run_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no folder of a training run"):
        bench.run_bench(tmp_path / "none")
    with pytest.raises(InputError, match=r"vanilla\.safetensors"):
        bench.run_bench(tmp_path)
