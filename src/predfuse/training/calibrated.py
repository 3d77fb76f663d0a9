"""Full-size networks that have seen real images but no training: for cycles and energy, never for accuracy.

Weights are initialised, the blocks pruned by magnitude to the published densities, batch norms get the statistics of
real images, and predictors are fitted to each block on those images (as before training them). What such networks say
about a machine depends on the masks alone: survivors are reported with every figure.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from predfuse import data, models
from predfuse.arrays import Float32Array, Float64Array
from predfuse.errors import InputError
from predfuse.graph.nodes import Network
from predfuse.hardware.pruning import with_shifts
from predfuse.predictor.initialise import insert_predictors
from predfuse.training.pruning import Pruner

log = logging.getLogger(__name__)

CALIBRATION_IMAGES = 16
SMALL_SHIFT = 1e-3
FITTING_IMAGES = 4
"""Images the predictors are fitted on; their feature maps are large."""


@dataclass(frozen=True, eq=False)
class Calibrated:
    """A calibrated network with images to run.

    Attributes:
        network: Pruned, with predictors in its fusable blocks if asked for.
        images: ``[N, C, H, W]`` normalised floats, none of those it was calibrated on.
        source: Which images, in words.
    """

    network: Network
    images: Float64Array
    source: str


def real_images(count: int, root: Path | None = None) -> tuple[Float32Array, str]:
    """Real images ``[N, 3, 32, 32]``, normalised, and what they are.

    CIFAR-10 where it is at hand, else the shipped Fashion-MNIST images in the middle of 32x32, grey.

    Args:
        count: How many.
        root: Where data sets lie.
    """
    try:
        found = data.load("cifar10", "train", root=root, limit=count)
        pixels, source = found.images / 255.0, "CIFAR-10 training images"
    except InputError as error:
        log.info("no CIFAR-10 (%s): taking the shipped images", error)
        found = data.load("fashion-mnist-1000", "test", root=root, limit=count)
        padded = np.pad(found.images, ((0, 0), (0, 0), (2, 2), (2, 2)))
        pixels, source = np.repeat(padded, 3, axis=1) / 255.0, "Fashion-MNIST images, padded to 32x32, grey"
    mean = pixels.mean(axis=(0, 2, 3), keepdims=True)
    std = pixels.std(axis=(0, 2, 3), keepdims=True)
    return ((pixels - mean) / std).astype(np.float32), source


def calibrated(
    name: str,
    images: int = 1,
    *,
    predictors: bool = True,
    seed: int = 0,
    root: Path | None = None,
    options: Mapping[str, Any] | None = None,
) -> Calibrated:
    """Make a calibrated network.

    Args:
        name: A registered network for 32x32 colour images.
        images: Images to run later.
        predictors: Whether its blocks get predictors.
        seed: Of the initial weights.
        root: Where data sets lie.
        options: Of the network's constructor.
    """
    pixels, source = real_images(CALIBRATION_IMAGES + images, root)
    model = models.build_from(name, options or {}, seed)
    Pruner(model).prune(0.8, 0.7)
    norms = [module for module in model.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = None  # the statistics are those of all images so far
    seen = torch.from_numpy(pixels[:CALIBRATION_IMAGES])
    model.train()
    with torch.no_grad():
        model(seen)
    model.eval()
    if predictors:
        insert_predictors(model, seen[:FITTING_IMAGES])
    network = models.to_network(model, name=name, metadata={"calibrated": source, "seed": seed})
    return Calibrated(network, pixels[CALIBRATION_IMAGES:].astype(np.float64), source)


def with_all_shifts(network: Network) -> Network:
    """The network with a (small) shift in every channel of its blocks, as training leaves them.

    Calibration alone gives none to channels whose weights are all pruned, which then drop out. For cycles: the masks
    of the network as it was still serve.
    """

    return with_shifts(network, lambda shifts: np.where(shifts == 0, SMALL_SHIFT, shifts))


def without_shifts(network: Network) -> Network:
    """The network with the shifts of its blocks' batch norms (``expand_bias``, ``depthwise_bias``) pruned away."""
    return with_shifts(network, np.zeros_like)
