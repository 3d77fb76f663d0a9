"""A user's own network is trained like a registered one: branches, kept weights, resampled pictures, refusals."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from typer.testing import CliRunner

from predfuse import models
from predfuse.cli import app
from predfuse.errors import InputError
from predfuse.exporters.module import to_module
from predfuse.graph.from_torch import trace
from predfuse.graph.io import save_network
from predfuse.models.from_graph import trainable
from predfuse.training.checkpoint import load_checkpoint, read_tensors
from predfuse.training.config import TrainConfig, parse_config
from predfuse.training.run import Run, build_model
from predfuse.training.runs import load_run, network_of

pytestmark = pytest.mark.usefixtures("without_loops")

SOURCE = '''
import torch
from torch import nn


def conv(channels, outputs, kernel=1, groups=1, activation=True):
    layers = [nn.Conv2d(channels, outputs, kernel, padding=kernel // 2, groups=groups, bias=False)]
    return nn.Sequential(*layers, nn.BatchNorm2d(outputs), *([nn.ReLU6()] if activation else []))


class Branched(nn.Module):
    """A stem, two branches that are added and joined, a bottleneck with a residual, pooling, two linear layers."""

    def __init__(self):
        super().__init__()
        self.stem, self.left, self.right = conv(1, 8, 3), conv(8, 8, 3), conv(8, 8, activation=False)
        self.block = nn.Sequential(conv(16, 32), conv(32, 32, 3, 32), conv(32, 16, activation=False))
        self.hidden, self.out = nn.Linear(16, 12), nn.Linear(12, 2)

    def forward(self, x):
        x = self.stem(x)
        left = nn.functional.max_pool2d(self.left(x) + x, 2)
        x = torch.cat([left, nn.functional.avg_pool2d(self.right(x), 2)], 1)
        x = self.block(x) + x
        return self.out(torch.relu(self.hidden(x.mean((2, 3)))))
'''


@pytest.fixture(scope="module")
def branched(tmp_path_factory: pytest.TempPathFactory) -> nn.Module:
    """The module of :data:`SOURCE`, with statistics and norms as training leaves them."""
    scope: dict[str, type[nn.Module]] = {}
    exec(SOURCE, scope)
    torch.manual_seed(3)
    model = scope["Branched"]()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, 0, 0.3)
    with torch.no_grad():
        for _ in range(30):
            model(torch.randn(16, 1, 8, 8))
    return model.eval()


def configured(name: str, pictures: Path, **changes: object) -> TrainConfig:
    plain = {
        "network": {"name": name},
        "data": {"name": f"folder:{pictures}", "size": 8, "crop_padding_pixels": 1},
        "batch_size": 16,
        "vanilla": {"epochs": 6},
        "prune": {"epochs": 2, "pointwise_sparsity": 0.5, "depthwise_sparsity": 0.4, "update_every_steps": 2},
        "predict": {"epochs": 1, "layerwise_steps": 4, "calibration_images": 32, "distillation_weight": 0.5},
    }
    return parse_config({**plain, **changes}, "test")


def test_a_function_trains_through_all_stages_and_its_checkpoints_are_used_without_a_size(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "own_branched.py").write_text(SOURCE)
    monkeypatch.chdir(tmp_path)
    predict = {"epochs": 1, "layerwise_steps": 4, "calibration_images": 32, "feature_weight": 1.0, "gates": "signs"}
    config = configured("own_branched:Branched", pictures, predict=predict)
    paths = Run(config, tmp_path / "run").train()
    assert list(paths) == ["vanilla", "pruned", "layerwise", "predicted-joint"]
    (tmp_path / "own_branched.py").unlink()  # checkpoints are data
    facts = read_tensors(paths["vanilla"])[1]
    assert facts["test_accuracy"] > 0.8 and facts["architecture"] == "own_branched:Branched"
    images = torch.randn(4, 1, 8, 8)
    for stage in ("vanilla", "pruned", "predicted-joint"):
        model, _ = load_checkpoint(paths[stage])
        network = network_of(paths[stage])
        (block,) = network.bottlenecks()
        assert (block.predictor is not None) == (stage == "predicted-joint")
        if stage == "pruned":
            assert np.count_nonzero(block.expand_weight) == block.expand_weight.size // 2
        with torch.no_grad():
            module = to_module(network, "predicted" if block.predictor is not None else "plain")
            assert torch.allclose(module(images), model(images), atol=1e-4)
    assert len(load_run(tmp_path / "run", predictor=True).test_images(5).images) == 5
    last = str(paths["predicted-joint"])
    found = CliRunner().invoke(app, ["evaluate", last, "--json", "-"], catch_exceptions=False)
    assert json.loads(found.stdout)[0]["accuracy"] == read_tensors(paths["predicted-joint"])[1]["test_accuracy"]
    target = str(tmp_path / "own.program")
    compiled = CliRunner().invoke(app, ["compile", last, "-o", target, "-n", "8"], catch_exceptions=False)
    assert compiled.exit_code == 0
    for line in (
        ["run", target, str(pictures), "-n", "2"],
        ["simulate", target, "-a", "archon", "--fidelity", "cycle", "--images", f"folder:{pictures}", "-n", "2"],
        ["export", last, "-o", str(tmp_path / "own.onnx"), "--images", str(pictures), "-n", "2"],
        ["compare", "--run", str(tmp_path / "run"), "-n", "2"],  # with itself: no rival on these pictures is shipped
    ):
        found = CliRunner().invoke(app, line, catch_exceptions=False)
        assert found.exit_code == 0, found.output


def test_kept_weights_compute_the_same_and_still_do_in_training_mode(branched: nn.Module) -> None:
    images = torch.randn(64, 1, 8, 8)
    network = trace(branched, images[:1]).network
    model = trainable(network, "own", images)
    lowered = models.to_network(model)
    assert [node.name for node in lowered.nodes] == [node.name for node in network.nodes]
    with torch.no_grad():
        wanted = branched(images)
        assert torch.allclose(model.eval()(images), wanted, atol=1e-4)
        assert torch.allclose(to_module(lowered)(images), wanted, atol=1e-4)
        assert torch.allclose(trainable(lowered, "again").eval()(images), wanted, atol=1e-4)
        assert torch.allclose(model.train()(images), wanted, atol=1e-3)


def test_a_network_file_goes_on_from_its_weights_or_starts_anew(
    branched: nn.Module, pictures: Path, tmp_path: Path
) -> None:
    path = tmp_path / "own.network"
    save_network(trace(branched, torch.randn(1, 1, 8, 8)).network, path)
    firsts = {}
    for new in (True, False):
        network = {"name": str(path), "new_weights": new}
        config = configured(str(path), pictures, network=network, prune=None, predict=None)
        trainer = Run(config, tmp_path / str(new)).trainer
        firsts[new] = build_model(config, trainer.train).state_dict()["layers.stem/0.conv.weight"]
    kept = dict(branched.named_parameters())["stem.0.weight"]
    assert not torch.allclose(firsts[True], kept)
    ratio = firsts[False] / kept
    assert torch.allclose(ratio, ratio[:, :1, :1, :1].expand_as(ratio), rtol=1e-4)  # the folded norm's scale


class Narrow(nn.Module):
    """No block in it."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.conv, self.out = nn.Conv2d(1, 4, 3), nn.Linear(4, classes)

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.out(self.conv(x).relu().mean((2, 3)))
        return found


@pytest.mark.parametrize(
    ("classes", "side", "changes", "message"),
    [
        (3, 8, {}, "has 3 outputs for 2 classes"),
        (2, 9, {}, "takes images of 1x9x9, data"),
        (2, 8, {}, "has no expand-depthwise-project block to prune"),
        (2, 8, {"options": {"width": 2}}, "are of registered networks"),
    ],
)
def test_what_does_not_fit_is_named(
    pictures: Path, tmp_path: Path, classes: int, side: int, changes: dict[str, object], message: str
) -> None:
    path = tmp_path / "narrow.network"
    save_network(trace(Narrow(classes), torch.randn(1, 1, side, side)).network, path)
    config = configured(str(path), pictures, network={"name": str(path), **changes})
    with pytest.raises(InputError, match=message):
        Run(config, tmp_path / "run").train()
    assert not list((tmp_path / "run").glob("*.safetensors"))
