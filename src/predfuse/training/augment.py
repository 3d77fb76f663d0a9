"""Batches for training: every image of an epoch once, in an order and variation that depend only on seed and step."""

from __future__ import annotations

import torch
from torch import Tensor


def generator(*key: int) -> torch.Generator:
    """A random generator that depends on a few integers only."""
    seed = 0
    for value in key:
        seed = (seed * 1_000_003 + value + 1) % (1 << 61)
    return torch.Generator().manual_seed(seed)


def order(count: int, seed: int, stage: int, epoch: int) -> Tensor:
    """A permutation of ``count`` images for one epoch."""
    return torch.randperm(count, generator=generator(seed, stage, epoch))


def with_bits(images: Tensor, bits: int) -> Tensor:
    """8-bit images with only the upper bits of their colours left, and the middle of what the others may be."""
    if bits == 8:
        return images
    dropped = 8 - bits
    return (images >> dropped << dropped) | (1 << dropped - 1)


def vary(images: Tensor, padding: int, flip: bool, random: torch.Generator) -> Tensor:
    """Shift each ``[N, C, H, W]`` image by up to ``padding`` pixels (zeros move in) and mirror half of them.

    The images may lie on any device; ``random`` is the CPU's, so that the variation is the same on all of them.
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
    return images.permute(0, 2, 3, 1)[index[:, None, None], rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


def mix(images: Tensor, share: float, random: torch.Generator) -> Tensor:
    """Mix a share of ``[N, C, H, W]`` images with others of the batch: ``f * x + (1 - f) * other``, f from 0.5 to 1.

    Mixup, Zhang et al. 2018 (arXiv 1710.09412), where the larger part keeps its label; with a teacher's scores, see
    Beyer et al. 2022, "Knowledge distillation: a good teacher is patient and consistent" (arXiv 2106.05237).

    Args:
        images: Normalised, on any device.
        share: Of the images that are mixed, each by itself, 0 to 1.
        random: The CPU's, so that the mixture is the same on all devices.
    """
    count, where = len(images), images.device
    others = torch.randperm(count, generator=random).to(where)
    factors = 1 - 0.5 * torch.rand(count, generator=random) * (torch.rand(count, generator=random) < share)
    return torch.lerp(images[others], images, factors.to(where).view(-1, 1, 1, 1))


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
