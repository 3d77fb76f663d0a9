"""What fusion would buy on a network: every block's operations and cycles, whether it gains, and what would help.

Per output pixel an unfused block multiplies ``M*(Cg*r + k*k + O/g)`` times and a fused one ``O*Cg*k*k`` times,
whatever its middle channels ``M`` (``r`` input pixels per output pixel, ``Cg = C/g`` input channels per group). So it
gains when its expansion ``M/C`` exceeds the break-even ``M*/C`` with ``M* = O*Cg*k*k / (Cg*r + k*k + O/g)``.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from predfuse.experiments.analyze_cycles import CycleForms, cycle_forms
from predfuse.fusion.counts import LayerCounts, NetworkCounts, Survivors, count_network
from predfuse.graph.from_torch.ledger import Ledger
from predfuse.graph.nodes import Bottleneck, Network, Shape, Unsupported
from predfuse.hardware import SimulationResult, load_spec, prune_blocks
from predfuse.hardware.closed_form.simulate import simulate
from predfuse.hardware.pruning import DEPTHWISE_DENSITY, POINTWISE_DENSITY

DENSE, SPARSE, FUSED = "eyeriss-dense", "eyeriss-sparse", "archon-ics21"
MACHINES = {"dense": DENSE, "sparse": SPARSE, "fused": FUSED}
"""The machine each form of the network runs on."""

SURVIVORS = Survivors(0.5, 0.5)
"""Share of gates assumed open where no images say more; about what trained networks show."""


@dataclass(frozen=True)
class BlockShape:
    """The sizes of a block that decide what fusion buys.

    Attributes:
        channels: Input channels.
        middle: Channels inside.
        outputs: Output channels.
        kernel: Side of the depthwise window (pixels).
        stride: Pixels.
        groups: Of the 1x1 convolutions.
        in_pixels: Input pixels of a channel.
        out_pixels: Output pixels of a channel.

    Source: docs/explanation/arithmetic.md, Operations.
    """

    channels: int
    middle: int
    outputs: int
    kernel: int
    stride: int
    groups: int
    in_pixels: int
    out_pixels: int

    @classmethod
    def of(cls, block: Bottleneck, into: Shape, out: Shape) -> BlockShape:
        """The sizes of a block between two feature maps ``(C, H, W)``."""
        sizes = (block.in_channels, block.middle_channels, block.out_channels, block.kernel, block.stride, block.groups)
        return cls(*sizes, into[1] * into[2], out[1] * out[2])

    @property
    def expansion(self) -> float:
        """Channels inside per input channel."""
        return self.middle / self.channels

    def fused_multiplications(self) -> int:
        """Multiplications of one image, the block fused."""
        return self.outputs * self.channels // self.groups * self.kernel**2 * self.out_pixels

    def unfused_multiplications_per_middle(self, pointwise: float = 1.0, depthwise: float = 1.0) -> float:
        """Multiplications of one image for each channel inside, unfused.

        Args:
            pointwise: Share of the 1x1 weights that is kept, 0..1.
            depthwise: Share of the depthwise weights that is kept, 0..1.
        """
        expand = pointwise * self.channels / self.groups * self.in_pixels
        return expand + (depthwise * self.kernel**2 + pointwise * self.outputs / self.groups) * self.out_pixels

    def break_even_middle(self, pointwise: float = 1.0, depthwise: float = 1.0) -> float:
        """Channels inside at which both forms multiply as often; shares ``pointwise`` and ``depthwise`` are kept."""
        return self.fused_multiplications() / self.unfused_multiplications_per_middle(pointwise, depthwise)

    def break_even_expansion(self, pointwise: float = 1.0, depthwise: float = 1.0) -> float:
        """The same per input channel; shares ``pointwise`` and ``depthwise`` are kept."""
        return self.break_even_middle(pointwise, depthwise) / self.channels

    def gains(self) -> bool:
        """Whether fusion saves multiplications of the unpruned block."""
        return self.middle > self.break_even_middle()


@dataclass(frozen=True)
class Advice:
    """What would make a losing block gain, each change by itself and everything else left as it is.

    Attributes:
        middle: Fewest channels inside, a multiple of the groups.
        groups: Fewest groups; None if no number of groups the channels allow is enough.
        ends: Most input and output channels, in proportion; None if even one per group is too many.

    Source: docs/how-to/tracing.md, Reading an analysis.
    """

    middle: int
    groups: int | None
    ends: tuple[int, int] | None

    def text(self, shape: BlockShape) -> str:
        """One line."""
        options = [f"widen the middle from {shape.middle} to {self.middle} channels"]
        if self.groups is not None:
            options.append(f"use {self.groups} groups instead of {shape.groups}")
        if self.ends is not None:
            channels, outputs = self.ends
            options.append(f"narrow the ends from {shape.channels}-{shape.outputs} to {channels}-{outputs} channels")
        return ", or ".join(options)


def advise(shape: BlockShape) -> Advice | None:
    """What to change; None where the block gains already. Source: docs/how-to/tracing.md, Reading an analysis."""
    if shape.gains():
        return None
    common = math.gcd(shape.channels, math.gcd(shape.middle, shape.outputs))
    groups = (g for g in range(shape.groups + 1, common + 1) if common % g == 0)
    enough = (g for g in groups if dataclasses.replace(shape, groups=g).gains())
    middle = (math.floor(shape.break_even_middle() / shape.groups) + 1) * shape.groups
    return Advice(middle, next(enough, None), _narrower_ends(shape))


def _narrower_ends(shape: BlockShape) -> tuple[int, int] | None:
    """Most input and output channels, multiples of the groups, at which the block gains."""
    for channels in range(shape.channels - shape.groups, 0, -shape.groups):
        outputs = max(shape.outputs * channels // shape.channels // shape.groups, 1) * shape.groups
        if dataclasses.replace(shape, channels=channels, outputs=outputs).gains():
            return channels, outputs
    return None


@dataclass(frozen=True)
class BlockAnalysis:
    """One block.

    Attributes:
        name: Its name.
        shape: Its sizes.
        in_shape: ``(C, H, W)``.
        out_shape: ``(O, P, Q)``.
        counts: Operations of the block as it is, pruned and fused.
        break_even_expansion: Expansion above which fusion saves multiplications of the unpruned block.
        break_even_expansion_pruned: The same against the pruned block.
        advice: What would make it gain; None if it does.
        cycles: By form of the network (``dense``, ``sparse``, ``fused``) at ``paper`` fidelity.
        archon: ``fused`` if Archon ran it fused, else why not.

    Source: docs/how-to/tracing.md, Reading an analysis.
    """

    name: str
    shape: BlockShape
    in_shape: Shape
    out_shape: Shape
    counts: LayerCounts
    break_even_expansion: float
    break_even_expansion_pruned: float
    advice: Advice | None
    cycles: dict[str, int]
    archon: str

    @property
    def gains(self) -> bool:
        """Whether fusion saves multiplications."""
        return self.advice is None

    def as_json(self) -> dict[str, Any]:
        """Plain values, every number with its unit in the name."""
        advice = None if self.advice is None else {**dataclasses.asdict(self.advice), "text": self.advice_text}
        return {
            "name": self.name,
            "in_shape": list(self.in_shape),
            "out_shape": list(self.out_shape),
            **dataclasses.asdict(self.shape),
            "expansion": self.shape.expansion,
            "break_even_expansion": self.break_even_expansion,
            "break_even_expansion_pruned": self.break_even_expansion_pruned,
            "gains": self.gains,
            "advice": advice,
            **_operations_json(self.counts),
            "cycles": dict(self.cycles),
            "archon": self.archon,
        }

    @property
    def advice_text(self) -> str:
        """What would make it gain, in words; empty if it does."""
        return "" if self.advice is None else self.advice.text(self.shape)


@dataclass(frozen=True)
class Analysis:
    """A network and what fusion would buy.

    Attributes:
        network: The network as it is.
        ledger: What became of every node, where the network was traced from a module; else None.
        counts: Operations of the whole network, blocks pruned to ``pointwise`` and ``depthwise``.
        pointwise: Share of the blocks' 1x1 weights kept in the pruned forms.
        depthwise: Share of their depthwise weights kept.
        blocks: Every expand-depthwise-project block.
        results: Simulations at ``paper`` fidelity by form: ``dense`` as it is, ``sparse`` pruned, ``fused`` pruned and
            fused.
        cycle: The same forms at ``cycle`` fidelity, and what to change in each block.

    Source: docs/how-to/tracing.md, Reading an analysis.
    """

    network: Network
    ledger: Ledger | None
    counts: NetworkCounts
    pointwise: float
    depthwise: float
    blocks: tuple[BlockAnalysis, ...]
    results: dict[str, SimulationResult]
    cycle: CycleForms

    @property
    def unsupported(self) -> tuple[str, ...]:
        """Layers that no machine runs and no figure counts."""
        return tuple(node.name for node in self.network.nodes if isinstance(node, Unsupported))

    @property
    def gaining(self) -> tuple[BlockAnalysis, ...]:
        """Blocks in which fusion saves multiplications."""
        return tuple(block for block in self.blocks if block.gains)

    @property
    def best_multiplications(self) -> float:
        """Multiplications of one image when exactly the gaining blocks are fused."""
        gaining = {block.name for block in self.gaining}
        return sum(
            (layer.fused if layer.name in gaining else layer.dense).multiplications for layer in self.counts.layers
        )

    def as_json(self) -> dict[str, Any]:
        """Plain values, every number with its unit in the name."""
        total = self.counts.total
        return {
            "network": self.network.name,
            "input_shape": list(self.network.input_shape),
            "cycle_fidelity": self.cycle.as_json(),
            "densities": {"pointwise": self.pointwise, "depthwise": self.depthwise},
            "assumed_survivors": dataclasses.asdict(SURVIVORS),
            "total": {
                **_operations_json(total),
                "multiplication_reduction": total.multiplication_reduction,
                "multiplications_fusing_gaining_blocks": self.best_multiplications,
            },
            "blocks": [block.as_json() for block in self.blocks],
            "gaining": [block.name for block in self.gaining],
            "unsupported": list(self.unsupported),
            "losing": [block.name for block in self.blocks if not block.gains],
            "cycles": {
                form: {
                    "accelerator": result.accelerator,
                    "fidelity": result.fidelity,
                    "total_cycles": result.total_cycles,
                    "milliseconds": result.milliseconds,
                    "energy_uj": result.total_energy_uj,
                }
                for form, result in self.results.items()
            },
            "ledger": [] if self.ledger is None else [entry_json(entry) for entry in self.ledger],
        }


def _operations_json(counts: LayerCounts) -> dict[str, dict[str, float]]:
    forms = {"dense": counts.dense, "pruned": counts.pruned, "fused": counts.fused}
    return {
        "multiplications": {form: operations.multiplications for form, operations in forms.items()},
        "additions": {
            **{form: operations.additions for form, operations in forms.items()},
            "fused_bias": counts.fused.bias_additions,
            "fused_predictor": counts.fused.predictor_additions,
        },
    }


def entry_json(entry: Any) -> dict[str, Any]:
    """One entry of a tracing ledger as plain values. Source: docs/how-to/tracing.md, What is understood."""
    plain: dict[str, Any] = dataclasses.asdict(entry)
    plain["parts"] = [{**part, "parameters": list(part["parameters"])} for part in plain["parts"]]
    return plain


def analyze(
    network: Network,
    ledger: Ledger | None = None,
    pointwise: float = POINTWISE_DENSITY,
    depthwise: float = DEPTHWISE_DENSITY,
    *,
    allow_unsupported: bool = False,
    machines: Sequence[str] = (),
) -> Analysis:
    """Say what fusion would buy, block by block.

    The pruned forms keep the largest weights of every block up to the given shares (a sparser block stays as it is).
    Fused additions assume the share of open gates :data:`SURVIVORS`. On Archon a ReLU6 counts as a gate like ReLU: a
    predicted block clamps nothing.

    Args:
        network: The network.
        ledger: Of its tracing, to be shown.
        pointwise: Share of 1x1 weights kept in the blocks of the pruned forms.
        depthwise: Share of depthwise weights kept.
        allow_unsupported: Whether operations no network can hold are listed instead of refused.
        machines: Names or files of machines for cycle fidelity, in place of the usual ones of their kind.

    Raises:
        InputError: A share lies outside 0..1, a machine cannot run a layer, or is not there.

    Source: docs/how-to/tracing.md, Reading an analysis.
    """
    pruned = prune_blocks(network, pointwise, depthwise)
    forms = {"dense": network, "sparse": pruned, "fused": pruned.with_blocks(_gated)}
    results = {
        form: simulate(forms[form], load_spec(machine), allow_unsupported=allow_unsupported)
        for form, machine in MACHINES.items()
    }
    counts = _combined(count_network(network), count_network(pruned, survivors=SURVIVORS))
    blocks = _blocks(network, counts, results, pointwise, depthwise)
    cycle = cycle_forms(network, pointwise, depthwise, SURVIVORS, machines)
    return Analysis(network, ledger, counts, pointwise, depthwise, blocks, results, cycle)


def _gated(block: Bottleneck) -> Bottleneck:
    """A block whose activations are gates."""
    stages = {name: "relu" for name in ("expand_activation", "depthwise_activation") if getattr(block, name) == "relu6"}
    return dataclasses.replace(block, **stages)  # type: ignore[arg-type]


def _combined(whole: NetworkCounts, pruned: NetworkCounts) -> NetworkCounts:
    """Dense counts of the network as it is, the others of its pruned form."""
    pairs = zip(whole.layers, pruned.layers, strict=True)
    layers = (dataclasses.replace(layer, dense=original.dense) for original, layer in pairs)
    return NetworkCounts(whole.network, tuple(layers))


def _blocks(
    network: Network,
    counts: NetworkCounts,
    results: dict[str, SimulationResult],
    pointwise: float,
    depthwise: float,
) -> tuple[BlockAnalysis, ...]:
    shapes = network.shapes()
    layers = {layer.name: layer for layer in counts.layers}
    cycles = {form: result.layer_cycles() for form, result in results.items()}
    on_archon = {entry.node: entry for entry in results["fused"].ledger}
    blocks = []
    for block in network.bottlenecks():
        into, out = shapes[block.inputs[0]], shapes[block.name]
        shape = BlockShape.of(block, into, out)
        entry = on_archon[block.name]
        blocks.append(
            BlockAnalysis(
                name=block.name,
                shape=shape,
                in_shape=into,
                out_shape=out,
                counts=layers[block.name],
                break_even_expansion=shape.break_even_expansion(),
                break_even_expansion_pruned=shape.break_even_expansion(pointwise, depthwise),
                advice=advise(shape),
                cycles={form: by_layer.get(block.name, 0) for form, by_layer in cycles.items()},
                archon=entry.status if entry.status == "fused" else entry.reason,
            )
        )
    return tuple(blocks)
