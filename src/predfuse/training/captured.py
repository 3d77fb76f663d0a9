"""A stage's loss and gradients as one recorded CUDA graph, so that a step need not wait for launches of kernels."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

import torch
from torch import Tensor

from predfuse.models.layers import Cnn
from predfuse.training.losses import Loss

log = logging.getLogger(__name__)

WARM_UP_STEPS = 3
"""Passes before recording, so that kernels are compiled and chosen and workspaces allocated."""


class CapturedLoss:
    """Computes what ``loss(model, images, labels)`` and its backward pass do, for batches of one shape.

    Gradients are written anew at every call and
    must not be set to None in between. The model's mode must be the one it had at first.

    Args:
        model: On a GPU.
        loss: Of the model, images and labels; only operations on the GPU.
        images: A batch.
        labels: Its labels.
    """

    def __init__(self, model: Cnn, loss: Loss, images: Tensor, labels: Tensor) -> None:
        started = time.monotonic()
        self._images, self._labels = images.clone(), labels.clone()
        buffers = [(buffer, buffer.clone()) for buffer in model.buffers()]
        side = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(WARM_UP_STEPS):
                model.zero_grad(set_to_none=True)
                loss(model, self._images, self._labels).backward()  # type: ignore[no-untyped-call]
            model.zero_grad(set_to_none=True)
        torch.cuda.current_stream().wait_stream(side)
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph):
            result = loss(model, self._images, self._labels)
            result.backward()  # type: ignore[no-untyped-call]
        self._loss = result.detach()
        for buffer, before in buffers:  # recording computes nothing, warming up moves running statistics
            buffer.copy_(before)
        log.info("loss recorded in %.0f s", time.monotonic() - started)

    def __call__(self, images: Tensor, labels: Tensor) -> Tensor:
        """The loss of a batch, a scalar that the next call overwrites; the model's parameters have its gradients."""
        self._images.copy_(images)
        self._labels.copy_(labels)
        self._graph.replay()
        return self._loss


def gradients(model: Cnn, loss: Loss, captured: bool) -> Callable[[Tensor, Tensor], Tensor]:
    """What gives the loss of images and labels, and a model its gradients; recorded at its first call if so wanted."""
    if captured:
        recorded: list[CapturedLoss] = []

        def replay(images: Tensor, labels: Tensor) -> Tensor:
            if not recorded:
                recorded.append(CapturedLoss(model, loss, images, labels))
            return recorded[0](images, labels)

        return replay

    def compute(images: Tensor, labels: Tensor) -> Tensor:
        model.zero_grad(set_to_none=True)
        found = loss(model, images, labels)
        found.backward()  # type: ignore[no-untyped-call]
        return found.detach()

    return compute
