"""Predictors for networks that are at hand as graphs only, in Python and on the command line."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from typer.testing import CliRunner

import predfuse
from predfuse import models
from predfuse.cli import app
from predfuse.errors import InputError
from predfuse.fusion.execute import run_network
from predfuse.graph.io import load_network, save_network
from predfuse.graph.nodes import Network
from predfuse.predictor.initialise import insert_predictors
from predfuse.predictor.network import prepare_network
from predfuse.predictor.prepare import PrepareConfig
from predfuse.predictor.steps import affordable_steps

FITTED = PrepareConfig(steps=0)
OPTIONS: dict[str, Any] = {
    "stage_blocks": (1, 1),
    "stage_middle": (32, 48),
    "stage_channels": (8, 8),
    "input_shape": (1, 14, 14),
}


def small() -> Network:
    return models.network("fusionet-s", options=OPTIONS)


def images(count: int = 16) -> np.ndarray:
    """Images of patches, for neighbouring pixels of real ones are alike."""
    patches = np.random.default_rng(0).normal(size=(count, 1, 5, 5))
    return np.kron(patches, np.ones((3, 3)))[:, :, :14, :14]


def wrong_shares(network: Network) -> list[float]:
    blocks = run_network(network, images(8), "predicted").blocks
    return [stage.false_on_share + stage.false_off_share for b in blocks for stage in (b.expand, b.depthwise)]


def test_untuned_predictors_are_those_of_the_module() -> None:
    model = models.build("fusionet-s", **OPTIONS)
    insert_predictors(model, torch.from_numpy(images()).float())
    for wanted, got in zip(
        models.to_network(model).bottlenecks(), prepare_network(small(), images(), FITTED).bottlenecks(), strict=True
    ):
        assert wanted.predictor is not None and got.predictor is not None
        assert wanted.predictor.input_exponent == got.predictor.input_exponent
        # Folded weights are rounded: a ternary weight or an offset on an edge may differ.
        assert (wanted.predictor.expand != got.predictor.expand).mean() < 0.01
        assert np.abs(wanted.predictor.expand_offset - got.predictor.expand_offset).max() <= 1
        np.testing.assert_array_equal(wanted.predictor.shift, got.predictor.shift)


def test_tuning_needs_no_labels_and_makes_fewer_errors() -> None:
    losses: list[float] = []

    def told(loss: float, steps: int) -> None:
        assert steps == 2 * 40
        losses.append(loss)

    network = small()
    fitted = prepare_network(network, images(32), FITTED)
    tuned = prepare_network(network, images(32), PrepareConfig(steps=40), batch_size=16, progress=told)
    by_block = np.reshape(losses, (2, 40))  # blocks are tuned one after the other
    assert (by_block[:, -8:].mean(1) < 0.97 * by_block[:, :8].mean(1)).all()
    assert np.mean(wrong_shares(tuned)) < 0.9 * np.mean(wrong_shares(fitted)) < 0.25
    assert tuned.metadata["stage"] == "prepared" and tuned.metadata["layerwise_steps"] == 40
    for before, after in zip(network.bottlenecks(), tuned.bottlenecks(), strict=True):
        np.testing.assert_array_equal(before.expand_weight, after.expand_weight)
    again = prepare_network(network, images(32), PrepareConfig(steps=40), batch_size=16)
    for left, right in zip(tuned.bottlenecks(), again.bottlenecks(), strict=True):
        assert left.predictor is not None and right.predictor is not None
        np.testing.assert_array_equal(left.predictor.depthwise_offset, right.predictor.depthwise_offset)


def test_a_module_is_tuned_as_its_network_is() -> None:
    config, pixels = PrepareConfig(steps=12), images(24)
    registered = models.build("fusionet-s", **OPTIONS)
    torch.manual_seed(0)
    layers = [nn.Conv2d(4, 24, 1), nn.ReLU(), nn.Conv2d(24, 24, 3, 1, 1, groups=24), nn.ReLU(), nn.Conv2d(24, 4, 1)]
    own = nn.Sequential(nn.Conv2d(1, 4, 3, 1, 1), *layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3))
    for model in (registered, own.eval()):
        first = torch.from_numpy(pixels[:1]).float()
        plain = predfuse.to_network(model, first, name="x")
        fitted, tuned = (prepare_network(plain, pixels, part) for part in (PrepareConfig(steps=0), config))
        predfuse.prepare(model, config, torch.from_numpy(pixels).float())
        got = predfuse.to_network(model, first, name="x")
        apart = {
            "tuned": 0,
            "fitted": 0,
        }  # sums are rounded in another order: values on an edge differ
        for label, other in (("tuned", tuned), ("fitted", fitted)):
            for block, expected in zip(got.bottlenecks(), other.bottlenecks(), strict=True):
                assert block.predictor is not None and expected.predictor is not None
                for name in ("expand", "expand_offset", "depthwise", "depthwise_offset"):
                    differs = getattr(block.predictor, name) != getattr(expected.predictor, name)
                    apart[label] += int(differs.sum())
        assert 5 * apart["tuned"] < apart["fitted"]


def test_predictors_are_as_wide_as_the_machine_runs_them(tmp_path: Path) -> None:
    save_network(small(), tmp_path / "n.safetensors")
    text = (files("predfuse.hardware") / "specs/archon.yaml").read_text().replace("_bits: 4", "_bits: 8")
    (tmp_path / "wide.yaml").write_text(text)
    output = ["--images", "random", "-n", "2", "--steps", "0", "-o", str(tmp_path / "p.safetensors")]
    for machine, bits in (("archon", 4), (str(tmp_path / "wide.yaml"), 8)):
        result = CliRunner().invoke(app, ["prepare", str(tmp_path / "n.safetensors"), "-a", machine, *output])
        assert result.exit_code == 0, result.output
        block = next(load_network(tmp_path / "p.safetensors").bottlenecks())
        assert block.predictor is not None and block.predictor.activation_bits == bits
    result = CliRunner().invoke(app, ["prepare", str(tmp_path / "n.safetensors"), "-a", "eyeriss-dense", *output])
    assert isinstance(result.exception, InputError) and "runs no predictors" in str(result.exception)


def test_blocks_can_be_chosen_and_large_ones_take_fewer_images(monkeypatch: pytest.MonkeyPatch) -> None:
    network = prepare_network(small(), images(), PrepareConfig(bits=3, blocks=("b2",), steps=0))
    first, second = network.bottlenecks()
    assert first.predictor is None and second.predictor is not None and second.predictor.hidden_max == 7
    assert network.largest_predictor_weight == 1
    larger = prepare_network(small(), images(), PrepareConfig(largest_weight=4, steps=0))
    assert larger.largest_predictor_weight == 4
    wide = prepare_network(small(), images(1), FITTED)
    monkeypatch.setattr("predfuse.predictor.network.LARGEST_TENSOR", 1)
    narrow = prepare_network(small(), np.concatenate([images(1), 100 * images(4)]), FITTED)
    for left, right in zip(wide.bottlenecks(), narrow.bottlenecks(), strict=True):
        assert left.predictor is not None and right.predictor is not None
        assert left.predictor.input_exponent == right.predictor.input_exponent


def test_slow_steps_are_fewer(monkeypatch: pytest.MonkeyPatch) -> None:
    network = small()
    blocks, shapes = list(network.bottlenecks()), network.shapes()
    assert affordable_steps(network, blocks) == 200
    step = 0
    for block in blocks:
        rows, columns = shapes[block.inputs[0]][1:]
        expands = rows * columns * block.in_channels * block.middle_channels // block.groups
        _, rows, columns = shapes[block.name]
        step += 32 * (expands + rows * columns * block.middle_channels * block.kernel**2)
    monkeypatch.setattr("predfuse.predictor.steps.TUNED_OPERATIONS", 7.5 * step)
    assert affordable_steps(network, blocks) == 7
    assert affordable_steps(network, blocks[:1]) > 7
    monkeypatch.setattr("predfuse.predictor.steps.TUNED_OPERATIONS", 1)
    assert affordable_steps(network, blocks) == 1


def test_everybody_tunes_as_many_steps_by_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("predfuse.predictor.steps.MOST_STEPS", 3)
    taken: list[int] = []

    def tune(predictor: object, batch: object, images: int, steps: int, **rest: object) -> None:
        taken.append(steps)

    for module in ("network", "prepare"):
        monkeypatch.setattr(f"predfuse.predictor.{module}.tune", tune)
    layers = [nn.Conv2d(1, 8, 1), nn.ReLU(), nn.Conv2d(8, 8, 3, 1, 1, groups=8), nn.ReLU(), nn.Conv2d(8, 4, 1)]
    own = nn.Sequential(*layers).eval()
    example = torch.from_numpy(images()).float()
    save_network(small(), tmp_path / "n.safetensors")
    command = ["prepare", str(tmp_path / "n.safetensors"), "--images", "random", "-n", "2"]
    for steps, options in ((3, []), (5, ["--steps", "5"])):
        config = PrepareConfig() if steps == 3 else PrepareConfig(steps=5)
        predfuse.prepare(copy.deepcopy(own), config, example)
        predfuse.prepare(models.build("fusionet-s", **OPTIONS), config, example)
        assert prepare_network(small(), images(), config).metadata["layerwise_steps"] == steps
        result = CliRunner().invoke(app, [*command, *options, "-o", str(tmp_path / f"{steps}.safetensors")])
        assert result.exit_code == 0 and f"in {steps} steps" in result.output
        assert taken == 7 * [steps]  # of one block, and of two, three times
        taken.clear()


def test_mistakes_are_named() -> None:
    with pytest.raises(InputError, match=r"network fusionet-s: has no block 'b7'; use some of b1, b2"):
        prepare_network(small(), images(), PrepareConfig(blocks=("b7",)))
    with pytest.raises(InputError, match=r"images: have shape 16x1x14x7, network fusionet-s expects Nx1x14x14"):
        prepare_network(small(), images()[..., :7])
    with pytest.raises(InputError, match=r"images: have type uint8; normalise them first"):
        prepare_network(small(), images().astype(np.uint8))
    plain = Network("plain", (1, 14, 14), small().nodes[:2])
    with pytest.raises(InputError, match="network plain: has no expand-depthwise-project block"):
        prepare_network(plain, images())


def test_the_command_writes_a_network_that_compiles_and_exports(tmp_path: Path) -> None:
    source, output = tmp_path / "small.safetensors", tmp_path / "prepared.safetensors"
    save_network(small(), source)
    command = [sys.executable, "-m", "predfuse", "prepare", str(source), "-o", str(output)]
    options = [
        "--images",
        "random",
        "-n",
        "8",
        "--steps",
        "2",
        "--check",
        "2",
        "--block",
        "b1",
        "--largest-weight",
        "2",
    ]
    done = subprocess.run([*command, *options, "--json", "-"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    assert [block["name"] for block in summary["blocks"]] == ["b1"]
    assert 0 <= summary["blocks"][0]["depthwise_false_off_share"] < 0.5
    first, second = load_network(output).bottlenecks()
    assert first.predictor is not None and second.predictor is None
    assert first.predictor.largest_weight == 2

    done = subprocess.run([*command, "--images", "nowhere"], capture_output=True, text=True)
    assert done.returncode == 2 and done.stderr.startswith("predfuse: error: ") and done.stderr.count("\n") == 1
