"""Operation counts per image: dense, pruned, pruned with zero activations skipped, fused; per layer and per network.

A convolution with ``n`` products per output does ``n`` multiplications and ``n`` additions (the bias starts the sum).
With ``P x Q`` output pixels, ``k x k`` taps, ``Cg`` input channels per group and ``O`` outputs:

* dense: ``O * Cg * k * k * P * Q``, for a block the sum of its three layers;
* pruned: the same with the non-zero weights only (taps beyond the border count, as they do in dense);
* nonzero: non-zero weight times non-zero activation, at the positions of real images, borders excluded;
* fused block: ``O * Cg * k * k * P * Q`` multiplications whatever the middle channels; its additions are the fused
  weights that both masks let through (a list of ``n`` survivors takes ``n - 1`` additions and one more to add its
  product), its bias additions the survivors of the bias lists;
* predictor: its non-zero ternary weights times the pixels, additions only.

Plain layers of a fused network count as dense: nothing is skipped there. Residuals, element-wise sums and average
pooling are additions in every column; comparisons (ReLU, maximum pooling) and scaling by constants are not counted.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np

from predfuse.arrays import Int64Array
from predfuse.errors import InputError
from predfuse.fusion.results import BlockStatistics, ExecutionResult
from predfuse.fusion.weights import entry_counts
from predfuse.graph.nodes import Add, Bottleneck, Conv, Linear, Network, Node, Pool, Shape


@dataclass(frozen=True)
class Operations:
    """Operations of one layer or network for one image, and what it stores; fractions are means over images.

    Attributes:
        multiplications: Multiplications.
        additions: Additions outside the next two.
        bias_additions: Survivors of a fused block's bias lists.
        predictor_additions: Additions of 4-bit numbers in a fused block's predictor.
        weights: Stored weights (fused: entries of the lists).
        biases: Stored biases (fused: entries of the bias lists, and the output biases).

    Source: docs/explanation/arithmetic.md, Operations.
    """

    multiplications: float = 0
    additions: float = 0
    bias_additions: float = 0
    predictor_additions: float = 0
    weights: float = 0
    biases: float = 0

    @property
    def all_additions(self) -> float:
        """Additions of any width: of sums, biases and predictor."""
        return self.additions + self.bias_additions + self.predictor_additions

    def __add__(self, other: Operations) -> Operations:
        return Operations(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))

    def as_json(self) -> dict[str, float]:
        """The fields by name, each a number of operations or weights for one image."""
        return {f.name: getattr(self, f.name) for f in fields(self)}


@dataclass(frozen=True)
class Survivors:
    """Shares of gates that are on, 0..1, for estimates; 1 counts every gate open (the worst case)."""

    expand: float = 1.0
    depthwise: float = 1.0


@dataclass(frozen=True)
class Densities:
    """Shares of non-zero weights, 0..1, to count an unpruned network as if it were pruned."""

    expand: float
    depthwise: float
    project: float


PUBLISHED_DENSITIES = Densities(expand=0.2, depthwise=0.3, project=0.2)
"""1x1 weights 80 % pruned, depthwise weights 70 % (ICS 2021)."""


@dataclass(frozen=True)
class LayerCounts:
    """Operations of one node.

    Attributes:
        name: The node.
        kind: Its type, e.g. ``Conv``.
        dense: Every weight.
        pruned: Non-zero weights.
        nonzero: Non-zero weights times non-zero activations of real images; ``None`` without an execution.
        fused: A bottleneck as one convolution with its predictor; any other node as dense.

    Source: docs/explanation/arithmetic.md, Operations.
    """

    name: str
    kind: str
    dense: Operations
    pruned: Operations
    nonzero: Operations | None
    fused: Operations

    @property
    def multiplication_reduction(self) -> float:
        """Dense multiplications per fused one (1 where there are none)."""
        return self.dense.multiplications / self.fused.multiplications if self.fused.multiplications else 1.0

    def as_json(self) -> dict[str, Any]:
        """The four counts by name, and the reduction."""
        columns = {"dense": self.dense, "pruned": self.pruned, "nonzero": self.nonzero, "fused": self.fused}
        counts = {name: None if column is None else column.as_json() for name, column in columns.items()}
        facts = {"name": self.name, "kind": self.kind}
        return {**facts, **counts, "multiplication_reduction": self.multiplication_reduction}


@dataclass(frozen=True)
class NetworkCounts:
    """Operations of a network: every node, and their sums.

    Attributes:
        network: Name of the network.
        layers: Every node in order.
        total: The sums, under the name ``total``.

    Source: docs/explanation/arithmetic.md, Operations.
    """

    network: str
    layers: tuple[LayerCounts, ...]
    total: LayerCounts = field(init=False)

    def __post_init__(self) -> None:
        measured = [layer.nonzero for layer in self.layers if layer.nonzero is not None]
        total = LayerCounts(
            "total",
            "Network",
            sum((layer.dense for layer in self.layers), start=Operations()),
            sum((layer.pruned for layer in self.layers), start=Operations()),
            sum(measured, start=Operations()) if len(measured) == len(self.layers) else None,
            sum((layer.fused for layer in self.layers), start=Operations()),
        )
        object.__setattr__(self, "total", total)

    def as_json(self) -> dict[str, Any]:
        """Network name, total and layers."""
        layers = [layer.as_json() for layer in self.layers]
        return {"network": self.network, "total": self.total.as_json(), "layers": layers}


def count_network(
    network: Network,
    result: ExecutionResult | None = None,
    *,
    survivors: Survivors | None = None,
    densities: Densities | None = None,
) -> NetworkCounts:
    """Count a network's operations per image.

    Args:
        network: The network.
        result: An execution of it with statistics: additions of fused blocks and the column ``nonzero`` are then
            means over its images.
        survivors: Without ``result``: shares of open gates to estimate additions with; every gate is open if absent.
        densities: Without ``result``: count the blocks as if pruned to these densities.

    Raises:
        InputError: ``result`` is of another network, lacks statistics, or comes with ``survivors`` or ``densities``.

    Source: docs/explanation/arithmetic.md, Operations.
    """
    if result is not None:
        _require_statistics(network, result)
        if survivors is not None or densities is not None:
            what = "an execution and assumed survivors or densities"
            raise InputError(f"network {network.name}", f"is counted with both {what}", "give one of them")
    shapes = network.shapes()
    blocks = {block.name: block for block in result.blocks} if result is not None else {}
    layers = []
    for node in network.nodes:
        inputs, out = [shapes[source] for source in node.inputs], shapes[node.name]
        if isinstance(node, Bottleneck):
            measured = blocks.get(node.name)
            layers.append(_count_block(node, inputs[0], out, measured, survivors or Survivors(), densities))
        else:
            skipped = result.nonzero_multiplications.get(node.name) if result is not None else None
            layers.append(_count_plain(node, inputs, out, skipped, measured=result is not None))
    return NetworkCounts(network.name, tuple(layers))


def multiplication_reductions(network: Network) -> dict[str, float]:
    """Dense multiplications per fused multiplication of every bottleneck, by name.

    They depend on shapes only. For the published FusioNet they lie between 9.5 and 25.7 in the blocks that keep size
    and channels (ICS 2021); the blocks that change them give 7.3 to 29.3.

    Source: docs/explanation/arithmetic.md, Operations.
    """
    return {
        layer.name: layer.multiplication_reduction
        for layer in count_network(network).layers
        if layer.kind == Bottleneck.__name__
    }


def _require_statistics(network: Network, result: ExecutionResult) -> None:
    bottlenecks = [block.name for block in network.bottlenecks()]
    plain = [node.name for node in network.nodes if isinstance(node, Conv | Linear)]
    if result.network != network.name or list(result.executions) != [node.name for node in network.nodes]:
        what = f"is counted with an execution of {result.network}"
        raise InputError(f"network {network.name}", what, "run this network")
    if [block.name for block in result.blocks] != bottlenecks or sorted(result.nonzero_multiplications) != sorted(
        plain
    ):
        what = "is counted with an execution without statistics"
        raise InputError(f"network {network.name}", what, "run it with statistics")


def _pixels(shape: Shape) -> int:
    return shape[1] * shape[2]


def _count_plain(
    node: Node, inputs: list[Shape], out: Shape, skipped: Int64Array | None, measured: bool
) -> LayerCounts:
    additions, weights, biases, kept, positions = 0, 0, 0, 0, 0
    if isinstance(node, Conv | Linear):
        weights, biases = int(node.weight.size), int(node.bias.size)
        kept, positions = int(np.count_nonzero(node.weight)), _pixels(out)
    elif isinstance(node, Add):
        additions = (len(inputs) - 1) * out[0] * _pixels(out)
    elif isinstance(node, Pool) and node.kind == "average":
        additions = out[0] * (node.kernel**2 * _pixels(out) if node.kernel else _pixels(inputs[0]))
    dense = Operations(weights * positions, weights * positions + additions, weights=weights, biases=biases)
    pruned = Operations(kept * positions, kept * positions + additions, weights=kept, biases=biases)
    nonzero = None
    if measured:
        multiplications = float(skipped.mean()) if skipped is not None else 0
        nonzero = Operations(multiplications, multiplications + additions, weights=kept, biases=biases)
    return LayerCounts(node.name, type(node).__name__, dense, pruned, nonzero, dense)


def _count_block(
    block: Bottleneck,
    into: Shape,
    out: Shape,
    measured: BlockStatistics | None,
    survivors: Survivors,
    densities: Densities | None,
) -> LayerCounts:
    arrays = (block.expand_weight, block.depthwise_weight, block.project_weight)
    positions = np.array([_pixels(into), _pixels(out), _pixels(out)])
    stored = np.array([array.size for array in arrays])
    if densities is None:
        kept = np.array([np.count_nonzero(array) for array in arrays], np.float64)
    else:
        kept = stored * np.array([densities.expand, densities.depthwise, densities.project])
    residual = out[0] * _pixels(out) if block.residual else 0
    biases = block.expand_bias.size + block.depthwise_bias.size + block.project_bias.size

    def unfused(multiplications: float, weights: float) -> Operations:
        return Operations(multiplications, multiplications + residual, weights=weights, biases=biases)

    nonzero = None
    if measured is not None:
        nonzero = unfused(float(measured.nonzero_multiplications.sum(axis=1).mean()), _number(kept.sum()))
    return LayerCounts(
        block.name,
        type(block).__name__,
        unfused(int(stored @ positions), int(stored.sum())),
        unfused(_number(kept @ positions), _number(kept.sum())),
        nonzero,
        _fused(block, into, out, measured, survivors, densities, residual),
    )


def _fused(
    block: Bottleneck,
    into: Shape,
    out: Shape,
    measured: BlockStatistics | None,
    survivors: Survivors,
    densities: Densities | None,
    residual: int,
) -> Operations:
    entries = entry_counts(block)
    lists, bias_lists = entries.weights, entries.expand_bias
    output_lists = entries.depthwise_bias
    if densities is not None:
        products = block.out_channels // block.groups * densities.project
        lists = np.full(lists.shape, products * densities.depthwise * block.group_channels * densities.expand)
        bias_lists = np.full(lists.shape, products * densities.depthwise) * (block.expand_bias != 0)[:, None]
        output_lists = products * (block.depthwise_bias != 0)
    if measured is not None:
        additions, bias_additions = float(measured.fused_additions.mean()), float(measured.bias_additions.mean())
    else:
        inside = _positions_inside(block, into, out) * survivors.expand * survivors.depthwise
        additions = _number((lists * inside).sum())
        bias_additions = _number((bias_lists * inside).sum() + output_lists.sum() * survivors.depthwise * _pixels(out))
    saturated = int(entries.expand_saturated.sum() + entries.depthwise_saturated.sum())
    return Operations(
        multiplications=block.out_channels * block.group_channels * block.kernel**2 * _pixels(out),
        additions=additions + residual,
        bias_additions=bias_additions,
        predictor_additions=predictor_additions(block, into, out),
        weights=_number(lists.sum()),
        biases=_number(bias_lists.sum() + output_lists.sum()) + saturated + block.out_channels,
    )


def predictor_additions(block: Bottleneck, into: Shape, out: Shape) -> int:
    """Additions of a block's predictor per image: non-zero ternary weights times pixels.

    A block without a predictor counts as if every ternary weight were used, as the published model does.

    Source: docs/explanation/arithmetic.md, Operations.
    """
    predictor = block.predictor
    if predictor is None:
        return block.expand_weight.size * _pixels(into) + block.depthwise_weight.size * _pixels(out)
    expand, depthwise = np.count_nonzero(predictor.expand), np.count_nonzero(predictor.depthwise)
    return int(expand * _pixels(into) + depthwise * _pixels(out))


def _positions_inside(block: Bottleneck, into: Shape, out: Shape) -> Int64Array:
    """``[K]``: output pixels whose pixel under tap k lies in the image."""

    def inside(size: int, positions: int, before: int) -> Int64Array:
        pixels = np.arange(positions)[:, None] * block.stride + np.arange(block.kernel) - before
        counts: Int64Array = ((pixels >= 0) & (pixels < size)).sum(axis=0)
        return counts

    rows, columns = inside(into[1], out[1], block.padding[0]), inside(into[2], out[2], block.padding[2])
    return np.outer(rows, columns).ravel()


def _number(value: Any) -> float:
    """An ``int`` where the value is whole, so that exact counts print as such."""
    return int(value) if float(value).is_integer() else float(value)
