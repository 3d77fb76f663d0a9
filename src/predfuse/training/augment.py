"""Batches for training: every image of an epoch once, in an order and variation that depend only on seed and step."""

from __future__ import annotations

from enum import IntEnum

import torch
from torch import Tensor


class Stream(IntEnum):
    """The random streams of a run, one for every stage. The numbers seed them: another number is another training."""

    VANILLA = 1
    PRUNED = 2
    LAYERWISE = 3
    JOINT = 4
    FROZEN = 5


VARIATION = 1
"""Ends the key of the stream of variations, so that it is another than that of the order."""


def generator(*key: int) -> torch.Generator:
    """A random generator that depends on a few integers only."""
    seed = 0
    for value in key:
        seed = (seed * 1_000_003 + value + 1) % (1 << 61)
    return torch.Generator().manual_seed(seed)


def order(count: int, seed: int, stream: Stream, epoch: int) -> Tensor:
    """A permutation of ``count`` images for one epoch."""
    return torch.randperm(count, generator=generator(seed, stream, epoch))


def variation(seed: int, stream: Stream, step: int) -> torch.Generator:
    """The random generator of the variation of one step's images."""
    return generator(seed, stream, step, VARIATION)


def vary(images: Tensor, padding: int, flip: bool, random: torch.Generator, cutout: int = 0) -> Tensor:
    """Shift each ``[N, C, H, W]`` image by up to ``padding`` pixels (zeros move in) and mirror half of them.

    With ``cutout`` a square of this side, its centre anywhere in the image, becomes zero too (DeVries and Taylor,
    arXiv 1708.04552). The images may lie on any device; ``random`` is the CPU's, so that the variation is the same on
    all of them.
    """
    count, _, height, width = images.shape
    where = images.device
    columns = torch.arange(width, device=where).repeat(count, 1)
    if flip:
        mirrored = (torch.rand(count, generator=random) < 0.5).to(where)
        columns = torch.where(mirrored[:, None], columns.flip(1), columns)
    rows = torch.arange(height, device=where).repeat(count, 1)
    if padding:
        shifts = torch.randint(0, 2 * padding + 1, (2, count, 1), generator=random).to(where)
        images = torch.nn.functional.pad(images, (padding,) * 4)
        rows, columns = rows + shifts[0], columns + shifts[1]
    index = torch.arange(count, device=where)
    varied = images.permute(0, 2, 3, 1)[index[:, None, None], rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)
    if not cutout:
        return varied
    top = torch.randint(0, height, (count, 1), generator=random).to(where) - cutout // 2
    left = torch.randint(0, width, (count, 1), generator=random).to(where) - cutout // 2
    row, column = torch.arange(height, device=where), torch.arange(width, device=where)
    inside_rows, inside_columns = (row >= top) & (row < top + cutout), (column >= left) & (column < left + cutout)
    return varied.masked_fill(inside_rows[:, None, :, None] & inside_columns[:, None, None, :], 0)


class Normaliser:
    """Maps uint8 images to the network's input: ``(x / 255 - mean) / std`` per channel, float32, channels last.

    Images from elsewhere are moved to its device first.
    """

    def __init__(self, mean: tuple[float, ...], std: tuple[float, ...], device: torch.device | str = "cpu") -> None:
        self._scale = (1 / (255 * torch.tensor(std))).view(1, -1, 1, 1).to(device)
        self._shift = (-torch.tensor(mean) / torch.tensor(std)).view(1, -1, 1, 1).to(device)

    def __call__(self, images: Tensor) -> Tensor:
        result = images.to(self._scale.device).to(torch.float32).mul_(self._scale).add_(self._shift)
        return result.contiguous(memory_format=torch.channels_last)
