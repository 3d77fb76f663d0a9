"""Ternary filters: nearest of their kind, followed by predictors without error, and kept through a whole run."""

from __future__ import annotations

import itertools
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from typer.testing import CliRunner

from predfuse.cli import app
from predfuse.errors import InputError
from predfuse.graph.nodes import Bottleneck
from predfuse.models import build
from predfuse.models.layers import BottleneckUnit, Cnn
from predfuse.predictor.errors import predictor_errors
from predfuse.predictor.format import PredictorFormat
from predfuse.predictor.initialise import initial_predictor, insert_predictors
from predfuse.predictor.trainable import whole_weights
from predfuse.training.checkpoint import load_checkpoint, read_tensors
from predfuse.training.config import load_config
from predfuse.training.loop import Stage, Trainer
from predfuse.training.run import Run, network_of
from predfuse.training.ternarising import NEAREST, Ternariser, pull_strength, ternary_filters
from predfuse.zoo.errors import run_errors

TERNARY = ("ternary.epochs=4", "ternary.distillation_weight=0.5", "predict.tuning=[joint]")


@st.composite
def filters(draw: st.DrawFn) -> Tensor:
    """Some filters ``[M, C, 1, 1]`` or ``[M, 1, K, K]``, many of their weights zero."""
    shape = draw(st.sampled_from([(3, 4, 1, 1), (2, 7, 1, 1), (3, 1, 3, 3), (1, 1, 1, 1)]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    weight = rng.normal(size=shape) * (rng.random(shape) < draw(st.sampled_from([0.0, 0.3, 1.0])))
    return torch.from_numpy(weight)


@given(filters(), st.sampled_from([0.0, 0.5, 0.9]))
def test_filters_have_one_magnitude(weight: Tensor, threshold: float) -> None:
    found = ternary_filters(weight, threshold)
    for ours, theirs in zip(found.flatten(1), weight.flatten(1), strict=True):
        magnitudes = ours[ours != 0].abs()
        if not theirs.any():
            assert not ours.any()
            continue
        kept = ours != 0
        assert kept.equal(theirs.abs() > threshold * theirs[theirs != 0].abs().mean())
        torch.testing.assert_close(magnitudes, theirs[kept].abs().mean().expand(len(magnitudes)))
        assert ours[kept].sign().equal(theirs[kept].sign())
    torch.testing.assert_close(ternary_filters(found, threshold), found)
    torch.testing.assert_close(ternary_filters(4 * weight, threshold), 4 * found)


@given(filters())
def test_kept_weights_have_the_nearest_factor(weight: Tensor) -> None:
    """Of all ternary filters with these zeros none is nearer: tried are all signs, and factors beside the one found."""
    found = ternary_filters(weight, 0.5)
    for ours, theirs in zip(found.flatten(1), weight.flatten(1), strict=True):
        kept = (ours != 0).nonzero().flatten()
        distance = float((ours - theirs).square().sum())
        factor = float(ours.abs().max())
        for signs in itertools.product((-1.0, 1.0), repeat=min(len(kept), 6)):
            for scale in (0.9, 1.0, 1.1):
                other = ours.clone()
                other[kept[: len(signs)]] = torch.tensor(signs, dtype=ours.dtype) * factor
                assert distance <= float((scale * other - theirs).square().sum()) + 1e-12


def fusible() -> Cnn:
    """A small network with some weights pruned and batch norms of all slopes."""
    model = build("fusionet", seed=3, input_shape=(1, 8, 8), num_classes=2, width=0.5, middle_width=0.05, depth=0.2)
    generator = torch.Generator().manual_seed(0)
    for _, block in model.bottlenecks():
        for layer in (block.expand, block.depthwise, block.project):
            layer.weight.data *= torch.rand(layer.weight.shape, generator=generator) < 0.4
        for norm in (block.expand_norm, block.depthwise_norm):
            torch.nn.init.uniform_(norm.weight, 0.5, 1.5, generator=generator)
            norm.weight.data[::3] *= -1
    return model.eval()


@given(st.floats(0, 1, exclude_max=True))
def test_a_pull_goes_part_of_the_way(strength: float) -> None:
    model = fusible()
    ternariser = Ternariser(model, 0.0)
    before = ternariser.distance()
    zeros = [block.expand.weight == 0 for _, block in model.bottlenecks()]
    ternariser.pull(strength)
    for (_, block), zero in zip(model.bottlenecks(), zeros, strict=True):
        assert not block.expand.weight[zero].any()
    assert before > 0.05
    assert ternariser.distance() <= before * (1 - strength) + 1e-6
    ternariser.pull(1)
    assert ternariser.distance() < 1e-12


def relative_distances(model: Cnn) -> list[Tensor]:
    """Of every filter of every layer, ``[M]``, the slow way."""
    found = []
    for _, block in model.bottlenecks():
        for weight in (block.expand.weight.detach(), block.depthwise.weight.detach()):
            apart = zip(weight, weight - ternary_filters(weight, NEAREST), strict=True)
            parts = [float(gap.square().sum()) / max(float(one.square().sum()), 1e-12) for one, gap in apart]
            found.append(torch.tensor(parts))
    return found


@given(st.floats(0.001, 0.2), st.floats(0.05, 1), st.floats(0.01, 100))
def test_a_pull_leaves_filters_that_are_near_enough(allowed: float, strength: float, size: float) -> None:
    """Each by itself, whatever the size of its weights."""
    model = fusible()
    layers = [layer for _, block in model.bottlenecks() for layer in (block.expand, block.depthwise)]
    for layer in layers:
        layer.weight.data[::2] *= size
    ternariser = Ternariser(model, NEAREST)
    assert ternariser.distance() == pytest.approx(float(torch.cat(relative_distances(model)).mean()), rel=1e-4)
    for _ in range(200):
        before, weights = relative_distances(model), [layer.weight.clone() for layer in layers]
        ternariser.pull(strength, allowed)
        for layer, weight, distance in zip(layers, weights, before, strict=True):
            moved = (layer.weight != weight).flatten(1).any(1)
            clear = (distance - allowed).abs() > 1e-5
            assert moved[clear].equal(distance[clear] > allowed)
        if all(bool((distance <= allowed).all()) for distance in before):
            break
    assert float(torch.cat(relative_distances(model)).max()) <= allowed + 1e-5


def test_pulls_grow() -> None:
    strengths = [pull_strength(progress) for progress in (-1, 0, 0.5, 1, 2)]
    assert strengths == [0, 0, 0.125, 1, 1]


def test_predictors_have_the_weights_of_ternary_blocks() -> None:
    """All that is left between a predictor's scores and pre-activations are 4-bit activations and whole offsets."""
    model = fusible()
    Ternariser(model, 0.5).pull(1)
    x = torch.randn(4, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    for layer in model.layers:
        if isinstance(layer, BottleneckUnit):
            predictor = initial_predictor(layer, x)
            for weight, own, norm in (
                (predictor.expand_weight, layer.expand, layer.expand_norm),
                (predictor.depthwise_weight, layer.depthwise, layer.depthwise_norm),
            ):
                slope = norm.weight.sign().view(-1, 1, 1, 1)
                assert whole_weights(weight, 1).equal(own.weight.sign() * slope)
        x = layer(x).detach()
        if x.dim() < 4:
            break


def test_ternary_blocks_leave_only_errors_of_activations() -> None:
    model, x = fusible(), torch.randn(8, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    before = predictor_errors(model, x)
    assert [error.block for error in before] == [name for name, _ in model.bottlenecks()]
    assert max(error.weights for error in before) > 0.001
    assert all(error.activations > 0 and error.own is None for error in before)
    insert_predictors(model, x)
    for error, (_, block) in zip(predictor_errors(model, x), model.bottlenecks(), strict=True):
        assert error.own == pytest.approx(error.both) and block.predictor is not None
    Ternariser(model, 0.0).pull(1)
    for error in predictor_errors(model, x):
        assert error.weights < 1e-9 < error.activations
    finer = predictor_errors(model, x, PredictorFormat(bits=8))
    coarse = predictor_errors(model, x)
    assert sum(error.activations for error in finer) < sum(error.activations for error in coarse) / 4


def test_damage_is_that_of_the_gated_block() -> None:
    """Against the block as it runs with its predictor in evaluation mode, projected and normalised."""
    model, x = fusible(), torch.randn(8, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    insert_predictors(model, x)
    errors = {error.block: error.own for error in predictor_errors(model, x)}
    seen = 0
    with torch.no_grad():
        for name, layer in model.layers.named_children():
            if isinstance(layer, BottleneckUnit):
                layer.project_norm, layer.shuffle_groups, layer.residual = torch.nn.Identity(), 1, False
                found, predictor = layer(x), layer.predictor
                layer.predictor = None
                wanted = layer(x)
                spread = (wanted - wanted.mean((0, 2, 3), keepdim=True)).square().mean()
                assert errors[name] == pytest.approx(float((found - wanted).square().mean() / spread), rel=1e-4)
                assert predictor is not None
                seen += 1
                break  # what the next block reads went through the norm
            x = layer(x)
    assert seen == 1


@pytest.fixture(scope="module")
def finished(config_path: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A run with a ternary stage."""
    return Run(load_config(config_path, list(TERNARY)), tmp_path_factory.mktemp("ternary")).train()


def test_filters_stay_ternary_to_the_network(finished: dict[str, Path]) -> None:
    assert list(finished) == ["vanilla", "pruned", "ternary", "layerwise", "predicted-joint"]
    before, after = (load_checkpoint(finished[stage])[0] for stage in ("ternary", "predicted-joint"))
    for (_, first), (_, last) in zip(before.bottlenecks(), after.bottlenecks(), strict=True):
        assert not first.project.weight.equal(last.project.weight)  # what is not ternary goes on learning
    for model in (before, after):
        assert Ternariser(model, 0.5).distance() < 1e-10
    pruned, _ = load_checkpoint(finished["pruned"])
    for (_, block), (_, dense) in zip(after.bottlenecks(), pruned.bottlenecks(), strict=True):
        assert not block.expand.weight[dense.expand.weight == 0].any()
    for node in network_of(finished["predicted-joint"]).nodes:
        if isinstance(node, Bottleneck):
            for row in np.abs(node.expand_weight.reshape(node.middle_channels, -1)):
                assert row[row > 0].min(initial=row.max()) >= (1 - 1e-5) * row.max()
    assert read_tensors(finished["ternary"])[1]["ternary_distance"] < 1e-4
    lines = [json.loads(line) for line in (finished["vanilla"].parent / "log.jsonl").read_text().splitlines()]
    distances = [line["ternary_distance"] for line in lines if line["stage"] == "ternary"]
    assert len(distances) == 4 and distances[0] > 0.001 and distances[-1] < 1e-4


def test_the_pull_resumes_to_the_same_bits(
    config_path: Path, tmp_path: Path, finished: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    for stage in ("vanilla", "pruned"):
        shutil.copy(finished[stage], tmp_path)
    save = Trainer._save

    def stop(self: Trainer, model: Any, stage: Stage, at: int, clock: Any) -> None:
        save(self, model, stage, at, clock)
        if at == 9:
            raise RuntimeError("stopped")

    config = load_config(config_path, [*TERNARY, "predict=null"])
    with monkeypatch.context() as patched:
        patched.setattr(Trainer, "_save", stop)
        with pytest.raises(RuntimeError, match="stopped"):
            Run(config, tmp_path).train()
    ours, whole = (read_tensors(path)[0] for path in (Run(config, tmp_path).train()["ternary"], finished["ternary"]))
    assert all(torch.equal(ours[name], whole[name]) for name in whole)


def test_pruned_filters_are_drawn_near_ternary_ones(config_path: Path, tmp_path: Path) -> None:
    """As near as is asked for, but not ternary; in recovery alone; and nothing that is pruned comes back."""
    settings = ["predict=null", "prune.epochs=6", "prune.update_every_steps=2"]
    found = {}
    for name, more in (("plain", []), ("near", ["prune.ternary_decay=30", "prune.ternary_distance=0.02"])):
        paths = Run(load_config(config_path, [*settings, *more]), tmp_path / name).train()
        model, _ = load_checkpoint(paths["pruned"])
        found[name] = Ternariser(model, NEAREST).distance()
        lines = [json.loads(line) for line in (tmp_path / name / "log.jsonl").read_text().splitlines()]
        pruned = [line for line in lines if line["stage"] == "pruned"]
        assert pruned[-1]["pointwise_sparsity"] == pytest.approx(0.5, abs=0.05)
        assert [line.get("ternary_distance") is not None for line in pruned] == [name == "near"] * 6
        if name == "near":
            assert pruned[-1]["ternary_distance"] == pytest.approx(found["near"], abs=1e-5)
            assert pruned[0]["ternary_distance"] > 0.05 > 2 * pruned[-1]["ternary_distance"]
    assert 0.001 < found["near"] < 0.025 < found["plain"]


def test_everything_after_it_depends_on_it(config_path: Path) -> None:
    plain, other = load_config(config_path), load_config(config_path, ["ternary.epochs=7"])
    for stage in ("vanilla", "pruned"):
        assert plain.up_to(stage) == other.up_to(stage)
    for stage in ("ternary", "layerwise", "predicted-joint"):
        assert plain.up_to(stage) != other.up_to(stage)
    assert load_config(config_path, ["ternary.seed=5"]).seed_of("predicted-joint") == 5


def test_the_errors_of_a_run(finished: dict[str, Path], tmp_path: Path) -> None:
    folder = finished["vanilla"].parent
    shown = CliRunner().invoke(app, ["zoo", "errors", str(folder), "--json", str(tmp_path / "errors.json")])
    assert shown.exit_code == 0 and "predicted-joint" in shown.output
    found = json.loads((tmp_path / "errors.json").read_text())
    assert list(found) == ["pruned", "ternary", "layerwise", "predicted-joint"]
    for stage, blocks in found.items():
        for block in blocks:
            assert (block["weights"] < 1e-6) == (stage != "pruned")
            assert (block["own"] is None) == (stage in ("pruned", "ternary"))
    made, larger = run_errors(str(folder), 10, largest_weight=2)
    ternary, smaller = run_errors(str(folder), 10)
    assert (made.largest_weight, ternary.largest_weight) == (2, 1)
    of_pruned = [sum(block.weights for block in found["pruned"]) for found in (larger, smaller)]
    assert of_pruned[0] < 0.6 * of_pruned[1]
    with pytest.raises(InputError, match="largest_weight: is 3"):
        run_errors(str(folder), 10, largest_weight=3)
    with pytest.raises(InputError, match="holds no pruned"):
        run_errors(str(tmp_path), 10)
