"""Whole networks in the style of well-known libraries: traced and equal, or refused with every reason and its place."""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np
import pytest
import torch
from foreign_networks import (
    Conv2dSame,
    ConvNext,
    DenseNet,
    Detector,
    EfficientNet,
    FrozenBatchNorm,
    Ghost,
    Inception,
    LocalResponse,
    MnasNet,
    MobileNetV2,
    MobileNetV3,
    MobileOne,
    ProxylessNas,
    RecurrentHead,
    RepVgg,
    ResNet,
    SandGlass,
    ShapeBranches,
    ShuffleNetV1,
    ShuffleNetV2,
    Spelled,
    SqueezeNet,
    UNet,
    ValueBranch,
)
from torch import Tensor, nn
from torch.nn import functional as F
from traced_modules import liven

from predfuse.errors import InputError
from predfuse.fusion.execute import run_network
from predfuse.graph.from_torch import UnsupportedError, trace
from predfuse.graph.nodes import Conv


def images(count: int = 2, size: int = 32) -> Tensor:
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(1))


TRACED: dict[str, tuple[Callable[[], nn.Module], int]] = {
    "MobileNetV2": (MobileNetV2, 4),
    "MnasNet": (MnasNet, 4),
    "EfficientNet-Lite": (EfficientNet, 3),
    "ProxylessNAS": (ProxylessNas, 2),
    "ShuffleNet": (ShuffleNetV1, 0),
    "ResNet": (ResNet, 0),
    "ResNeXt, dilated": (lambda: ResNet(groups=4, dilation=2), 0),
    "DenseNet": (DenseNet, 0),
    "SqueezeNet": (SqueezeNet, 0),
    "Inception": (Inception, 0),
    "RepVGG": (RepVgg, 0),
    "MobileOne": (MobileOne, 0),
    "MobileNeXt": (SandGlass, 0),
    "Ghost": (Ghost, 0),
    "branches on shapes": (ShapeBranches, 0),
    "frozen norms": (lambda: nn.Sequential(nn.Conv2d(3, 4, 3), FrozenBatchNorm(4), nn.ReLU()), 0),
    "DataParallel": (lambda: nn.DataParallel(ProxylessNas()), 2),
    "lazy layers": (lambda: nn.Sequential(nn.LazyConv2d(4, 3), nn.ReLU(), nn.Flatten(), nn.LazyLinear(3)), 0),
}


@pytest.mark.parametrize("name", TRACED)
def test_networks_are_traced_and_equal_the_module(name: str) -> None:
    make, blocks = TRACED[name]
    torch.manual_seed(0)
    module, x = make(), images()
    module(x)  # lazy layers take their shapes
    liven(module)
    result = trace(module, x)
    module.eval()
    with torch.no_grad():
        expected = module(x).flatten(1).numpy()
    assert len(result.ledger.fused) == blocks
    for mode in ("true", "fused_true"):
        got = run_network(result.network, x.double().numpy(), mode, statistics=False).logits
        np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5 * np.abs(expected).max())


def test_residuals_are_found_where_the_network_has_them() -> None:
    result = trace(liven(MobileNetV2()), images())
    assert [block.residual for block in result.network.bottlenecks()] == [False, True, False, True]
    assert "convolution before it (features.0.0) is 3x3" in result.ledger["features.1.conv.0.0"].reason


REFUSED: dict[str, tuple[Callable[[], nn.Module], dict[str, int]]] = {
    "MobileNetV3": (
        MobileNetV3,
        {"hard-swish has no 0/1 mask": 4, "hard-sigmoid has no 0/1 mask": 1, "squeeze-and-excitation": 1},
    ),
    "EfficientNet": (
        lambda: EfficientNet(nn.SiLU, excite=True),
        {"SiLU (swish) has no 0/1 mask": 7, "a sigmoid has no 0/1 mask": 3, "squeeze-and-excitation": 3},
    ),
    "RegNetY": (lambda: ResNet(4, excite=True), {"a sigmoid has no 0/1 mask": 3, "squeeze-and-excitation": 3}),
    "ShuffleNetV2": (ShuffleNetV2, {"reads some channels only (a split)": 4}),
    "ConvNeXt": (
        ConvNext,
        {"a layer norm depends": 1, "applied to every pixel": 2, "GELU has no 0/1 mask": 1, "another order": 1},
    ),
    "U-Net": (UNet, {"a transposed convolution": 1, "upsampling": 1}),
    "LSTM": (RecurrentHead, {"a mean over part of the image": 1, "a recurrent layer": 1, "another order": 1}),
    "AlexNet": (LocalResponse, {"product of two": 1, "pads channels": 1, "avg_pool3d": 1, "pow": 1, "quotient": 1}),
}


