"""Where a traced block's layers are in the user's module, and whether hooks can reach them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from predfuse.graph.from_torch import Ledger, LedgerEntry, Part
from predfuse.graph.nodes import Activation, Bottleneck, Padding
from predfuse.predictor.gates import CHILD, Gate, Observation

Stage = Literal["expand", "depthwise"]
TOLERANCE = 1e-3
"""Largest difference, relative to the largest value, between what hooks see and what the traced block computes."""


@dataclass(frozen=True)
class Tap:
    """Where a pre-activation can be read.

    Attributes:
        module: Qualified name of the module.
        before: Whether it is that module's input (an activation), not its output.
    """

    module: str
    before: bool


@dataclass(frozen=True, eq=False)
class Site:
    """The modules of one block.

    Attributes:
        block: The traced block.
        expand: Qualified name of the module that runs the expand convolution.
        expanded: Where its pre-activation is.
        depthwise: Qualified name of the module that runs the depthwise convolution.
        filtered: Where its pre-activation is.
        project: Qualified name of the module that runs the project convolution.
    """

    block: Bottleneck
    expand: str
    expanded: Tap
    depthwise: str
    filtered: Tap
    project: str


def find_site(model: nn.Module, ledger: Ledger, entry: LedgerEntry, block: Bottleneck) -> Site | str:
    """The modules of a fused entry of the ledger, or why hooks cannot reach them."""
    inside = [part for other in ledger for part in other.parts]
    modules = {}
    for stage in ("expand", "depthwise", "project"):
        part = entry.by_role(stage)
        assert part is not None, f"a block without {stage}"
        own = _stage_parts(entry, stage)
        if isinstance(model.get_submodule(part.module), nn.Conv2d) and _runs_again(model, inside, part.module):
            return f"its layer {part.module} runs more than once"
        if not _only(inside, part.module, own):
            return f"its {stage} convolution is a function call in {part.module or 'the model'}, not a module"
        if _runs_again(model, inside, part.module):
            return f"its layer {part.module} runs more than once"
        modules[stage] = part.module
    taps = []
    stages: tuple[Stage, ...] = ("expand", "depthwise")
    for stage in stages:
        tap = _tap(model, inside, entry, stage)
        if isinstance(tap, str):
            return tap
        taps.append(tap)
    if hasattr(model.get_submodule(modules["expand"]), CHILD):
        return f"its layer {modules['expand']} already has a {CHILD!r}"
    return Site(block, modules["expand"], taps[0], modules["depthwise"], taps[1], modules["project"])


def _stage_parts(entry: LedgerEntry, stage: str) -> list[Part]:
    return [part for part in entry.parts if part.role == stage or part.role.startswith(f"{stage}_")]


def _under(parts: Iterable[Part], module: str) -> list[Part]:
    """The operations a module runs, itself or in its children."""
    return [part for part in parts if not module or part.module == module or part.module.startswith(f"{module}.")]


def _only(parts: Iterable[Part], module: str, own: list[Part]) -> bool:
    """Whether a module runs nothing but these operations."""
    nodes = {part.graph_node for part in own}
    return all(part.graph_node in nodes for part in _under(parts, module))


def _runs_again(model: nn.Module, parts: Iterable[Part], module: str) -> bool:
    """Whether a module is called more than once, perhaps under another name."""
    own = model.get_submodule(module)
    return len({(part.module, part.call) for part in parts if model.get_submodule(part.module) is own}) > 1


def _tap(model: nn.Module, parts: list[Part], entry: LedgerEntry, stage: Stage) -> Tap | str:
    """Where a stage's pre-activation can be read: after its last linear module or before its activation module."""
    activation = entry.by_role(f"{stage}_activation")
    linear = [part for part in _stage_parts(entry, stage) if not part.role.endswith("_activation")]
    last = linear[-1]
    if _runs_again(model, parts, last.module):
        return f"its layer {last.module} runs more than once"
    if _only(parts, last.module, linear):
        return Tap(last.module, before=False)
    where = last.module or "the model"
    if activation is None or not activation.module.startswith(f"{last.module}."):
        return f"its {last.role.replace('_', ' ')} is a function call in {where}, not a module"
    if not _only(parts, activation.module, [activation]) or _runs_again(model, parts, activation.module):
        return f"its activation {activation.module} also runs elsewhere"
    return Tap(activation.module, before=True)


