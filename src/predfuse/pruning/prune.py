"""``prune``: masks on the blocks of any PyTorch model, which the user's own training loop then trains around."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from predfuse.errors import InputError
from predfuse.graph.from_torch import LedgerEntry, trace
from predfuse.models.layers import Cnn
from predfuse.predictor.gates import gate_mode
from predfuse.pruning.choose import cubic_sparsity, keep_largest
from predfuse.pruning.masks import ShiftNorm, hold_shifts, hold_zeros, make_permanent, mask_of

STAGES = {"expand": "pointwise", "depthwise": "depthwise", "project": "pointwise"}
"""Which share of :class:`PruneConfig` applies to a convolution of a block."""
UPDATES = 64
"""How often a ramp chooses masks, about: choosing sorts all weights."""
SIZES = (32, 28, 64, 96, 128, 160, 192, 224, 256, 299)
"""Sides of made images (pixels), in the order in which they are tried."""


@dataclass(frozen=True)
class PruneConfig:
    """What :func:`prune_model` removes.

    Attributes:
        pointwise: Share of the weights of every expand and project convolution, 0 to below 1.
        depthwise: Share of the weights of every depthwise convolution, 0 to below 1.
        shifts: Share of the shifts (biases and means of the norms) after expand and depthwise, 0 to 1: fused, every
            shift that is left becomes sums over the depthwise window.
        schedule: Training steps over which the shares grow, along a cubic ramp, one per :meth:`Pruning.step`; 0: all
            at once.
    """

    pointwise: float = 0.8
    depthwise: float = 0.7
    shifts: float = 0.8
    schedule: int = 0

    def __post_init__(self) -> None:
        for name in ("pointwise", "depthwise", "shifts"):
            share = getattr(self, name)
            limit = 1.0 if name == "shifts" else math.nextafter(1.0, 0.0)
            if isinstance(share, bool) or not isinstance(share, int | float) or not 0 <= share <= limit:
                raise InputError(f"prune {name}", f"is {share!r}", "use a share from 0 to below 1")
        if type(self.schedule) is not int or self.schedule < 0:
            raise InputError("prune schedule", f"is {self.schedule!r}", "use a number of steps, 0 for all at once")


@dataclass(eq=False)
class _Norm:
    """Where a stage's shifts are: a norm, the bias of the convolution before it, or that bias alone."""

    norm: ShiftNorm | None
    holder: nn.Module
    bias: str | None

    @torch.no_grad()
    def prune(self, sparsity: float) -> None:
        bias = None if self.bias is None else getattr(self.holder, self.bias)
        if self.norm is None:
            assert bias is not None and self.bias is not None
            _apply(self.holder, self.bias, keep_largest(bias, sparsity))
            return
        norm = self.norm
        assert norm.running_mean is not None and norm.running_var is not None
        before = -norm.running_mean if bias is None else bias - norm.running_mean
        shift = before * (norm.running_var + norm.eps).rsqrt() * (1 if norm.weight is None else norm.weight)
        mask = keep_largest(shift if norm.bias is None else shift + norm.bias, sparsity) * norm.shift_mask
        norm.running_var.add_((norm.shift_mask - mask) * before.square())
        norm.shift_mask.copy_(mask)
        norm.running_mean.mul_(mask)
        if norm.bias is not None:
            norm.bias.mul_(mask)
        if self.bias is not None:
            _apply(self.holder, self.bias, mask)


@torch.no_grad()
def _apply(module: nn.Module, name: str, mask: Tensor) -> None:
    held = hold_zeros(module, name)
    held.mask.copy_(mask)
    module.parametrizations[name].original.mul_(mask)  # type: ignore[union-attr, index]