@pytest.mark.parametrize("name", REFUSED)
def test_networks_are_refused_with_everything_they_lack_and_where(name: str) -> None:
    make, wanted = REFUSED[name]
    with pytest.raises(UnsupportedError) as caught:
        trace(make(), images())
    message, entries = str(caught.value), caught.value.entries
    assert "\n" not in message and f": {sum(wanted.values())} unsupported operations: " in message
    for reason, count in wanted.items():
        assert sum(reason in entry.reason for entry in entries) == count, reason
    for entry in entries:
        assert re.search(rf"{re.escape(entry.name)} \(tests/foreign_networks\.py:\d+\)", message), entry.name


def test_the_rest_of_a_refused_network_is_seen_where_allowed() -> None:
    result = trace(MobileNetV3(), images(), allow_unsupported=True)
    assert [entry.name for entry in result.ledger.fused] == ["features.1"]
    assert next(result.network.bottlenecks()).residual
    assert result.verification.node_error < 1e-9


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (ValueBranch, r"branches on values of its input \(tests/foreign_networks\.py:\d+\), which no network holds"),
        (Detector, r"returns 2 values; wrap it"),
        (lambda: nn.Sequential(nn.Conv2d(4, 4, 1)), r"does not run on an input of 1x3x32x32 \(RuntimeError"),
        (lambda: torch.jit.trace(nn.Conv2d(3, 4, 1), images()), "is compiled by TorchScript"),
    ],
)
def test_modules_that_are_no_network_are_refused_in_one_line(module: Callable[[], nn.Module], message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        trace(module(), images())
    assert "\n" not in str(caught.value)


def test_a_module_wrapped_for_torch_compile_is_traced_without_compiling_it() -> None:
    wrapped = torch.compile(ProxylessNas(), backend="eager")
    assert len(trace(wrapped, images()).ledger.fused) == 2  # type: ignore[arg-type]


SPELLINGS: dict[str, tuple[Callable[[Tensor], Tensor], list[str]]] = {
    "difference": (lambda x: x - F.relu(x), ["conv", "activation", "scale", "add"]),
    "weighted sum": (lambda x: torch.add(x, F.relu(x), alpha=0.5), ["conv", "activation", "scale", "add"]),
    "sum of a list": (lambda x: sum([x, F.relu(x)]), ["conv", "activation", "add"]),  # type: ignore[dict-item, return-value]
    "sum over the image": (lambda x: x.sum((-1, -2)), ["conv", "global pool", "scale"]),
    "sum divided by the pixels": (lambda x: x.sum([2, 3]) / 1024, ["conv", "global pool", "scale"]),
    "maximum with zeros": (lambda x: torch.maximum(x, torch.zeros_like(x)), ["conv"]),
    "minimum with 6": (lambda x: torch.minimum(F.relu(x), torch.tensor(6.0)), ["conv"]),
    "clamp to at most 6": (lambda x: F.relu(x).clamp_max(6), ["conv"]),
    "amax": (lambda x: x.amax((2, 3)), ["conv", "global pool"]),
    "maximum pooling with indices": (lambda x: F.max_pool2d(x, 2, return_indices=True)[0], ["conv", "pool"]),
    "two poolings joined": (
        lambda x: torch.cat([F.adaptive_avg_pool2d(x, 1), F.adaptive_max_pool2d(x, 1)], 1).flatten(1),
        ["conv", "global pool", "global pool", "concat"],
    ),
    "addmm": (
        lambda x: torch.addmm(torch.ones(3), x.mean((2, 3)), torch.ones(4, 3)),
        ["conv", "global pool", "linear"],
    ),
    "matmul": (lambda x: x.mean((2, 3)) @ torch.ones(4, 3), ["conv", "global pool", "linear"]),
    "channels last and back": (lambda x: x.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2), ["conv"]),
    "in place": (lambda x: x.add_(1).mul_(2), ["conv"]),
    "added in place": (lambda x: x.__iadd__(F.relu(x)), ["conv", "activation", "add"]),
    "norm without affine": (nn.BatchNorm2d(4, affine=False).eval(), ["conv"]),
    "norm before convolution": (nn.Sequential(nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 2, 1)).eval(), ["conv"] * 2),
    "asymmetric border": (lambda x: F.conv2d(F.pad(x, (0, 1, 2, 0)), torch.ones(2, 4, 3, 3)), ["conv", "conv"]),
    "SAME": (Conv2dSame(4, 6, 5, 2), ["conv", "conv"]),
    "kernel larger than the image": (
        nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(4, 4, 3, padding=1, groups=4)),
        ["conv", "global pool", "depthwise conv"],
    ),
}


