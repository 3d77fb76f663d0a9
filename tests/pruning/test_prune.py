"""Pruning in users' own modules: which weights go, that they stay zero, and that nothing else changes."""

from __future__ import annotations

import copy
import math
from pathlib import Path

import pytest
import torch
from foreign_networks import MnasNet, MobileNetV2
from hypothesis import given, settings, strategies as st
from torch import Tensor, nn
from torch.nn import functional as F
from typer.testing import CliRunner

import predfuse
from predfuse import PruneConfig, models
from predfuse.cli import app
from predfuse.errors import InputError
from predfuse.graph.from_torch import trace
from predfuse.graph.io import load_network
from predfuse.pruning.masks import hold_shifts
from predfuse.pruning.prune import Pruning

IMAGES = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(1))


class Functional(nn.Module):
    """A block of function calls with parameters of its own, biases and no norms."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Parameter(torch.randn(12, 3, 1, 1))
        self.shift = nn.Parameter(torch.randn(12))
        self.second = nn.Parameter(torch.randn(12, 1, 3, 3))
        self.third = nn.Parameter(torch.randn(5, 12, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        h = F.relu6(F.conv2d(x, self.first, self.shift))
        return F.conv2d(F.relu(F.conv2d(h, self.second, padding=1, groups=12)), self.third)


def train(model: nn.Module, optimizer: torch.optim.Optimizer, steps: int, pruning: Pruning) -> None:
    model.train()
    for _ in range(steps):
        optimizer.zero_grad()
        (model(IMAGES) - 1).square().mean().backward()
        optimizer.step()
        pruning.step()
    model.eval()


@pytest.mark.parametrize("build", [MobileNetV2, MnasNet, Functional])
def test_zeros_stay_under_an_optimiser_that_was_made_before(build: type[nn.Module]) -> None:
    torch.manual_seed(0)
    model = build()
    optimizer = torch.optim.SGD(model.parameters(), 0.02, momentum=0.9, weight_decay=0.01)
    model(IMAGES).square().mean().backward()
    optimizer.step()
    config = PruneConfig(pointwise=0.5, depthwise=0.4, shifts=0.25)
    pruning = predfuse.prune(model, IMAGES, config)
    before = {block.name: block for block in predfuse.to_network(model, IMAGES).bottlenecks()}
    assert tuple(before) == pruning.blocks and not pruning.refused
    train(model, optimizer, 4, pruning)
    pruning.finish()
    assert not [name for name in model.state_dict() if "parametrizations" in name or "shift_mask" in name]
    for block in predfuse.to_network(model, IMAGES).bottlenecks():
        for stage, share in (("expand", 0.5), ("depthwise", 0.4), ("project", 0.5)):
            weight, earlier = getattr(block, f"{stage}_weight"), getattr(before[block.name], f"{stage}_weight")
            assert (weight == 0).sum() == round(share * weight.size)
            assert ((weight == 0) == (earlier == 0)).all() and not (weight == earlier).all()
        shifted = block.expand_bias
        assert (shifted == 0).sum() == round(0.25 * shifted.size)
        assert ((shifted == 0) == (before[block.name].expand_bias == 0)).all()


def test_the_smallest_weights_go_and_the_rest_of_the_model_is_untouched() -> None:
    torch.manual_seed(0)
    model = MobileNetV2().eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    names = {name: id(value) for name, value in model.named_parameters()}
    predfuse.prune(model, IMAGES, PruneConfig(shifts=0))
    held = {id(value) for value in model.parameters()}
    assert held == set(names.values())  # an optimiser knows them
    predfuse.prune.finish(model)
    assert {name: id(value) for name, value in model.named_parameters()} == names
    blocks = trace(model, IMAGES[:1]).ledger.fused
    pruned = {part.parameters[0] for entry in blocks for part in entry.parts if part.role in ("expand", "project")}
    filters = {part.parameters[0] for entry in blocks for part in entry.parts if part.role == "depthwise"}
    for name, value in model.state_dict().items():
        if name not in pruned | filters:
            assert torch.equal(value, before[name]), name
            continue
        removed = round((0.8 if name in pruned else 0.7) * value.numel())
        smallest = before[name].abs().flatten().sort().values
        assert (value == 0).sum() == removed
        assert value[value != 0].abs().min() >= smallest[removed - 1]


def test_copies_state_dictionaries_and_traces_agree() -> None:
    torch.manual_seed(0)
    model = MobileNetV2().train()
    model(IMAGES)
    pruning = predfuse.prune(model, IMAGES)
    model.eval()
    wanted = model(IMAGES)
    other = MobileNetV2()
    predfuse.prune(other, IMAGES)
    other.load_state_dict(model.state_dict())
    copied = copy.deepcopy(model)
    predfuse.prune.finish(copied)
    assert not torch.equal(MobileNetV2().eval()(IMAGES), wanted)
    plain = MobileNetV2().eval()
    plain.load_state_dict(copied.state_dict())
    for same in (other.eval(), copied, plain, model):
        assert torch.allclose(same(IMAGES), wanted, atol=1e-6)
    other.load_state_dict(MobileNetV2().state_dict())  # dense weights under masks that stay
    assert not torch.equal(other(IMAGES), wanted)
    second = predfuse.to_network(other, IMAGES)
    assert all(
        (block.expand_weight == 0).sum() == round(0.8 * block.expand_weight.size) for block in second.bottlenecks()
    )
    assert pruning.sparsity()["pointwise"] == pytest.approx(0.8, abs=0.01)


@given(
    st.integers(1, 40), st.floats(0, 0.95), st.floats(0, 0.95), st.floats(0, 1), st.lists(st.integers(1, 9), max_size=4)
)
@settings(max_examples=5, deadline=None)
def test_shares_follow_a_cubic_ramp_and_never_shrink(
    schedule: int, pointwise: float, depthwise: float, shifts: float, strides: list[int]
) -> None:
    torch.manual_seed(0)
    model = Functional()
    pruning = predfuse.prune(model, IMAGES, PruneConfig(pointwise, depthwise, shifts, schedule))
    gone = torch.zeros_like(model.first, dtype=torch.bool)
    for number in [0, *strides, schedule]:
        pruning.step(number)
        now = model.first == 0
        share = pointwise * (1 - (1 - min(number / schedule, 1)) ** 3)
        assert now.sum() >= gone.sum() and bool(now[gone].all())
        assert number < gone.sum() or now.sum() >= math.floor(share * now.numel())
        gone = now
    assert gone.sum() == round(pointwise * gone.numel())


@given(st.integers(0, 2**31), st.booleans(), st.sampled_from([0.1, None]))
@settings(max_examples=20, deadline=None)
def test_a_norm_with_all_its_shifts_is_a_batch_norm(seed: int, affine: bool, momentum: float | None) -> None:
    torch.manual_seed(seed)
    plain = nn.BatchNorm2d(5, affine=affine, momentum=0.9)
    other = hold_shifts(copy.deepcopy(plain))
    for _ in range(3):
        x = torch.randn(4, 5, 3, 3) * 3 + 1
        assert torch.allclose(other(x), plain(x), atol=1e-5)
    for name, value in plain.state_dict().items():
        assert torch.allclose(other.state_dict()[name].double(), value.double(), rtol=1e-5), name
    assert torch.allclose(other.eval()(x), plain.eval()(x), atol=1e-5)
    other.train().shift_mask.zero_()
    y = other(x)
    scaled = (
        x
        * x.square().mean((0, 2, 3), keepdim=True).rsqrt()
        * (1 if other.weight is None else other.weight.view(1, -1, 1, 1))
    )
    assert torch.allclose(y, scaled, atol=1e-4)


def test_images_may_be_missing_and_registered_networks_do_too() -> None:
    model = models.build("mobilenetv2-s")
    pruning = predfuse.prune(model)
    assert pruning.blocks == tuple(name for name, _ in model.bottlenecks()) and not pruning.refused
    network = predfuse.to_network(model, torch.randn(1, *model.input_shape))
    block = next(network.bottlenecks())
    assert (block.expand_weight == 0).sum() == round(0.8 * block.expand_weight.size)


def test_a_prepared_model_keeps_its_zeros_and_a_pruned_one_can_be_prepared() -> None:
    torch.manual_seed(0)
    model = MobileNetV2()
    predfuse.prune(model, IMAGES, PruneConfig(shifts=0))
    predfuse.prepare(model, predfuse.PrepareConfig(steps=0), IMAGES)
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    model.train()(IMAGES).square().mean().backward()
    optimizer.step()
    network = predfuse.to_network(model.eval(), IMAGES)
    for block in network.bottlenecks():
        assert block.predictor is not None
        assert (block.expand_weight == 0).sum() == round(0.8 * block.expand_weight.size)
    assert predfuse.compile(model, IMAGES).fused_blocks()


@pytest.mark.parametrize("wrong", [{"pointwise": 1.0}, {"depthwise": -0.1}, {"shifts": 1.5}, {"schedule": -1}])
def test_wrong_shares_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(InputError, match="prune"):
        PruneConfig(**wrong)  # type: ignore[arg-type]


def test_what_cannot_be_pruned_is_said() -> None:
    with pytest.raises(InputError, match="no expand-depthwise-project block"):
        predfuse.prune(nn.Sequential(nn.Conv2d(3, 4, 3)), IMAGES)
    model = MobileNetV2()
    predfuse.prune(model, IMAGES)
    with pytest.raises(InputError, match="pruned already"):
        predfuse.prune(model, IMAGES)
    with pytest.raises(InputError, match="no convolution"):
        predfuse.prune(nn.Linear(2, 2))


def test_the_command_prunes_a_network_file(tmp_path: Path) -> None:
    out = tmp_path / "pruned.safetensors"
    ran = CliRunner().invoke(app, ["prune", "mobilenetv2-s", "-o", str(out), "--pointwise", "0.5", "--shifts", "0"])
    assert ran.exit_code == 0, ran.output
    block = next(load_network(out).bottlenecks())
    assert (block.expand_weight == 0).mean() == pytest.approx(0.5, abs=0.01)
    assert (block.depthwise_weight == 0).mean() == pytest.approx(0.7, abs=0.01)
