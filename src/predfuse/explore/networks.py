"""Networks of a search: which one, how pruned, fused or not; made once, with the masks of its images and a digest."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from predfuse import data, models
from predfuse.arrays import Array, ImageArray, Int8Array
from predfuse.errors import InputError
from predfuse.explore.evaluation import Subject
from predfuse.fusion.execute import run_network
from predfuse.graph.io import encode_fields
from predfuse.graph.nodes import Network
from predfuse.hardware.cycle.archon.machine import Masks
from predfuse.hardware.cycle.simulate import masks_of
from predfuse.hardware.pruning import keep_largest, with_pruned_rest, with_shifts
from predfuse.integer.calibrate import normalise
from predfuse.integer.compile import compile_network
from predfuse.integer.options import COMPILE_IMAGES, CompileOptions
from predfuse.integer.program import Program
from predfuse.readers.documents import validated
from predfuse.sources import load_source
from predfuse.training.calibrated import calibrated, real_images
from predfuse.training.runs import load_run
from predfuse.zoo import catalogue

ACCURACY_IMAGES = 500


class NetworkChoice(BaseModel):
    """A network as a search file names it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    """A registered network, calibrated on real images and not trained; else a training run, by its folder or its name
    in the zoo, of which the stage that ``fused`` and ``pruned`` ask for is taken; else a checkpoint."""
    options: dict[str, Any] = {}
    """Of the constructor of a registered network."""
    fused: bool = True
    """Whether blocks have predictors, so that a fusing machine fuses them."""
    pruned: Literal["nothing", "blocks", "everything"] = "blocks"
    """Blocks: of a registered network to the published densities, of a run as trained; everything: also all other 1x1
    layers."""
    shift_share: Annotated[float, Field(ge=0, le=1)] = 1.0
    """Share of the shifts inside every block that stay, the largest first."""
    images: Annotated[int, Field(gt=0)] = 1
    """Images that give the masks; costs are the mean over them."""
    data: str = "cifar10"
    """Test images of a checkpoint; a run knows its own, a registered network takes those it is calibrated on."""
    init_seed: Annotated[int, Field(ge=0)] = 0
    """Of the weights of a registered network."""

    @property
    def trained(self) -> bool:
        """Whether the name is that of no registered network, but of a run or a checkpoint."""
        return self.name not in models.names()

    def with_fields(self, changes: Mapping[str, Any]) -> NetworkChoice:
        """The choice with some fields changed; ``options.NAME`` is an option of the constructor.

        Raises:
            InputError: An unknown field or an impossible value.
        """
        if not changes:
            return self
        document = self.model_dump(mode="json")
        for field, value in changes.items():
            first, _, option = field.partition(".")
            if option and first == "options":
                document["options"][option] = value
            elif field in document and field != "options":
                document[field] = value
            else:
                known = ", ".join(name for name in document if name != "options")
                raise InputError(f"field {field!r}", "is not of a network", f"use options.NAME or one of {known}")
        return validated(NetworkChoice, document, f"network {', '.join(changes)}", "see docs/how-to/explore.md")


def make_subject(
    choice: NetworkChoice, root: Path | None = None, accuracy_wanted: bool = False, bits: int = 16
) -> Subject:
    """Build, calibrate or load, prune, and find the masks; the accuracy of a trained network only where it is wanted.

    Args:
        choice: Which network.
        root: Where data sets lie.
        accuracy_wanted: Whether to find the accuracy.
        bits: Width of the words of its program: that of the machines.

    Raises:
        InputError: No such network, or one that cannot be made with these options.
    """
    accuracy: float | None = None
    if choice.trained:
        network, images, accuracy, source = _trained(choice, root, accuracy_wanted)
    else:
        network, images, source = _calibrated(choice, root)
    if choice.shift_share < 1:
        network = with_shift_share(network, choice.shift_share)
    what: Network | Program = network
    masks: tuple[Masks, ...] = ()
    if any(block.predictor is not None for block in network.bottlenecks()):
        if choice.trained:
            what = compile_network(network, images[:COMPILE_IMAGES], CompileOptions(bits=bits))
        masks = tuple(masks_of(what, images[: choice.images]))
    return Subject(what, masks, accuracy, source, _digest(what, masks, accuracy))


def _calibrated(choice: NetworkChoice, root: Path | None) -> tuple[Network, ImageArray, str]:
    images: ImageArray
    if choice.pruned == "nothing":
        if choice.fused:
            raise InputError("network.pruned", "is 'nothing' with fused blocks", "prune, or set fused to false")
        network = models.network(choice.name, choice.init_seed, choice.options)
        images, source = real_images(choice.images, root)
    else:
        made = calibrated(
            choice.name,
            choice.images,
            predictors=choice.fused,
            seed=choice.init_seed,
            root=root,
            options=choice.options,
        )
        network, images, source = made.network, made.images, made.source
    if choice.pruned == "everything":
        network = with_pruned_rest(network)
    return network, images, f"{source}; calibrated, not trained"


def _trained(
    choice: NetworkChoice, root: Path | None, accuracy_wanted: bool
) -> tuple[Network, ImageArray, float | None, str]:
    count = max(choice.images, ACCURACY_IMAGES if accuracy_wanted else COMPILE_IMAGES)
    if catalogue.folder(choice.name).is_dir():
        run = load_run(choice.name, predictor=choice.fused)
        unfused = run.vanilla if choice.pruned == "nothing" else run.pruned
        network = (run.predicted or unfused).network  # there is a predicted one exactly where it is asked for
        found = run.test_images(count, root)
    else:
        network = load_source(choice.name)
        if not choice.fused:
            network = network.with_blocks(lambda block: replace(block, predictor=None))
        found = data.load(choice.data, "test", root=root, limit=count)
    if choice.pruned == "everything":
        network = with_pruned_rest(network)
    accuracy: float | None = None
    source = f"{found.name} test images"
    if accuracy_wanted:
        inputs, labels = normalise(network, found.images[:ACCURACY_IMAGES]), found.labels[:ACCURACY_IMAGES]
        accuracy = 100 * run_network(network, inputs, statistics=False).accuracy(labels)
        source += f"; accuracy of the first {len(labels)}"
    return network, found.images, accuracy, source


def with_shift_share(network: Network, share: float) -> Network:
    """The network with only so many of the shifts inside each block, the largest ones."""
    return with_shifts(network, lambda shifts: keep_largest(shifts, share))


def _digest(network: Network | Program, masks: tuple[Masks, ...], accuracy: float | None) -> str:
    tensors: dict[str, Array] = {}
    document = [encode_fields(node, node.name, tensors) for node in network.nodes]
    facts = {"nodes": document, "input_shape": list(network.input_shape), "accuracy": accuracy}
    found = hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode())
    for name, array in (*sorted(tensors.items()), *_named(masks)):
        found.update(f"{name} {array.dtype} {array.shape}".encode())
        found.update(np.ascontiguousarray(array).tobytes())
    return found.hexdigest()


def _named(masks: tuple[Masks, ...]) -> Iterator[tuple[str, Int8Array]]:
    for image, of_image in enumerate(masks):
        for block, pair in sorted(of_image.items()):
            yield from ((f"mask {image} {block} {stage}", array) for stage, array in enumerate(pair))