@dataclass(eq=False)
class Pruning:
    """The masks :func:`prune_model` has put into a model.

    Attributes:
        blocks: Names of the blocks it prunes, as the ledger of a trace names them.
        refused: What is left as it was, with the reason.
        config: Shares and schedule.
        steps: How many of the schedule's steps are done.

    Source: docs/how-to/own_network.md, What prune does.
    """

    blocks: tuple[str, ...]
    refused: dict[str, str]
    config: PruneConfig
    steps: int = 0
    _model: nn.Module = field(default_factory=nn.Module, repr=False)
    _weights: list[tuple[nn.Module, str, str]] = field(default_factory=list, repr=False)
    _norms: list[_Norm] = field(default_factory=list, repr=False)

    def step(self, number: int | None = None) -> None:
        """Count one training step; along a schedule the share of zeros grows. Call it after ``optimizer.step()``.

        Args:
            number: How many steps are done now, where training goes on from a stored state.

        Raises:
            InputError: It is negative.
        """
        if number is not None and number < 0:
            raise InputError("prune step", f"is {number}", "give the number of steps done, 0 or more")
        self.steps = self.steps + 1 if number is None else number
        schedule = self.config.schedule
        due = self.steps % max(1, schedule // UPDATES) == 0 or self.steps == schedule
        if schedule and (number is not None or (self.steps <= schedule and due)):
            self._choose(self.steps / schedule)

    def sparsity(self) -> dict[str, float]:
        """Share of zeros now, 0..1: ``pointwise``, ``depthwise`` and ``shifts``."""
        found: dict[str, list[int]] = {"pointwise": [0, 0], "depthwise": [0, 0], "shifts": [0, 0]}
        for module, name, kind in self._weights:
            weight = getattr(module, name)
            found[kind][0] += int((weight == 0).sum())
            found[kind][1] += weight.numel()
        for norm in self._norms:
            shifted = getattr(norm.holder, norm.bias or "", None) if norm.norm is None else norm.norm.shift_mask
            assert shifted is not None
            found["shifts"][0] += int((shifted == 0).sum())
            found["shifts"][1] += shifted.numel()
        return {kind: zeros / total for kind, (zeros, total) in found.items() if total}

    def finish(self) -> None:
        """Reach the final shares and make the zeros permanent (:func:`finish`)."""
        if self.steps < self.config.schedule:
            self.step(self.config.schedule)
        finish(self._model)

    def _choose(self, progress: float) -> None:
        """Masks of the ramp at ``progress`` 0..1; what is removed stays removed, for it counts as 0."""
        shares = {name: cubic_sparsity(getattr(self.config, name), progress) for name in ("pointwise", "depthwise")}
        for module, name, kind in self._weights:
            _apply(module, name, keep_largest(getattr(module, name), shares[kind]))
        for norm in self._norms:
            norm.prune(cubic_sparsity(self.config.shifts, progress))


def finish(model: nn.Module) -> None:
    """Make the zeros of a pruned model permanent: plain parameters and norms again, with the names they had.

    Call it when training is done; training that goes on afterwards would fill the zeros again. To compile, prepare or
    trace a model it need not be called.

    Source: docs/how-to/own_network.md, What prune does.
    """
    make_permanent(model)


def prune_model(model: nn.Module, images: Tensor | None = None, config: PruneConfig | None = None) -> Pruning:
    """Remove the smallest weights of every expand-depthwise-project block of ``model``, in place, and keep them zero.

    Which convolutions are a block's comes from tracing the model. Every layer is pruned by itself, by magnitude. From
    then on the blocks compute with masked weights, whatever the user's own training loop and its optimiser do:
    parameters stay the objects they were (under the names ``...parametrizations.weight.original``). Batch norms that
    lose shifts normalise those channels by their mean square.

    Args:
        model: Any module from an image batch to one tensor, trained; prepared or not.
        images: Some images as the model takes them, ``[N, C, H, W]``, one is enough. Without, images of a usual size
            are made up.
        config: Shares and schedule.

    Returns:
        The masks: :meth:`Pruning.step` follows a schedule, :meth:`Pruning.finish` makes them permanent.

    Raises:
        InputError: The model has no block, is pruned already, or cannot be traced; no made-up image fits it.

    Source:
        docs/how-to/own_network.md, What prune does.

    Example:
        >>> pruning = predfuse.prune(model, images, predfuse.PruneConfig(schedule=1000))  # doctest: +SKIP
        >>> loss.backward(); optimizer.step(); pruning.step()  # doctest: +SKIP
        >>> pruning.finish()  # doctest: +SKIP
    """
    config = PruneConfig() if config is None else config
    if not isinstance(model, nn.Module):
        raise InputError("model", f"is a {type(model).__name__}", "give a torch.nn.Module")
    if not isinstance(config, PruneConfig):
        raise InputError("config", f"is a {type(config).__name__}", "give a PruneConfig()")
    where = f"model {type(model).__name__}"
    if any(mask_of(module, name) for module in model.modules() for name in getattr(module, "parametrizations", ())):
        raise InputError(where, "is pruned already", "go on with its masks, or end them: predfuse.prune.finish(model)")
    example = _made_up_image(model) if images is None else images[:1]
    with torch.no_grad(), gate_mode(model, "true"):
        traced = trace(model, example, allow_unsupported=True)
    pruning = Pruning((), {}, config, _model=model)
    blocks = []
    own = {f"layers.{name}": name for name, _ in model.bottlenecks()} if isinstance(model, Cnn) else None
    for block in traced.network.bottlenecks():
        entry = traced.ledger[block.name]
        name = block.name if own is None else own.get(block.name, "")
        if not name:
            continue  # two layers of a registered network that are no block of it
        problem = _add_weights(pruning, entry)
        if problem:
            pruning.refused[name] = problem
            continue
        blocks.append(name)
        if config.shifts:
            for stage in ("expand", "depthwise"):
                problem = _add_shifts(pruning, entry, stage)
                if problem:
                    pruning.refused[f"{name} shifts of {stage}"] = problem
    if not blocks:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in pruning.refused.items())
        what = f"has no expand-depthwise-project block that can be pruned ({reasons or 'none is found'})"
        raise InputError(where, what, "see what became of its layers: predfuse trace")
    pruning.blocks = tuple(blocks)
    pruning._choose(0.0 if config.schedule else 1.0)
    return pruning


