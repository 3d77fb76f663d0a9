"""Predictors for a network that is at hand as a graph only: fitted block by block, tuned layer by layer, no labels."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial

import torch
from torch import Tensor

from predfuse.arrays import FloatArray
from predfuse.errors import InputError
from predfuse.graph.nodes import INPUT, Bottleneck, Network, Node
from predfuse.models.from_graph import folded_layers
from predfuse.models.layers import BottleneckUnit
from predfuse.predictor.initialise import initial_predictor
from predfuse.predictor.layerwise import BATCH_SIZE, tune
from predfuse.predictor.prepare import PrepareConfig, warn_too_large
from predfuse.predictor.steps import affordable_steps, images_of_step, pre_activations

LARGEST_TENSOR = 1 << 24
"""Values of one pre-activation that a predictor is fitted on; fewer images are used where a block needs more."""
AT_ONCE = 8
"""Images that a layer runs on at once."""


def prepare_network(
    network: Network,
    images: FloatArray,
    config: PrepareConfig | None = None,
    *,
    batch_size: int = BATCH_SIZE,
    seed: int = 0,
    progress: Callable[[float, int], None] | None = None,
) -> Network:
    """Give the blocks of a network predictors, fitted on images under the true masks.

    Args:
        network: The network; predictors it has are replaced. Its weights stay as they are, so that accuracy with
            predicted masks is what the predictors alone can keep: training recovers more (``predfuse train``, or a
            loop of your own after :func:`predfuse.predictor.prepare.prepare`).
        images: ``[N, C, H, W]``, normalised floats.
        config: Bits, which blocks, steps of tuning; ``allow_unsupported`` does not matter here. As no weight of the
            network changes, blocks are tuned one after the other, on inputs computed once.
        batch_size: Images of one step, fewer where they are large (:data:`predfuse.predictor.steps.TUNED_VALUES`).
        seed: Of the order of the images.
        progress: Called with the loss after every step of every block, and how many steps all blocks take together.

    Raises:
        InputError: A named block does not exist, no block at all, images that do not fit, or an unsupported operation.
    """
    config = config or PrepareConfig()
    chosen = chosen_blocks(network, config)
    warn_too_large(chosen)
    shapes = network.shapes()
    steps = affordable_steps(network, chosen, batch_size) if config.steps is None else config.steps
    generator = torch.Generator().manual_seed(seed)
    told = None if progress is None else lambda loss: progress(loss, steps * len(chosen))
    replaced: dict[str, Node] = {}
    for block, unit, x in _walk(network, chosen, _tensors(network, images)):
        values = pre_activations(block, shapes)
        predictor = initial_predictor(unit, x[: max(1, LARGEST_TENSOR // values)], config.format)
        batch, at_once = partial(_batch, unit, x), images_of_step(values, batch_size)
        tune(predictor, batch, len(x), steps, batch_size=at_once, generator=generator, progress=told)
        replaced[block.name] = dataclasses.replace(block, predictor=predictor.to_integers())
    facts = {**network.metadata, "stage": "prepared", "layerwise_steps": steps}
    return dataclasses.replace(network.replace_nodes(**replaced), metadata=facts)


def _batch(unit: BottleneckUnit, images: Tensor, at: list[int]) -> tuple[Tensor, Tensor, Tensor]:
    x = images[at]
    return (x, *unit.pre_activations(x))


def chosen_blocks(network: Network, config: PrepareConfig) -> list[Bottleneck]:
    """The blocks that get predictors, in the order of the network.

    Args:
        network: The network.
        config: Names them, or means all.

    Raises:
        InputError: There is none, or none of a name.
    """
    blocks = list(network.bottlenecks())
    names = [block.name for block in blocks]
    if not blocks:
        raise InputError(f"network {network.name}", "has no expand-depthwise-project block", "choose another network")
    for name in config.blocks or ():
        if name not in names:
            raise InputError(f"network {network.name}", f"has no block {name!r}", f"use some of {', '.join(names)}")
    return [block for block in blocks if config.blocks is None or block.name in config.blocks]


def _tensors(network: Network, images: FloatArray) -> Tensor:
    if images.ndim != 4 or images.shape[1:] != tuple(network.input_shape) or not len(images):
        shape, wanted = ("x".join(map(str, sizes)) for sizes in (images.shape, network.input_shape))
        raise InputError("images", f"have shape {shape}, network {network.name} expects Nx{wanted}", "resize them")
    if images.dtype.kind != "f":
        raise InputError("images", f"have type {images.dtype}", "normalise them first")
    return torch.from_numpy(images).float()


def _walk(
    network: Network, blocks: list[Bottleneck], images: Tensor
) -> Iterator[tuple[Bottleneck, BottleneckUnit, Tensor]]:
    """Every chosen block with its layers and its input, while the network runs under the true masks, layer by layer."""
    wanted = {block.name: block for block in blocks}
    values = {INPUT: images}
    pending = Counter(source for node in network.nodes for source in node.inputs)
    for node, layer in zip(network.nodes, folded_layers(network), strict=True):
        inputs = [values[source] for source in node.inputs]
        if node.name in wanted:
            assert isinstance(layer, BottleneckUnit)
            yield wanted.pop(node.name), layer, inputs[0]
            if not wanted:
                return
        with torch.no_grad():
            parts = zip(*(torch.split(x, AT_ONCE) for x in inputs), strict=True)
            values[node.name] = torch.cat([layer(*part) for part in parts])
        pending.subtract(node.inputs)
        for source in node.inputs:
            if not pending[source]:
                values.pop(source, None)  # nothing reads it any more
