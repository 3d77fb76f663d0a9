"""Tracing: an unmodified PyTorch module and an example go in, a verified network and a ledger of every node come out.

result = trace(model, torch.randn(1, 3, 224, 224))
result.network, result.ledger
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from predfuse.errors import InputError
from predfuse.graph.from_torch.behaviour import (
    JOINT_IMAGES,
    distinct_images,
    private_copy,
    require_separate_images,
    require_stateless,
)
from predfuse.graph.from_torch.blocks import find_blocks
from predfuse.graph.from_torch.capture import capture
from predfuse.graph.from_torch.graph_builder import Draft
from predfuse.graph.from_torch.ledger import Ledger, LedgerEntry, Part, Status, UnsupportedError
from predfuse.graph.from_torch.lower import lower
from predfuse.graph.from_torch.merge import merge
from predfuse.graph.from_torch.verify import Verification, as_array, verify
from predfuse.graph.nodes import Add, Bottleneck, Conv, Network, Pool, Unsupported
from predfuse.input_checks import require_dense

TOLERANCE = 1e-4
"""Largest relative difference between the outputs of the network (float64) and the module (usually float32)."""


@dataclass(frozen=True, eq=False)
class TraceResult:
    """What tracing gives.

    Attributes:
        network: The network, proven equal to the module on the example.
        ledger: What every node stands for, and why it is or is not fused.
        verification: How far the network is from the module.
    """

    network: Network
    ledger: Ledger
    verification: Verification


def trace(
    module: nn.Module,
    example_input: Tensor,
    *,
    allow_unsupported: bool = False,
    name: str | None = None,
    tolerance: float = TOLERANCE,
) -> TraceResult:
    """Turn a module, in its evaluation form, into a network; module and example are left as they were.

    Args:
        module: Any module from one image batch to one tensor. Layers may be modules or functional calls.
        example_input: ``[N, C, H, W]`` floating; the network is specialised to ``(C, H, W)`` and verified on all N.
        allow_unsupported: Keep operations the network cannot express as :class:`predfuse.graph.base.Unsupported`
            nodes, which are listed in the ledger and cannot be run, instead of raising.
        name: Name of the network; the module's class by default.
        tolerance: Largest relative difference between the outputs of network and module.

    Raises:
        UnsupportedError: Some operations cannot be expressed; lists all of them.
        InputError: The example has a wrong shape or type, the module does not run on it or cannot be exported, its
            images interact, or it changes from call to call.
        PredfuseError: The network does not give what the module gives.

    Source: docs/how-to/tracing.md, What is understood.
    """
    if not isinstance(module, nn.Module):
        what = f"is a {type(module).__name__}, not a torch.nn.Module"
        raise InputError("model", what, "give a module; wrap a function in one whose forward calls it")
    _check_example(example_input)
    original = getattr(module, "_orig_mod", module)  # torch.compile wraps the module it would compile first
    module = private_copy(original)
    model = name or type(module).__name__
    images = distinct_images(example_input, JOINT_IMAGES)
    try:
        captured = capture(module, example_input[:1])
    except InputError as error:
        if "cannot be exported" in str(error):  # what changes weights, for one: say that first
            require_stateless(private_copy(original), images)
        raise
    drafts, output = find_blocks(*merge(*lower(captured)))
    ledger = Ledger(tuple(_entry(draft) for draft in drafts))
    if ledger.unsupported and not allow_unsupported:
        raise UnsupportedError(model, ledger.unsupported)
    shape = example_input.shape
    network = Network(model, (int(shape[1]), int(shape[2]), int(shape[3])), tuple(draft.node for draft in drafts))
    assert network.output == output
    recorded = {draft.name: as_array(captured.tensor(draft.origin)) for draft in drafts if draft.origin}
    if not ledger.unsupported:
        require_stateless(module, images)
    verification = verify(network, module, example_input, recorded, tolerance)
    if not ledger.unsupported:
        require_separate_images(module, images, tolerance)
    return TraceResult(network, ledger, verification)


def _check_example(example: Tensor) -> None:
    shape = "x".join(map(str, getattr(example, "shape", ())))
    if not isinstance(example, Tensor) or example.ndim != 4 or math.prod(example.shape) == 0:
        raise InputError("example input", f"has shape {shape or 'none'}", "give images as a tensor of N x C x H x W")
    require_dense(example, "example images")
    if not example.dtype.is_floating_point or not bool(torch.isfinite(example).all()):
        raise InputError("example input", "holds no finite floating-point values", "give normalised images")


def _entry(draft: Draft) -> LedgerEntry:
    node = draft.node
    status: Status = "plain"
    kind = type(node).__name__.lower()
    if isinstance(node, Unsupported):
        status, kind = "unsupported", node.operation
    elif isinstance(node, Bottleneck):
        status = "fused"
    elif isinstance(node, Add) and len(node.inputs) == 1:
        kind = "activation"
    elif isinstance(node, Conv) and draft.affine:
        kind = "scale"
    elif isinstance(node, Conv) and node.groups > 1:
        kind = "depthwise conv" if node.groups == node.in_channels else "grouped conv"
    elif isinstance(node, Pool) and not node.kernel:
        kind = "global pool"
    source = next((part.source for part in draft.parts if part.source), "")
    return LedgerEntry(node.name, kind, status, draft.reason, source, draft.parts)


__all__ = [
    "Ledger",
    "LedgerEntry",
    "Part",
    "TraceResult",
    "UnsupportedError",
    "Verification",
    "trace",
]