@pytest.mark.parametrize("name", SPELLINGS)
def test_spellings(name: str) -> None:
    function, kinds = SPELLINGS[name]
    torch.manual_seed(0)
    result = trace(Spelled(function), images())
    assert [entry.kind for entry in result.ledger] == kinds
    assert result.verification.node_error < 1e-12


def test_a_clamp_from_above_is_relu6_only_after_a_relu() -> None:
    (node,) = trace(Spelled(lambda x: F.relu(x).clamp(max=6)), images()).network.nodes
    assert isinstance(node, Conv) and node.activation == "relu6"
    with pytest.raises(UnsupportedError, match=r"a clamp to None\.\.6"):
        trace(Spelled(lambda x: x.clamp(max=6)), images())


@pytest.mark.parametrize(
    ("function", "reason"),
    [
        (lambda x: F.hardtanh(x), r"a clamp to -1\.0\.\.1\.0: only ReLU"),
        (lambda x: F.pad(x, (1, 1, 1, 1), mode="reflect"), "padding by reflect"),
        (nn.Conv2d(4, 4, 3, padding=1, padding_mode="circular"), "padding by circular"),
        (lambda x: F.pad(x, (-1, 0, -1, 0)), "padding that crops"),
        (lambda x: F.pad(x, (1, 1, 1, 1), value=1.0), r"a border of 1\.0"),
        (lambda x: x[:, :, ::2, ::2], r"some only \(crop, stride"),
        (lambda x: F.pixel_shuffle(x, 2), r"reads pixels in another order"),
        (lambda x: x[:, 0:1], "reads some channels only"),
        (lambda x: F.softmax(x.flatten(1), 1), "take the scores before it"),
        (lambda x: F.avg_pool2d(x, 3, 2, 1, ceil_mode=True), "counts padding and rounds its size up"),
        (lambda x: F.adaptive_avg_pool2d(x, 7), "windows of several sizes"),
        (lambda x: F.avg_pool2d(x, (2, 4)), "2x4 differs between rows and columns"),
        (nn.Conv2d(4, 4, 3, (2, 1)), "stride 2x1 differs"),
        (lambda x: x + x.mean((2, 3), keepdim=True), "different shapes"),
        (lambda x: torch.where(x > 0, x, 0.0), "aten.where is not an operation"),
        (lambda x: torch.maximum(x, F.relu(x)), "the larger or smaller of two feature maps"),
        (lambda x: x.half().float(), "a conversion to float16, which rounds"),
        (lambda x: F.dropout(x, 0.5, True), "dropout that stays on"),
        (lambda x: x.sum(1, keepdim=True), "a sum over something else than the image"),
        (nn.BatchNorm2d(4, track_running_stats=False), "without running statistics"),
        (nn.InstanceNorm2d(4), "an instance norm depends"),
        (nn.PReLU(), "PReLU has no 0/1 mask"),
    ],
)
def test_what_no_network_holds_is_refused(function: Callable[[Tensor], Tensor], reason: str) -> None:
    with pytest.raises(UnsupportedError, match=reason):
        trace(Spelled(function), images(1, 8))
