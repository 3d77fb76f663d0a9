"""Networks in other people's styles: what is found, what is refused, and that the result equals the module."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
import traced_modules as styles
from torch import nn

from predfuse.fusion.execute import run_network
from predfuse.graph.from_torch import TraceResult, UnsupportedError, trace
from predfuse.graph.nodes import Add, Bottleneck, Network


def images(channels: int, size: int, count: int = 2) -> torch.Tensor:
    return torch.randn(count, channels, size, size, generator=torch.Generator().manual_seed(1))


def traced(module: nn.Module, channels: int, size: int) -> TraceResult:
    """Trace, and check by hand what ``trace`` promises: every mode gives what the module gives."""
    torch.manual_seed(0)
    styles.liven(module)
    x = images(channels, size)
    result = trace(module, x)
    module.eval()
    with torch.no_grad():
        expected = module(x).numpy()
    for mode in ("true", "fused_true"):
        got = run_network(result.network, x.double().numpy(), mode).logits
        np.testing.assert_allclose(got, expected.reshape(len(x), -1), rtol=1e-4, atol=1e-5)
    return result


def only_block(network: Network) -> Bottleneck:
    (block,) = network.bottlenecks()
    return block


def test_nested_sequential_with_residual() -> None:
    result = traced(styles.InvertedResidual(4, 12, 4, residual=True), 4, 8)
    block = only_block(result.network)
    assert (block.residual, block.groups, block.expand_activation) == (True, 1, "relu6")
    assert [part.role for part in result.ledger.fused[0].parts] == [
        "expand", "expand_norm", "expand_activation", "depthwise", "depthwise_norm", "depthwise_activation", "project",
        "project_norm", "residual",
    ]  # fmt: skip
    assert result.ledger.fused[0].by_role("depthwise").module == "conv.1.0"  # type: ignore[union-attr]


def test_nested_sequential_without_residual() -> None:
    result = traced(styles.InvertedResidual(4, 12, 8, kernel=5, stride=2, groups=2), 4, 8)
    block = only_block(result.network)
    assert (block.name, block.residual, block.groups, block.stride, block.kernel) == ("conv", False, 2, 2, 5)


def test_function_calls_on_bare_parameters() -> None:
    result = traced(styles.Functional(), 4, 8)
    block = only_block(result.network)
    assert block.padding == (0, 1, 0, 1)
    assert (block.expand_activation, block.depthwise_activation) == ("relu", "relu6")
    assert [entry.kind for entry in result.ledger] == ["bottleneck", "global pool"]
    assert result.ledger.fused[0].source.rpartition(":")[0].endswith("traced_modules.py")


@pytest.mark.parametrize("size", [7, 8])
def test_padding_computed_in_forward(size: int) -> None:
    block = only_block(traced(styles.TensorFlowStyle(), 3, size).network)
    total = 3 if size == 8 else 4
    assert block.padding == (total // 2, total - total // 2) * 2
    assert (block.stride, block.kernel, block.expand_activation) == (2, 5, "relu6")


def test_shared_module_is_two_blocks() -> None:
    result = traced(styles.Shared(), 3, 6)
    first, second = result.network.bottlenecks()
    np.testing.assert_array_equal(first.expand_weight, second.expand_weight)
    assert (first.name, second.name) == ("block", "block@1")
    calls = [entry.by_role("depthwise").call for entry in result.ledger.fused]  # type: ignore[union-attr]
    assert calls == [0, 1]


def test_blocks_without_modules_of_their_own() -> None:
    result = traced(styles.flat_sequential(), 3, 9)
    assert [node.name for node in result.network.nodes] == ["0", "1-5", "6-10", "10.activation"]
    last = result.network.nodes[-1]
    assert isinstance(last, Add)
    assert (last.inputs, last.activation) == (("6-10",), "relu")
    assert result.ledger["10.activation"].kind == "activation"


def test_shuffles_in_three_spellings() -> None:
    blocks = list(traced(styles.ShuffledBlocks(), 4, 5).network.bottlenecks())
    assert [(block.shuffle_groups, block.residual) for block in blocks] == [(2, True), (2, False), (2, False)]
    assert [block.groups for block in blocks] == [2, 2, 2]


@pytest.mark.parametrize(
    ("module", "channels", "size", "kinds"),
    [
        (styles.PreActivation, 4, 6, ["scale", "conv", "conv", "add", "scale", "scale", "linear"]),
        (styles.DenseLayers, 3, 6, ["conv", "concat", "conv", "concat", "activation", "pool"]),
    ],
)
def test_other_layers(module: Callable[[], nn.Module], channels: int, size: int, kinds: list[str]) -> None:
    assert [entry.kind for entry in traced(module(), channels, size).ledger] == kinds


def test_extra_reader_inside_a_block_keeps_it_plain() -> None:
    result = traced(styles.ExtraBranch(), 4, 6)
    assert not result.ledger.fused
    assert result.ledger["filter"].reason == "no block: side also reads expand inside it"


def test_separable_convolutions_are_no_blocks() -> None:
    result = traced(styles.SeparableChain(), 3, 12)
    assert not result.ledger.fused
    reasons = [entry.reason for entry in result.ledger if entry.kind == "depthwise conv"]
    assert "is 3x3, not 1x1" in reasons[0]
    assert "8-16-32 channels, no wider inside" in reasons[1]


@pytest.mark.parametrize(
    ("layer", "reason"),
    [
        (nn.Conv2d(8, 16, 3, padding=1, groups=8), "depthwise multiplier of 2"),
        (nn.Conv2d(8, 8, (3, 5), padding=(1, 2), groups=8), "3x5, not an odd square"),
        (nn.Conv2d(8, 8, 2, groups=8), "2x2, not an odd square"),
        (nn.Conv2d(8, 8, 3, padding=2, dilation=2, groups=8), "dilated by 2"),
    ],
)
def test_depthwise_convolutions_a_block_cannot_have(layer: nn.Conv2d, reason: str) -> None:
    module = nn.Sequential(nn.Conv2d(4, 8, 1), nn.ReLU(), layer, nn.ReLU(), nn.Conv2d(layer.out_channels, 4, 1))
    result = traced(module, 4, 6)
    assert reason in result.ledger["2"].reason


@pytest.mark.parametrize(
    ("module", "reason"),
    [
        (
            nn.Sequential(nn.Conv2d(4, 8, 1, groups=2), nn.Conv2d(8, 8, 3, groups=8), nn.Conv2d(8, 4, 1)),
            "2 and 1 groups",
        ),
        (nn.Sequential(nn.Conv2d(4, 8, 1, 2), nn.Conv2d(8, 8, 3, groups=8), nn.Conv2d(8, 4, 1)), "stride or padding"),
        (nn.Sequential(nn.Conv2d(4, 8, 1, padding=1), nn.Conv2d(8, 8, 3, groups=8), nn.Conv2d(8, 4, 1)), "or padding"),
        (nn.Sequential(nn.Conv2d(4, 8, 1), nn.Conv2d(8, 8, 3, groups=8), nn.Conv2d(8, 4, 1, 2)), "not a plain 1x1"),
        (nn.Sequential(nn.Conv2d(4, 8, 1), nn.Conv2d(8, 8, 3, groups=8)), "nothing projects"),
        (nn.Sequential(nn.Conv2d(4, 4, 3, groups=4), nn.Conv2d(4, 8, 1)), "of the input, without an expansion"),
        (nn.Sequential(nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 3, groups=4), nn.Conv2d(4, 8, 1)), "expands nothing"),
        (nn.Sequential(nn.AvgPool2d(2), nn.Conv2d(4, 4, 3, groups=4), nn.Conv2d(4, 8, 1)), "a pool (0), not a 1x1"),
    ],
)
def test_rows_of_layers_that_are_no_block(module: nn.Module, reason: str) -> None:
    result = traced(module, 4, 8)
    (depthwise,) = [entry for entry in result.ledger if entry.kind == "depthwise conv"]
    assert not result.ledger.fused
    assert reason in depthwise.reason


@pytest.mark.parametrize(
    ("block", "channels", "size"),
    [
        (styles.InvertedResidual(1, 1, 1, activation=nn.ReLU, residual=True), 1, 1),
        (styles.InvertedResidual(1, 3, 1, kernel=7), 1, 1),
        (styles.InvertedResidual(8, 16, 2), 8, 4),
        (styles.InvertedResidual(8, 16, 8, groups=4, residual=True), 8, 3),
        (styles.InvertedResidual(4, 8, 4, kernel=7, stride=2), 4, 2),
        (styles.InvertedResidual(6, 6, 6, groups=6, activation=nn.ReLU), 6, 5),
    ],
    ids=["1 channel", "1x1 image", "out < in", "groups = channels/2", "kernel > image", "groups = channels"],
)
def test_awkward_sizes(block: nn.Module, channels: int, size: int) -> None:
    assert len(traced(block, channels, size).ledger.fused) == 1


def test_squeeze_and_excitation_is_refused_with_all_its_operations() -> None:
    with pytest.raises(UnsupportedError) as caught:
        trace(styles.SqueezeExciteBlock(), images(4, 6))
    assert [entry.name for entry in caught.value.entries] == ["excite.sigmoid", "excite.mul"]
    message = str(caught.value)
    assert message.startswith("model SqueezeExciteBlock: 2 unsupported operations: a sigmoid has no 0/1 mask")
    assert "excite.mul (tests/traced_modules.py:" in message
    assert "\n" not in message


def test_squeeze_and_excitation_where_allowed_leaves_a_plain_block() -> None:
    result = trace(styles.SqueezeExciteBlock(), images(4, 6), allow_unsupported=True)
    assert "squeeze-and-excitation or another gate reads filter" in result.ledger["filter"].reason
    assert {entry.status for entry in result.ledger} == {"plain", "unsupported"}
    assert result.verification.output_error is None
    assert result.verification.node_error < 1e-9


@pytest.mark.parametrize(
    ("activation", "why"),
    [
        (nn.Hardswish, "hard-swish has no 0/1 mask"),
        (nn.SiLU, "SiLU (swish) has no 0/1 mask"),
        (nn.PReLU, "PReLU has no 0/1 mask"),
        (nn.LeakyReLU, "leaky ReLU has no 0/1 mask"),
        (styles.HandwrittenHardSwish, "a product of two feature maps"),
    ],
)
def test_other_activations_are_refused_but_the_rest_is_seen(activation: Callable[[], nn.Module], why: str) -> None:
    module = nn.Sequential(
        nn.Conv2d(3, 4, 3, 2, 1),
        styles.InvertedResidual(4, 12, 4, activation=activation),
        styles.InvertedResidual(4, 12, 4, residual=True),
    )
    with pytest.raises(UnsupportedError, match="2 unsupported operations") as caught:
        trace(module, images(3, 8))
    assert all(why in entry.reason for entry in caught.value.entries)
    result = trace(module, images(3, 8), allow_unsupported=True)
    assert [entry.name for entry in result.ledger.fused] == ["2"]
    assert why in result.ledger["1.conv.1.0"].reason


def test_channel_splits_are_refused() -> None:
    with pytest.raises(UnsupportedError, match="reads some channels only"):
        trace(styles.SplitChannels(), images(8, 4))
