"""Hypothesis strategies for random, valid blocks, predictors, images and networks.

Shapes are drawn by hypothesis (so that it can shrink them), contents by NumPy from a drawn seed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from hypothesis import strategies as st

from predfuse.arrays import Array
from predfuse.graph.nodes import (
    INPUT,
    Activation,
    Add,
    Bottleneck,
    Concat,
    Conv,
    Linear,
    Network,
    Node,
    Pool,
    Predictor,
    Shape,
    Shuffle,
)
from predfuse.predictor.format import PredictorFormat

PREDICTOR_FORMATS = st.builds(PredictorFormat, bits=st.sampled_from((2, 4)), largest_weight=st.sampled_from((1, 2, 4)))
ACTIVATIONS: st.SearchStrategy[Activation] = st.sampled_from(("relu", "relu6", "linear"))
SEEDS = st.integers(0, 2**32 - 1)
DENSITIES = st.sampled_from((0.0, 0.2, 0.6, 1.0))


@dataclass(frozen=True, eq=False)
class BlockCase:
    """A block with an input that fits it."""

    block: Bottleneck
    x: Array


def sparse_array(rng: np.random.Generator, shape: tuple[int, ...], density: float, integer: bool) -> Array:
    """Normal float64 values, or int64 from -9 to 9, a fraction ``density`` of them kept and the rest zero."""
    values = rng.integers(-9, 10, shape) if integer else rng.normal(size=shape)
    return values * (rng.random(shape) < density)


@st.composite
def predictors(draw: st.DrawFn, middle: int, group_channels: int, kernel: int) -> Predictor:
    """A predictor for a block of the given sizes, its offsets around the middle of the scores."""
    rng = np.random.default_rng(draw(SEEDS))
    weights = draw(st.sampled_from(([-1, 0, 1], [-2, -1, 0, 1, 2], [-4, -2, -1, 0, 1, 2, 4])))
    return Predictor(
        input_exponent=draw(st.integers(-3, 2)),
        expand=rng.choice(weights, (middle, group_channels)).astype(np.int8),
        expand_offset=rng.integers(-6, 10, middle).astype(np.int32),
        shift=rng.integers(0, 3, middle).astype(np.int8),
        depthwise=rng.choice(weights, (middle, kernel, kernel)).astype(np.int8),
        depthwise_offset=rng.integers(-10, 16, middle).astype(np.int32),
    )


@st.composite
def bottlenecks(
    draw: st.DrawFn,
    name: str = "b1",
    source: str = INPUT,
    in_shape: Shape | None = None,
    integer: bool = False,
    with_predictor: bool | None = None,
    activations: st.SearchStrategy[Any] = ACTIVATIONS,
    residual: bool | None = None,
) -> BlockCase:
    """Blocks with groups, strides, odd kernels, asymmetric padding, shuffle, residual, empty lists, tiny images.

    Args:
        draw: Given by hypothesis.
        name: Name of the block.
        source: Name of the node it reads.
        in_shape: ``(C, H, W)`` of its input; drawn if not given.
        integer: Integer weights and input instead of float64.
        with_predictor: Whether it has a predictor; drawn if not given.
        activations: Where both activations are drawn from.
        residual: Whether it has a residual; drawn if not given.
    """
    if in_shape is None:
        groups = draw(st.integers(1, 3))
        in_shape = (groups * draw(st.integers(1, 3)), draw(st.integers(1, 6)), draw(st.integers(1, 6)))
    else:
        groups = draw(st.sampled_from([count for count in (1, 2, 3, 4) if in_shape[0] % count == 0]))
    channels, height, width = in_shape
    middle = groups * draw(st.integers(1, 5))
    kernel = draw(st.sampled_from((1, 3, 5, 7)))
    if residual is None:
        residual = draw(st.booleans())
    if residual:
        stride, outputs, half = 1, channels, kernel // 2
        padding = (half, half, half, half)
        shift = draw(st.integers(-half, half))  # more on one side, less on the other: the size stays
        padding = (half + shift, half - shift, half, half)
    else:
        stride, outputs = draw(st.integers(1, 3)), groups * draw(st.integers(1, 3))
        edges = [draw(st.integers(0, kernel)) for _ in range(4)]
        # A kernel larger than the image needs enough padding for one output pixel.
        edges[1] = max(edges[1], kernel - height - edges[0])
        edges[3] = max(edges[3], kernel - width - edges[2])
        padding = (edges[0], edges[1], edges[2], edges[3])
    rng = np.random.default_rng(draw(SEEDS))
    density = draw(DENSITIES)
    shift_density = draw(DENSITIES)
    scale = 1 if integer else 3  # large enough for ReLU6 to saturate
    if with_predictor is None:
        with_predictor = draw(st.booleans())
    block = Bottleneck(
        name=name,
        inputs=(source,),
        expand_weight=sparse_array(rng, (middle, channels // groups), density, integer) * scale,
        expand_bias=sparse_array(rng, (middle,), shift_density, integer),
        depthwise_weight=sparse_array(rng, (middle, kernel, kernel), density, integer) * scale,
        depthwise_bias=sparse_array(rng, (middle,), shift_density, integer),
        project_weight=sparse_array(rng, (outputs, middle // groups), density, integer),
        project_bias=sparse_array(rng, (outputs,), shift_density, integer),
        stride=stride,
        padding=padding,
        groups=groups,
        expand_activation=draw(activations),
        depthwise_activation=draw(activations),
        shuffle_groups=draw(st.sampled_from([count for count in (1, 2, 3) if outputs % count == 0])),
        residual=residual,
        predictor=draw(predictors(middle, channels // groups, kernel)) if with_predictor else None,
    )
    return BlockCase(block, sparse_array(rng, in_shape, draw(st.sampled_from((0.5, 1.0))), integer))


def random_masks(rng: np.random.Generator, case: BlockCase) -> tuple[Array, Array]:
    """Masks of random states for a block and its input; only ReLU6 stages are ever saturated."""
    _, rows, columns = case.block.output_shape([case.x.shape])
    middle = case.block.middle_channels
    states = [3 if a == "relu6" else 2 for a in (case.block.expand_activation, case.block.depthwise_activation)]
    mask1 = rng.integers(0, states[0], (middle, *case.x.shape[1:])).astype(np.int8)
    return mask1, rng.integers(0, states[1], (middle, rows, columns)).astype(np.int8)


@st.composite
def convolutions(draw: st.DrawFn, name: str, source: str, in_shape: Shape) -> Conv:
    """Plain, grouped or depthwise convolutions with strides, dilation and asymmetric padding."""
    channels, height, width = in_shape
    groups = draw(st.sampled_from([count for count in range(1, channels + 1) if channels % count == 0]))
    outputs = groups * draw(st.integers(1, 2))
    kernel = (draw(st.integers(1, 3)), draw(st.integers(1, 3)))
    dilation = draw(st.integers(1, 2))
    edges = [draw(st.integers(0, 2)) for _ in range(4)]
    edges[1] = max(edges[1], dilation * (kernel[0] - 1) + 1 - height - edges[0])
    edges[3] = max(edges[3], dilation * (kernel[1] - 1) + 1 - width - edges[2])
    rng = np.random.default_rng(draw(SEEDS))
    return Conv(
        name=name,
        inputs=(source,),
        weight=sparse_array(rng, (outputs, channels // groups, *kernel), 0.8, False),
        bias=rng.normal(size=outputs),
        stride=draw(st.integers(1, 2)),
        padding=(edges[0], edges[1], edges[2], edges[3]),
        dilation=dilation,
        groups=groups,
        activation=draw(ACTIVATIONS),
    )


@st.composite
def pools(draw: st.DrawFn, name: str, source: str, in_shape: Shape) -> Pool:
    """Average and maximum pooling, windowed or global."""
    kind: Literal["average", "max"] = draw(st.sampled_from(("average", "max")))
    kernel = draw(st.integers(0, min(3, *in_shape[1:])))
    if kernel == 0:
        return Pool(name, (source,), kind)
    edges = tuple(draw(st.integers(0, kernel - 1)) for _ in range(4))
    return Pool(name, (source,), kind, kernel, draw(st.integers(1, 2)), edges, draw(st.booleans()))  # type: ignore[arg-type]


@st.composite
def networks(draw: st.DrawFn, max_nodes: int = 5, with_predictor: bool | None = None) -> Network:
    """Small float64 networks of every node type, ending in a classifier."""
    shape: Shape = (draw(st.integers(1, 4)), draw(st.integers(2, 7)), draw(st.integers(2, 7)))
    nodes: list[Node] = []
    shapes: dict[str, Shape] = {INPUT: shape}
    for index in range(draw(st.integers(1, max_nodes))):
        name, source = f"n{index}", draw(st.sampled_from(list(shapes)))
        current = shapes[source]
        twins = [other for other in shapes if shapes[other] == current]
        kind = draw(st.sampled_from(("conv", "bottleneck", "bottleneck", "pool", "add", "concat", "shuffle")))
        node: Node
        if kind == "conv":
            node = draw(convolutions(name, source, current))
        elif kind == "bottleneck":
            node = draw(bottlenecks(name, source, current, with_predictor=with_predictor)).block
        elif kind == "pool":
            node = draw(pools(name, source, current))
        elif kind == "add":
            others = draw(st.lists(st.sampled_from(twins), max_size=2))
            node = Add(name, (source, *others), draw(ACTIVATIONS))
        elif kind == "concat":
            node = Concat(name, (source, draw(st.sampled_from(twins))))
        else:
            node = Shuffle(name, (source,), draw(st.sampled_from([g for g in (1, 2, 3) if current[0] % g == 0])))
        nodes.append(node)
        shapes[name] = node.output_shape([shapes[source] for source in node.inputs])
    last = nodes[-1].name
    rng = np.random.default_rng(draw(SEEDS))
    classes = draw(st.integers(1, 4))
    weight = rng.normal(size=(classes, int(np.prod(shapes[last]))))
    nodes.append(Linear("FC1", (last,), weight, rng.normal(size=classes), draw(ACTIVATIONS)))
    return Network("random", shape, tuple(nodes))


@st.composite
def network_images(draw: st.DrawFn, network: Network, count: int = 2) -> Array:
    """Normalised images ``[N, C, H, W]`` for a network."""
    return np.random.default_rng(draw(SEEDS)).normal(size=(count, *network.input_shape))
