"""Predictors in users' own modules: every style of writing a block, and why some cannot be prepared."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable
from typing import Any

import float_reference as reference
import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import predfuse
from predfuse import PrepareConfig, models
from predfuse.arrays import Array
from predfuse.errors import InputError, PredfuseError
from predfuse.graph.from_torch import UnsupportedError
from predfuse.graph.nodes import Bottleneck, Network
from predfuse.predictor.block_modules import find_border
from predfuse.predictor.gates import Observation, gate_mode, gates_of

CHANNELS, MIDDLE, SIZE = 4, 12, 7


def conv(into: int, out: int, kernel: int = 1, stride: int = 1, groups: int = 1, bias: bool = False) -> nn.Conv2d:
    return nn.Conv2d(into, out, kernel, stride, kernel // 2, groups=groups, bias=bias)


class Functional(nn.Module):
    """Functional activations in place, one norm after each convolution, a residual."""

    def __init__(self, middle: int = MIDDLE) -> None:
        super().__init__()
        self.a, self.na = conv(CHANNELS, middle), nn.BatchNorm2d(middle)
        self.d, self.nd = conv(middle, middle, 3, groups=middle), nn.BatchNorm2d(middle)
        self.p, self.np = conv(middle, CHANNELS), nn.BatchNorm2d(CHANNELS)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.na(self.a(x)), inplace=True)
        y = F.relu_(self.nd(self.d(y)))
        out: Tensor = x + self.np(self.p(y))
        return out


class Shared(Functional):
    """One activation module for both places, as many networks have it."""

    def __init__(self) -> None:
        super().__init__()
        self.act = nn.ReLU6(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        y = self.act(self.na(self.a(x)))
        return self.np(self.p(self.act(self.nd(self.d(y)))))  # type: ignore[no-any-return]


class PaddedOutside(Functional):
    """TensorFlow's padding, asymmetric, as a function between activation and depthwise convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.d = nn.Conv2d(MIDDLE, MIDDLE, 3, 2, 0, groups=MIDDLE)

    def forward(self, x: Tensor) -> Tensor:
        y = F.hardtanh(self.na(self.a(x)), 0.0, 6.0)
        y = F.pad(y, (0, 1, 1, 0))
        return self.np(self.p(torch.clamp(self.nd(self.d(y)), 0, 6)))  # type: ignore[no-any-return]


class SameConv(nn.Conv2d):
    """Pads by itself, asymmetrically."""

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(F.pad(x, (1, 2, 0, 1)), self.weight, self.bias, self.stride, 0, 1, self.groups)


