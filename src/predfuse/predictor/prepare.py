"""``prepare``: predictors in place in any PyTorch model, which the user's own training loop then tunes."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from predfuse import models
from predfuse.errors import InputError
from predfuse.fusion.weights import too_large
from predfuse.graph.from_torch import TraceResult, trace
from predfuse.graph.nodes import Bottleneck, Network
from predfuse.input_checks import require_dense, require_finite
from predfuse.models.layers import BottleneckUnit, Cnn
from predfuse.predictor.block_modules import Site, attach, find_border, find_site, folded_weights, inside_padding
from predfuse.predictor.format import PredictorFormat
from predfuse.predictor.gates import CHILD, Gate, Observation, evaluation, gate_mode, gates_of, observe
from predfuse.predictor.initialise import fit_predictor, insert_predictors
from predfuse.predictor.layerwise import tune
from predfuse.predictor.steps import affordable_steps, images_of_step
from predfuse.predictor.trainable import TrainablePredictor

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class PrepareConfig:
    """What :func:`prepare` puts into a model.

    Attributes:
        bits: Of the predictors' activations, 2 to 8.
        blocks: Names of the blocks to prepare (as the ledger of a trace names them); all if None.
        allow_unsupported: Prepare the blocks of a model that has operations a network cannot hold. It can be trained,
            but not compiled.
        largest_weight: Of the predictors' weights. 1: ternary, as published; 2 or 4: with these powers of two.
        steps: Of tuning, in which every predictor learns the signs of its own block. None: 200, fewer where steps are
            slow (``predfuse.predictor.steps.affordable_steps``), as ``predfuse prepare`` does. 0 leaves it to the
            training that follows.

    Source: docs/how-to/own_network.md, What prepare does.
    """

    bits: int = 4
    blocks: tuple[str, ...] | None = None
    allow_unsupported: bool = False
    largest_weight: int = 1
    steps: int | None = None

    def __post_init__(self) -> None:
        _ = self.format  # checks
        if self.steps is not None and (type(self.steps) is not int or self.steps < 0):
            raise InputError("steps", f"is {self.steps!r}", "use a whole number, 0 or more, or None")
        if isinstance(self.blocks, str) or not (self.blocks is None or all(isinstance(b, str) for b in self.blocks)):
            raise InputError("blocks", f"is {self.blocks!r}", "give a tuple of block names, or None for all")

    @property
    def format(self) -> PredictorFormat:
        """The format of the predictors' numbers."""
        return PredictorFormat(self.bits, largest_weight=self.largest_weight)


@dataclass(frozen=True)
class Preparation:
    """What :func:`prepare` did.

    Attributes:
        blocks: Names of the blocks that have predictors now.
        refused: Why other blocks have none, by name.
        parameters: Trainable parameters of the predictors (they are among the model's).
    """

    blocks: tuple[str, ...]
    refused: dict[str, str] = field(default_factory=dict)
    parameters: int = 0


def prepare(model: nn.Module, config: PrepareConfig, calibration: Tensor) -> Preparation:
    """Give every expand-depthwise-project block of ``model`` a predictor, in place.

    From then on the blocks run with predicted masks, in training and in evaluation. The model's code, its parameters
    and their names stay; the predictors' parameters join them, so make the optimiser afterwards, or add
    :func:`predictor_parameters` to it. To load a saved ``state_dict`` into a new model, prepare that one first.

    Convolutions and batch norms of the blocks must be modules, each used once; activations may be anything. Whatever
    the code does between an activation and the next convolution (dropout, say) is left out.

    Args:
        model: Any module from an image batch to one tensor; trained, for its weights are what the predictors start
            from. A network of ``predfuse.models`` gets the predictors it was built for.
        config: What to put in.
        calibration: Images as the model takes them, ``[N, C, H, W]``, on its device; some dozens.

    Returns:
        Which blocks have predictors now, and why others do not.

    Raises:
        InputError: No block can be prepared, the model already is, a named block does not exist, or (unless allowed)
            the model has operations a network cannot hold.

    Source:
        The predictor: docs/explanation/arithmetic.md; how it is put in: docs/how-to/own_network.md.

    Example:
        >>> done = predfuse.prepare(model, predfuse.PrepareConfig(), images)
        >>> optimizer = torch.optim.Adam(model.parameters())
    """
    where = f"model {type(model).__name__}"
    if not isinstance(config, PrepareConfig):
        raise InputError("config", f"is a {type(config).__name__}", "give a PrepareConfig()")
    _require_images(calibration)
    if gates_of(model) or any(isinstance(module, TrainablePredictor) for module in model.modules()):
        raise InputError(where, "already has predictors", "prepare a fresh model")
    if isinstance(model, Cnn):
        return _prepare_registered(model, config, calibration)
    with torch.no_grad():
        traced = trace(model, calibration[:1], allow_unsupported=config.allow_unsupported)
    chosen = _chosen_blocks(traced, config, where)
    warn_too_large(chosen.values())
    refused: dict[str, str] = {}
    attached: list[tuple[Site, Gate, list[torch.utils.hooks.RemovableHandle]]] = []
    for name, block in chosen.items():
        site = find_site(model, traced.ledger, traced.ledger[name], block)
        if isinstance(site, str):
            refused[name] = site
        else:
            gate = _new_gate(model, site, config.format)
            attached.append((site, gate, attach(model, site, gate)))
    try:
        refused |= _verify(model, attached, calibration[:1].clone())
        _detach(model, [part for part in attached if part[0].block.name in refused])
        attached = [part for part in attached if part[0].block.name not in refused]
        sites = {gate: site for site, gate, _ in attached}
        blocks = [site.block for site in sites.values()]
        steps = affordable_steps(traced.network, blocks) if config.steps is None else config.steps
        if not sites:
            reasons = "; ".join(f"{name}: {reason}" for name, reason in refused.items())
            raise InputError(where, f"has no block that can be prepared ({reasons})", "make their layers modules")
        generator = torch.Generator().manual_seed(0)
        observe(model, calibration.clone(), lambda gate, seen: _fit(gate, sites[gate].block, seen, steps, generator))
    except BaseException:
        _detach(model, attached)  # the model is left as it was
        raise
    for gate in sites:
        gate.mode = "predicted"
    count = sum(parameter.numel() for gate in sites for parameter in gate.parameters())
    return Preparation(tuple(gate.block for gate in sites), refused, count)


