"""Labelled images: Fashion-MNIST, CIFAR-10, CIFAR-100 and image folders, with every checksum verified."""

from predfuse.data.catalogue import CATALOGUE, CatalogueEntry, cache_path, check, entry, load, locate, roots
from predfuse.data.dataset import SPLITS, Dataset, Source, Split

__all__ = [
    "CATALOGUE",
    "SPLITS",
    "CatalogueEntry",
    "Dataset",
    "Source",
    "Split",
    "cache_path",
    "check",
    "entry",
    "load",
    "locate",
    "roots",
]
