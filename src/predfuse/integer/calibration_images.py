"""Which images a network is calibrated on when the user names none."""

from __future__ import annotations

import logging

import numpy as np

from predfuse import data
from predfuse.data.catalogue import FOLDER_PREFIX
from predfuse.data.folder import Part
from predfuse.data.image_sources import ImageSet, load_images
from predfuse.errors import InputError
from predfuse.graph.nodes import Network
from predfuse.readers.boundary import is_folder

logger = logging.getLogger(__name__)

RANDOM = "random"
"""Standard normal images (normalised), for networks that no data belongs to."""
_SEED = 0
DEFAULT_IMAGES, FEWEST_IMAGES, DEFAULT_PIXELS = 256, 16, 1 << 20
"""How many images are used where nobody says how many: 256, of large ones as many as have about a million pixels."""


def calibration_images(
    network: Network, source: str | None, count: int | None, resize: bool = False, split: Part | None = None
) -> ImageSet:
    """Images to calibrate a network on.

    Args:
        network: The network.
        source: See :func:`predfuse.data.image_sources.load_images`, or ``random``; None takes the data set the network
            was trained on, or, if that is missing here, the images of it that are shipped.
        count: How many; None: :data:`DEFAULT_IMAGES`, fewer where they are large.
        resize: Crop and resample pictures.
        split: Which split; None: training images where there are any.

    Raises:
        InputError: No images named and none known, or unusable ones.
    """
    if count is None:
        pixels = int(network.input_shape[1]) * int(network.input_shape[2])
        count = min(DEFAULT_IMAGES, max(FEWEST_IMAGES, DEFAULT_PIXELS // pixels))
    if count < 1:
        raise InputError("count", f"is {count}", "use 1 or more calibration images")
    shape = (int(network.input_shape[0]), int(network.input_shape[1]), int(network.input_shape[2]))
    if source == RANDOM:
        generator = np.random.default_rng(_SEED)
        return ImageSet(RANDOM, generator.normal(size=(count, *shape)))
    if source is None:  # images as it was trained on them
        source, resize = _trained_on(network), resize or "size" in network.metadata
    entry = data.CATALOGUE.get(source)
    training = source.startswith(FOLDER_PREFIX) or is_folder(source) or (entry and "train" in entry.images)
    chosen: Part = split or ("train" if training else "test")
    found = load_images(source, shape, count, resize, chosen)
    return ImageSet(f"{found.name} ({chosen})" if entry else found.name, found.images)


def _trained_on(network: Network) -> str:
    name = network.metadata.get("data")
    if not isinstance(name, str):
        what = "does not say what data it was trained on"
        raise InputError(f"network {network.name}", what, f"name calibration images, or {RANDOM!r}")
    status = {state.entry.name: state for state in data.survey()}.get(name)
    if status is not None and not status.present:
        for shipped in data.CATALOGUE:
            if shipped.startswith(f"{name}-"):
                logger.warning("Data set %s is not here; calibrating on %s", name, shipped)
                return shipped
    return name
