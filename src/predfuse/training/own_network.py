"""A user's own network to train: a function that returns a PyTorch module, or a network file."""

from __future__ import annotations

from pathlib import Path

import torch

from predfuse import models
from predfuse.data import Dataset
from predfuse.errors import InputError
from predfuse.graph.from_torch.references import trace_reference
from predfuse.graph.io import load_network
from predfuse.graph.nodes import Network
from predfuse.graph.reference_name import is_reference
from predfuse.models.from_graph import GraphCnn, trainable
from predfuse.models.layers import initialise
from predfuse.training.augment import Normaliser
from predfuse.training.config import TrainConfig

SETTLING_IMAGES = 256
"""First training images that give norms their statistics where weights are kept."""


def own_model(config: TrainConfig, train: Dataset) -> GraphCnn:
    """The configured network, which is not a registered one, as a model to train.

    Raises:
        InputError: No such network; it does not fit the images or classes; it has no blocks where some are to be
            pruned; options are given.
    """
    choice = config.network
    where = f"network {choice.name}"
    network = _network(choice.name, train.shape)
    if choice.options:
        raise InputError("network.options", "are of registered networks", f"leave them out for {choice.name}")
    if network.input_shape != train.shape:
        takes, gives = ("x".join(map(str, shape)) for shape in (network.input_shape, train.shape))
        mend = "set data.size, or trace it for this shape"
        raise InputError(where, f"takes images of {takes}, data {train.name} has {gives}", mend)
    outputs = network.shapes()[network.output][0]
    if outputs != len(train.classes):
        raise InputError(where, f"has {outputs} outputs for {len(train.classes)} classes", "change its last layer")
    if config.prune is not None and not list(network.bottlenecks()):
        mend = "set prune and predict to null, or see predfuse trace for what is missing"
        raise InputError(where, "has no expand-depthwise-project block to prune", mend)
    if choice.new_weights:
        model = trainable(network, choice.name)
        for module in model.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.reset_parameters()
        initialise(model, config.seed)
        return model
    images = Normaliser(train.mean, train.std)(torch.from_numpy(train.images[:SETTLING_IMAGES]))
    return trainable(network, choice.name, images)


def _network(name: str, shape: tuple[int, int, int]) -> Network:
    if Path(name).is_file():
        return load_network(Path(name))
    if is_reference(name):
        return trace_reference(name, None, (1, *shape)).network
    what = "is neither a registered network nor a file nor package.module:function"
    raise InputError(f"network {name!r}", what, f"use a file or one of {', '.join(models.names())}")
