"""Machines and networks for the tests of cycle fidelity."""

from __future__ import annotations

from dataclasses import replace
from typing import TypeVar

import numpy as np

from predfuse.arrays import Array
from predfuse.graph.nodes import Bottleneck, Network, Predictor
from predfuse.hardware.spec import ArchonSpec, EyerissSpec, load_spec
from predfuse.hardware.vary import with_fields

Spec = TypeVar("Spec", ArchonSpec, EyerissSpec)

ENDLESS = 1 << 30


def shipped_archon(name: str = "archon") -> ArchonSpec:
    """A shipped Archon."""
    spec = load_spec(name)
    assert isinstance(spec, ArchonSpec)
    return spec


def archon(name: str = "archon") -> ArchonSpec:
    """A shipped Archon that is told nothing: fills have tests of their own (``tests/rtl/test_fill_unit.py``)."""
    spec = shipped_archon(name)
    return spec if spec.design.streams == "estimated" else with_fields(spec, {"design.streams": "estimated"})


def eyeriss(name: str) -> EyerissSpec:
    """A shipped dense or sparse machine."""
    spec = load_spec(name)
    assert isinstance(spec, EyerissSpec)
    return spec


def ideal_archon() -> ArchonSpec:
    """The published Archon with everything granted that the published model takes for granted."""
    spec = shipped_archon("archon-ics21")
    design = spec.design.model_copy(
        update={"lanes": ENDLESS, "bias_sums": "free", "predictor_packing": "full", "plain_layers": "even"}
    )
    return spec.model_copy(update={"design": design, "dram_bits_per_cycle": None, "elementwise": "free"})


def ideal_eyeriss(name: str) -> EyerissSpec:
    """A dense or sparse machine without idle edges, stalls or element-wise layers."""
    return eyeriss(name).model_copy(update={"edges": "perfect", "dram_bits_per_cycle": None, "elementwise": "free"})


def with_predictors(network: Network) -> Network:
    """The network with predictors that say nothing, so that its blocks are fused."""

    def predicted(block: Bottleneck) -> Bottleneck:
        middle = block.middle_channels
        return replace(
            block,
            predictor=Predictor(
                input_exponent=0,
                expand=np.zeros((middle, block.group_channels), np.int8),
                expand_offset=np.zeros(middle, np.int32),
                shift=np.zeros(middle, np.int8),
                depthwise=np.zeros((middle, block.kernel, block.kernel), np.int8),
                depthwise_offset=np.zeros(middle, np.int32),
            ),
        )

    return replace(
        network, nodes=tuple(predicted(node) if isinstance(node, Bottleneck) else node for node in network.nodes)
    )


def random_masks(network: Network, seed: int, density: float = 0.4) -> dict[str, tuple[Array, Array]]:
    """Random masks of every block."""
    rng, shapes = np.random.default_rng(seed), network.shapes()
    masks = {}
    for block in network.bottlenecks():
        shape1 = (block.middle_channels, *shapes[block.inputs[0]][1:])
        shape2 = (block.middle_channels, *shapes[block.name][1:])
        masks[block.name] = tuple((rng.random(shape) < density).astype(np.int8) for shape in (shape1, shape2))
    return masks  # type: ignore[return-value]
