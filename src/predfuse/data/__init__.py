"""Labelled images: Fashion-MNIST, CIFAR-10, CIFAR-100 and image folders, with every checksum verified.

In comes a name or a folder, out go uint8 images with labels, or images made to fit a network.
"""

from predfuse.data.catalogue import (
    CATALOGUE,
    FOLDER_PREFIX,
    CatalogueEntry,
    Status,
    cache_path,
    check,
    entry,
    load,
    locate,
    roots,
    survey,
)
from predfuse.data.dataset import SPLITS, Dataset, Source, Split

__all__ = [
    "CATALOGUE",
    "FOLDER_PREFIX",
    "SPLITS",
    "CatalogueEntry",
    "Dataset",
    "Source",
    "Split",
    "Status",
    "cache_path",
    "check",
    "entry",
    "load",
    "locate",
    "roots",
    "survey",
]