def _require_images(calibration: Tensor) -> None:
    """Refuse calibration images that are no finite floats, before anything is put into the model."""
    if not isinstance(calibration, Tensor) or calibration.ndim != 4 or not len(calibration):
        what = f"are a {type(calibration).__name__}" if not isinstance(calibration, Tensor) else "have no N x C x H x W"
        raise InputError("calibration images", what, "give a tensor of some dozens of images, N x C x H x W")
    require_dense(calibration, "calibration images")
    require_finite(calibration.detach().cpu().double().numpy(), "calibration images")


def _detach(model: nn.Module, attached: list[tuple[Site, Gate, list[torch.utils.hooks.RemovableHandle]]]) -> None:
    """Take gates and their hooks out again."""
    for site, _, handles in attached:
        for handle in handles:
            handle.remove()
        model.get_submodule(site.expand)._modules.pop(CHILD, None)


def warn_too_large(blocks: Iterable[Bottleneck]) -> None:
    """Log every block that cannot be compiled as it is, before anybody trains it.

    Source: predfuse.fusion.weights.too_large.
    """
    for block in blocks:
        problem = too_large(block)
        if problem:
            log.warning("block %s %s: prune it (predfuse prune), or leave it out", block.name, problem)


def predictor_parameters(model: nn.Module) -> list[nn.Parameter]:
    """The trainable parameters of a prepared model's predictors, for an optimiser or a learning rate of their own.

    Args:
        model: A model after :func:`prepare`, or a registered network with predictors; of any other the list is empty.

    Raises:
        AttributeError: ``model`` is no module.

    Source:
        docs/how-to/own_network.md, What prepare does.

    Example:
        >>> optimizer = torch.optim.Adam(predfuse.predictor_parameters(prepared), 0.02)
    """
    predictors = [module for module in model.modules() if isinstance(module, TrainablePredictor)]
    return [parameter for predictor in predictors for parameter in predictor.parameters()]


def to_network(
    model: nn.Module,
    example: Tensor,
    *,
    name: str | None = None,
    mean: tuple[float, ...] = (),
    std: tuple[float, ...] = (),
    labels: tuple[str, ...] = (),
    metadata: dict[str, Any] | None = None,
) -> Network:
    """The network of a model, prepared or not, with the integer predictors of its blocks.

    Args:
        model: The model; it is left as it was.
        example: Images as the model takes them, ``[N, C, H, W]``; the network is proven equal to the model under the
            true masks on them.
        name: Name of the network; the module's class by default.
        mean: Per-channel mean that was subtracted from images scaled to 0..1.
        std: Per-channel divisor after that.
        labels: Class names.
        metadata: Further JSON-able facts.

    Raises:
        InputError: The model has operations a network cannot hold, or the facts do not fit it.

    Source:
        docs/explanation/arithmetic.md, Predictor.

    Example:
        >>> [block.predictor is not None for block in predfuse.to_network(prepared, images).bottlenecks()]
        [True]
    """
    if isinstance(model, Cnn):
        return models.to_network(model, name, mean, std, labels, metadata)
    with torch.no_grad(), gate_mode(model, "true"):
        traced = trace(model, example, name=name)
    network = traced.network.with_blocks(lambda block: _with_predictor(model, traced, block))
    return dataclasses.replace(network, mean=mean, std=std, labels=labels, metadata=dict(metadata or {}))


