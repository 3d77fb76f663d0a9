"""Masks inside a user's own modules, as torch parametrisations: what they remove stays zero in any training loop.

A masked parameter is ``original * mask`` wherever the module reads it. The original is the very parameter the module
had, so that an optimiser made before goes on with it; gradients of removed weights are zero, and what momentum still
does to their originals shows nowhere. ``state_dict`` holds originals and masks, ``copy.deepcopy`` copies both.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize


class Mask(nn.Module):
    """The parametrisation: the parameter times ``mask`` (0 or 1, of its shape)."""

    mask: Tensor

    def __init__(self, like: Tensor) -> None:
        super().__init__()
        self.register_buffer("mask", torch.ones_like(like))

    def forward(self, original: Tensor) -> Tensor:
        return original * self.mask


class ShiftNorm(nn.BatchNorm2d):
    """Batch norm of ``[N, C, H, W]`` that only scales the channels whose ``shift_mask`` is 0.

    Those are normalised by their mean square, in training that of the batch: their mean and bias count as 0. A batch
    norm becomes one by :func:`hold_shifts`, which changes its class in place.
    """

    shift_mask: Tensor

    def forward(self, x: Tensor) -> Tensor:
        assert self.running_mean is not None and self.running_var is not None
        bias = None if self.bias is None else self.bias * self.shift_mask
        if not self.training:
            mean, var = self.running_mean * self.shift_mask, self.running_var
            return nn.functional.batch_norm(x, mean, var, self.weight, bias, eps=self.eps)
        var, mean = torch.var_mean(x, (0, 2, 3), correction=0)
        var, mean = var + (1 - self.shift_mask) * mean.square(), mean * self.shift_mask
        with torch.no_grad():
            assert self.num_batches_tracked is not None
            self.num_batches_tracked.add_(1)
            part = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
            values = x.numel() / len(mean)
            unbiased = var * (values / (values - self.shift_mask).clamp(min=1))
            self.running_mean.lerp_(mean.to(self.running_mean), part)
            self.running_var.lerp_(unbiased.to(self.running_var), part)
        scale = (var + self.eps).rsqrt()
        scale = scale if self.weight is None else scale * self.weight
        shift = -mean * scale if bias is None else bias - mean * scale
        return x * scale.view(1, -1, 1, 1) + shift.view(1, -1, 1, 1)


def mask_of(module: nn.Module, name: str) -> Mask | None:
    """The mask on a parameter; None if it has none."""
    if not parametrize.is_parametrized(module, name):
        return None
    held: Any = module.parametrizations
    return next((part for part in held[name] if isinstance(part, Mask)), None)


def hold_zeros(module: nn.Module, name: str) -> Mask:
    """The mask on a parameter, put there if need be; a plain ``state_dict`` can still be loaded."""
    found = mask_of(module, name)
    if found is None:
        found = Mask(getattr(module, name))
        parametrize.register_parametrization(module, name, found)
        module.register_load_state_dict_pre_hook(_load_plain)
    return found


def _load_plain(module: nn.Module, state: dict[str, Tensor], prefix: str, *_: object) -> None:
    """Names of a masked module for a state dictionary of one without masks; the masks stay."""
    for name in list(getattr(module, "parametrizations", ())):
        mask = mask_of(module, name)
        if mask is not None and prefix + name in state:
            state[f"{prefix}parametrizations.{name}.original"] = state.pop(prefix + name)
            state[f"{prefix}parametrizations.{name}.0.mask"] = mask.mask


def hold_shifts(norm: nn.BatchNorm2d) -> ShiftNorm:
    """Make a batch norm one that can be without shifts, in place; it computes the same at first."""
    if not isinstance(norm, ShiftNorm):
        assert norm.running_var is not None
        norm.register_buffer("shift_mask", torch.ones_like(norm.running_var))
        _become(norm, ShiftNorm)
        norm.register_load_state_dict_pre_hook(_load_plain_norm)
    assert isinstance(norm, ShiftNorm)
    return norm


def _load_plain_norm(module: nn.Module, state: dict[str, Tensor], prefix: str, *_: object) -> None:
    if isinstance(module, ShiftNorm):
        state.setdefault(f"{prefix}shift_mask", module.shift_mask)


@torch.no_grad()
def make_permanent(model: nn.Module) -> None:
    """Take all masks out: zeros become plain zeros of plain parameters, norms plain batch norms. No masks: no change.

    Other parametrisations a user has put in stay, and so do the masks of a model this one is a copy of.
    """
    for module in list(model.modules()):
        for name in list(getattr(module, "parametrizations", ())):
            if mask_of(module, name) is not None:
                _release(module, name)
        if isinstance(module, ShiftNorm):
            assert module.running_mean is not None
            module.running_mean.mul_(module.shift_mask)
            if module.bias is not None:
                module.bias.mul_(module.shift_mask)
            del module.shift_mask
            _become(module, nn.BatchNorm2d)


def _become(module: nn.Module, kind: type[nn.Module]) -> None:
    module.__class__ = kind


def _release(module: nn.Module, name: str) -> None:
    """Make a masked parameter a plain one.

    ``parametrize.remove_parametrizations`` would take the property from the class, which copies of a module share.
    """
    held: Any = module.parametrizations
    original, kind = held[name].original, type(module)
    original.copy_(getattr(module, name))
    del held[name]
    if held:
        kept = {key: value for key, value in vars(kind).items() if key not in (name, "__dict__", "__weakref__")}
        _become(module, type(kind.__name__, kind.__bases__, kept))
    else:
        del module.parametrizations
        _become(module, kind.__bases__[0])
    others = dict(module._parameters)
    if name == "weight":  # where it was: first
        module._parameters.clear()
    module.register_parameter(name, original)
    module._parameters.update(others)
