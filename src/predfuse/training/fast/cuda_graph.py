"""A stage's loss and gradients as one recorded CUDA graph, so that a step need not wait for launches of kernels."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from predfuse.models.layers import Cnn
from predfuse.training.losses import Loss

log = logging.getLogger(__name__)

WARM_UP_STEPS = 3
"""Passes before recording, so that kernels are compiled and chosen and workspaces allocated."""


def differentiate(model: Cnn, loss: Loss, images: Tensor, labels: Tensor) -> Tensor:
    """The loss of images and labels; the model's parameters have its gradients, new ones, afterwards."""
    model.zero_grad(set_to_none=True)
    found = loss(model, images, labels)
    found.backward()
    return found.detach()


class CapturedLoss:
    """Does what :func:`differentiate` does, for batches of one shape, by replaying what it recorded at the first one.

    Gradients are written into the same tensors at every call and must not be set to None in between. The model's mode
    must be the one it has at the first call.

    Args:
        model: On a GPU.
        loss: Of the model, images and labels; only operations on the GPU.
    """

    def __init__(self, model: Cnn, loss: Loss) -> None:
        self._model, self._loss = model, loss
        self._graph: torch.cuda.CUDAGraph | None = None

    def __call__(self, images: Tensor, labels: Tensor) -> Tensor:
        """The loss of a batch, a scalar that the next call overwrites."""
        if self._graph is None:
            self._graph = self._record(images, labels)
        self._images.copy_(images)
        self._labels.copy_(labels)
        self._graph.replay()
        return self._result

    def _record(self, images: Tensor, labels: Tensor) -> torch.cuda.CUDAGraph:
        started = time.monotonic()
        model = self._model
        self._images, self._labels = images.clone(), labels.clone()
        buffers = [(buffer, buffer.clone()) for buffer in model.buffers()]
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(WARM_UP_STEPS):
                differentiate(model, self._loss, self._images, self._labels)
            model.zero_grad(set_to_none=True)
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            self._result = differentiate(model, self._loss, self._images, self._labels)
        for buffer, before in buffers:  # recording computes nothing, warming up moves running statistics
            buffer.copy_(before)
        log.info("loss recorded in %.0f s", time.monotonic() - started)
        return graph


def gradients(model: Cnn, loss: Loss, captured: bool) -> Callable[[Tensor, Tensor], Tensor]:
    """:func:`differentiate` for one model and loss, recorded at its first call if so wanted."""
    return CapturedLoss(model, loss) if captured else partial(differentiate, model, loss)
