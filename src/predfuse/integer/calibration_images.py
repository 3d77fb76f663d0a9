"""Images for a network or program, and which it is calibrated on when the user names none."""

from __future__ import annotations

import logging

import numpy as np

from predfuse import data
from predfuse.data.catalogue import FOLDER_PREFIX
from predfuse.data.dataset import Part
from predfuse.data.image_sources import ImageSet, load_images
from predfuse.errors import InputError
from predfuse.graph.nodes import Network
from predfuse.integer.program import Program
from predfuse.readers.boundary import is_folder

logger = logging.getLogger(__name__)

RANDOM = "random"
"""Standard normal images (normalised), for networks that no data belongs to."""
_SEED = 0
DEFAULT_IMAGES, FEWEST_IMAGES, DEFAULT_PIXELS = 256, 16, 1 << 20
"""How many images are used where nobody says how many: 256, of large ones as many as have about a million pixels."""


def images_for(
    what: Network | Program, source: str, count: int | None = None, resize: bool = False, split: Part = "test"
) -> ImageSet:
    """Images for a network or program; pictures are resampled where those it was trained on were.

    Args:
        what: That takes the images.
        source: See :func:`predfuse.data.image_sources.load_images`.
        count: Only the first so many.
        resize: Crop and resample pictures in any case.
        split: Which split.

    Raises:
        InputError: As there.
    """
    facts = what.metadata.get("source") if isinstance(what, Program) else what.metadata
    resize = resize or (isinstance(facts, dict) and "size" in facts)
    shape = (int(what.input_shape[0]), int(what.input_shape[1]), int(what.input_shape[2]))
    return load_images(source, shape, count, resize, split)


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
    if source == RANDOM:
        generator = np.random.default_rng(_SEED)
        return ImageSet(RANDOM, generator.normal(size=(count, *network.input_shape)))
    source = source or _trained_on(network)
    entry = data.CATALOGUE.get(source)
    training = source.startswith(FOLDER_PREFIX) or is_folder(source) or (entry and "train" in entry.images)
    chosen: Part = split or ("train" if training else "test")
    found = images_for(network, source, count, resize, chosen)
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
