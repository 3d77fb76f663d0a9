"""The graph checks itself on construction, with a message that names the layer."""

from __future__ import annotations

import dataclasses
from typing import Any

import float_reference as reference
import numpy as np
import pytest
from hypothesis import given, strategies as st
from strategies import network_images, networks

from predfuse.errors import InputError
from predfuse.graph.nodes import (
    Add,
    Bottleneck,
    Concat,
    Conv,
    Linear,
    Network,
    Node,
    Pool,
    Predictor,
    Shuffle,
    Unsupported,
)


def _conv(**changes: Any) -> Conv:
    return Conv(
        **{"name": "conv1", "inputs": ("input",), "weight": np.ones((4, 3, 3, 3)), "bias": np.ones(4), **changes}
    )


def _block(**changes: Any) -> Bottleneck:
    arguments = {
        "name": "b1",
        "inputs": ("input",),
        "expand_weight": np.ones((8, 2)),
        "expand_bias": np.ones(8),
        "depthwise_weight": np.ones((8, 3, 3)),
        "depthwise_bias": np.ones(8),
        "project_weight": np.ones((4, 4)),
        "project_bias": np.ones(4),
        "groups": 2,
    }
    return Bottleneck(**{**arguments, **changes})


def _predictor(**changes: Any) -> Predictor:
    arguments = {
        "input_exponent": 0,
        "expand": np.ones((8, 2), np.int8),
        "expand_offset": np.ones(8, np.int32),
        "shift": np.ones(8, np.int8),
        "depthwise": np.ones((8, 3, 3), np.int8),
        "depthwise_offset": np.ones(8, np.int32),
    }
    return Predictor(**{**arguments, **changes})


def _network(*nodes: Node, **changes: Any) -> Network:
    return Network(**{"name": "tiny", "input_shape": (3, 5, 5), "nodes": nodes, **changes})


@given(st.data())
def test_shapes_are_those_of_the_reference(data: st.DataObject) -> None:
    network = data.draw(networks())
    image = data.draw(network_images(network, count=1))[0]
    values = reference.run_network(network, image)
    assert {name: value.shape for name, value in values.items()} == network.shapes()
    assert network.output == network.nodes[-1].name
    assert [block.name for block in network.bottlenecks()] == [
        node.name for node in network.nodes if isinstance(node, Bottleneck)
    ]