class Prune:
    """The verb: called, it is :func:`prune_model`; ``prune.finish(model)`` makes the zeros permanent.

    Source: docs/how-to/own_network.md, What prune does.
    """

    finish = staticmethod(finish)
    __call__ = staticmethod(prune_model)


prune = Prune()


def _parameter(model: nn.Module, qualified: str) -> tuple[nn.Module, str]:
    module, _, name = qualified.rpartition(".")
    return model.get_submodule(module), name


def _add_weights(pruning: Pruning, entry: LedgerEntry) -> str:
    """Take a block's convolutions in; returns why not."""
    found = []
    for stage, kind in STAGES.items():
        part = entry.by_role(stage)
        if part is None or not part.parameters:
            return f"its {stage} convolution has no parameter of its own"
        module, name = _parameter(pruning._model, part.parameters[0])
        if torch.nn.utils.parametrize.is_parametrized(module, name):
            return f"{part.parameters[0]} is parametrised already"
        if not isinstance(getattr(module, name, None), nn.Parameter):
            return f"{part.parameters[0]} is no parameter"
        found.append((module, name, kind))
    known = {(id(module), name) for module, name, _ in pruning._weights}
    pruning._weights += [one for one in found if (id(one[0]), one[1]) not in known]  # a layer that blocks share
    return ""


def _add_shifts(pruning: Pruning, entry: LedgerEntry, stage: str) -> str:
    """Take what shifts a stage's pre-activation in; returns why not."""
    part = entry.by_role(stage)
    norms = [part for part in entry.parts if part.role == f"{stage}_norm"]
    assert part is not None
    holder, bias = pruning._model, None
    if len(part.parameters) > 1:
        holder, bias = _parameter(pruning._model, part.parameters[1])
    if len(norms) > 1:
        return "more than one norm follows"
    if not norms:
        others = [other for other in entry.parts if other.role.startswith(f"{stage}_") and other.parameters]
        if others:
            return f"{others[0].layer} is no batch norm"
        if bias is not None:
            pruning._norms.append(_Norm(None, holder, bias))
        return ""
    module = pruning._model.get_submodule(norms[0].module)
    if type(module) not in (nn.BatchNorm2d, ShiftNorm) or not getattr(module, "track_running_stats", False):
        kind = type(module).__name__
        return f"its norm {norms[0].module or 'in the model'} is a {kind}, not a BatchNorm2d with running statistics"
    assert isinstance(module, nn.BatchNorm2d)
    pruning._norms.append(_Norm(hold_shifts(module), holder, bias))
    return ""


def _made_up_image(model: nn.Module) -> Tensor:
    """A random image of the first usual size the model runs on."""
    first = next((module for module in model.modules() if isinstance(module, nn.Conv2d)), None)
    parameter = next(model.parameters(), None)
    if first is None or parameter is None:
        raise InputError(f"model {type(model).__name__}", "has no convolution", "prune a convolutional network")
    tried = copy.deepcopy(model).eval()
    for side in (model.input_shape[1],) if isinstance(model, Cnn) else SIZES:
        image = torch.randn(1, first.in_channels, side, side, generator=torch.Generator().manual_seed(0)).to(parameter)
        try:
            with torch.no_grad(), gate_mode(tried, "true"):
                tried(image)
        except (RuntimeError, ValueError, IndexError):
            continue
        return image
    raise InputError("images", "are missing, and the model runs on none of a usual size", "give one it runs on")
