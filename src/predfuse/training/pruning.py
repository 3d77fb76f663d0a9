"""Magnitude pruning of the blocks: per-layer masks that grow along a cubic schedule."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from predfuse.errors import InputError
from predfuse.models.layers import Cnn, ConvUnit
from predfuse.models.norms import PartialNorm
from predfuse.pruning.choose import keep_largest

INNER_NORMS = ("expand_norm", "depthwise_norm")


def prunable_layers(model: Cnn) -> dict[str, tuple[nn.Conv2d, str]]:
    """The convolutions that may be pruned, by name, each with its kind.

    ``"pointwise"`` and ``"depthwise"`` are those of the blocks, ``"outside"`` the 1x1 convolutions of stem and tail,
    ``"window"`` those of the stem with larger windows.
    """
    found: dict[str, tuple[nn.Conv2d, str]] = {}
    for name, layer in model.layers.named_children():
        if isinstance(layer, ConvUnit):
            found[name] = (layer.conv, "outside" if layer.conv.kernel_size == (1, 1) else "window")
    for name, block in model.bottlenecks():
        found[f"{name}.expand"] = (block.expand, "pointwise")
        found[f"{name}.depthwise"] = (block.depthwise, "depthwise")
        found[f"{name}.project"] = (block.project, "pointwise")
    return found


def make_shifts_prunable(model: Cnn) -> None:
    """Put norms whose shifts can be pruned after every block's expand and depthwise; the network computes the same.

    Raises:
        InputError: The blocks have no shifts.
    """
    for name, block in model.bottlenecks():
        for attribute in INNER_NORMS:
            norm = getattr(block, attribute)
            if isinstance(norm, PartialNorm):
                continue
            if not isinstance(norm, nn.BatchNorm2d):
                raise InputError(f"block {name}", "has no shifts to prune", "leave out prune.shift_sparsity")
            partial = PartialNorm(norm.num_features, norm.eps).to(norm.weight)
            known = {key: value for key, value in norm.state_dict().items() if key in partial.state_dict()}
            partial.load_state_dict({**partial.state_dict(), **known})
            setattr(block, attribute, partial.train(norm.training))


def prunable_shifts(model: Cnn) -> list[PartialNorm]:
    """The norms :func:`make_shifts_prunable` has put in, in the order of the network."""
    norms = [getattr(block, attribute) for _, block in model.bottlenecks() for attribute in INNER_NORMS]
    return [norm for norm in norms if isinstance(norm, PartialNorm)]


class Pruner:
    """Holds the masks of a model's pruned layers and keeps their weights, and pruned shifts, at zero.

    The masks are at first the zeros the weights have.
    """

    def __init__(self, model: Cnn) -> None:
        self._layers = prunable_layers(model)
        self._norms = prunable_shifts(model)
        self._masks: dict[str, Tensor] = {}
        self.hold_zeros()

    @torch.no_grad()
    def prune(
        self,
        pointwise_sparsity: float,
        depthwise_sparsity: float,
        shift_sparsity: float = 0.0,
        outside_sparsity: float = 0.0,
        window_sparsity: float = 0.0,
    ) -> None:
        """Choose new masks by magnitude and apply them."""
        finals = {
            "pointwise": pointwise_sparsity,
            "depthwise": depthwise_sparsity,
            "outside": outside_sparsity,
            "window": window_sparsity,
        }
        for name, (conv, kind) in self._layers.items():
            self._masks[name] = keep_largest(conv.weight, finals[kind])
        for norm in self._norms:
            norm.keep_shifts(keep_largest(norm.shifts(), shift_sparsity))
        self.apply()

    @torch.no_grad()
    def hold_zeros(self) -> None:
        """Take the zeros the weights have now as the masks."""
        self._masks = {name: (conv.weight != 0).to(conv.weight.dtype) for name, (conv, _) in self._layers.items()}

    @torch.no_grad()
    def apply(self) -> None:
        """Set the pruned weights to zero again, after an optimiser step."""
        weights = [conv.weight for conv, _ in self._layers.values()]
        if weights:
            torch._foreach_mul_(weights, [self._masks[name] for name in self._layers])
        for norm in self._norms:
            norm.bias.mul_(norm.shift_mask)

    @torch.no_grad()
    def sparsity(self) -> dict[str, float]:
        """Fraction of zero weights of each kind, outside the blocks only if there are any, and of prunable shifts."""
        zeros = {"pointwise": 0, "depthwise": 0, "outside": 0, "window": 0}
        total = dict(zeros)
        for conv, kind in self._layers.values():
            zeros[kind] += int((conv.weight == 0).sum())
            total[kind] += conv.weight.numel()
        for kind in ("outside", "window"):
            if not zeros[kind]:
                del zeros[kind]
        if self._norms:
            zeros["shift"] = sum(int((norm.shift_mask == 0).sum()) for norm in self._norms)
            total["shift"] = sum(norm.shift_mask.numel() for norm in self._norms)
        return {kind: zeros[kind] / max(1, total[kind]) for kind in zeros}
