"""Averaged weights: the mean of the steps, statistics of the norms to match, and the same bits after a stop."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from predfuse.models import build
from predfuse.models.layers import Cnn, Norm
from predfuse.training.averaging import WeightAverage, recalibrate
from predfuse.training.checkpoint import load_checkpoint, read_tensors
from predfuse.training.config import load_config
from predfuse.training.loop import Stage, Trainer, cosine_rate
from predfuse.training.pruning import make_shifts_prunable
from predfuse.training.run import Run
from predfuse.training.ternarising import Ternariser

PRUNED = ("predict=null", "prune.epochs=3", "prune.average_share=0.5", "prune.final_rate_fraction=0.4")


def small(shifts: bool = True) -> Cnn:
    options = {"width": 0.5, "middle_width": 0.05, "depth": 0.2, "shifts": shifts}
    return build("fusionet", seed=3, input_shape=(1, 8, 8), num_classes=2, **options)


@given(st.integers(1, 6), st.integers(0, 2**32 - 1))
def test_the_average_is_the_mean_of_what_was_added(count: int, seed: int) -> None:
    model, random = small(), torch.Generator().manual_seed(seed)
    average = WeightAverage(model)
    sums = [torch.zeros_like(parameter, dtype=torch.float64) for parameter in model.parameters()]
    for _ in range(count):
        for parameter, total in zip(model.parameters(), sums, strict=True):
            parameter.data.copy_(torch.randn(parameter.shape, generator=random))
            total += parameter.detach()
        average.add()
    for parameter in model.parameters():
        parameter.data.zero_()
    average.put()
    for parameter, total in zip(model.parameters(), sums, strict=True):
        torch.testing.assert_close(parameter.double(), total / count, rtol=0, atol=1e-6)


@pytest.mark.parametrize("kind", ["shifts", "no shifts", "prunable shifts"])
def test_statistics_are_the_means_over_the_batches(kind: str) -> None:
    """Against the statistics one norm after the other finds in every batch by itself."""
    model = small(kind != "no shifts").train()
    if kind == "prunable shifts":
        make_shifts_prunable(model)
    norms = [layer for layer in model.modules() if isinstance(layer, Norm)]
    momenta = [norm.momentum for norm in norms]
    norms[-1].eval()
    kept = norms[-1].running_var.clone()
    batches = [torch.randn(4, 1, 8, 8, generator=torch.Generator().manual_seed(seed)) for seed in range(5)]
    found: list[list[Tensor]] = []
    for batch in batches:
        for norm in norms[:-1]:
            norm.momentum = 1.0
        with torch.no_grad():
            model(batch)
        found.append([tensor.clone() for norm in norms[:-1] for tensor in (norm.running_mean, norm.running_var)])
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    recalibrate(model, batches)
    ours = [tensor for norm in norms[:-1] for tensor in (norm.running_mean, norm.running_var)]
    for tensor, wanted in zip(ours, zip(*found, strict=True), strict=True):
        torch.testing.assert_close(tensor, torch.stack(wanted).mean(0))
    assert [norm.momentum for norm in norms] == momenta and norms[-1].running_var.equal(kept)


def test_a_rate_may_end_above_zero() -> None:
    assert [cosine_rate(step, 10, 0.0, 0.4) for step in (0, 5, 10)] == pytest.approx([1, 0.7, 0.4])
    assert cosine_rate(10, 10, 0.0) == pytest.approx(0)
    assert cosine_rate(0, 10, 0.5, 0.4) == cosine_rate(0, 10, 0.5)


def test_a_stage_ends_with_the_mean_of_its_weights(
    config_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of half of the 12 steps, pruned weights zero in it, and to the same bits where the stage is interrupted."""
    seen: list[dict[str, Tensor]] = []
    add, save = WeightAverage.add, Trainer._save

    def spy(self: WeightAverage) -> None:
        add(self)
        seen.append({name: value.detach().clone() for name, value in self._parameters.items()})

    def stop(self: Trainer, model: Any, stage: Stage, at: int, clock: Any) -> None:
        save(self, model, stage, at, clock)
        if stage.name == "pruned" and at == 9:
            raise RuntimeError("stopped")

    config = load_config(config_path, list(PRUNED))
    with monkeypatch.context() as patched:
        patched.setattr(WeightAverage, "add", spy)
        whole = Run(config, tmp_path / "whole").train()["pruned"]
    assert len(seen) == 6
    model, _ = load_checkpoint(whole)
    for name, parameter in model.named_parameters():
        wanted = torch.stack([weights[name] for weights in seen]).mean(0)
        torch.testing.assert_close(parameter, wanted, rtol=1e-5, atol=1e-7)
    lines = [json.loads(line) for line in (tmp_path / "whole" / "log.jsonl").read_text().splitlines()]
    last = lines[-1]
    assert last["stage"] == "pruned" and last["last_learning_rate"] > 0.4 * config.prune.learning_rate  # type: ignore[union-attr]
    assert last["pointwise_sparsity"] == pytest.approx(0.5, abs=0.05)
    with monkeypatch.context() as patched:
        patched.setattr(Trainer, "_save", stop)
        with pytest.raises(RuntimeError, match="stopped"):
            Run(config, tmp_path / "halved").train()
    again = read_tensors(Run(config, tmp_path / "halved").train()["pruned"])[0]
    for name, tensor in read_tensors(whole)[0].items():
        assert tensor.equal(again[name]), name


def test_averages_keep_zeros_and_ternary_filters(config_path: Path, tmp_path: Path) -> None:
    """Also where weights are averaged that were pruned, or became ternary, only later in the stage."""
    settings = ["predict.tuning=[]", "prune.average_share=1", "ternary.epochs=4", "ternary.average_share=1"]
    paths = Run(load_config(config_path, settings), tmp_path).train()
    for stage in ("pruned", "ternary"):
        assert read_tensors(paths[stage])[1]["pointwise_sparsity"] == pytest.approx(0.5, abs=0.05)
    model, _ = load_checkpoint(paths["ternary"])
    assert Ternariser(model, 0.5).distance() < 1e-10


def test_layerwise_steps_know_nothing_of_it(config_path: Path) -> None:
    plain = load_config(config_path)
    other = load_config(config_path, ["predict.average_share=0.5", "predict.final_rate_fraction=0.2"])
    assert plain.gives_the_same(other, "layerwise") and not plain.gives_the_same(other, "predicted-joint")
