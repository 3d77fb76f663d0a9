"""A network at cycle fidelity before anybody prunes or trains it: a pruned copy, stand-in predictors, drawn gates."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from predfuse.arrays import Int8Array
from predfuse.errors import InputError
from predfuse.fusion.counts import Survivors
from predfuse.fusion.weights import entry_counts, too_large
from predfuse.graph.nodes import Bottleneck, Network, Predictor
from predfuse.hardware import SimulationResult, load_spec, prune_blocks
from predfuse.hardware.cycle.archon.machine import prepare, run_archon
from predfuse.hardware.cycle.simulate import simulate_cycles
from predfuse.hardware.spec import AcceleratorSpec, ArchonSpec

CYCLE_MACHINES = {"dense": "eyeriss-dense", "sparse": "eyeriss-sparse", "fused": "archon"}
"""The machine each form of the network runs on, where no other is named."""
SHIFTS_KEPT = 0.2
"""Share of the blocks' biases after expand and depthwise that the pruned copy keeps."""
MOST_ENTRIES = 40_000_000
"""Fused weights of all blocks together up to which an analysis goes through their lists."""


@dataclass(frozen=True)
class CycleForms:
    """Three forms of a network at cycle fidelity.

    Attributes:
        results: By form: ``dense`` as it is, ``sparse`` pruned, ``fused`` pruned and fused; empty where one cannot run.
        notes: What the figures leave out, and which blocks are too large to be fused.
        remedies: What to change, by block; blocks that are well have none.

    Source: docs/how-to/tracing.md, Reading an analysis.
    """

    results: Mapping[str, SimulationResult]
    notes: tuple[str, ...]
    remedies: Mapping[str, str]

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "forms": {
                form: {
                    "accelerator": result.accelerator,
                    "total_cycles": result.total_cycles,
                    "energy_uj": result.total_energy_uj,
                    "layer_cycles": result.layer_cycles(),
                }
                for form, result in self.results.items()
            },
            "notes": list(self.notes),
            "remedies": dict(self.remedies),
        }


def machines_by_form(given: Sequence[str] = ()) -> dict[str, AcceleratorSpec]:
    """The machine of each form, those named (by name or file) in place of the usual one of their kind.

    Raises:
        InputError: A name or file is no accelerator, or two are of one kind.
    """
    found: dict[str, AcceleratorSpec] = {}
    for name in given:
        spec = load_spec(name)
        form = "fused" if spec.kind == "archon" else spec.kind
        if form in found:
            what = f"gives two machines of kind {spec.kind}, {found[form].name} and {spec.name}"
            raise InputError("--accelerator", what, "name one of each kind; predfuse compare takes any number")
        found[form] = spec
    return {form: found.get(form) or load_spec(usual) for form, usual in CYCLE_MACHINES.items()}


def cycle_forms(
    network: Network, pointwise: float, depthwise: float, survivors: Survivors, machines: Sequence[str] = ()
) -> CycleForms:
    """Simulate the network as it is on a dense machine, and pruned copies on a sparse machine and, fused, on Archon.

    Args:
        network: The network, pruned or not; blocks without a predictor get one that costs what every ternary one does.
        pointwise: Share of the blocks' 1x1 weights the copies keep.
        depthwise: Share of their depthwise weights.
        survivors: Share of open gates; which ones is drawn, the same on every call.
        machines: Names or files of machines to be taken in place of the usual ones of their kind.
    """
    specs = machines_by_form(machines)
    copies = prune_blocks(network, pointwise, depthwise, SHIFTS_KEPT)
    remedies = {}
    for block in network.bottlenecks():
        if np.count_nonzero(block.expand_weight) > 1.05 * pointwise * block.expand_weight.size:
            remedies[block.name] = "prune it (these cycles are of a pruned copy)"
        if too_large(block):
            remedies[block.name] = f"prune it before it is compiled: it {too_large(block)}"
    small = {block.name for block in copies.bottlenecks() if not too_large(block)}
    notes = tuple(
        f"{block.name} is not fused: even pruned it {too_large(block)}"
        for block in copies.bottlenecks()
        if block.name not in small
    )
    gated = copies.with_blocks(lambda block: _gated(block) if block.name in small else block)
    entries = sum(int(entry_counts(block).weights.sum()) for block in copies.bottlenecks() if block.name in small)
    if entries > MOST_ENTRIES:
        what = f"cycle fidelity is left out: {entries:,} fused weights are too many to go through here"
        return CycleForms({}, (*notes, f"{what}; predfuse simulate --fidelity cycle does it"), remedies)
    archon = specs["fused"]
    assert isinstance(archon, ArchonSpec)
    try:
        results = {
            form: simulate_cycles(what, specs[form], allow_unsupported=True)[0].result
            for form, what in (("dense", network), ("sparse", copies))
        }
        results["fused"] = run_archon(prepare(gated, archon), _gates(gated, survivors)).result
    except InputError as error:
        return CycleForms({}, (*notes, f"cycle fidelity is left out: {error}"), remedies)
    sparse, fused = results["sparse"].layer_cycles(), results["fused"].layer_cycles()
    for block in network.bottlenecks():
        if block.name in small and fused.get(block.name, 0) > sparse.get(block.name, 0):
            slower = (
                f"fused it is slower ({fused[block.name]:,} cycles) than pruned on a sparse machine "
                f"({sparse[block.name]:,}): leave it without a predictor, or give it fewer channels a group outside "
                "and more inside"
            )
            remedies[block.name] = "; ".join(filter(None, (remedies.get(block.name, ""), slower)))
    return CycleForms(results, notes, remedies)


def _gated(block: Bottleneck) -> Bottleneck:
    """A block with a predictor, its own or one that costs the same as any other ternary one."""
    if block.predictor is not None:
        return block
    middle, offsets = block.middle_channels, np.zeros(block.middle_channels, np.int32)
    expand = np.zeros((middle, block.group_channels), np.int8)
    depthwise = np.zeros((middle, block.kernel, block.kernel), np.int8)
    predictor = Predictor(0, expand, offsets, np.zeros(middle, np.int8), depthwise, offsets)
    return dataclasses.replace(block, predictor=predictor)


def _gates(network: Network, survivors: Survivors) -> dict[str, tuple[Int8Array, Int8Array]]:
    """Drawn masks of every fused block: ``[M, H, W]`` and ``[M, P, Q]``."""
    generator = np.random.default_rng(0)
    shapes = network.shapes()
    masks = {}
    for block in network.bottlenecks():
        if block.predictor is None:
            continue
        pair = []
        stages = (
            (block.inputs[0], block.expand_activation, survivors.expand),
            (block.name, block.depthwise_activation, survivors.depthwise),
        )
        for source, activation, share in stages:
            drawn = generator.random((block.middle_channels, *shapes[source][1:])) < share
            pair.append((drawn | (activation == "linear")).astype(np.int8))
        masks[block.name] = (pair[0], pair[1])
    return masks
