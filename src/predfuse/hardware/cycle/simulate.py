"""Networks at cycle fidelity: real images give the masks, masks and weights give the cycles."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

import numpy as np

from predfuse.arrays import FloatArray, ImageArray
from predfuse.errors import InputError
from predfuse.fusion.execute import plan_network, require_images, run_plan
from predfuse.graph.nodes import Network, Unsupported
from predfuse.hardware.cycle.archon.machine import Masks, prepare, run_archon
from predfuse.hardware.cycle.eyeriss.machine import run_eyeriss
from predfuse.hardware.cycle.run import CycleRun
from predfuse.hardware.fusable import require_width
from predfuse.hardware.spec import AcceleratorSpec, ArchonSpec, EyerissSpec
from predfuse.hardware.unpruned import price_notes
from predfuse.integer.calibrate import normalise
from predfuse.integer.fast_machine import FastMachine
from predfuse.integer.program import Program
from predfuse.integer.run import to_integers


def simulate_cycles(
    what: Network | Program, spec: AcceleratorSpec, images: ImageArray | None = None, *, allow_unsupported: bool = False
) -> list[CycleRun]:
    """Run a network or program at ``cycle`` fidelity, once for every image; once where images make no difference.

    Args:
        what: A network with its real weights, or a compiled program: then its integer weights count, and the masks of
            the integer machine. Blocks with a predictor are fused on Archon.
        spec: The machine.
        images: ``[N, C, H, W]`` normalised floats or uint8 pixels, needed where blocks are fused.
        allow_unsupported: List layers the machine cannot run as ``unsupported``, at no cost, instead of failing.

    Raises:
        InputError: Images are needed and missing or do not fit, a layer cannot be run, or a memory of the machine is
            too small.

    Source: docs/explanation/archon.md, What is charged.
    """
    unsupported = {node.name: node.reason for node in what.nodes if isinstance(node, Unsupported)}
    for name, reason in () if allow_unsupported else unsupported.items():
        raise InputError(f"layer {name}", reason, "replace it, or list it with allow_unsupported")
    if isinstance(what, Network) and images is not None:
        images = normalise(what, images)
        require_images(what, images)
    elif isinstance(what, Program) and images is not None:
        to_integers(what, images)  # refuses unusable ones, also where no block asks for masks
    runs = run_with_masks(what, spec, masks_of(what, images))
    if not runs:
        kind = "network" if isinstance(what, Network) else "program"
        raise InputError(f"{kind} {what.name}", "has fused blocks, whose masks depend on the image", "give images")
    notes: tuple[str, ...] = ()
    if isinstance(spec, ArchonSpec) and not unsupported:
        notes = price_notes(what, spec.name, runs[0].result.layer_cycles())
    results = (replace(run.result, notes=(*run.result.notes, *notes)) for run in runs)
    return [
        replace(run, result=result.with_unsupported(unsupported)) for run, result in zip(runs, results, strict=True)
    ]


def run_with_masks(what: Network | Program, spec: AcceleratorSpec, masks: Iterable[Masks]) -> list[CycleRun]:
    """Run a network or program once for the masks of every image; once where no block is fused and masks say nothing.

    Args:
        what: The network or program.
        spec: The machine.
        masks: Of the fused blocks, image by image; not looked at where no block is fused.

    Returns:
        The runs; none where blocks are fused and no masks are given.

    Raises:
        InputError: Masks that do not fit, or a memory of the machine is too small.
    """
    require_width(what, spec)
    if isinstance(spec, EyerissSpec):
        return [run_eyeriss(what, spec)]
    prepared = prepare(what, spec)
    return [run_archon(prepared, of_image) for of_image in (masks if prepared.blocks else ({},))]


def masks_of(what: Network | Program, images: ImageArray | None) -> Iterator[Masks]:
    """The masks of every fused block, image by image: predicted ones, of a program those its integer machine finds."""
    if images is None:
        return
    if isinstance(what, Network):
        yield from predicted_masks(what, normalise(what, images))
        return
    machine = FastMachine(what)
    for image in to_integers(what, images)[0]:
        yield machine.run_image(image, keep=(), keep_masks=True).masks


def predicted_masks(network: Network, images: FloatArray) -> Iterator[Masks]:
    """The predicted masks of every block that has a predictor, image by image of ``[N, C, H, W]``.

    Source: docs/explanation/arithmetic.md, Predictor.
    """
    names = [block.name for block in network.bottlenecks() if block.predictor is not None]
    plan = plan_network(network, "predicted", np.float32)
    for image in images:
        result = run_plan(plan, image[None], statistics=False, keep=names)
        yield {name: (result.masks[name][0][0], result.masks[name][1][0]) for name in names}