class NormAct(nn.BatchNorm2d):
    """Batch norm whose forward runs its own activation module."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.act = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.act(super().forward(x))  # type: ignore[no-any-return]


class Shuffled(nn.Module):
    """Grouped 1x1 convolutions with biases and no norms, a channel shuffle at the end."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            conv(CHANNELS, MIDDLE, groups=2, bias=True),
            nn.ReLU(),
            conv(MIDDLE, MIDDLE, 5, 2, MIDDLE, bias=True),
            nn.ReLU(),
            conv(MIDDLE, CHANNELS, groups=2, bias=True),
        )

    def forward(self, x: Tensor) -> Tensor:
        y = self.body(x)
        n, c, h, w = y.shape
        return y.view(n, 2, c // 2, h, w).transpose(1, 2).reshape(n, c, h, w)  # type: ignore[no-any-return]


def sequential() -> nn.Module:
    """The usual inverted residual out of nested containers, its depthwise activation linear."""

    def unit(into: int, out: int, kernel: int, groups: int, act: bool) -> nn.Module:
        layers = [conv(into, out, kernel, groups=groups), nn.BatchNorm2d(out)]
        return nn.Sequential(*layers, nn.ReLU6(inplace=True)) if act else nn.Sequential(*layers)

    return nn.Sequential(
        unit(CHANNELS, MIDDLE, 1, 1, True), unit(MIDDLE, MIDDLE, 3, MIDDLE, False), unit(MIDDLE, CHANNELS, 1, 1, False)
    )


def same() -> nn.Module:
    return nn.Sequential(
        conv(CHANNELS, MIDDLE),
        NormAct(MIDDLE),
        SameConv(MIDDLE, MIDDLE, 3, 2, groups=MIDDLE),
        NormAct(MIDDLE),
        conv(MIDDLE, CHANNELS),
    )


STYLES: dict[str, Callable[[], nn.Module]] = {
    "functional": Functional,
    "shared activation": Shared,
    "padding outside": PaddedOutside,
    "padding inside, norm with activation": same,
    "grouped, shuffled": Shuffled,
    "sequential, linear depthwise": sequential,
}


class Model(nn.Module):
    """A stem, blocks, and a classifier."""

    def __init__(self, *blocks: nn.Module) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(1, CHANNELS, 3, padding=1), nn.ReLU())
        self.blocks = nn.ModuleList(blocks)
        self.classifier = nn.Linear(CHANNELS, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for block in self.blocks:
            x = block(x)
        return self.classifier(x.mean((2, 3)))  # type: ignore[no-any-return]


def images(count: int = 6) -> Tensor:
    return torch.randn(count, 1, SIZE, SIZE, generator=torch.Generator().manual_seed(3))


def trained(*blocks: nn.Module) -> Any:
    """Running statistics that are not those of a fresh batch norm; evaluation mode."""
    model = Model(*blocks)
    generator = torch.Generator().manual_seed(4)
    for parameter in model.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator) / max(1, parameter[0].numel()) ** 0.5
    model.train()
    with torch.no_grad():
        for _ in range(5):
            model(images())
    return model.eval()


def predicted_scores(network: Network, image: Array) -> Array:
    return reference.run_network(network, image, reference.predicted_block)[network.output][:, 0, 0]


@pytest.mark.parametrize("largest", [1, 2])
@pytest.mark.parametrize("style", STYLES)
def test_prepared_models_compute_what_the_reference_of_their_network_computes(style: str, largest: int) -> None:
    model = trained(STYLES[style](), STYLES[style]())
    with torch.no_grad():
        before = model(images())
    names = {name for name, _ in model.named_parameters()}
    done = predfuse.prepare(model, PrepareConfig(largest_weight=largest, steps=0), images())
    assert len(done.blocks) == 2 and not done.refused and len(gates_of(model)) == 2
    assert names < {name for name, _ in model.named_parameters()}
    assert done.parameters == sum(p.numel() for p in predfuse.predictor_parameters(model))

    with torch.no_grad(), gate_mode(model, "true"):
        assert torch.equal(model(images()), before)
    _perturb(model)
    with torch.no_grad():
        got = model(images()).numpy()
    assert not np.allclose(got, before.numpy(), rtol=1e-2)
    network = predfuse.to_network(model, images(2))
    assert network.largest_predictor_weight == largest
    assert sum(block.predictor is not None for block in network.bottlenecks()) == 2
    for image, scores in zip(images().double().numpy(), got, strict=True):
        wanted = predicted_scores(network, image)
        np.testing.assert_allclose(scores, wanted, rtol=1e-4, atol=1e-4 * np.abs(wanted).max())


def _perturb(model: nn.Module) -> None:
    """Predictors that are wrong often enough to be told from ReLU."""
    generator = torch.Generator().manual_seed(5)
    for parameter in predfuse.predictor_parameters(model):
        parameter.data += 2 * torch.randn(parameter.shape, generator=generator)


@pytest.mark.parametrize("style", STYLES)
def test_a_users_loop_tunes_weights_and_predictors(style: str) -> None:
    model = trained(STYLES[style]())
    predfuse.prepare(model, PrepareConfig(steps=0), images())
    model.train()
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    labels = torch.arange(6) % 5
    losses = []
    for _ in range(12):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(images()), labels)
        loss.backward()
        assert all(parameter.grad is not None for parameter in model.classifier.parameters())
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0]
    trainable = [p for p in predfuse.predictor_parameters(model) if p.grad is not None and bool(p.grad.any())]
    assert len(trainable) >= 2