def test_sizes_of_layers() -> None:
    conv = _conv(weight=np.ones((4, 3, 3, 5)), groups=2)
    assert (conv.in_channels, conv.out_channels, conv.kernel) == (6, 4, (3, 5))
    block = _block()
    assert (block.in_channels, block.group_channels, block.middle_channels, block.out_channels) == (4, 2, 8, 4)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": ""}, "not a usable name"),
        ({"name": "input"}, "not a usable name"),
        ({"inputs": "input"}, "has inputs 'input'"),
        ({"weight": np.ones((4, 3, 3))}, r"weight has shape 4x3x3, expected \*x\*x\*x\*"),
        ({"weight": np.ones((4, 0, 3, 3))}, "weight has shape 4x0x3x3"),
        ({"weight": [[1.0]]}, "weight is a list"),
        ({"weight": np.full((4, 3, 3, 3), np.nan)}, "weight holds NaN"),
        ({"weight": np.full((4, 3, 3, 3), np.inf)}, "weight holds NaN or infinite"),
        ({"weight": np.ones((4, 3, 3, 3), bool)}, "weight has type bool"),
        ({"bias": np.ones(3)}, "bias has shape 3, expected 4"),
        ({"groups": 3}, "4 output channels are not divisible by 3 groups"),
        ({"groups": 0}, "groups is 0"),
        ({"groups": 2.0}, "groups is 2.0"),
        ({"stride": 0}, "stride 0"),
        ({"stride": True}, "stride True"),
        ({"stride": 1.5}, "stride 1.5"),
        ({"dilation": 0}, "dilation 0"),
        ({"padding": (1, 1)}, "padding"),
        ({"padding": (1, 1, 1, -1)}, "padding"),
        ({"padding": [1, 1, 1, 1]}, "padding"),
        ({"activation": "gelu"}, "unknown activation 'gelu'"),
    ],
)
def test_impossible_convolutions(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        _conv(**changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"groups": 3}, "layer b1: 8 middle channels are not divisible by 3 groups"),
        ({"groups": 8}, "project weight has shape 4x4, expected \\*x1"),
        ({"groups": 8, "project_weight": np.ones((4, 1))}, "4 output channels are not divisible by 8 groups"),
        ({"expand_bias": np.ones(7)}, "expand bias has shape 7"),
        ({"depthwise_weight": np.ones((8, 2, 2))}, "depthwise kernel is 2x2"),
        ({"depthwise_weight": np.ones((8, 3, 5))}, "depthwise kernel is 3x5"),
        ({"depthwise_weight": np.ones((4, 3, 3))}, "depthwise weight has shape 4x3x3"),
        ({"depthwise_bias": np.full(8, np.nan)}, "depthwise bias holds NaN"),
        ({"project_bias": np.ones(5)}, "project bias has shape 5"),
        ({"shuffle_groups": 3}, "not divisible by 3 groups"),
        ({"residual": True, "stride": 2}, "residual but changes the shape"),
        ({"residual": True, "expand_weight": np.ones((8, 3))}, "residual but changes the shape"),
        ({"expand_activation": "swish"}, "unknown activation"),
        ({"predictor": _predictor(expand=np.ones((8, 3), np.int8))}, "predictor expand has shape 8x3"),
        ({"predictor": _predictor(expand=np.ones((8, 2)))}, "predictor expand is not an integer array"),
        (
            {"predictor": _predictor(expand=np.full((8, 2), 3, np.int8))},
            "predictor expand holds other values than 0, 1",
        ),
        ({"predictor": _predictor(depthwise=np.full((8, 3, 3), -128, np.int8))}, "predictor depthwise holds other"),
        ({"predictor": _predictor(shift=np.full(8, -1, np.int8))}, "predictor shift lies outside"),
        ({"predictor": _predictor(shift=np.full(8, 32, np.int8))}, "predictor shift lies outside"),
        ({"predictor": _predictor(input_max=0)}, "predictor ranges"),
        ({"predictor": _predictor(input_min=1)}, "predictor ranges"),
        ({"predictor": _predictor(hidden_max=0)}, "predictor ranges"),
        ({"predictor": _predictor(input_exponent=65)}, "predictor ranges"),
        ({"predictor": _predictor(input_exponent=0.5)}, "input_exponent is not a whole number"),
    ],
)
def test_impossible_blocks(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        _block(**changes)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("median", 2), "pooling median 2"),
        (("max", -1), "pooling max -1"),
        (("max", 2, 0), "stride 0"),
        (("average", 2, 1, (2, 0, 0, 0)), "whole windows"),
        (("average", 0, 2), "whole image with a stride"),
    ],
)
def test_impossible_pools(arguments: tuple[Any, ...], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Pool("pool", ("input",), *arguments)


@pytest.mark.parametrize(
    ("nodes", "message"),
    [
        ([], "has no layers"),
        ([_conv(inputs=("missing",))], "conv1: reads 'missing'"),
        ([_conv(), _conv()], "conv1: is defined twice"),
        ([_conv(inputs=("input", "input"))], "conv1: has 2 inputs"),
        ([Concat("cat", ())], "cat: has 0 inputs"),
        ([_conv(weight=np.ones((4, 2, 3, 3)))], "gets 3 channels, expects 2"),
        ([_conv(weight=np.ones((4, 3, 7, 7)))], "a 5x5 image leaves no output pixel"),
        (
            [_conv(padding=(1, 1, 1, 1), weight=np.ones((3, 3, 3, 3)), bias=np.ones(3)), _block(inputs=("conv1",))],
            "gets 3",
        ),
        ([_conv(), Add("add", ("conv1", "input"))], "adds different shapes"),
        ([_conv(), Concat("cat", ("conv1", "input"))], "joins different image sizes"),
        ([Shuffle("mix", ("input",), 2)], "3 input channels are not divisible by 2"),
        ([Shuffle("mix", ("input",), 0)], "groups is 0"),
        ([Linear("FC1", ("input",), np.ones((2, 74)), np.ones(2))], "expects 74 values"),
        ([Node("odd", ("input",))], "unknown node type Node"),
    ],
)
def test_impossible_networks(nodes: list[Node], message: str) -> None:
    with pytest.raises(InputError, match=message):
        _network(*nodes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"input_shape": (3, 5)}, "input shape"),
        ({"input_shape": (3, 5, 0)}, "input shape"),
        ({"input_shape": (3, 5, 5.0)}, "input shape"),
        ({"mean": (0.5,)}, "mean has 1 values"),
        ({"mean": (0.5, 0.5, float("nan")), "std": (1.0,) * 3}, "mean is"),
        ({"mean": (0.5,) * 3, "std": (1.0, 1.0, 0.0)}, "std is"),
        ({"mean": (0.5,) * 3, "std": (1.0, 1.0, float("inf"))}, "std is"),
    ],
)
def test_impossible_image_descriptions(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        _network(_conv(), **changes)


def test_residual_needs_padding_that_keeps_the_size() -> None:
    block = _block(residual=True, padding=(1, 1, 1, 0))
    with pytest.raises(InputError, match="residual of"):
        _network(block, input_shape=(4, 5, 5))
    assert _network(_block(residual=True, padding=(2, 0, 0, 2)), input_shape=(4, 5, 5)).shapes()["b1"] == (4, 5, 5)


def test_adding_nothing_is_refused() -> None:
    with pytest.raises(InputError, match="adds no inputs"):
        Add("add", ())


def test_unsupported_operations_have_a_shape() -> None:
    assert _network(Unsupported("gate", ("input",), "sigmoid", "no node computes it", (2, 5, 5))).shapes()["gate"] == (
        2,
        5,
        5,
    )
    with pytest.raises(InputError, match="gate: output shape"):
        Unsupported("gate", ("input",), "sigmoid", "no node computes it", (3, 5))  # type: ignore[arg-type]


def test_replacing_nodes() -> None:
    network = _network(_conv())
    other = network.replace_nodes(conv1=_conv(weight=np.zeros((4, 3, 3, 3))))
    assert not other.nodes[0].weight.any() and network.nodes[0].weight.all()  # type: ignore[attr-defined]
    with pytest.raises(InputError, match="has no layer 'b7'"):
        network.replace_nodes(b7=_conv())
    with pytest.raises(InputError, match="gets 3 channels"):
        network.replace_nodes(conv1=_conv(weight=np.ones((4, 2, 3, 3))))


def test_nodes_are_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        _conv().stride = 2  # type: ignore[misc]
