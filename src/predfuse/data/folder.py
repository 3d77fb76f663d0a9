"""An image folder with one sub-folder per class.

ROOT/train/CLASS/picture.png  and  ROOT/test/CLASS/picture.png
                              also training; val, valid, validation, testing; in upper or lower case
ROOT/CLASS/picture.png        every fifth picture of a class, by sorted name, is a test picture, which is said
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from math import isqrt
from pathlib import Path

import numpy as np

from predfuse.data.dataset import Dataset, Images, Labels, Part, Split
from predfuse.errors import InputError
from predfuse.input_checks import LEAST_STD
from predfuse.readers.boundary import read_bytes, reading
from predfuse.readers.pictures import GREY_MODES, SUFFIXES, Mode, decode_picture, picture_mode

logger = logging.getLogger(__name__)

TEST_EVERY = 5
_TRAIN_NAMES = ("train", "training")
_TEST_NAMES = ("test", "testing", "val", "valid", "validation")
_GIVE_A_SIZE = "give a size to resample all pictures to"


@dataclass(frozen=True)
class FolderListing:
    """The pictures of both splits with the index of their class, and the class names in sorted order.

    Attributes:
        classes: Names.
        train: Pictures to train on.
        test: Pictures to test with.
        cut: Whether the folder itself has no splits, and was cut into two here.
    """

    classes: tuple[str, ...]
    train: tuple[tuple[Path, int], ...]
    test: tuple[tuple[Path, int], ...]
    cut: bool

    def part(self, part: Part) -> list[tuple[Path, int]]:
        """Pictures of a split, or all, taken in turn from the classes, so that the first few hold every class."""
        members = {"train": self.train, "test": self.test, "all": (*self.train, *self.test)}[part]
        turns: dict[int, int] = {}
        order = []
        for path, label in sorted(members) if part == "all" else members:
            order.append((turns.setdefault(label, 0), label, path))
            turns[label] += 1
        return [(path, label) for _, label, path in sorted(order, key=lambda entry: entry[:2])]


def list_folder(root: Path) -> FolderListing:
    """Find the classes and pictures of an image folder without decoding anything.

    Raises:
        InputError: The folder is missing or empty, has no class folders or fewer than two, a class has no pictures,
            there is a split without its other half or of unknown names, or the classes of train and test differ.
    """
    if not root.is_dir():
        raise InputError(str(root), "is no folder" if root.exists() else "does not exist", "name an image folder")
    children = _subfolders(root)
    if not any(root.iterdir()):
        raise InputError(str(root), "is empty", "put one sub-folder of pictures per class into it")
    if splits := _split_folders(root, children):
        classes, train = _classes(splits[0])
        test_classes, test = _classes(splits[1])
        if unknown := sorted(set(test_classes) ^ set(classes)):
            raise InputError(str(root), f"class {unknown[0]} is in only one of train and test", "make them alike")
        return FolderListing(classes, train, test, cut=False)
    _require_no_split(root, children)
    classes, pictures = _classes(root)
    split: dict[Split, list[tuple[Path, int]]] = {"train": [], "test": []}
    for label, name in enumerate(classes):
        members = [path for path, owner in pictures if owner == label]
        if len(members) < 2:
            raise InputError(str(root / name), "holds a single picture", "add one: both splits need pictures")
        for place, path in enumerate(members):
            last = place % TEST_EVERY == TEST_EVERY - 1 or (len(members) < TEST_EVERY and place == len(members) - 1)
            split["test" if last else "train"].append((path, label))
    return FolderListing(classes, tuple(split["train"]), tuple(split["test"]), cut=True)


def _split_folders(root: Path, children: list[Path]) -> tuple[Path, Path] | None:
    """The folders of train and test; None where the children are classes.

    A folder is that of a split by its name, in any case, and by holding folders itself: ``train`` may be a class too.
    """
    named = [child for child in children if child.name.casefold() in (*_TRAIN_NAMES, *_TEST_NAMES)]
    splits = [child for child in named if _subfolders(child)]
    if not splits:
        if named and named == children:
            names = " and ".join(child.name for child in named)
            raise InputError(str(root), f"holds {names} without class folders", "put one folder per class into each")
        return None
    train = [child for child in splits if child.name.casefold() in _TRAIN_NAMES]
    test = [child for name in _TEST_NAMES for child in splits if child.name.casefold() == name]
    if not train or not test:
        lacking = _TEST_NAMES if train else _TRAIN_NAMES
        what = f"holds {splits[0].name} but no folder {' or '.join(lacking)} of class folders"
        raise InputError(str(root), what, f"name the other half {lacking[0]}, with one folder per class")
    if len(train) > 1 or (len(test) > 1 and test[0].name.casefold() == test[1].name.casefold()):
        twice = train if len(train) > 1 else test
        raise InputError(str(root), f"holds both {twice[0].name} and {twice[1].name}", "keep one of them")
    unused = [child.name for child in children if child not in (train[0], test[0])]
    if unused:
        logger.warning("%s: %s and %s are used, not %s", root, train[0].name, test[0].name, ", ".join(unused))
    return train[0], test[0]


def _require_no_split(root: Path, children: list[Path]) -> None:
    """Refuse two or three folders that hold the same folders and nothing else: a split of names we do not know."""
    names = [[inner.name for inner in _subfolders(child)] for child in children]
    if not 2 <= len(children) <= 3 or len(names[0]) < 2 or any(other != names[0] for other in names):
        return
    if any(path.suffix.lower() in SUFFIXES for child in children for path in child.iterdir()):
        return
    what = f"holds {names[0][0]} and {names[0][1]} in {' and in '.join(child.name for child in children)}"
    raise InputError(str(root), what, "call the halves of a split train and test, or put each class into one folder")


def _subfolders(folder: Path) -> list[Path]:
    with reading(str(folder), "is no readable folder"):
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


def load_folder(root: Path, split: Part, size: int | None = None, limit: int | None = None) -> Dataset:
    """Load one split of an image folder, or all of it; mean and deviation are those of the training images.

    Args:
        root: The folder.
        split: ``"train"``, ``"test"`` or ``"all"``.
        size: Side in pixels every picture is cropped and resampled to; None demands that all have the same size.
        limit: Only the first so many images, taken in turn from the classes, also for mean and deviation; None takes
            all. No other picture is decoded.

    Raises:
        InputError: See :func:`list_folder`; also an unreadable picture, or differing sizes without ``size``.
    """
    listing = _listed(root, size, limit)
    mode = _common_mode(listing)
    expected, mean, std = _statistics([path for path, _ in listing.part("train")[:limit]], mode, size)
    members = listing.part(split)[:limit]
    if listing.cut and split != "all":
        _say_cut(root, listing, split)
    return Dataset(
        name=f"folder:{root}",
        images=decode_pictures([path for path, _ in members], mode, size, expected),
        labels=np.array([label for _, label in members], np.int64),
        classes=listing.classes,
        mean=mean,
        std=std,
        split=split,
    )


def load_part(
    root: Path,
    part: Part,
    mode: Mode,
    size: int | None = None,
    limit: int | None = None,
    expected: tuple[int, ...] | None = None,
    mend: str = _GIVE_A_SIZE,
) -> tuple[Images, Labels]:
    """Images and labels of a split of an image folder, or of all of it, without facts about the rest.

    Arguments are those of :func:`load_folder` and :func:`decode_pictures`.

    Raises:
        InputError: As :func:`load_folder`.
    """
    listing = _listed(root, size, limit)
    members = listing.part(part)[:limit]
    if listing.cut and part != "all":
        _say_cut(root, listing, part)
    images = decode_pictures([path for path, _ in members], mode, size, expected, mend)
    return images, np.array([label for _, label in members], np.int64)


def _listed(root: Path, size: int | None, limit: int | None) -> FolderListing:
    if size is not None and size < 1:
        raise InputError(str(root), f"image size is {size}", "use 1 pixel or more")
    if limit is not None and limit < 1:
        raise InputError(str(root), f"limit is {limit}", "use 1 or more images")
    return list_folder(root)


def _say_cut(root: Path, listing: FolderListing, split: Split) -> None:
    counts = len(listing.train), len(listing.test)
    logger.warning(
        "%s has no folders train and test: picture %d, %d, ... of each class are test pictures; using the %d %s"
        " pictures of %d",
        *(root, TEST_EVERY, 2 * TEST_EVERY, counts[split == "test"], split, sum(counts)),
    )


def _common_mode(listing: FolderListing) -> Mode:
    """Greyscale when every picture is; colour otherwise. Decodes headers only."""
    for path, _ in (*listing.train, *listing.test):
        if picture_mode(path) not in GREY_MODES:
            return "RGB"
    return "L"


def _statistics(
    paths: Iterable[Path], mode: Mode, size: int | None
) -> tuple[tuple[int, ...], tuple[float, ...], tuple[float, ...]]:
    """Shape, mean and standard deviation per channel in 0..1, by exact integer sums, one picture in memory at a time.

    A channel that is constant, or all but constant (see :data:`LEAST_STD`), has deviation 1: it stays constant.
    """
    expected: tuple[int, ...] | None = None
    pixels, sums, squares = 0, [0] * 3, [0] * 3
    for path in paths:
        image = _decode(path, mode, size, expected)
        expected = image.shape
        pixels += image[0].size
        for channel, values in enumerate(image):
            counts = np.bincount(values.ravel(), minlength=256).tolist()
            sums[channel] += sum(value * count for value, count in enumerate(counts))
            squares[channel] += sum(value * value * count for value, count in enumerate(counts))
    assert expected is not None
    channels = range(expected[0])
    mean = tuple(sums[channel] / (255 * pixels) for channel in channels)
    precision = 2**64  # of the square root, which is taken of integers: a constant channel gives 0 exactly
    spreads = [
        isqrt((pixels * squares[c] - sums[c] ** 2) * precision**2) / (255 * pixels * precision) for c in channels
    ]
    return expected, mean, tuple(spread if spread >= LEAST_STD else 1.0 for spread in spreads)


def decode_pictures(
    paths: list[Path],
    mode: Mode,
    size: int | None = None,
    expected: tuple[int, ...] | None = None,
    mend: str = _GIVE_A_SIZE,
) -> Images:
    """Pictures as one array, all of shape ``expected`` (of the first one's where None); ``mend`` is said of others.

    Raises:
        InputError: One cannot be read or has another size.
    """
    images: Images | None = None
    for place, path in enumerate(paths):
        image = _decode(path, mode, size, expected, mend)
        if images is None:
            expected = image.shape
            with reading(str(path.parent), "is no readable folder", "use fewer or smaller pictures"):
                images = np.empty((len(paths), *image.shape), np.uint8)
        images[place] = image
    assert images is not None
    return images


def _decode(
    path: Path, mode: Mode, size: int | None, expected: tuple[int, ...] | None, mend: str = _GIVE_A_SIZE
) -> Images:
    image = decode_picture(str(path), read_bytes(path), mode, size)
    if expected is not None and image.shape != expected:
        what = f"is {image.shape[2]}x{image.shape[1]} pixels, expected {expected[2]}x{expected[1]}"
        raise InputError(str(path), what, mend)
    return image
