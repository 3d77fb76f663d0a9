"""Tensors that only rearrange a feature map: views, transposes, splits, and means of them, followed by index.

A chain such as view - transpose - reshape means nothing by itself; what it does as a whole is read off the indices of
the elements it moves, so that every spelling of a channel shuffle or a flattening is recognised alike.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from predfuse.graph.nodes import Shape


@dataclass(frozen=True, eq=False)
class View:
    """A tensor whose elements are elements of one feature map, or means of some of them.

    Attributes:
        source: Name of the network's node (or ``"input"``) that computes the feature map.
        source_shape: ``(C, H, W)`` of the feature map.
        shape: Shape of the tensor in PyTorch, the batch of one included.
        index: Positions in the flattened feature map, of the tensor's shape; None where it is all of it in order.
        members: For a mean, ``[*shape, K]`` positions of which every element is the mean; ``index`` then is None.
    """

    source: str
    source_shape: Shape
    shape: tuple[int, ...]
    index: Tensor | None = None
    members: Tensor | None = None

    @property
    def in_order(self) -> bool:
        """Whether it is the whole feature map, only its shape being another."""
        return self.members is None and self.index is None

    @property
    def size(self) -> int:
        """Elements of the feature map."""
        return math.prod(self.source_shape)

    def positions(self) -> Tensor:
        """``index``, made where it is implied."""
        return torch.arange(self.size).reshape(self.shape) if self.index is None else self.index

    def moved(self, index: Tensor) -> View:
        """The view that holds these positions."""
        complete = index.numel() == self.size
        in_order = complete and bool((index.flatten() == torch.arange(self.size)).all())
        return View(self.source, self.source_shape, tuple(index.shape), None if in_order else index)

    def channel_order(self) -> list[int] | None:
        """Source channel of every channel, where the tensor is ``[1, C', H, W]`` made of whole channels; else None."""
        _, height, width = self.source_shape
        if self.members is not None or len(self.shape) != 4 or self.shape[0] != 1:
            return None
        if self.shape[2:] != (height, width):
            return None
        pixels = height * width
        index = self.positions().reshape(self.shape[1], pixels)
        first = index[:, 0] // pixels
        expected = first[:, None] * pixels + torch.arange(pixels)
        return [int(channel) for channel in first] if bool((index == expected).all()) else None

    def mean(self, dims: list[int], keepdim: bool) -> View:
        """The mean over some dimensions, of a view or of a mean of equally many members."""
        rank = len(self.shape)
        reduced = sorted({dim % rank for dim in dims}) if dims else list(range(rank))
        members = self.positions()[..., None] if self.members is None else self.members
        kept = [dim for dim in range(rank) if dim not in reduced]
        gathered = members.permute(*kept, *reduced, rank)
        flat = gathered.reshape(*(self.shape[dim] for dim in kept), -1)
        shape = tuple(1 if dim in reduced else self.shape[dim] for dim in range(rank))
        if not keepdim:
            shape = tuple(self.shape[dim] for dim in kept)
        return View(self.source, self.source_shape, shape, members=flat.reshape(*shape, flat.shape[-1]))

    def pooled_channels(self) -> list[int] | None:
        """Source channel of every element, where each is the mean of one whole channel; else None."""
        _, height, width = self.source_shape
        pixels = height * width
        if self.members is None or self.members.shape[-1] != pixels:
            return None
        members = self.members.reshape(-1, pixels).sort(dim=-1).values
        channels = members[:, 0] // pixels
        whole = bool((members == channels[:, None] * pixels + torch.arange(pixels)).all())
        return [int(channel) for channel in channels] if whole else None


def shuffle_groups(order: list[int], channels: int) -> int | None:
    """Groups of the shuffle of ``channels`` that puts source channel ``order[i]`` at ``i``; None where it is none."""
    if sorted(order) != list(range(channels)) or channels < 2:
        return None
    size = order[1] - order[0]  # channels per group
    if size < 1 or channels % size:
        return None
    groups = channels // size
    shuffled = [j * size + i for i in range(size) for j in range(groups)]
    return groups if shuffled == order else None
