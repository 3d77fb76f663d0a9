"""An image folder with one sub-folder per class.

ROOT/train/CLASS/picture.png  and  ROOT/test/CLASS/picture.png        (``val`` or ``valid`` also stand for ``test``)
ROOT/CLASS/picture.png        every fifth picture of a class, by sorted name, is a test picture
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from predfuse.data.dataset import SPLITS, Dataset, Images, Split
from predfuse.data.pictures import Mode, decode_picture
from predfuse.data.sources import read_file
from predfuse.errors import InputError

SUFFIXES = frozenset((".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm"))
TEST_EVERY = 5
_TEST_NAMES = ("test", "val", "valid")


@dataclass(frozen=True)
class FolderListing:
    """The pictures of both splits with the index of their class, and the class names in sorted order."""

    classes: tuple[str, ...]
    train: tuple[tuple[Path, int], ...]
    test: tuple[tuple[Path, int], ...]


def list_folder(root: Path) -> FolderListing:
    """Find the classes and pictures of an image folder without decoding anything.

    Raises:
        InputError: The folder is missing or empty, has no class folders or fewer than two, a class has no pictures,
            or the classes of train and test differ.
    """
    if not root.is_dir():
        raise InputError(str(root), "is no folder" if root.exists() else "does not exist", "name an image folder")
    children = _subfolders(root)
    if not any(root.iterdir()):
        raise InputError(str(root), "is empty", "put one sub-folder of pictures per class into it")
    names = {child.name: child for child in children}
    test_folder = next((names[name] for name in _TEST_NAMES if name in names), None)
    if "train" in names and test_folder is not None:
        classes, train = _classes(names["train"])
        test_classes, test = _classes(test_folder)
        if unknown := sorted(set(test_classes) ^ set(classes)):
            raise InputError(str(root), f"class {unknown[0]} is in only one of train and test", "make them alike")
        return FolderListing(classes, train, test)
    classes, pictures = _classes(root)
    split: dict[Split, list[tuple[Path, int]]] = {"train": [], "test": []}
    for label, name in enumerate(classes):
        members = [path for path, owner in pictures if owner == label]
        if len(members) < 2:
            raise InputError(str(root / name), "holds a single picture", "add one: both splits need pictures")
        for place, path in enumerate(members):
            last = place % TEST_EVERY == TEST_EVERY - 1 or (len(members) < TEST_EVERY and place == len(members) - 1)
            split["test" if last else "train"].append((path, label))
    return FolderListing(classes, tuple(split["train"]), tuple(split["test"]))


def _subfolders(folder: Path) -> list[Path]:
    return sorted(child for child in folder.iterdir() if child.is_dir() and not child.name.startswith("."))


def _classes(folder: Path) -> tuple[tuple[str, ...], tuple[tuple[Path, int], ...]]:
    children = _subfolders(folder)
    if len(children) < 2:
        what = f"holds {len(children)} class folders" if children else "holds no class folders"
        raise InputError(str(folder), what, "put the pictures of each class into a sub-folder of its own")
    pictures: list[tuple[Path, int]] = []
    for label, child in enumerate(children):
        files = sorted(path for path in child.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
        if not files:
            raise InputError(str(child), "holds no pictures", f"add pictures ({', '.join(sorted(SUFFIXES))})")
        pictures += [(path, label) for path in files]
    return tuple(child.name for child in children), tuple(pictures)


def load_folder(root: Path, split: Split, size: int | None = None, limit: int | None = None) -> Dataset:
    """Load one split of an image folder; mean and deviation are those of its whole training split.

    Args:
        root: The folder.
        split: ``"train"`` or ``"test"``.
        size: Side in pixels every picture is cropped and resampled to; None demands that all have the same size.
        limit: Only the first so many images, taken in turn from the classes; None takes all.

    Raises:
        InputError: See :func:`list_folder`; also an unreadable picture, or differing sizes without ``size``.
    """
    if size is not None and size < 1:
        raise InputError(str(root), f"image size is {size}", "use 1 pixel or more")
    listing = list_folder(root)
    mode = _common_mode(listing)
    decoded: dict[Split, Images] = {"train": _decode([path for path, _ in listing.train], mode, size)}
    scaled = decoded["train"].astype(np.float64) / 255
    deviation = scaled.std((0, 2, 3))
    if split == "test":
        decoded["test"] = _decode([path for path, _ in listing.test], mode, size, decoded["train"].shape[1:])
    labels = np.array([label for _, label in (listing.train if split == "train" else listing.test)], np.int64)
    order = _in_turn(labels)
    return Dataset(
        name=f"folder:{root}",
        images=np.ascontiguousarray(decoded[split][order]),
        labels=labels[order],
        classes=listing.classes,
        mean=tuple(float(value) for value in scaled.mean((0, 2, 3))),
        std=tuple(float(value) if value > 0 else 1.0 for value in deviation),  # a constant channel stays constant
        split=split,
    ).first(limit)


def _in_turn(labels: np.ndarray[tuple[int], np.dtype[np.int64]]) -> list[int]:
    """Positions that take the classes in turn, so that the first few images hold every class."""
    turns = np.zeros(len(labels), np.int64)
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        turns[members] = np.arange(len(members))
    return [int(position) for position in np.lexsort((labels, turns))]


def _common_mode(listing: FolderListing) -> Mode:
    """Greyscale when every picture is; colour otherwise. Reads headers only."""
    for split in SPLITS:
        for path, _ in getattr(listing, split):
            try:
                with Image.open(path) as picture:
                    mode = picture.mode
            except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
                raise InputError(str(path), "is no readable picture", "repair or remove it") from error
            if mode not in ("1", "L", "I;16"):
                return "RGB"
    return "L"


def _decode(paths: list[Path], mode: Mode, size: int | None, expected: tuple[int, ...] | None = None) -> Images:
    images: list[Images] = []
    for path in paths:
        image = decode_picture(str(path), read_file(path), mode, size)
        expected = expected or image.shape
        if image.shape != expected:
            what = f"is {image.shape[2]}x{image.shape[1]} pixels, others are {expected[2]}x{expected[1]}"
            raise InputError(str(path), what, "give a size to resample all pictures to")
        images.append(image)
    return np.stack(images)
