"""Predictors inside a user's own modules: hooks that replace what flows into a block's convolutions.

A :class:`Gate` is a submodule of a block's expand convolution, so that its predictor is among the model's parameters,
is saved with it and is copied with it. Its hooks let the user's code run as it is:

* before the expand convolution they see the block's input and predict both masks;
* after the expand convolution's batch norm, and after that of the depthwise one, they keep the pre-activations;
* before the depthwise and before the project convolution they put the gated pre-activation in the place of what the
  user's activation gave.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor, nn

from predfuse.errors import PredfuseError
from predfuse.graph.nodes import Activation, Padding
from predfuse.predictor.trainable import TrainablePredictor

CHILD = "gate"
"""Name of a gate among the children of the expand convolution."""

Mode = Literal["predicted", "true", "observe"]


@dataclass(frozen=True, eq=False)
class Observation:
    """What one block does on one batch, under the true masks.

    Attributes:
        x: Input of the block, ``[N, C, H, W]``.
        a: What its first activation sees, ``[N, M, H, W]``.
        h: What its depthwise convolution reads, borders added by other modules included.
        d: What its second activation sees, ``[N, M, P, Q]``.
        u: What its project convolution reads, ``[N, M, P, Q]``.
    """

    x: Tensor
    a: Tensor
    h: Tensor
    d: Tensor
    u: Tensor


Observer: TypeAlias = "Callable[[Gate, Observation], None]"


class Gate(nn.Module):
    """Runs one block of a user's model with predicted masks.

    Attributes:
        block: Name of the block in the traced network.
        predictor: Decides which activations are on.
        mode: ``predicted``: the masks gate the block. ``true``: the user's code runs as if there were no gate.
            ``observe``: like ``true``, and the observer is told what the block does.
        border: ``(top, bottom, left, right)`` pixels that other modules add between activation and depthwise
            convolution.
        activations: The block's two activations; a linear one is never gated.
    """

    def __init__(
        self, block: str, predictor: TrainablePredictor, border: Padding, activations: tuple[Activation, Activation]
    ) -> None:
        super().__init__()
        self.block, self.border, self.activations = block, border, activations
        self.predictor = predictor
        self.mode: Mode = "true"
        self.observer: Observer | None = None
        self._seen: dict[str, Tensor] = {}

    def extra_repr(self) -> str:
        return self.block

    # The hooks, in the order in which a forward pass reaches them.

    def read_input(self, module: nn.Module, arguments: tuple[Any, ...]) -> None:
        """Before the expand convolution."""
        self._seen = {}
        if self.mode == "true":
            return
        self._seen["x"] = arguments[0]
        if self.mode == "predicted":
            self._seen["z1"], self._seen["z2"] = self.predictor(arguments[0])

    def read_expanded(self, module: nn.Module, arguments: tuple[Any, ...], output: Tensor) -> Tensor | None:
        """After what computes the first pre-activation."""
        return self._keep("a", output)

    def read_expanded_before(self, module: nn.Module, arguments: tuple[Any, ...]) -> tuple[Any, ...] | None:
        """Before the first activation, where that is a module within the one computing the pre-activation."""
        kept = self._keep("a", arguments[0])
        return None if kept is None else (kept, *arguments[1:])

    def write_hidden(self, module: nn.Module, arguments: tuple[Any, ...]) -> tuple[Any, ...] | None:
        """Before the depthwise convolution."""
        if self.mode == "predicted":
            h = self._gated("a", "z1", self.predictor.expand_width, self.activations[0])
            top, bottom, left, right = self.border
            if any(self.border):
                h = nn.functional.pad(h, (left, right, top, bottom))
            return (h, *arguments[1:])
        if self.mode == "observe":
            self._seen["h"] = arguments[0]
        return None

    def read_filtered(self, module: nn.Module, arguments: tuple[Any, ...], output: Tensor) -> Tensor | None:
        """After what computes the second pre-activation."""
        return self._keep("d", output)

    def read_filtered_before(self, module: nn.Module, arguments: tuple[Any, ...]) -> tuple[Any, ...] | None:
        """Before the second activation, where that is a module within the one computing the pre-activation."""
        kept = self._keep("d", arguments[0])
        return None if kept is None else (kept, *arguments[1:])

    def write_filtered(self, module: nn.Module, arguments: tuple[Any, ...]) -> tuple[Any, ...] | None:
        """Before the project convolution."""
        try:
            if self.mode == "predicted":
                u = self._gated("d", "z2", self.predictor.depthwise_width, self.activations[1])
                return (u, *arguments[1:])
            if self.mode == "observe" and self.observer is not None:
                self.observer(self, Observation(**self._seen, u=arguments[0]))
            return None
        finally:
            self._seen = {}

    def _keep(self, name: str, value: Tensor) -> Tensor | None:
        """Keep a pre-activation and hand a copy on, for the user's activation may work in place."""
        if self.mode == "true":
            return None
        self._seen[name] = value
        # What comes of the copy is thrown away before the next convolution, unless it is only observed.
        return value.detach().clone() if self.mode == "predicted" else value.clone()

    def _gated(self, value: str, score: str, width: Tensor, activation: Activation) -> Tensor:
        if value not in self._seen or score not in self._seen:
            what = "its layers ran in another order than when it was prepared"
            raise PredfuseError(f"block {self.block}: {what}")
        if activation == "linear":
            return self._seen[value]
        return self.predictor.gate(self._seen[value], self._seen[score], width)


def gates_of(model: nn.Module) -> list[Gate]:
    """The gates of a prepared model, in the order of its modules."""
    return [module for module in model.modules() if isinstance(module, Gate)]


@contextmanager
def gate_mode(model: nn.Module, mode: Mode, observer: Observer | None = None) -> Iterator[None]:
    """Run a model with all gates in one mode; afterwards they are as they were.

    Args:
        model: A prepared model.
        mode: See :class:`Gate`.
        observer: In mode ``observe``: called with every block's gate and tensors as soon as it has run.
    """
    found = [(gate, gate.mode, gate.observer) for gate in gates_of(model)]
    try:
        for each, _, _ in found:
            each.mode, each.observer = mode, observer
        yield
    finally:
        for each, before, watching in found:
            each.mode, each.observer = before, watching


@contextmanager
def evaluation(model: nn.Module) -> Iterator[None]:
    """Run a model in evaluation mode; afterwards every module's training flag is as it was."""
    flags = [(module, module.training) for module in model.modules()]
    try:
        model.eval()
        yield
    finally:
        for module, training in flags:
            module.training = training


@torch.no_grad()
def observe(model: nn.Module, images: Tensor, observer: Observer) -> None:
    """Run a prepared model in evaluation under the true masks and show every block's tensors."""
    with evaluation(model), gate_mode(model, "observe", observer):
        model(images)