def _prepare_registered(model: Cnn, config: PrepareConfig, calibration: Tensor) -> Preparation:
    if config.blocks is not None:
        raise InputError("blocks", "cannot be chosen for a registered network", "leave the option out")
    insert_predictors(model, calibration, config.format)
    if config.steps != 0:
        _tune_registered(model, calibration, config.steps)
    count = sum(parameter.numel() for parameter in predictor_parameters(model))
    return Preparation(tuple(name for name, _ in model.bottlenecks()), {}, count)


@torch.no_grad()
def _tune_registered(model: Cnn, images: Tensor, chosen: int | None) -> None:
    network = models.to_network(model)
    steps = affordable_steps(network, network.bottlenecks()) if chosen is None else chosen
    generator = torch.Generator().manual_seed(0)

    def call(layer: nn.Module, *inputs: Tensor) -> Tensor:
        if not isinstance(layer, BottleneckUnit) or layer.predictor is None:
            result: Tensor = layer(*inputs)
            return result
        (x,), (a, d) = inputs, layer.pre_activations(*inputs)
        _tune(layer.predictor, (x, a, d), steps, generator)
        return layer.under_true_masks(x, d)  # the next blocks see the true masks

    with evaluation(model):
        model.through(images, call)


def _chosen_blocks(traced: TraceResult, config: PrepareConfig, where: str) -> dict[str, Bottleneck]:
    found = {block.name: block for block in traced.network.bottlenecks()}
    if not found:
        reasons = {entry.reason for entry in traced.ledger if "block" in entry.reason}
        what = "has no expand-depthwise-project block" + (f" ({'; '.join(sorted(reasons))})" if reasons else "")
        raise InputError(where, what, "see its ledger: predfuse analyze")
    if config.blocks is None:
        return found
    unknown = [name for name in config.blocks if name not in found]
    if unknown:
        raise InputError(where, f"has no block {unknown[0]!r}", f"use some of {', '.join(found)}")
    return {name: found[name] for name in config.blocks}


def _new_gate(model: nn.Module, site: Site, format: PredictorFormat) -> Gate:
    block = site.block
    predictor = TrainablePredictor(
        block.middle_channels, block.group_channels, block.kernel, block.stride, block.groups, format, block.padding
    )
    like = next(model.get_submodule(site.expand).parameters())
    gate = Gate(block.name, predictor, (0, 0, 0, 0), (block.expand_activation, block.depthwise_activation))
    return gate.to(like)


def _verify(
    model: nn.Module, attached: list[tuple[Site, Gate, list[torch.utils.hooks.RemovableHandle]]], image: Tensor
) -> dict[str, str]:
    """Compare what the hooks see with the traced blocks; returns what does not fit, by block."""
    problems = {gate: "its layers do not run in the traced order" for _, gate, _ in attached}
    sites = {gate: site for site, gate, _ in attached}

    def check(gate: Gate, seen: Observation) -> None:
        site = sites[gate]
        border = find_border(site.block, seen, inside_padding(model.get_submodule(site.depthwise)))
        if isinstance(border, str):
            problems[gate] = border
        else:
            problems.pop(gate, None)
            gate.border = border

    observe(model, image, check)
    return {gate.block: problem for gate, problem in problems.items()}


def _fit(gate: Gate, block: Bottleneck, seen: Observation, steps: int, generator: torch.Generator) -> None:
    fit_predictor(gate.predictor, *folded_weights(block, seen.x), seen.x, seen.a, seen.d)
    _tune(gate.predictor, (seen.x, seen.a, seen.d), steps, generator)


def _tune(
    predictor: TrainablePredictor, kept: tuple[Tensor, Tensor, Tensor], steps: int, generator: torch.Generator
) -> None:
    x, a, d = kept
    tune(
        predictor,
        lambda at: (x[at], a[at], d[at]),
        len(x),
        steps,
        batch_size=images_of_step(a[0].numel()),
        generator=generator,
    )


def _with_predictor(model: nn.Module, traced: TraceResult, block: Bottleneck) -> Bottleneck:
    """A block with the integer predictor of its gate, if it has one."""
    expand = traced.ledger[block.name].by_role("expand")
    gate = getattr(model.get_submodule(expand.module), CHILD, None) if expand is not None else None
    return dataclasses.replace(block, predictor=gate.predictor.to_integers()) if isinstance(gate, Gate) else block