def test_state_dicts_and_copies_carry_the_predictors() -> None:
    model = trained(Functional())
    predfuse.prepare(model, PrepareConfig(bits=3, steps=0), images())
    _perturb(model)
    twin: Any = copy.deepcopy(model)
    fresh = trained(Functional())
    predfuse.prepare(fresh, PrepareConfig(bits=3, steps=0), images(1))
    fresh.load_state_dict(model.state_dict())
    with torch.no_grad():
        wanted = model(images())
        assert torch.equal(twin(images()), wanted) and torch.equal(fresh(images()), wanted)
        twin.blocks[0].a.gate.predictor.expand_offset += 100
        assert torch.equal(model(images()), wanted) and not torch.equal(twin(images()), wanted)
    assert "blocks.0.a.gate.predictor.expand_weight" in model.state_dict()


def test_the_layerwise_loss_teaches_predictors_only() -> None:
    model = trained(Functional(), Shared())
    predfuse.prepare(model, PrepareConfig(steps=0), images())
    _perturb(model)
    model.train()
    statistics = model.blocks[0].na.running_mean.clone()
    optimizer = torch.optim.Adam(predfuse.predictor_parameters(model), 0.05)
    losses = []
    for _ in range(30):
        optimizer.zero_grad()
        loss = predfuse.layerwise_loss(model, images())
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.7 * losses[0]
    assert model.training and torch.equal(model.blocks[0].na.running_mean, statistics)
    assert model.classifier.weight.grad is None and model.blocks[0].a.weight.grad is None
    assert {gate.mode for gate in gates_of(model)} == {"predicted"}
    with pytest.raises(InputError, match="model Model: has no predictors; prepare it first"):
        predfuse.layerwise_loss(trained(Functional()), images())


class FunctionalConv(Functional):
    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.na(F.conv2d(x, self.a.weight)))
        return self.np(self.p(F.relu(self.nd(self.d(y)))))  # type: ignore[no-any-return]


class FunctionalNorm(Functional):
    def forward(self, x: Tensor) -> Tensor:
        norm = self.na
        y = F.batch_norm(self.a(x), norm.running_mean, norm.running_var, norm.weight, norm.bias)
        return self.np(self.p(F.relu(self.nd(self.d(F.relu(y))))))  # type: ignore[no-any-return]


class NormFunctionalAct(nn.BatchNorm2d):
    def forward(self, x: Tensor) -> Tensor:
        return F.relu(super().forward(x))


class ActInNorm(Functional):
    def __init__(self) -> None:
        super().__init__()
        self.nd = NormFunctionalAct(MIDDLE)

    def forward(self, x: Tensor) -> Tensor:
        return self.np(self.p(self.nd(self.d(F.relu(self.na(self.a(x)))))))  # type: ignore[no-any-return]


class Scaled(Functional):
    """What the project convolution's hook sees is not what its activation gives: a constant was multiplied in."""

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.na(self.a(x)))
        return self.np(self.p(F.relu(2 * self.nd(self.d(y)))))  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("block", "reason"),
    [
        (FunctionalConv, "its expand convolution is a function call in blocks.0, not a module"),
        (FunctionalNorm, "its expand norm is a function call in blocks.0, not a module"),
        (ActInNorm, "its depthwise norm is a function call in blocks.0.nd, not a module"),
        (Scaled, "its depthwise scale is a function call in blocks.0, not a module"),
    ],
)
def test_blocks_out_of_reach_are_named_with_the_reason(block: type[nn.Module], reason: str) -> None:
    model = trained(block(), Functional())
    with torch.no_grad():
        before = model(images())
    done = predfuse.prepare(model, PrepareConfig(steps=0), images())
    assert done.blocks == ("blocks.1",) and done.refused == {"blocks.0": reason}
    with torch.no_grad(), gate_mode(model, "true"):
        assert torch.equal(model(images()), before)
    network = predfuse.to_network(model, images(1))
    assert [block.predictor is not None for block in network.bottlenecks()] == [False, True]
    with pytest.raises(InputError, match=r"has no block that can be prepared \(blocks\.0: its "):
        predfuse.prepare(trained(block()), PrepareConfig(steps=0), images())


