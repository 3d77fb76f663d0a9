"""What a command's IMAGES argument may be: a data set by name, a file of arrays, or pictures."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from predfuse import data
from predfuse.arrays import Array, ImageArray, Int64Array, UInt8Array
from predfuse.data.dataset import Part
from predfuse.data.folder import decode_pictures, load_part
from predfuse.errors import InputError
from predfuse.graph.nodes import Shape
from predfuse.readers.arrays import read_npy, read_safetensors
from predfuse.readers.boundary import is_file, is_folder, reading
from predfuse.readers.pictures import SUFFIXES, Mode

MAX_LABEL = 2**31 - 1


@dataclass(frozen=True, eq=False)
class ImageSet:
    """Images to run.

    Attributes:
        name: What they are called in results.
        images: ``[N, C, H, W]``, uint8 pixels or normalised floats.
        labels: ``[N]`` int64 right classes, None where they are not known.

    Source: predfuse.data.image_sources.load_images.
    """

    name: str
    images: ImageArray
    labels: Int64Array | None = None

    def first(self, count: int | None) -> ImageSet:
        """The first ``count`` images (all when None or more than there are).

        Raises:
            InputError: ``count`` is below 1.
        """
        if count is None:
            return self
        if count < 1:
            raise InputError("limit", f"is {count}", "use 1 or more images")
        return ImageSet(self.name, self.images[:count], None if self.labels is None else self.labels[:count])


def load_images(
    source: str, shape: Shape, limit: int | None = None, resize: bool = False, split: Part = "test"
) -> ImageSet:
    """Load images for a program or network of input ``shape``.

    Args:
        source: A data set by name (``folder:PATH`` included), an image folder (with or without one sub-folder per
            class), one picture, a ``.npy`` file of ``[N, C, H, W]`` uint8 pixels or normalised floats, or a
            safetensors file with such a tensor ``images`` and perhaps ``labels [N]``.
        shape: ``(C, H, W)`` they must have.
        limit: Only the first so many images.
        resize: Crop and resample pictures to ``shape`` (square only); else another size is an error.
        split: Which split of a data set or image folder; ``all`` of its pictures is for image folders.

    Raises:
        InputError: Nothing of that name, unreadable or damaged files, or images of another size or type.

    Source: docs/how-to/index.md, Data sets.
    """
    path = Path(source)
    if limit is not None and limit < 1:
        raise InputError("limit", f"is {limit}", "use 1 or more images")
    if resize and shape[1] != shape[2]:
        raise InputError("resize", f"cannot make {shape[1]}x{shape[2]} pixels", "give pictures of that size")
    size = shape[1] if resize else None
    if source in data.CATALOGUE:
        if split == "all":
            raise InputError("split", "is 'all'", f"use train or test of {source}")
        found = data.load(source, split, limit=limit)
        result = ImageSet(found.name, found.images, found.labels)
    elif source.startswith(data.FOLDER_PREFIX) or is_folder(path):
        result = _load_folder(Path(source.removeprefix(data.FOLDER_PREFIX)), shape, size, limit, split)
    elif path.suffix.lower() in SUFFIXES and is_file(path):
        result = ImageSet(source, _pictures([path], path, shape, size))
    elif is_file(path):
        images = path.suffix.lower() == ".npy"
        result = _as_images(path, read_npy(path), None) if images else _load_arrays(path)
    else:
        names = ", ".join(data.CATALOGUE)
        raise InputError(f"images {source!r}", "is neither a data set nor a file", f"use a file or one of {names}")
    if result.images.shape[1:] != shape:
        got, wanted = ("x".join(map(str, size)) for size in (result.images.shape[1:], shape))
        mend = "use images of that size" + ("" if resize else f", or --size {shape[1]} for pictures")
        raise InputError(source, f"holds images of {got}, expected {wanted} (channels x rows x columns)", mend)
    return result.first(limit)


def _load_folder(path: Path, shape: Shape, size: int | None, limit: int | None, part: Part) -> ImageSet:
    with reading(str(path), "is no readable folder"):
        children = sorted(path.iterdir())
    if any(child.is_dir() and not child.name.startswith(".") for child in children):
        images, labels = load_part(path, part, _mode(path, shape), size, limit, shape, _mend(shape))
        return ImageSet(str(path), images, labels)
    pictures = [child for child in children if child.suffix.lower() in SUFFIXES and child.is_file()]
    if not pictures:
        raise InputError(str(path), "holds no pictures", f"add pictures ({', '.join(sorted(SUFFIXES))})")
    return ImageSet(str(path), _pictures(pictures[:limit], path, shape, size))


def _pictures(paths: list[Path], where: Path, shape: Shape, size: int | None) -> UInt8Array:
    return decode_pictures(paths, _mode(where, shape), size, shape, _mend(shape))


def _mend(shape: Shape) -> str:
    return f"use pictures of that size, or --size {shape[1]}"


def _mode(path: Path, shape: Shape) -> Mode:
    if shape[0] not in (1, 3):
        raise InputError(str(path), f"holds pictures, {shape[0]} channels are needed", "give a safetensors file")
    return "L" if shape[0] == 1 else "RGB"


def _load_arrays(path: Path) -> ImageSet:
    _, tensors = read_safetensors(path, ("images", "labels"))
    return _as_images(path, tensors.get("images"), tensors.get("labels"))


def _as_images(path: Path, images: Array | None, labels: Array | None) -> ImageSet:
    if images is None:
        raise InputError(str(path), "has no tensor 'images'", "store the images under that name")
    if images.ndim != 4 or 0 in images.shape or (images.dtype != np.uint8 and images.dtype.kind != "f"):
        what = f"its images are {images.dtype} {'x'.join(map(str, images.shape))}"
        raise InputError(str(path), what, "use [N,C,H,W] of uint8 pixels or normalised floats")
    if labels is not None and (labels.shape != images.shape[:1] or labels.dtype.kind not in "iu"):
        raise InputError(str(path), f"its labels are {labels.dtype} {labels.shape}", "give one whole number per image")
    if labels is not None and (labels.min() < 0 or labels.max() > MAX_LABEL):
        raise InputError(str(path), f"has a label outside 0..{MAX_LABEL:,}", "number the classes from 0")
    return ImageSet(str(path), images, None if labels is None else labels.astype(np.int64))
