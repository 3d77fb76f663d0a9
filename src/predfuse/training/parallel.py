"""Data parallelism over the processes ``torchrun`` starts (gloo); with one process everything here does nothing."""

from __future__ import annotations

import atexit
import os
from collections.abc import Iterable
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor


@dataclass(frozen=True)
class Processes:
    """This process's place among the processes of the run."""

    rank: int = 0
    count: int = 1

    @classmethod
    def join(cls) -> Processes:
        """Join the run ``torchrun`` describes in the environment, or be alone."""
        count = int(os.environ.get("WORLD_SIZE", "1"))
        if count == 1:
            return cls()
        if not dist.is_initialized():
            dist.init_process_group("gloo")
            atexit.register(dist.destroy_process_group)  # else a thread of the group may abort the process as it ends
        return cls(dist.get_rank(), count)

    @property
    def first(self) -> bool:
        return self.rank == 0

    def mean(self, tensors: Iterable[Tensor]) -> None:
        """Replace every tensor by its mean over the processes, in one exchange."""
        items = list(tensors)
        if self.count == 1 or not items:
            return
        flat = torch.cat([item.detach().flatten() for item in items])
        dist.all_reduce(flat)
        flat /= self.count
        parts = torch.split(flat, [item.numel() for item in items])
        for item, part in zip(items, parts, strict=True):
            item.copy_(part.view_as(item))

    def wait(self) -> None:
        """Wait until every process is here."""
        if self.count > 1:
            dist.barrier()
