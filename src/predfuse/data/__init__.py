"""Labelled images: Fashion-MNIST, CIFAR-10, CIFAR-100 and image folders, with every checksum verified.

In comes a name or a folder, out go uint8 images with labels, or images made to fit a network.
"""

from predfuse.data.catalogue import (
    CATALOGUE,
    FOLDER_PREFIX,
    Status,
    check,
    entry,
    load,
    locate,
    roots,
    survey,
)
from predfuse.data.dataset import Dataset

__all__ = [
    "CATALOGUE",
    "FOLDER_PREFIX",
    "Dataset",
    "Status",
    "check",
    "entry",
    "load",
    "locate",
    "roots",
    "survey",
]
