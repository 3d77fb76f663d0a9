"""Whole networks: scales, unfolded blocks, refusals, and integers against floats."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from integer.cases import CompiledCase, compiled_cases
from strategies import network_images, networks

from predfuse import models
from predfuse.arrays import Array
from predfuse.errors import InputError
from predfuse.fusion.execute import run_network
from predfuse.graph.nodes import INPUT, Add, Bottleneck, Concat, Conv, Linear, Network, Shuffle
from predfuse.integer import run_program
from predfuse.integer.calibrate import calibrate, normalise
from predfuse.integer.compile import compile_network
from predfuse.integer.options import CompileOptions
from predfuse.integer.split_blocks import unfold_unpredicted


@given(networks(), st.data())
@settings(max_examples=40)
def test_unfolding_changes_no_output(network: Network, data: st.DataObject) -> None:
    images = data.draw(network_images(network))
    unfolded = unfold_unpredicted(network)
    assert not [block for block in unfolded.bottlenecks() if block.predictor is None]
    expected = run_network(network, images, "predicted", statistics=False).logits
    found = run_network(unfolded, images, "predicted", statistics=False).logits
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9 * (1 + np.abs(expected).max()))


@given(compiled_cases(with_predictor=False))
@settings(max_examples=60)
def test_nothing_saturates_on_the_calibration_images(case: CompiledCase) -> None:
    """The margin covers what the integers differ from the floats they were calibrated on."""
    program = compile_network(case.network, case.images, CompileOptions(accumulator_bits=63, margin=2.0))
    result = run_program(program, case.images)
    assert sum(result.saturations.values()) == 0


@pytest.fixture(scope="module")
def small() -> tuple[Network, Array]:
    """A small trained-like network (normalised layer by layer) and images."""
    rng = np.random.default_rng(1)
    images = rng.normal(size=(8, 1, 14, 14))
    network = models.network("mobilenetv2-s", options={"input_shape": [1, 14, 14]})
    for node in network.nodes:
        if isinstance(node, Conv | Bottleneck | Linear):
            kept = run_network(network, images, "true", statistics=False, keep=[node.name]).outputs[node.name]
            weight = "project_weight" if isinstance(node, Bottleneck) else "weight"
            factor = 2.0 / np.abs(kept).max()
            replaced = dataclasses.replace(node, **{weight: getattr(node, weight) * factor})
            network = network.replace_nodes(**{node.name: replaced})
    return network, images


def test_integers_follow_the_floats(small: tuple[Network, Array]) -> None:
    network, images = small
    result = run_program(compile_network(network, images), images)
    expected = run_network(network, images, "true", statistics=False).logits
    found = result.scores * 2.0**-result.fraction_bits
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-3 * np.abs(expected).max())
    coarse = run_program(compile_network(network, images, CompileOptions(weight_bits=5)), images)
    worse = np.abs(coarse.scores * 2.0**-coarse.fraction_bits - expected).max()
    assert worse > 10 * np.abs(found - expected).max()  # the comparison would notice coarse weights


def test_compiling_is_deterministic_and_leaves_the_network_alone(small: tuple[Network, Array]) -> None:
    network, images = small
    before = [array.tobytes() for array in _arrays(network)]
    first, second = compile_network(network, images), compile_network(network, images)
    for one, other in zip(first.nodes, second.nodes, strict=True):
        for field in dataclasses.fields(one):
            np.testing.assert_array_equal(getattr(one, field.name), getattr(other, field.name))
    assert [array.tobytes() for array in _arrays(network)] == before


def _arrays(network: Network) -> list[Array]:
    values = [getattr(node, field.name) for node in network.nodes for field in dataclasses.fields(node)]
    return [value for value in values if isinstance(value, np.ndarray)]


def test_blocks_without_predictor_become_their_convolutions(small: tuple[Network, Array]) -> None:
    network, images = small
    program = compile_network(network, images[:1])
    names = [node.name for node in program.nodes]
    assert {"b2.expand", "b2.depthwise", "b2.project", "b2.add"} <= set(names) and "b2" not in names
    with pytest.raises(InputError, match="layer b1: has no predictor"):
        compile_network(network, images, CompileOptions(require_fused=True))


def test_calibration_sees_the_largest_value_of_every_layer(small: tuple[Network, Array]) -> None:
    network, images = small
    calibration = calibrate(network, images)
    outputs = run_network(network, images, "true", statistics=False, keep=["conv1", "b1", "FC1"]).outputs
    for name in ("conv1", "b1", "FC1"):
        assert calibration.largest[name] == np.abs(outputs[name]).max()
    assert calibration.largest[INPUT] == np.abs(images).max() and calibration.images == 8


def _pixels(shape: tuple[int, int, int], count: int = 2) -> Array:
    return np.random.default_rng(5).integers(0, 256, (count, *shape), dtype=np.uint8)


def test_pixels_are_whole_steps_and_floats_are_read_the_same() -> None:
    """No pixel value is rounded more than another; normalised floats of the pixels give the very integers."""
    network = dataclasses.replace(models.network("fusionet-s"), mean=(0.3, 0.5, 0.1), std=(0.3, 0.2, 0.5))
    pixels = _pixels((3, 32, 32))
    program = compile_network(network, pixels[:1])
    steps = np.diff(program.input_table.astype(int), axis=1)
    assert (steps == steps[:, :1]).all() and steps.min() >= 64
    from_pixels = run_program(program, pixels, keep=[INPUT])
    from_floats = run_program(program, normalise(network, pixels), keep=[INPUT])
    np.testing.assert_array_equal(from_pixels.values[INPUT], from_floats.values[INPUT])
    assert from_pixels.saturations[INPUT] == from_floats.saturations[INPUT] == 0
    expected = run_network(network, normalise(network, pixels), "true", statistics=False).logits
    found = from_pixels.scores * 2.0**-from_pixels.fraction_bits
    np.testing.assert_allclose(found, expected, rtol=0, atol=5e-3 * np.abs(expected).max())


def test_images_that_no_convolution_reads_keep_a_power_of_two() -> None:
    classifier = Linear("FC1", (INPUT,), np.random.default_rng(0).normal(size=(3, 48)), np.zeros(3))
    network = Network("n", (3, 4, 4), (classifier,), mean=(0.5,) * 3, std=(0.25,) * 3)
    program = compile_network(network, _pixels((3, 4, 4)))
    assert program.input_gain == ()
    values = (np.arange(256) / 255 - 0.5) / 0.25
    step = 2.0**-program.input_fraction_bits
    np.testing.assert_allclose(program.input_table[0] * step, values, rtol=0, atol=step / 2)


def test_unusable_images_and_weights_are_refused(small: tuple[Network, Array]) -> None:
    network, images = small
    with pytest.raises(InputError, match="images: have shape 8x1x13x14, network mobilenetv2-s expects Nx1x14x14"):
        compile_network(network, images[:, :, 1:])
    with pytest.raises(InputError, match="images: have type int64"):
        wrong: Array = images.astype(np.int64)
        compile_network(network, wrong)
    with pytest.raises(InputError, match="NaN"):
        compile_network(network, np.full_like(images, np.nan))
    conv = next(node for node in network.nodes if node.name == "conv1")
    assert isinstance(conv, Conv)
    huge = network.replace_nodes(conv1=dataclasses.replace(conv, weight=conv.weight * 1e300))
    with pytest.raises(InputError, match=r"layer \S+: (needs a scale|gives NaN)"):
        compile_network(huge, images)
    with pytest.raises(InputError, match=r"needs a \d+-bit accumulator, has 24"):
        compile_network(network, images, CompileOptions(accumulator_bits=24))


@pytest.mark.parametrize("join", [Add, Concat])
@pytest.mark.parametrize("size", [0.0, 1e-38, 1e-20, 1e-9, 1e-5, 1.0])
def test_a_branch_of_next_to_nothing_compiles_like_one_of_nothing(size: float, join: type[Add] | type[Concat]) -> None:
    rng = np.random.default_rng(0)
    weights = rng.normal(size=(2, 3, 2, 1, 1))
    network = Network(
        "branches",
        (2, 5, 5),
        (
            Conv("large", (INPUT,), weight=weights[0, :2], bias=np.zeros(2)),
            Conv("small", (INPUT,), weight=size * weights[1, :2], bias=np.zeros(2)),
            Shuffle("shuffled", ("small",), 2),
            join("joined", ("large", "shuffled")),
        ),
    )
    images = rng.normal(size=(4, 2, 5, 5))
    result = run_program(compile_network(network, images), images)
    expected = run_network(network, images, statistics=False).logits.reshape(4, -1)
    np.testing.assert_allclose(np.ldexp(result.scores, -result.fraction_bits), expected, atol=2e-3)
