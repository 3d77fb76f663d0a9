"""Running whole networks: ordinary, with predicted masks, or fused, and counting what that took.

    run_network(network, images, "fused").logits

Images run one at a time (feature maps then stay in the cache); sums over channels use BLAS, windows and lists numba.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial, reduce
from typing import Any

import numpy as np

from predfuse.arrays import FloatArray, Int8Array
from predfuse.errors import InputError
from predfuse.fusion import layers
from predfuse.fusion.convolution import finish_block, fused_convolution, fused_convolution_unstored
from predfuse.fusion.masks import OFF, apply_mask, predict_masks, true_mask
from predfuse.fusion.measure import measure_block, nonzero_multiplications
from predfuse.fusion.results import MODES, BlockStatistics, Execution, ExecutionResult, Mode, StageStatistics
from predfuse.fusion.weights import EntryCounts, FusedWeights, entry_counts, fuse
from predfuse.graph.nodes import (
    INPUT,
    Add,
    Bottleneck,
    Concat,
    Conv,
    Linear,
    Network,
    Node,
    Pool,
    Shuffle,
    Unsupported,
)
from predfuse.input_checks import require_finite

STORED_ENTRIES = 4_000_000
"""Blocks with more fused weights than this are fused without storing them (slower, and little memory)."""


@dataclass(frozen=True, eq=False)
class Plan:
    """A network made ready to run in one mode: arrays in one floating type, fused weights made.

    Attributes:
        network: The network with its arrays cast.
        mode: How its blocks run.
        dtype: Floating type of all arithmetic outside the predictors.
        executions: How every node runs, by name.
        fused: Fused weights of the blocks that store them, by name.
        entries: Sizes of the lists of every block, by name.
    """

    network: Network
    mode: Mode
    dtype: type[np.float32] | type[np.float64]
    executions: dict[str, Execution]
    fused: dict[str, FusedWeights]
    entries: dict[str, EntryCounts]


def plan_network(network: Network, mode: Mode, dtype: type[np.float32] | type[np.float64] = np.float64) -> Plan:
    """Prepare a network for :func:`run_plan`; do it once where several batches run.

    Blocks without a predictor run plain in the modes ``predicted`` and ``fused``; ``executions`` says so.

    Raises:
        InputError: Unknown mode, unsupported nodes, or integer weights (a compiled program runs those).

    Source: docs/explanation/arithmetic.md, Fusion.
    """
    if mode not in MODES:
        raise InputError("mode", f"is {mode!r}", f"use one of {', '.join(MODES)}")
    nodes = tuple(_cast(node, dtype) for node in network.nodes)
    executions: dict[str, Execution] = {}
    fused: dict[str, FusedWeights] = {}
    entries: dict[str, EntryCounts] = {}
    for node in nodes:
        executions[node.name] = "plain"
        if isinstance(node, Bottleneck):
            entries[node.name] = entry_counts(node)
            if mode == "fused_true" or (mode == "fused" and node.predictor is not None):
                executions[node.name] = "fused"
                if entries[node.name].weights.sum() <= STORED_ENTRIES:
                    fused[node.name] = fuse(node).astype(dtype)
            elif mode == "predicted" and node.predictor is not None:
                executions[node.name] = "predicted"
    return Plan(dataclasses.replace(network, nodes=nodes), mode, dtype, executions, fused, entries)


def _cast(node: Node, dtype: type[np.float32] | type[np.float64]) -> Node:
    if isinstance(node, Unsupported):
        what = f"cannot be run ({node.operation}: {node.reason})"
        raise InputError(f"layer {node.name}", what, "replace it by a supported layer")
    cast: dict[str, Any] = {}
    for field in dataclasses.fields(node):
        array = getattr(node, field.name)
        if isinstance(array, np.ndarray):
            if array.dtype.kind != "f":
                raise InputError(f"layer {node.name}", "has integer weights", "run it as a compiled program")
            cast[field.name] = np.ascontiguousarray(array, dtype)
    return dataclasses.replace(node, **cast)


def run_network(
    network: Network,
    images: FloatArray,
    mode: Mode = "true",
    *,
    dtype: type[np.float32] | type[np.float64] = np.float64,
    statistics: bool = True,
    keep: Collection[str] = (),
    progress: Callable[[int], None] | None = None,
    workers: int = 1,
) -> ExecutionResult:
    """Run a network on normalised images.

    Args:
        network: The network, floating weights.
        images: ``[N, C, H, W]``, normalised (see ``Network.mean``).
        mode: How the blocks run.
        dtype: Floating type of the arithmetic. Predictors round down to a grid, so a block input that differs in the
            last bit can, rarely, flip a mask: in float64 fused and unfused outputs agree far beyond float32's own
            precision.
        statistics: Count survivors, prediction errors and operations (costs about one more ordinary execution).
        keep: Names of nodes whose outputs, and masks if they are bottlenecks, the result holds.
        progress: Called with 1 after every image.
        workers: Threads that run images side by side; the result does not depend on it.

    Raises:
        InputError: Images of the wrong shape or with NaN, an unknown mode or node name, integer weights.

    Source: docs/explanation/arithmetic.md, The block.
    """
    plan = plan_network(network, mode, dtype)
    return run_plan(plan, images, statistics=statistics, keep=keep, progress=progress, workers=workers)


def run_plan(
    plan: Plan,
    images: FloatArray,
    *,
    statistics: bool = True,
    keep: Collection[str] = (),
    progress: Callable[[int], None] | None = None,
    workers: int = 1,
) -> ExecutionResult:
    """Run a prepared network on images ``[N, C, H, W]`` by ``workers`` threads; arguments as of :func:`run_network`.

    Raises:
        InputError: Images of the wrong shape or with NaN, or an unknown node name.

    Source: docs/explanation/arithmetic.md, Fusion.
    """
    network = plan.network
    require_images(network, images)
    unknown = sorted(set(keep) - plan.executions.keys())
    if unknown:
        raise InputError("keep", f"network {network.name} has no layer {unknown[0]!r}", "name one of its layers")
    records = []
    with ThreadPoolExecutor(max(workers, 1)) as pool:
        run = partial(_run_image, plan, statistics=statistics, keep=keep)
        for record in pool.map(run, images):
            records.append(record)
            if progress is not None:
                progress(1)
    blocks = list(network.bottlenecks()) if statistics else []
    plain = [node for node in network.nodes if isinstance(node, Conv | Linear)] if statistics else []
    return ExecutionResult(
        network=network.name,
        mode=plan.mode,
        logits=np.stack([record.logits for record in records]),
        executions=dict(plan.executions),
        blocks=tuple(_block_statistics(plan, node.name, records) for node in blocks),
        nonzero_multiplications={
            node.name: np.array([record.nonzero_multiplications[node.name] for record in records]) for node in plain
        },
        outputs={name: np.stack([record.outputs[name] for record in records]) for name in keep},
        masks={
            node.name: (
                np.stack([record.masks[node.name][0] for record in records]),
                np.stack([record.masks[node.name][1] for record in records]),
            )
            for node in network.bottlenecks()
            if node.name in keep
        },
    )


def require_images(network: Network, images: FloatArray) -> None:
    """Check that a network can take images ``[N, C, H, W]``.

    Raises:
        InputError: They have another shape or type, or hold NaN.

    Source: predfuse.graph.nodes.Network, its ``input_shape``.
    """
    if images.ndim != 4 or images.shape[1:] != tuple(network.input_shape) or images.shape[0] == 0:
        what = f"have shape {'x'.join(map(str, images.shape))}, network {network.name} expects N x "
        raise InputError("images", what + " x ".join(map(str, network.input_shape)), "resize or choose other images")
    if images.dtype.kind != "f":
        raise InputError("images", f"have type {images.dtype}", "scale them to 0..1 and normalise them first")
    require_finite(images)


@dataclass(frozen=True, eq=False)
class _BlockRecord:
    """Statistics of one block for one image."""

    expand: StageStatistics
    depthwise: StageStatistics
    additions: int
    bias_additions: int
    nonzero_multiplications: tuple[int, int, int]


@dataclass(eq=False)
class _ImageRecord:
    """What one image left behind; filled while it runs."""

    logits: FloatArray
    blocks: dict[str, _BlockRecord] = dataclasses.field(default_factory=dict)
    nonzero_multiplications: dict[str, int] = dataclasses.field(default_factory=dict)
    outputs: dict[str, FloatArray] = dataclasses.field(default_factory=dict)
    masks: dict[str, tuple[Int8Array, Int8Array]] = dataclasses.field(default_factory=dict)


def _run_image(plan: Plan, image: FloatArray, *, statistics: bool, keep: Collection[str]) -> _ImageRecord:
    values: dict[str, FloatArray] = {INPUT: image.astype(plan.dtype)}
    pending = Counter(source for node in plan.network.nodes for source in node.inputs)
    record = _ImageRecord(np.empty(0))
    for node in plan.network.nodes:
        inputs = [values[source] for source in node.inputs]
        if isinstance(node, Bottleneck):
            out, masks = _run_block(plan, node, inputs[0], statistics or node.name in keep)
            if statistics:
                record.blocks[node.name] = _measure(plan, node, inputs[0], *masks)
            if node.name in keep:
                record.masks[node.name] = masks
        else:
            out = run_plain(node, inputs)
            if statistics and isinstance(node, Conv | Linear):
                record.nonzero_multiplications[node.name] = nonzero_multiplications(node, inputs[0])
        values[node.name] = out
        if node.name in keep:
            record.outputs[node.name] = out
        pending.subtract(node.inputs)
        for source in node.inputs:
            if not pending[source]:
                values.pop(source, None)  # nothing reads it any more
    record.logits = values[plan.network.output].ravel()
    return record


def run_plain(node: Node, inputs: list[FloatArray]) -> FloatArray:
    """Output ``[N, C, H, W]`` of any node but a bottleneck, in the type of its inputs.

    Raises:
        InputError: The node is unsupported or of an unknown type.

    Source: docs/explanation/arithmetic.md, The block.
    """
    if isinstance(node, Unsupported):
        raise InputError(f"layer {node.name}", f"cannot be run: {node.reason}", "replace this operation in the model")
    x = inputs[0]
    if isinstance(node, Conv):
        return layers.activate(layers.convolve(x, node), node.activation)
    if isinstance(node, Pool):
        return layers.pool(x, node)
    if isinstance(node, Linear):
        return layers.activate(layers.linear(x, node), node.activation)
    if isinstance(node, Add):
        return layers.activate(reduce(np.add, inputs), node.activation)
    if isinstance(node, Concat):
        return np.concatenate(inputs)
    if isinstance(node, Shuffle):
        return layers.shuffle(x, node.groups)
    raise InputError(
        f"layer {node.name}", f"cannot be run ({type(node).__name__})", "use the node types of predfuse.graph.nodes"
    )


def _expand(block: Bottleneck, x: FloatArray) -> FloatArray:
    return layers.pointwise(x, block.expand_weight, block.groups, block.expand_bias)


def _depthwise(block: Bottleneck, h: FloatArray) -> FloatArray:
    return layers.depthwise(h, block.depthwise_weight, block.depthwise_bias, block.stride, block.padding)


def true_masks(block: Bottleneck, x: FloatArray) -> tuple[Int8Array, Int8Array]:
    """States the two activations of the ordinary block take for the input ``x [C, H, W]``.

    Source: docs/explanation/arithmetic.md, Masks.
    """
    a = _expand(block, x)
    d = _depthwise(block, layers.activate(a, block.expand_activation))
    return true_mask(a, block.expand_activation), true_mask(d, block.depthwise_activation)


def _run_block(
    plan: Plan, block: Bottleneck, x: FloatArray, want_masks: bool
) -> tuple[FloatArray, tuple[Int8Array, Int8Array]]:
    """Output of a block, and its masks (empty where nobody wants them and they are not needed)."""
    execution = plan.executions[block.name]
    if execution == "plain":
        a = _expand(block, x)
        d = _depthwise(block, layers.activate(a, block.expand_activation))
        u = layers.activate(d, block.depthwise_activation)
        y = layers.pointwise(u, block.project_weight, block.groups, block.project_bias)
        masks = (np.empty(0, np.int8),) * 2
        if want_masks:
            masks = true_mask(a, block.expand_activation), true_mask(d, block.depthwise_activation)
        return finish_block(block, y, x), masks
    masks = true_masks(block, x) if plan.mode == "fused_true" else predict_masks(block, x)
    if execution == "predicted":
        h = apply_mask(_expand(block, x), masks[0])
        u = apply_mask(_depthwise(block, h), masks[1])
        y = layers.pointwise(u, block.project_weight, block.groups, block.project_bias)
    elif block.name in plan.fused:
        y = fused_convolution(plan.fused[block.name], x, *masks)
    else:
        y = fused_convolution_unstored(block, x, *masks)
    return finish_block(block, y, x), masks


def _measure(plan: Plan, block: Bottleneck, x: FloatArray, mask1: Int8Array, mask2: Int8Array) -> _BlockRecord:
    """Statistics of one block for one image; the truth is what the ordinary block does with the same input."""
    measured = measure_block(block, plan.entries[block.name], x, mask1, mask2)
    predicted = plan.executions[block.name] != "plain" and plan.mode != "fused_true"
    truth = true_masks(block, x) if predicted else (mask1, mask2)
    return _BlockRecord(
        _compare(mask1, truth[0]),
        _compare(mask2, truth[1]),
        measured.fused_additions,
        measured.bias_additions,
        measured.nonzero_multiplications,
    )


def _compare(mask: Int8Array, truth: Int8Array) -> StageStatistics:
    on, true_on = mask != OFF, truth != OFF
    alive, truly_alive, both = (int(np.count_nonzero(flags)) for flags in (on, true_on, on & true_on))
    return StageStatistics(mask.size, alive, truly_alive, alive - both, truly_alive - both)


def _block_statistics(plan: Plan, name: str, records: list[_ImageRecord]) -> BlockStatistics:
    blocks = [record.blocks[name] for record in records]
    return BlockStatistics(
        name=name,
        execution=plan.executions[name],
        expand=sum((block.expand for block in blocks), start=StageStatistics()),
        depthwise=sum((block.depthwise for block in blocks), start=StageStatistics()),
        fused_additions=np.array([block.additions for block in blocks], np.int64),
        bias_additions=np.array([block.bias_additions for block in blocks], np.int64),
        nonzero_multiplications=np.array([block.nonzero_multiplications for block in blocks], np.int64),
    )
