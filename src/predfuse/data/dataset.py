"""What a data set is once loaded: images, labels and the facts a network needs to be trained on them."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from predfuse.errors import InputError
from predfuse.input_checks import require_labels, require_normalisation

Images: TypeAlias = npt.NDArray[np.uint8]
Labels: TypeAlias = npt.NDArray[np.int64]
Split = Literal["train", "test"]
SPLITS: tuple[Split, ...] = ("train", "test")
Part = Literal["train", "test", "all"]
"""A split, or both together."""


@dataclass(frozen=True, eq=False)
class Dataset:
    """Labelled images of one split, all of one size.

    Attributes:
        name: The name it was loaded by.
        images: ``[N, C, H, W]`` uint8, 0..255.
        labels: ``[N]`` int64, indices into ``classes``.
        classes: Class names.
        mean: Per channel, of the training images scaled to 0..1.
        std: Per channel, of the training images scaled to 0..1.
        split: ``"train"``, ``"test"``, or of an image folder ``"all"``.

    Source: docs/how-to/index.md, Data sets.
    """

    name: str
    images: Images
    labels: Labels
    classes: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    split: Part

    def __post_init__(self) -> None:
        where = f"data set {self.name}"
        if self.images.ndim != 4 or 0 in self.images.shape or self.images.dtype != np.uint8:
            raise InputError(where, f"images are {self.images.dtype} {self.images.shape}", "give uint8 [N, C, H, W]")
        if self.labels.shape != self.images.shape[:1] or self.labels.dtype != np.int64:
            what = f"{len(self.images)} images but labels are {self.labels.dtype} {self.labels.shape}"
            raise InputError(where, what, "give one int64 label per image")
        if self.labels.min() < 0 or self.labels.max() >= len(self.classes):
            raise InputError(where, f"a label lies outside 0..{len(self.classes) - 1}", "correct the labels")
        channels = self.images.shape[1]
        if not self.mean:
            raise InputError(where, "has no mean and std", f"give {channels} of each")
        require_normalisation(where, self.mean, self.std, channels)
        require_labels(where, self.classes, len(self.classes))

    def __repr__(self) -> str:
        size = "x".join(map(str, self.shape))
        return f"Dataset({self.name!r}, {self.split}: {len(self)} images of {size}, {len(self.classes)} classes)"

    def __len__(self) -> int:
        return len(self.images)

    @property
    def shape(self) -> tuple[int, int, int]:
        """``(C, H, W)`` of one image."""
        _, channels, height, width = self.images.shape
        return (channels, height, width)

    def first(self, count: int | None) -> Dataset:
        """The first ``count`` images (all of them when None or more than there are).

        Raises:
            InputError: ``count`` is below 1.
        """
        if count is None:
            return self
        if count < 1:
            raise InputError(f"data set {self.name}", f"limit is {count}", "use 1 or more images")
        return dataclasses.replace(self, images=self.images[:count], labels=self.labels[:count])

    def without_every(self, count: int) -> tuple[Dataset, Dataset]:
        """The data set without ``count`` images spread evenly over it, and a data set of these.

        Raises:
            InputError: No image would be left.
        """
        if not 0 < count < len(self):
            raise InputError(f"data set {self.name}", f"cannot hold out {count} of {len(self)} images", "use fewer")
        out = np.zeros(len(self), bool)
        out[np.arange(count) * len(self) // count] = True
        kept, held = (dataclasses.replace(self, images=self.images[m], labels=self.labels[m]) for m in (~out, out))
        return kept, held


@dataclass(frozen=True)
class Source:
    """Where a data set was found.

    Attributes:
        path: A folder or a tar archive.
        kind: What it is, for people: "npm tarball", "binary folder", ...
    """

    path: Path
    kind: str
