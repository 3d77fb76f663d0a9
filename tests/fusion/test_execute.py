"""Whole networks: all modes against the slow reference, statistics against their definitions."""

from __future__ import annotations

from typing import Any

import float_reference as reference
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from strategies import bottlenecks, network_images, networks

from predfuse.arrays import Array
from predfuse.errors import InputError
from predfuse.fusion import execute
from predfuse.fusion.execute import run_network
from predfuse.fusion.weights import fuse
from predfuse.graph.nodes import Bottleneck, Conv, Linear, Network, Node, Unsupported


@given(st.data())
def test_all_modes_equal_the_reference(data: st.DataObject) -> None:
    network = data.draw(networks())
    images = data.draw(network_images(network))
    names = [node.name for node in network.nodes]
    ordinary = [reference.run_network(network, image) for image in images]
    predicted = [reference.run_network(network, image, reference.predicted_block) for image in images]
    for mode, wanted in (("true", ordinary), ("fused_true", ordinary), ("predicted", predicted), ("fused", predicted)):
        result = run_network(network, images, mode, keep=names)  # type: ignore[arg-type]
        for name in names:
            for got, want in zip(result.outputs[name], wanted, strict=True):
                np.testing.assert_allclose(got, want[name], rtol=1e-9, atol=1e-9 * np.abs(want[name]).max())
        np.testing.assert_array_equal(result.logits, result.outputs[network.output].reshape(len(images), -1))


@given(st.data())
def test_blocks_too_large_to_store_run_the_same(data: st.DataObject) -> None:
    network = data.draw(networks(max_nodes=3, with_predictor=True))
    images = data.draw(network_images(network))
    stored = run_network(network, images, "fused", statistics=False)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(execute, "STORED_ENTRIES", -1)
        unstored = run_network(network, images, "fused", statistics=False)
    np.testing.assert_allclose(unstored.logits, stored.logits, rtol=1e-9, atol=1e-9 * np.abs(stored.logits).max())


def _window(node: Any, x: Array, p: tuple[int, int], tap: tuple[int, int], dilation: int = 1) -> tuple[int, int] | None:
    """The input pixel under a tap, if it lies in the image."""
    row = p[0] * node.stride + tap[0] * dilation - node.padding[0]
    column = p[1] * node.stride + tap[1] * dilation - node.padding[2]
    return (row, column) if 0 <= row < x.shape[1] and 0 <= column < x.shape[2] else None


