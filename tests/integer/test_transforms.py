"""What the compiler does to a network before it quantises: nothing that changes what the network computes."""

from __future__ import annotations

import dataclasses
from typing import Any

import float_reference as reference
import numpy as np
from hypothesis import given, settings, strategies as st
from strategies import BlockCase, bottlenecks, network_images, networks

from predfuse.arrays import Array
from predfuse.fusion.execute import run_network
from predfuse.fusion.masks import predict_masks, predictor_scores
from predfuse.graph.nodes import INPUT, Bottleneck, Conv, Linear, Network, Pool, Predictor, Shuffle
from predfuse.integer import run_program
from predfuse.integer.calibrate import calibrate, normalise
from predfuse.integer.compile import compile_network, rounded_down
from predfuse.integer.pixels import fold_pixel_scale, pixel_scale
from predfuse.integer.reachable_gates import reachable_gates, without_unreachable_gates
from predfuse.integer.scale_channels import CHANNEL_MARGIN, LARGEST_GAIN, channel_gains, equalise
from predfuse.integer.split_blocks import unfold_unpredicted


@given(networks(), st.data())
@settings(max_examples=60)
def test_equalising_changes_no_bit_of_the_output(network: Network, data: st.DataObject) -> None:
    images = data.draw(network_images(network))
    unfolded = unfold_unpredicted(network)
    gains = channel_gains(unfolded, calibrate(unfolded, images).channels)
    changed = equalise(unfolded, gains)
    keep = [node.name for node in unfolded.nodes]
    before = run_network(unfolded, images, "predicted", statistics=False, keep=keep)
    after = run_network(changed, images, "predicted", statistics=False, keep=keep)
    np.testing.assert_array_equal(before.logits, after.logits)
    for name in keep:
        scaled = np.ldexp(before.outputs[name], gains[name][:, None, None])
        np.testing.assert_array_equal(after.outputs[name], scaled)


def test_small_channels_grow_through_shuffle_and_pooling() -> None:
    rng = np.random.default_rng(0)
    sizes = np.array([1.0, 0.3, 1e-4, 0.0])
    first = Conv("a", (INPUT,), rng.normal(size=(4, 2, 1, 1)) * sizes[:, None, None, None], np.zeros(4))
    nodes = (
        first,
        Shuffle("s", ("a",), 2),
        Pool("p", ("s",)),
        Linear("f", ("p",), rng.normal(size=(3, 4)), np.zeros(3)),
    )
    network = Network("n", (2, 3, 3), nodes)
    images = rng.normal(size=(5, 2, 3, 3))
    calibration = calibrate(network, images)
    gains = channel_gains(network, calibration.channels)
    largest = calibration.channels["a"]
    for channel, gain in enumerate(gains["a"]):
        grown = largest[channel] * CHANNEL_MARGIN * 2.0**gain
        assert 0 <= gain <= LARGEST_GAIN and (gain == 0 or grown <= largest.max())
        assert largest[channel] == 0 or gain == LARGEST_GAIN or 2 * grown > largest.max()
    assert gains["a"][2] == LARGEST_GAIN and gains["a"][3] == 0
    np.testing.assert_array_equal(gains["s"], gains["a"][[0, 2, 1, 3]])
    np.testing.assert_array_equal(gains["p"], gains["s"])
    assert not gains["f"].any()


def test_tensors_that_predictors_or_clamps_read_keep_their_channels() -> None:
    weight = np.diag([1.0, 1e-3])[:, :, None, None]
    images = np.ones((1, 2, 2, 2))

    def gains(*nodes: Conv | Bottleneck) -> Array:
        network = Network("n", (2, 2, 2), nodes)
        return channel_gains(network, calibrate(network, images).channels)["a"]

    reader = Conv("b", ("a",), weight, np.zeros(2))
    assert gains(Conv("a", (INPUT,), weight, np.zeros(2)), reader).tolist() == [0, LARGEST_GAIN]
    assert not gains(Conv("a", (INPUT,), weight, np.zeros(2), activation="relu6"), reader).any()
    assert not gains(Conv("b", (INPUT,), weight, np.zeros(2)), Conv("a", ("b",), weight, np.zeros(2))).any()


@given(bottlenecks(with_predictor=True), st.integers(-40, 10))
@settings(max_examples=80)
def test_unreachable_gates_never_open_and_leave_the_output(case: BlockCase, lower: int) -> None:
    predictor = case.block.predictor
    assert predictor is not None
    predictor = dataclasses.replace(predictor, expand_offset=predictor.expand_offset + np.int32(lower))
    block = dataclasses.replace(case.block, predictor=predictor)
    first, second = reachable_gates(predictor)
    for gain in (1, 30):
        scores = predictor_scores(block, case.x * gain)
        assert not (scores[0][~first] > 0).any() and not (scores[1][~second] > 0).any()
        masks = predict_masks(block, case.x * gain)
        expected = reference.masked_block(block, case.x * gain, *masks)
        np.testing.assert_array_equal(
            reference.masked_block(without_unreachable_gates(block), case.x * gain, *masks), expected
        )


def test_the_largest_score_is_reached() -> None:
    """The bound is tight: a gate called reachable opens for some input, and one offset lower it cannot."""
    expand = np.array([[2, -1, 0], [1, 1, -4]], np.int8)
    best = 2 * 7 + 8, 7 + 7 + 4 * 8
    for margin in (0, 1):
        predictor = Predictor(
            input_exponent=0,
            expand=expand,
            expand_offset=np.array([margin - best[0], margin - best[1]], np.int32),
            shift=np.zeros(2, np.int8),
            depthwise=np.ones((2, 1, 1), np.int8),
            depthwise_offset=np.zeros(2, np.int32),
        )
        first, second = reachable_gates(predictor)
        assert first.all() == second.all() == bool(margin)
        assert first.any() == second.any() == bool(margin)


