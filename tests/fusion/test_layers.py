"""The fast plain layers equal the slow obvious ones."""

from __future__ import annotations

import dataclasses

import float_reference as reference
import numpy as np
from hypothesis import given, strategies as st
from strategies import SEEDS, convolutions, pools

from predfuse.fusion import layers
from predfuse.graph.nodes import Conv, Pool

SHAPES = st.tuples(st.integers(1, 6), st.integers(1, 7), st.integers(1, 7))


@given(st.data(), SHAPES, SEEDS)
def test_convolutions(data: st.DataObject, shape: tuple[int, int, int], seed: int) -> None:
    conv: Conv = data.draw(convolutions("conv1", "input", shape))
    x = np.random.default_rng(seed).normal(size=shape)
    got = layers.activate(layers.convolve(x, conv), conv.activation)
    np.testing.assert_allclose(got, reference.run_node(conv, [x]), rtol=1e-12, atol=1e-12)


@given(st.data(), SHAPES, SEEDS, st.booleans())
def test_pools(data: st.DataObject, shape: tuple[int, int, int], seed: int, count_padding: bool) -> None:
    node: Pool = dataclasses.replace(data.draw(pools("pool", "input", shape)), count_padding=count_padding)
    x = np.random.default_rng(seed).normal(size=shape) - 3  # mostly negative: padding must not win a maximum
    np.testing.assert_allclose(layers.pool(x, node), reference.pool(x, node), rtol=1e-12)


def test_shuffle_is_the_published_permutation() -> None:
    x = np.arange(6.0).reshape(6, 1, 1)
    assert layers.shuffle(x, 2).ravel().tolist() == [0, 3, 1, 4, 2, 5]
    assert reference.shuffle(x, 2).ravel().tolist() == [0, 3, 1, 4, 2, 5]
    assert layers.shuffle(x, 3).ravel().tolist() == [0, 2, 4, 1, 3, 5]


def test_activations_keep_the_type() -> None:
    x = np.array([-1, 3, 7], np.float32)
    assert layers.activate(x, "relu6").tolist() == [0, 3, 6]
    assert layers.activate(x, "relu").dtype == layers.activate(x, "relu6").dtype == np.float32
    assert layers.activate(x, "linear") is x
