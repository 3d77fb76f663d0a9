"""Networks at cycle fidelity: real images give the masks, masks and weights give the cycles."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from predfuse.errors import InputError
from predfuse.fusion.execute import plan_network, run_plan
from predfuse.graph.nodes import Array, Network, Unsupported
from predfuse.hardware.cycle.archon.machine import Masks, prepare, run_archon
from predfuse.hardware.cycle.eyeriss.machine import run_eyeriss
from predfuse.hardware.cycle.run import CycleRun
from predfuse.hardware.spec import AcceleratorSpec, EyerissSpec
from predfuse.integer.as_network import integer_network
from predfuse.integer.fast_machine import FastMachine
from predfuse.integer.program import Program
from predfuse.integer.run import to_integers


def simulate_cycles(
    network: Network, spec: AcceleratorSpec, images: Array | None = None, *, allow_unsupported: bool = False
) -> list[CycleRun]:
    """Run a network at ``cycle`` fidelity, once for every image; once where images make no difference.

    Args:
        network: With its real weights; blocks with a predictor are fused on Archon.
        spec: The machine.
        images: ``[N, C, H, W]`` normalised floats, needed where blocks are fused.
        allow_unsupported: List layers the machine cannot run as ``unsupported``, at no cost, instead of failing.

    Raises:
        InputError: Images are needed and missing or do not fit, a layer cannot be run, or a memory of the machine is
            too small.
    """
    unsupported = {node.name: node.reason for node in network.nodes if isinstance(node, Unsupported)}
    for name, reason in () if allow_unsupported else unsupported.items():
        raise InputError(f"layer {name}", reason, "replace it, or list it with allow_unsupported")
    runs = _runs(network, spec, images)
    return [replace(run, result=run.result.with_unsupported(unsupported)) for run in runs]


def _runs(network: Network, spec: AcceleratorSpec, images: Array | None) -> list[CycleRun]:
    if isinstance(spec, EyerissSpec):
        return [run_eyeriss(network, spec)]
    prepared = prepare(network, spec)
    if not prepared.blocks:
        return [run_archon(prepared, {})]
    if images is None:
        raise InputError(f"network {network.name}", "has fused blocks, whose masks depend on the image", "give images")
    return [run_archon(prepared, masks) for masks in predicted_masks(network, images)]


def simulate_program(program: Program, spec: AcceleratorSpec, images: Array | None = None) -> list[CycleRun]:
    """Run a compiled program at ``cycle`` fidelity: its integer weights, and the masks of the integer machine.

    Args:
        program: From :func:`predfuse.integer.compile.compile_network`.
        spec: The machine.
        images: ``[N, C, H, W]`` uint8 pixels or normalised floats, needed where blocks are fused on the machine.

    Raises:
        InputError: Images are needed and missing or do not fit, or a memory of the machine is too small.
    """
    network = integer_network(program)
    if isinstance(spec, EyerissSpec):
        return [run_eyeriss(network, spec)]
    prepared = prepare(network, spec, program)
    if not prepared.blocks:
        return [run_archon(prepared, {})]
    if images is None:
        raise InputError(f"program {program.name}", "has fused blocks, whose masks depend on the image", "give images")
    machine = FastMachine(program)
    integers, _ = to_integers(program, images)
    return [run_archon(prepared, machine.run_image(image, keep=(), keep_masks=True).masks) for image in integers]


def predicted_masks(network: Network, images: Array) -> Iterator[Masks]:
    """The predicted masks of every block that has a predictor, image by image."""
    names = [block.name for block in network.bottlenecks() if block.predictor is not None]
    plan = plan_network(network, "predicted", np.float32)
    for image in images:
        result = run_plan(plan, image[None], statistics=False, keep=names)
        yield {name: (result.masks[name][0][0], result.masks[name][1][0]) for name in names}