def test_dead_channels_are_gone_from_the_program() -> None:
    """Channels whose gates never open have no entries, though their weights would dwarf all others."""
    rng = np.random.default_rng(0)
    offset = np.array([5, -100, 5, 5], np.int32)
    predictor = Predictor(
        0,
        rng.integers(-1, 2, (4, 2)).astype(np.int8),
        offset,
        np.zeros(4, np.int8),
        np.ones((4, 1, 1), np.int8),
        np.full(4, 5, np.int32),
    )
    weights: list[Any] = [rng.normal(size=shape) for shape in ((4, 2), (4,), (4, 1, 1), (4,), (2, 4), (2,))]
    weights[0][1] = 1e6
    block = Bottleneck("b", (INPUT,), *weights, padding=(0, 0, 0, 0), predictor=predictor)  # type: ignore[misc]
    program = compile_network(Network("n", (2, 3, 3), (block,)), rng.normal(size=(2, 2, 3, 3)))
    (fused,) = program.fused_blocks()
    assert not fused.expand[1].any() and fused.depthwise_bias[1] != 0 and fused.expand[0].any()


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=30)
def test_folding_the_pixel_scale_keeps_the_outputs(seed: int) -> None:
    rng = np.random.default_rng(seed)
    mean, std = rng.uniform(0, 1, 3), rng.uniform(0.1, 1, 3)
    weight = rng.normal(size=(6, 1, 2, 2))
    conv = Conv("c", (INPUT,), weight, rng.normal(size=6), groups=3, activation="relu")
    network = Network("n", (3, 5, 5), (conv,), mean=tuple(mean), std=tuple(std))
    scale = pixel_scale(network, 12, 16)
    assert scale is not None
    pixels = rng.integers(0, 256, (1, 3, 5, 5), dtype=np.uint8)
    integers = np.stack([scale.table[channel][pixels[:, channel]] for channel in range(3)], axis=1)
    found = run_network(fold_pixel_scale(network, scale), integers * 2.0**-12, "true", statistics=False).logits
    expected = run_network(network, normalise(network, pixels), "true", statistics=False).logits
    np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-10)


def _predicted_chain(residual: bool, size: float = 1.0) -> Network:
    """A convolution with exact weights, then a block, its project weights of a ``size``, then another that reads it."""
    rng = np.random.default_rng(4)

    def block(name: str, source: str, add: bool) -> Bottleneck:
        predictor = Predictor(
            -3,
            rng.integers(-1, 2, (8, 2)).astype(np.int8),
            np.full(8, 3, np.int32),
            np.zeros(8, np.int8),
            rng.integers(-1, 2, (8, 3, 3)).astype(np.int8),
            np.full(8, 9, np.int32),
        )
        shapes = ((8, 2), (8,), (8, 3, 3), (8,), (2, 8), (2,))
        weights: list[Any] = [rng.normal(size=shape) * 0.5 for shape in shapes]
        weights[4] *= size
        weights[5] *= size
        return Bottleneck(name, (source,), *weights, residual=add, predictor=predictor)  # type: ignore[misc]

    conv = Conv("c", (INPUT,), rng.integers(-64, 65, (2, 2, 1, 1)) / 64, np.zeros(2))
    return Network("n", (2, 12, 12), (conv, block("b1", "c", residual), block("b2", "b1", False)))


def test_what_a_predictor_reads_is_rounded_down() -> None:
    """The integers are the floor of the true values, so that the predictor's inputs are exactly those of the floats."""
    network = _predicted_chain(False)
    assert rounded_down(network) == {"c", "b1"}
    rng = np.random.default_rng(1)
    images = rng.integers(-2000, 2000, (4, 2, 12, 12)) / 2.0**10
    program = compile_network(network, images)
    assert program.input_fraction_bits >= 10  # the images are exact
    conv = program.nodes[0]
    result = run_program(program, images, keep=["c"])
    true = run_network(network, images, "predicted", statistics=False, keep=["c"]).outputs["c"]
    np.testing.assert_array_equal(result.values["c"], np.floor(np.ldexp(true, conv.fraction_bits)))


def test_half_steps_are_allowed_for_in_blocks_and_residuals() -> None:
    """On the same masks, outputs rounded down stand for the floats in the mean, half a step above the integers."""
    alignments = set()
    for residual, size in ((False, 1.0), (True, 1.0), (True, 0.01), (True, 10.0)):
        network = _predicted_chain(residual, size)
        images = np.random.default_rng(2).normal(size=(20, 2, 12, 12))
        program = compile_network(network, images)
        result = run_program(program, images, keep=["c", "b1"], keep_masks=True)
        scales = {node.name: 2.0**-node.fraction_bits for node in program.nodes}
        (b1, _) = network.bottlenecks()
        alignments.add(program.fused_blocks()[0].residual_shift if residual else None)
        errors = []
        for index in range(len(images)):
            x = (result.values["c"][index] + 0.5) * scales["c"]
            masks = [mask[index] for mask in result.masks["b1"]]
            true = reference.masked_block(b1, x, *masks)
            errors.append((result.values["b1"][index] + 0.5) - true / scales["b1"])
        assert abs(np.mean(errors)) < 0.15 and np.std(errors) < 0.8
    assert 0 in alignments and max(shift or 0 for shift in alignments) > 0