def attach(model: nn.Module, site: Site, gate: Gate) -> list[torch.utils.hooks.RemovableHandle]:
    """Put a gate into the model; the handles take its hooks out again."""
    expand = model.get_submodule(site.expand)
    expand.add_module(CHILD, gate)
    handles = [expand.register_forward_pre_hook(gate.read_input)]
    expanded, filtered = (model.get_submodule(tap.module) for tap in (site.expanded, site.filtered))
    if site.expanded.before:
        handles.append(expanded.register_forward_pre_hook(gate.read_expanded_before))
    else:
        handles.append(expanded.register_forward_hook(gate.read_expanded))
    handles.append(model.get_submodule(site.depthwise).register_forward_pre_hook(gate.write_hidden))
    if site.filtered.before:
        handles.append(filtered.register_forward_pre_hook(gate.read_filtered_before))
    else:
        handles.append(filtered.register_forward_hook(gate.read_filtered))
    handles.append(model.get_submodule(site.project).register_forward_pre_hook(gate.write_filtered))
    return handles


def activate(x: Tensor, activation: Activation) -> Tensor:
    """The activation function."""
    if activation == "linear":
        return x
    return x.clamp(min=0) if activation == "relu" else x.clamp(0, 6)


def folded_weights(block: Bottleneck, like: Tensor) -> tuple[Tensor, Tensor]:
    """Expand ``[M, C/groups, 1, 1]`` and depthwise ``[M, 1, k, k]`` weights, batch norms folded."""
    expand = torch.from_numpy(block.expand_weight[:, :, None, None]).to(like)
    return expand, torch.from_numpy(block.depthwise_weight[:, None]).to(like)


def find_border(block: Bottleneck, seen: Observation, inside: Padding) -> Padding | str:
    """Check that hooks see what the traced block computes.

    Args:
        block: The traced block.
        seen: What the hooks saw.
        inside: Padding the depthwise convolution adds itself.

    Returns:
        The border other modules add before the depthwise convolution, or what does not fit.
    """
    expand, depthwise = folded_weights(block, seen.x)
    biases = [torch.from_numpy(bias).to(seen.x) for bias in (block.expand_bias, block.depthwise_bias)]
    a = nn.functional.conv2d(seen.x, expand, biases[0], groups=block.groups)
    hidden = activate(a, block.expand_activation)
    filtered = nn.functional.conv2d(_pad(hidden, block.padding), depthwise, biases[1], block.stride, groups=len(a[0]))
    outside = [total - own for total, own in zip(block.padding, inside, strict=True)]
    borders: list[Padding] = [(0, 0, 0, 0), (outside[0], outside[1], outside[2], outside[3]), block.padding]
    border = next((edges for edges in borders if min(edges) >= 0 and _close(_pad(hidden, edges), seen.h)), None)
    u = activate(seen.d, block.depthwise_activation)
    for fits, what in (
        (_close(a, seen.a), "its first pre-activation is changed before the activation"),
        (border is not None, "its depthwise convolution does not read what its activation gives"),
        (_close(filtered, seen.d), "its second pre-activation is changed before the activation"),
        (_close(u, seen.u), "its project convolution does not read what its activation gives"),
    ):
        if not fits:
            return what
    assert border is not None
    return border


def _pad(x: Tensor, padding: Padding) -> Tensor:
    top, bottom, left, right = padding
    return nn.functional.pad(x, (left, right, top, bottom))


def _close(wanted: Tensor, got: Tensor) -> bool:
    if wanted.shape != got.shape:
        return False
    return bool((wanted - got).abs().max() <= TOLERANCE * wanted.abs().max().clamp(min=1e-6))


def inside_padding(module: nn.Module) -> Padding:
    """Padding an ordinary convolution adds itself, ``(top, bottom, left, right)``; zeros for any other module."""
    padding = getattr(module, "padding", 0)
    if not isinstance(module, nn.Conv2d) or not isinstance(padding, tuple):
        return (0, 0, 0, 0)
    rows, columns = padding
    return (rows, rows, columns, columns)
