"""The verbs of the package: ``prepare`` a model, ``compile`` it, ``simulate`` it; ``predfuse`` itself offers them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from predfuse.errors import InputError
from predfuse.graph.nodes import Array, Network
from predfuse.integer.agreement import compile_and_compare
from predfuse.integer.as_network import integer_network
from predfuse.integer.calibrate import normalise
from predfuse.integer.options import CompileOptions
from predfuse.integer.program import Program
from predfuse.predictor.prepare import to_network

if TYPE_CHECKING:
    from predfuse.hardware import AcceleratorSpec, SimulationResult


def compile(
    model: nn.Module | Network,
    calibration: Tensor | Array,
    options: CompileOptions | None = None,
    *,
    name: str | None = None,
    mean: tuple[float, ...] = (),
    std: tuple[float, ...] = (),
    labels: tuple[str, ...] = (),
) -> Program:
    """Compile a model to integers; blocks with predictors become fused ones.

    How close the integers are to the model on the first calibration images stands in the program's
    ``metadata["agreement"]`` (:class:`predfuse.integer.agreement.Agreement`); where they are not, a warning is logged.

    Args:
        model: Any PyTorch model :func:`predfuse.predictor.prepare.prepare` took (or one without predictors), or a
            network. It is left as it was.
        calibration: ``[N, C, H, W]``: normalised floats as the model takes them, or uint8 pixels, then with ``mean``
            and ``std`` (of a network: its own).
        options: Widths, margin, layout.
        name: Name of the program; the model's class, or the network's name, by default.
        mean: Per-channel mean subtracted from images scaled to 0..1.
        std: Per-channel divisor after that.
        labels: Class names.

    Raises:
        UnsupportedError: The model has operations a program cannot hold; all of them are listed.
        InputError: Images that do not fit, or a layer that cannot be exact.

    Example:
        >>> program = predfuse.compile(model, images)  # doctest: +SKIP
        >>> predfuse.run(program, images).scores  # doctest: +SKIP
    """
    if isinstance(calibration, Tensor):
        calibration = calibration.detach().cpu().numpy()
    if isinstance(model, Network):
        if name or mean or std or labels:
            raise InputError("compile", "a network has its own name, mean, std and labels", "set them in the network")
        return compile_and_compare(model, calibration, options)[0]
    example = _example(model, calibration[:2], mean, std)
    network = to_network(model, example, name=name, mean=mean, std=std, labels=labels)
    return compile_and_compare(network, calibration, options)[0]


def simulate(
    what: Program | Network,
    accelerator: str | AcceleratorSpec = "archon-ics21",
    fidelity: str = "paper",
    images: Tensor | Array | None = None,
    **options: Any,
) -> SimulationResult:
    """Cycles and energy of one image on an accelerator, per layer and stage, with a ledger of every node.

    Args:
        what: A program, or a network with its weights.
        accelerator: Name or file of a specification, or one that is loaded.
        fidelity: ``paper`` (closed forms, see :func:`predfuse.hardware.simulate`) or ``cycle`` (real lists and
            masks, edges, stalls; see :func:`predfuse.hardware.cycle.simulate.simulate_cycles`).
        images: ``[N, C, H, W]`` normalised floats or uint8 pixels; at ``cycle`` fidelity the first gives the masks of
            fused blocks.
        options: Passed to :func:`predfuse.hardware.simulate`, at ``paper`` fidelity.

    Raises:
        InputError: Unknown accelerator or fidelity, images missing, or a layer the machine cannot run.

    Example:
        >>> predfuse.simulate(program, "archon", "cycle", images).total_cycles  # doctest: +SKIP
    """
    from predfuse import hardware as accelerators

    spec = accelerators.load_spec(accelerator) if isinstance(accelerator, str) else accelerator
    if fidelity != "cycle":
        network = what if isinstance(what, Network) else integer_network(what)
        return accelerators.simulate(network, spec, fidelity, **options)
    if options:
        raise InputError("simulate", f"{min(options)} does not apply to cycle fidelity", "leave it out")
    from predfuse.hardware.cycle.simulate import simulate_cycles, simulate_program

    array = images.detach().cpu().numpy() if isinstance(images, Tensor) else images
    first = None if array is None else array[:1]
    if isinstance(what, Program):
        return simulate_program(what, spec, first)[0].result
    return simulate_cycles(what, spec, None if first is None else normalise(what, first))[0].result


def _example(model: nn.Module, images: Array, mean: tuple[float, ...], std: tuple[float, ...]) -> Tensor:
    """Some calibration images as the model takes them."""
    if images.dtype == np.uint8:
        channels = images.shape[1] if images.ndim == 4 else 0
        if len(mean) != channels or len(std) != channels:
            raise InputError("calibration", "is uint8 pixels without mean and std", "give one of each per channel")
        shape = (1, channels, 1, 1)
        images = (images / 255 - np.reshape(mean, shape)) / np.reshape(std, shape)
    parameter = next(model.parameters(), None)
    return torch.as_tensor(images).to(torch.empty(0) if parameter is None else parameter)