def test_a_block_used_twice_is_refused() -> None:
    block = Functional()
    with pytest.raises(InputError, match=r"its layer blocks\.\d\.a runs more than once"):
        predfuse.prepare(trained(block, block), PrepareConfig(steps=0), images())


def observation(block: Bottleneck) -> Observation:
    """What a block really does with some input."""
    x = torch.randn(2, block.in_channels, 5, 5, dtype=torch.float64)
    h = F.relu(a := F.conv2d(x, torch.from_numpy(block.expand_weight[:, :, None, None])))
    d = F.conv2d(h, torch.from_numpy(block.depthwise_weight[:, None]), padding=1, groups=block.middle_channels)
    return Observation(x, a, h, d, F.relu(d))


def test_hooks_must_see_what_the_traced_block_computes() -> None:
    rng = np.random.default_rng(0)
    weights = rng.normal(size=(6, 2)), np.zeros(6), rng.normal(size=(6, 3, 3)), np.zeros(6)
    block = Bottleneck("b1", ("input",), *weights, rng.normal(size=(2, 6)), np.zeros(2))
    seen = observation(block)
    assert find_border(block, seen, (1, 1, 1, 1)) == (0, 0, 0, 0)
    outside = dataclasses.replace(seen, h=F.pad(seen.h, (1, 1, 1, 1)))
    assert find_border(block, outside, (0, 0, 0, 0)) == (1, 1, 1, 1)
    for field, reason in (
        ("a", "its first pre-activation is changed before the activation"),
        ("h", "its depthwise convolution does not read what its activation gives"),
        ("u", "its project convolution does not read what its activation gives"),
    ):
        changed = dataclasses.replace(seen, **{field: 1.01 * getattr(seen, field)})
        assert find_border(block, changed, (1, 1, 1, 1)) == reason
    changed = dataclasses.replace(seen, d=seen.d + 0.1, u=F.relu(seen.d + 0.1))
    assert find_border(block, changed, (1, 1, 1, 1)) == "its second pre-activation is changed before the activation"


def test_refused_gates_are_taken_out_again(monkeypatch: pytest.MonkeyPatch) -> None:
    model = trained(Functional())
    monkeypatch.setattr("predfuse.predictor.prepare.find_border", lambda block, seen, inside: "it does not fit")
    with pytest.raises(InputError, match=r"has no block that can be prepared \(blocks\.0: it does not fit\)"):
        predfuse.prepare(model, PrepareConfig(steps=0), images())
    hooks = [(m._forward_hooks, m._forward_pre_hooks) for m in model.modules()]
    assert not gates_of(model) and not any(after or before for after, before in hooks)


def test_mistakes_are_named() -> None:
    model = trained(Functional())
    with pytest.raises(InputError, match=r"model Model: has no block 'b1'; use some of blocks\.0"):
        predfuse.prepare(model, PrepareConfig(blocks=("b1",)), images())
    with pytest.raises(InputError, match=r"bits: is 9; use a whole number from 2 to 8"):
        PrepareConfig(bits=9)
    with pytest.raises(InputError, match=r"blocks: is 'b1'; give a tuple"):
        PrepareConfig(blocks="b1")  # type: ignore[arg-type]
    plain = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(100, 5))
    with pytest.raises(InputError, match="has no expand-depthwise-project block"):
        predfuse.prepare(plain, PrepareConfig(steps=0), images())
    predfuse.prepare(model, PrepareConfig(steps=0), images())
    with pytest.raises(InputError, match="already has predictors; prepare a fresh model"):
        predfuse.prepare(model, PrepareConfig(steps=0), images())


