"""What a command's IMAGES argument may be: a data set by name, a file of arrays, or pictures."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open

from predfuse import data
from predfuse.data import Split
from predfuse.data.folder import SUFFIXES
from predfuse.data.pictures import decode_picture
from predfuse.errors import InputError
from predfuse.graph.nodes import Array, Shape


@dataclass(frozen=True, eq=False)
class ImageSet:
    """Images to run.

    Attributes:
        name: What they are called in results.
        images: ``[N, C, H, W]``, uint8 pixels or normalised floats.
        labels: ``[N]`` int64 right classes, None where they are not known.
    """

    name: str
    images: Array
    labels: Array | None = None

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
    source: str, shape: Shape, limit: int | None = None, resize: bool = False, split: Split = "test"
) -> ImageSet:
    """Load images for a program or network of input ``shape``.

    Args:
        source: A data set by name (``folder:PATH`` included), an image folder (with or without one sub-folder per
            class), one picture, a ``.npy`` file of ``[N, C, H, W]`` uint8 pixels or normalised floats, or a
            safetensors file with such a tensor ``images`` and perhaps ``labels [N]``.
        shape: ``(C, H, W)`` they must have.
        limit: Only the first so many.
        resize: Crop and resample pictures to ``shape`` (square only); else another size is an error.
        split: Which split of a data set.

    Raises:
        InputError: Nothing of that name, unreadable or damaged files, or images of another size or type.
    """
    path = Path(source)
    if limit is not None and limit < 1:
        raise InputError("limit", f"is {limit}", "use 1 or more images")
    if resize and shape[1] != shape[2]:
        raise InputError("resize", f"cannot make {shape[1]}x{shape[2]} pixels", "give pictures of that size")
    size = shape[1] if resize else None
    if source in data.CATALOGUE or source.startswith("folder:"):
        found = data.load(source, split, limit=limit, size=size if source.startswith("folder:") else None)
        result = ImageSet(found.name, found.images, found.labels)
    elif path.is_dir():
        result = _load_folder(path, shape, size, limit, split)
    elif path.suffix.lower() in SUFFIXES and path.is_file():
        result = ImageSet(source, _decode([path], shape, size))
    elif path.is_file():
        result = _load_npy(path) if path.suffix.lower() == ".npy" else _load_arrays(path)
    else:
        names = ", ".join(data.CATALOGUE)
        raise InputError(f"images {source!r}", "is neither a data set nor a file", f"use a file or one of {names}")
    if result.images.shape[1:] != shape:
        got, wanted = ("x".join(map(str, size)) for size in (result.images.shape[1:], shape))
        mend = "use images of that size" + ("" if resize else f", or --size {shape[1]} for pictures")
        raise InputError(source, f"holds images of {got}, expected {wanted} (channels x rows x columns)", mend)
    return result.first(limit)


def _load_folder(path: Path, shape: Shape, size: int | None, limit: int | None, split: Split) -> ImageSet:
    if any(child.is_dir() and not child.name.startswith(".") for child in path.iterdir()):
        found = data.load(f"folder:{path}", split, limit=limit, size=size)
        return ImageSet(str(path), found.images, found.labels)
    pictures = sorted(child for child in path.iterdir() if child.suffix.lower() in SUFFIXES and child.is_file())
    if not pictures:
        raise InputError(str(path), "holds no pictures", f"add pictures ({', '.join(sorted(SUFFIXES))})")
    return ImageSet(str(path), _decode(pictures[:limit], shape, size))


def _decode(paths: list[Path], shape: Shape, size: int | None) -> Array:
    if shape[0] not in (1, 3):
        raise InputError(str(paths[0]), f"is a picture, {shape[0]} channels are needed", "give a safetensors file")
    images: list[Array] = []
    for path in paths:
        try:
            content = path.read_bytes()
        except OSError as error:
            raise InputError(str(path), f"cannot be read ({error.strerror})", "check its permissions") from error
        image = decode_picture(str(path), content, "L" if shape[0] == 1 else "RGB", size)
        if image.shape != shape:
            what = f"is {image.shape[1]}x{image.shape[2]} pixels, expected {shape[1]}x{shape[2]}"
            raise InputError(str(path), what, f"use pictures of that size, or --size {shape[1]}")
        images.append(image)
    return np.stack(images)


def _load_arrays(path: Path) -> ImageSet:
    try:
        with safe_open(path, framework="numpy") as file:
            tensors = {name: file.get_tensor(name) for name in ("images", "labels") if name in file.keys()}  # noqa: SIM118
    except OSError as error:
        raise InputError(str(path), f"cannot be read ({error.strerror})", "check its permissions") from error
    except (SafetensorError, ValueError, TypeError, AttributeError) as error:
        raise InputError(str(path), "is no intact safetensors file", "make or fetch it again") from error
    return _as_images(path, tensors.get("images"), tensors.get("labels"))


def _load_npy(path: Path) -> ImageSet:
    try:
        images = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise InputError(str(path), "is no intact .npy file of numbers", "make or fetch it again") from error
    return _as_images(path, images, None)


def _as_images(path: Path, images: Array | None, labels: Array | None) -> ImageSet:
    if images is None:
        raise InputError(str(path), "has no tensor 'images'", "store the images under that name")
    if images.ndim != 4 or 0 in images.shape or (images.dtype != np.uint8 and images.dtype.kind != "f"):
        what = f"its images are {images.dtype} {'x'.join(map(str, images.shape))}"
        raise InputError(str(path), what, "use [N,C,H,W] of uint8 pixels or normalised floats")
    if labels is not None and (labels.shape != images.shape[:1] or labels.dtype.kind not in "iu"):
        raise InputError(str(path), f"its labels are {labels.dtype} {labels.shape}", "give one whole number per image")
    return ImageSet(str(path), images, None if labels is None else labels.astype(np.int64))
