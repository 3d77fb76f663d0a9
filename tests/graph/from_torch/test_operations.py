"""Single operations in all their forms, each equal to PyTorch, and what they become."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings, strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from predfuse.graph.from_torch import TraceResult, UnsupportedError, trace
from predfuse.graph.nodes import Add, Conv, Linear, Pool, Shuffle


class Call(nn.Module):
    """A function as a module, with a convolution before it so that there is always a layer."""

    def __init__(self, function: Callable[[Tensor], Tensor], channels: int = 4) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 1)
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(self.conv(x))


def traced(module: nn.Module, shape: tuple[int, ...] = (4, 6, 6)) -> TraceResult:
    torch.manual_seed(0)
    return trace(module, torch.randn(2, *shape))


@st.composite
def convolutions(draw: st.DrawFn) -> tuple[nn.Module, tuple[int, int, int]]:
    """Convolutions of all shapes with an image they fit, the border inside or before them."""
    groups = draw(st.sampled_from((1, 2, 3)))
    channels, outputs = (groups * draw(st.integers(1, 3)) for _ in range(2))
    kernel = (draw(st.integers(1, 5)), draw(st.integers(1, 5)))
    dilation = draw(st.integers(1, 2))
    stride = draw(st.integers(1, 3))
    size = (draw(st.integers(1, 7)), draw(st.integers(1, 7)))
    border = draw(st.tuples(*[st.integers(0, 3)] * 4))
    same = stride == 1 and draw(st.booleans())
    padding = "same" if same else (draw(st.integers(0, 2)), draw(st.integers(0, 2)))
    inside = (0, 0) if same else padding
    for axis in (0, 1):
        padded = size[axis] + border[2 - 2 * axis] + border[3 - 2 * axis] + 2 * inside[axis]
        assume(same or padded >= dilation * (kernel[axis] - 1) + 1)
    torch.manual_seed(draw(st.integers(0, 2**16)))
    conv = nn.Conv2d(channels, outputs, kernel, stride, padding, dilation, groups, bias=draw(st.booleans()))
    layers: list[nn.Module] = [nn.ZeroPad2d(border)] if any(border) else []
    layers += [conv, nn.BatchNorm2d(outputs, eps=1e-3, affine=draw(st.booleans()))] if draw(st.booleans()) else [conv]
    return nn.Sequential(*layers), (channels, *size)


@settings(max_examples=20)
@given(convolutions())
def test_convolutions_with_any_border_are_one_node(case: tuple[nn.Module, tuple[int, int, int]]) -> None:
    module, shape = case
    result = trace(module, torch.randn(1, *shape, generator=torch.Generator().manual_seed(0)))
    (node,) = result.network.nodes
    assert isinstance(node, Conv)
    assert result.verification.node_error < 1e-12


@pytest.mark.parametrize(
    "spelling",
    [
        lambda x: F.relu6(x),
        lambda x: F.hardtanh(x, 0, 6),
        lambda x: x.clamp(0, 6),
        lambda x: x.clamp_(0.0, 6.0),
        lambda x: F.relu(x).clamp(max=6, min=0),
        lambda x: F.relu6(F.relu(x, inplace=True), inplace=True),
        lambda x: F.relu(F.relu6(x)),
    ],
)
def test_relu6_in_every_spelling(spelling: Callable[[Tensor], Tensor]) -> None:
    (node,) = traced(Call(spelling)).network.nodes
    assert isinstance(node, Conv)
    assert node.activation == "relu6"


@pytest.mark.parametrize(
    "spelling",
    [
        torch.relu,
        lambda x: x.relu_(),
        lambda x: x.clamp(min=0),
        torch.nn.ReLU(inplace=True),
        lambda x: F.threshold(x, 0, 0),
    ],
)
def test_relu_in_every_spelling(spelling: Callable[[Tensor], Tensor]) -> None:
    (node,) = traced(Call(spelling)).network.nodes
    assert isinstance(node, Conv)
    assert node.activation == "relu"


def test_an_activation_two_layers_read_stands_alone() -> None:
    result = traced(Call(lambda x: F.relu(x) + x))
    activation, total = result.network.nodes[1:]
    assert isinstance(activation, Add)
    assert (len(activation.inputs), activation.activation, len(total.inputs)) == (1, "relu", 2)


@pytest.mark.parametrize(
    ("spelling", "kernel", "padding"),
    [
        (nn.AdaptiveAvgPool2d(1), 0, (0, 0, 0, 0)),
        (nn.AdaptiveMaxPool2d(1), 0, (0, 0, 0, 0)),
        (lambda x: F.avg_pool2d(x, x.shape[2:]), 0, (0, 0, 0, 0)),
        (lambda x: x.mean((2, 3)), 0, (0, 0, 0, 0)),
        (lambda x: x.mean(3).mean(2), 0, (0, 0, 0, 0)),
        (lambda x: x.mean(-1, keepdim=True).mean(-2, keepdim=True), 0, (0, 0, 0, 0)),
        (lambda x: x.flatten(2).mean(-1), 0, (0, 0, 0, 0)),
        (lambda x: x.view(len(x), 4, -1).mean(2).view(len(x), -1), 0, (0, 0, 0, 0)),
        (nn.AdaptiveAvgPool2d((2, 2)), 3, (0, 0, 0, 0)),
        (nn.MaxPool2d(3, 2, 1), 3, (1, 1, 1, 1)),
        (nn.MaxPool2d(3, 2, ceil_mode=True), 3, (0, 1, 0, 1)),
        (nn.AvgPool2d(3, 2, 1), 3, (1, 1, 1, 1)),
        (nn.AvgPool2d(4, 4, ceil_mode=True), 4, (0, 2, 0, 2)),
        (nn.AvgPool2d(3, 2, 1, ceil_mode=True, count_include_pad=False), 3, (1, 2, 1, 2)),
        (nn.Sequential(nn.ReLU(), nn.ZeroPad2d((0, 1, 0, 1)), nn.MaxPool2d(3, 2)), 3, (0, 1, 0, 1)),
        (nn.Sequential(nn.ConstantPad2d((1, 0, 1, 0), float("-inf")), nn.MaxPool2d(2)), 2, (1, 0, 1, 0)),
        (nn.Sequential(nn.ZeroPad2d((0, 1, 1, 0)), nn.AvgPool2d(3, 2)), 3, (1, 0, 0, 1)),
    ],
)
def test_poolings(spelling: Callable[[Tensor], Tensor], kernel: int, padding: tuple[int, ...]) -> None:
    nodes = traced(Call(spelling)).network.nodes
    assert len(nodes) == 2
    assert isinstance(nodes[1], Pool)
    assert (nodes[1].kernel, nodes[1].padding) == (kernel, padding)


def test_zeros_before_a_maximum_of_negative_values_are_no_padding() -> None:
    result = traced(Call(nn.Sequential(nn.ZeroPad2d(1), nn.MaxPool2d(3, 2))))
    assert [entry.kind for entry in result.ledger] == ["conv", "scale", "pool"]
    assert "a border that no layer absorbs" in result.ledger["function.0"].reason


@settings(max_examples=12)
@given(
    st.integers(1, 4),
    st.integers(1, 4),
    st.sampled_from(("module", "transpose", "permute", "einops-like", "unflatten")),
)
def test_channel_shuffles_in_every_spelling(groups: int, size: int, spelling: str) -> None:
    channels = groups * size

    def shuffle(x: Tensor) -> Tensor:
        n, c, h, w = x.shape
        if spelling == "module":
            return nn.ChannelShuffle(groups)(x)
        if spelling == "transpose":
            return x.view(n, groups, -1, h, w).transpose(1, 2).contiguous().view(n, -1, h, w)
        if spelling == "permute":
            return x.reshape(n, groups, c // groups, h, w).permute(0, 2, 1, 3, 4).reshape(n, c, h, w)
        if spelling == "einops-like":
            return x.flatten(2).view(n, groups, size, h * w).transpose(1, 2).reshape(n, c, h, w)
        return x.unflatten(1, (groups, size)).swapaxes(1, 2).flatten(1, 2)

    result = traced(Call(shuffle, channels), (channels, 3, 2))
    moves = groups > 1 and size > 1
    assert [type(node) for node in result.network.nodes] == [Conv, Shuffle][: 1 + moves]
    if moves:
        (node,) = [node for node in result.network.nodes if isinstance(node, Shuffle)]
        assert node.groups == groups


@pytest.mark.parametrize(
    "classifier",
    [
        lambda x: x.flatten(1),
        lambda x: x.reshape(x.size(0), -1),
        lambda x: x.view(-1, 4 * 6 * 6),
        lambda x: torch.flatten(x, start_dim=1).unsqueeze(0).squeeze(0),
    ],
)
def test_flattening_before_a_linear_layer(classifier: Callable[[Tensor], Tensor]) -> None:
    result = traced(nn.Sequential(Call(classifier), nn.Dropout(), nn.Linear(144, 5), nn.BatchNorm1d(5), nn.ReLU()))
    assert [type(node) for node in result.network.nodes] == [Conv, Linear]


def test_constants_fold_into_the_layer_before_them() -> None:
    scale = torch.tensor([1.0, -2.0, 3.0, 0.5]).view(4, 1, 1)
    (node,) = traced(Call(lambda x: (2 - x * scale) / 4 + scale)).network.nodes
    assert isinstance(node, Conv)


@pytest.mark.parametrize(
    ("spelling", "reason"),
    [
        (lambda x: x.clamp(-1, 1), "a clamp to -1..1: only"),
        (lambda x: x.clamp(0, 4), "a clamp to 0..4: only"),
        (lambda x: x + x.mean((2, 3), keepdim=True), "broadcasting"),
        (lambda x: x * torch.arange(36.0).view(6, 6), "a constant that differs from pixel to pixel"),
        (lambda x: F.pad(x, (1, 1, 1, 1), mode="reflect"), "padding by reflect"),
        (lambda x: F.pad(x, (0, 0, 0, 0, 2, 2)), "padding that crops, or pads channels"),
        (lambda x: F.pad(x, (1, 1, 1, 1), value=1.0), "a border of 1.0"),
        (lambda x: F.max_pool2d(x, 2, dilation=2), "dilated pooling"),
        (lambda x: F.max_pool2d(x, (3, 2)), "pooling window 3x2"),
        (lambda x: F.adaptive_avg_pool2d(x, 4), "windows of several sizes"),
        (lambda x: x.mean(1, keepdim=True).relu(), "a mean over part of the image"),
        (lambda x: torch.cat([x, x], 2), "along another dimension"),
        (lambda x: x.transpose(2, 3).relu(), "no channel shuffle"),
        (lambda x: x[:, 1:3].relu(), "reads some channels only"),
        (lambda x: F.linear(x, torch.eye(6)), "applied to every pixel or row"),
        (lambda x: x.split((1, 3), 1)[1].relu(), "reads some channels only"),
        (lambda x: torch.topk(x, 2, 1)[0], "aten.topk is not an operation"),
        (lambda x: F.interpolate(x, scale_factor=2), "upsampling, which these networks"),
        (lambda x: F.softmax(x.flatten(1), 1), "softmax is not part"),
        (nn.Conv2d(4, 4, 3, stride=(1, 2)), "stride 1x2 differs"),
        (nn.BatchNorm2d(4, track_running_stats=False), "without running statistics"),
        (nn.GroupNorm(2, 4), "a group norm depends"),
        (nn.LayerNorm([4, 6, 6]), "a layer norm depends"),
        (nn.ConvTranspose2d(4, 4, 2), "a transposed convolution"),
        (lambda x: F.dropout(x, 0.5, training=True), "dropout that stays on"),
    ],
)
def test_what_cannot_be_expressed_is_refused_with_the_reason(spelling: Callable[[Tensor], Tensor], reason: str) -> None:
    with pytest.raises(UnsupportedError) as caught:
        traced(Call(spelling))
    assert any(reason in entry.reason for entry in caught.value.entries), str(caught.value)


def test_writing_into_a_slice_is_seen() -> None:
    def overwrite(x: Tensor) -> Tensor:
        x[:, :2].relu_()
        return x

    with pytest.raises(UnsupportedError, match="slice_scatter"):
        traced(Call(overwrite))


def test_values_read_after_a_change_in_place_are_the_changed_ones() -> None:
    def reuse(x: Tensor) -> Tensor:
        y = F.relu(x, inplace=True)
        y += 1
        return y + x

    result = traced(Call(reuse))
    x = torch.randn(1, 4, 6, 6)
    assert np.isfinite(result.verification.node_error)
    assert [entry.kind for entry in trace(Call(reuse), x).ledger][-1] == "add"