def test_models_with_unsupported_operations_can_be_tuned_but_not_compiled() -> None:
    model = trained(Functional(), nn.Hardswish())
    with pytest.raises(UnsupportedError, match="hard-swish has no 0/1 mask"):
        predfuse.prepare(model, PrepareConfig(steps=0), images())
    done = predfuse.prepare(model, PrepareConfig(allow_unsupported=True, steps=0), images())
    assert done.blocks == ("blocks.0",)
    model(images()).sum().backward()
    with pytest.raises(UnsupportedError, match="hard-swish has no 0/1 mask"):
        predfuse.compile(model, images())


def test_some_blocks_can_be_chosen() -> None:
    model = trained(Functional(), Functional())
    done = predfuse.prepare(model, PrepareConfig(blocks=("blocks.1",), steps=0), images())
    assert done.blocks == ("blocks.1",) and len(gates_of(model)) == 1


def test_layers_that_run_out_of_order_are_reported_not_mixed_up() -> None:
    model = trained(Functional())
    predfuse.prepare(model, PrepareConfig(steps=0), images())
    with pytest.raises(PredfuseError, match=r"block blocks\.0: its layers ran in another order"):
        model.blocks[0].d(torch.zeros(1, MIDDLE, SIZE, SIZE))


def test_registered_networks_get_their_own_predictors() -> None:
    model = models.build("fusionet-s", stage_blocks=(1, 1), stage_middle=(32, 32), stage_channels=(8, 8))
    done = predfuse.prepare(model, PrepareConfig(steps=0), torch.randn(2, *model.input_shape))
    assert done.blocks == ("b1", "b2") and done.parameters > 0
    assert all(block.predictor is not None for block in predfuse.to_network(model, torch.zeros(1)).bottlenecks())
    with pytest.raises(InputError, match="already has predictors"):
        predfuse.prepare(model, PrepareConfig(steps=0), torch.randn(2, *model.input_shape))


def test_bad_calibration_images_are_refused_and_leave_nothing_behind() -> None:
    model = trained(sequential())
    calibration = images()
    calibration[3, 0, 0, 0] = torch.nan
    hooks = [(len(m._forward_hooks), len(m._forward_pre_hooks), len(m._modules)) for m in model.modules()]
    with pytest.raises(InputError, match=r"calibration images: hold NaN or infinite values in image 3; leave it out"):
        predfuse.prepare(model, PrepareConfig(steps=0), calibration)
    with pytest.raises(InputError, match="calibration images: are a NoneType"):
        predfuse.prepare(model, PrepareConfig(steps=0), None)  # type: ignore[arg-type]
    assert hooks == [(len(m._forward_hooks), len(m._forward_pre_hooks), len(m._modules)) for m in model.modules()]


def test_a_failure_while_fitting_takes_the_hooks_out_again(monkeypatch: pytest.MonkeyPatch) -> None:
    model = trained(sequential())
    hooks = [(len(m._forward_hooks), len(m._forward_pre_hooks), len(m._modules)) for m in model.modules()]
    monkeypatch.setattr("predfuse.predictor.prepare.fit_predictor", lambda *arguments: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        predfuse.prepare(model, PrepareConfig(steps=0), images())
    assert hooks == [(len(m._forward_hooks), len(m._forward_pre_hooks), len(m._modules)) for m in model.modules()]
    monkeypatch.undo()
    assert predfuse.prepare(model, PrepareConfig(steps=0), images()).blocks


def test_a_block_called_twice_is_refused_for_that() -> None:
    block = sequential()
    model = Model(block, block)
    with pytest.raises(InputError, match=r"its layer \S+ runs more than once"):
        predfuse.prepare(model, PrepareConfig(steps=0), images())