def _slow_block_counts(block: Bottleneck, x: Array, mask1: Array, mask2: Array) -> tuple[int, int, list[int]]:
    """Additions, bias additions and non-zero multiplications, by visiting every entry at every pixel."""
    fused = fuse(block)
    taps = block.kernel**2
    additions = biases = 0
    nonzero = [0, 0, 0]
    middle, outputs = block.middle_channels // block.groups, block.out_channels // block.groups
    for m, row, column in np.ndindex(mask1.shape):
        inputs = x[m // middle * block.group_channels :][: block.group_channels, row, column]
        nonzero[0] += int(((block.expand_weight[m] != 0) & (inputs != 0)).sum())
    for p in np.ndindex(mask2.shape[1:]):
        states2 = mask2[:, *p]
        for m in np.flatnonzero(states2):
            nonzero[2] += int((block.project_weight[m // middle * outputs :][:outputs, m % middle] != 0).sum())
        biases += int((states2[fused.depthwise_bias.channel] == 1).sum())
        biases += int((states2[fused.depthwise_saturated.channel] == 2).sum())
        for k in range(taps):
            under = _window(block, x, p, divmod(k, block.kernel))
            if under is None:
                continue
            states1 = mask1[:, *under]
            nonzero[1] += int(
                ((states1 != 0) & (block.depthwise_weight[:, k // block.kernel, k % block.kernel] != 0)).sum()
            )
            for lists, state in ((fused.weights, 1), (fused.expand_bias, 1), (fused.expand_saturated, 2)):
                here = lists.channel[lists.row_of_entries() % taps == k]
                count = int(((states1[here] == state) & (states2[here] == 1)).sum())
                additions, biases = (
                    additions + count * (state == 1 and lists is fused.weights),
                    biases + count * (lists is not fused.weights),
                )
    return additions, biases, nonzero


@settings(max_examples=25)
@given(st.data(), st.sampled_from(("true", "predicted", "fused")))
def test_block_statistics_equal_their_definitions(data: st.DataObject, mode: Any) -> None:
    case = data.draw(bottlenecks(with_predictor=True))
    block = case.block
    network = Network("one", case.x.shape, (block,))
    images = np.stack([case.x, case.x * -1.5])
    result = run_network(network, images, mode, keep=["b1"])
    statistics = result.block("b1")
    truths = []
    for index, image in enumerate(images):
        mask1, mask2 = (masks[index] for masks in result.masks["b1"])
        additions, biases, nonzero = _slow_block_counts(block, image, mask1, mask2)
        assert statistics.fused_additions[index] == additions
        assert statistics.bias_additions[index] == biases
        assert statistics.nonzero_multiplications[index].tolist() == nonzero
        a = reference.expand(block, image)
        d = reference.depthwise(block, reference.activate(a, block.expand_activation))
        truths.append((a, d))
    stages = ((statistics.expand, block.expand_activation), (statistics.depthwise, block.depthwise_activation))
    for stage, (gates, activation) in enumerate(stages):
        on = result.masks["b1"][stage] != 0
        true_on = np.stack([truth[stage] > 0 for truth in truths]) | (activation == "linear")
        assert (gates.gates, gates.on, gates.true_on) == (on.size, on.sum(), true_on.sum())
        assert (gates.false_on, gates.false_off) == ((on & ~true_on).sum(), (~on & true_on).sum())
        if mode == "true":
            assert gates.false_on == gates.false_off == 0
        assert gates.survivors == on.mean()
        assert gates.false_on_share + gates.false_off_share == pytest.approx((on != true_on).mean())
        assert gates.false_on_rate <= 1 and gates.false_off_rate <= 1


@settings(max_examples=25)
@given(st.data())
def test_nonzero_multiplications_of_plain_layers(data: st.DataObject) -> None:
    network = data.draw(networks())
    images = data.draw(network_images(network, count=1))
    images = np.where(np.abs(images) < 0.5, 0.0, images)
    values = reference.run_network(network, images[0])
    result = run_network(network, images)
    for node in network.nodes:
        x = values[node.inputs[0]]
        if isinstance(node, Linear):
            wanted = int(((node.weight != 0) & (x.ravel() != 0)).sum())
            assert result.nonzero_multiplications[node.name].tolist() == [wanted]
        if isinstance(node, Conv):
            wanted = 0
            group_outputs, group_channels = node.out_channels // node.groups, node.weight.shape[1]
            for o, c, kh, kw in np.argwhere(node.weight):
                for p in np.ndindex(values[node.name].shape[1:]):
                    under = _window(node, x, p, (kh, kw), node.dilation)
                    wanted += under is not None and x[o // group_outputs * group_channels + c, *under] != 0
            assert result.nonzero_multiplications[node.name].tolist() == [wanted]


def _classifier(**changes: Any) -> Network:
    nodes: tuple[Node, ...] = (Linear("FC1", ("input",), np.ones((2, 12)), np.zeros(2)),)
    return Network(**{"name": "tiny", "input_shape": (3, 2, 2), "nodes": nodes, **changes})


def test_float32_runs_in_float32() -> None:
    result = run_network(_classifier(), np.ones((1, 3, 2, 2)), dtype=np.float32)
    assert result.logits.dtype == np.float32
    assert result.accuracy(np.array([0])) == 1.0
    assert result.executions == {"FC1": "plain"}


@settings(max_examples=5)
@given(st.data())
def test_threads_change_nothing(data: st.DataObject) -> None:
    network = data.draw(networks(with_predictor=True))
    images = data.draw(network_images(network, count=5))
    alone, together = (run_network(network, images, "fused", workers=workers) for workers in (1, 3))
    np.testing.assert_array_equal(alone.logits, together.logits)
    for one, other in zip(alone.blocks, together.blocks, strict=True):
        np.testing.assert_array_equal(one.fused_additions, other.fused_additions)
        assert (one.expand, one.depthwise) == (other.expand, other.depthwise)


def test_progress_is_told_after_every_image() -> None:
    steps: list[int] = []
    run_network(_classifier(), np.ones((3, 3, 2, 2)), progress=steps.append)
    assert steps == [1, 1, 1]


@pytest.mark.parametrize(
    ("images", "arguments", "message"),
    [
        (np.ones((1, 3, 2, 3)), {}, "1x3x2x3, network tiny expects N x 3 x 2 x 2"),
        (np.ones((0, 3, 2, 2)), {}, "have shape 0x3x2x2"),
        (np.ones((1, 3, 2, 2), np.uint8), {}, "have type uint8"),
        (np.full((1, 3, 2, 2), np.nan), {}, "hold NaN"),
        (np.ones((1, 3, 2, 2)), {"mode": "fast"}, "mode: is 'fast'"),
        (np.ones((1, 3, 2, 2)), {"keep": ["b1"]}, "no layer 'b1'"),
    ],
)
def test_unusable_arguments_are_refused(images: Array, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        run_network(_classifier(), images, **arguments)


def test_networks_with_unsupported_nodes_are_refused() -> None:
    odd = Unsupported("gate", ("input",), "sigmoid", "no node computes it", (3, 2, 2))
    with pytest.raises(InputError, match="gate: cannot be run \\(sigmoid: no node computes it\\)"):
        run_network(_classifier(nodes=(odd,)), np.ones((1, 3, 2, 2)))


def test_integer_networks_are_refused() -> None:
    network = _classifier(nodes=(Linear("FC1", ("input",), np.ones((2, 12), np.int8), np.zeros(2, np.int8)),))
    with pytest.raises(InputError, match="FC1: has integer weights"):
        run_network(network, np.ones((1, 3, 2, 2)))
