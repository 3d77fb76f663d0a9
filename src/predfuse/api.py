"""The verbs of the package, from a PyTorch model to cycles; ``predfuse`` itself offers them.

Sources may be what is in memory or where it is stored, images tensors or arrays. ``prepare`` is in
:mod:`predfuse.predictor.prepare`, where the predictors are.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, TypeAlias, cast, overload

import numpy as np
import torch
from torch import Tensor, nn

from predfuse.arrays import ImageArray
from predfuse.errors import InputError
from predfuse.experiments.analyze import Analysis, analyze as analyze_network
from predfuse.exporters.arrays import Form, Precision
from predfuse.exporters.check import ExportCheck
from predfuse.exporters.files import export_network
from predfuse.fusion.counts import NetworkCounts, count_network
from predfuse.fusion.execute import run_network
from predfuse.fusion.results import ExecutionResult, Mode
from predfuse.graph.from_torch import TraceResult, trace as trace_module
from predfuse.graph.nodes import Network
from predfuse.hardware import AcceleratorSpec, Simulation, load_spec, simulate as simulate_paper
from predfuse.hardware.cycle.simulate import simulate_cycles
from predfuse.hardware.cycle.warn_unpruned import warn_unpruned
from predfuse.input_checks import require_dense
from predfuse.integer.agreement import compile_and_compare
from predfuse.integer.calibrate import normalise
from predfuse.integer.options import CompileOptions
from predfuse.integer.program import Program
from predfuse.integer.program_io import is_program, load_program
from predfuse.integer.run import MachineName, MachineResult, run_program
from predfuse.predictor.prepare import to_network
from predfuse.readers.boundary import reading
from predfuse.sources import ModuleOptions, load_source

Images: TypeAlias = Tensor | ImageArray
"""``[N, C, H, W]``: uint8 pixels, or floats normalised as the network wants them."""
Stored: TypeAlias = str | Path
"""A file, a registered network's name, or ``package.module:function``."""


def load(
    source: Stored,
    *,
    weights: Stored | None = None,
    input_shape: tuple[int, int, int, int] | None = None,
    mean: tuple[float, ...] = (),
    std: tuple[float, ...] = (),
) -> Network | Program:
    """Load a network or a compiled program, whichever the source holds.

    Args:
        source: A registered name (freshly initialised, seed 0), a checkpoint of ``predfuse train``, a saved network, a
            compiled program, or ``package.module:function``, which is called and whose module is traced.
        weights: State dictionary (safetensors) for a function's module.
        input_shape: ``(N, C, H, W)`` of a function's module, in pixels.
        mean: Per-channel mean of a function's images, 0..1.
        std: Per-channel divisor after that.

    Raises:
        InputError: It is none of these, the file is unusable, or the module cannot be traced.

    Source:
        Forms of files: docs/reference/files.md.

    Example:
        >>> predfuse.load("fusionet-s").input_shape
        (3, 32, 32)
    """
    if not isinstance(source, str | Path):
        raise InputError("source", f"is a {type(source).__name__}", "give a path or a name")
    if is_program(source):
        return load_program(source)
    options = ModuleOptions(None if weights is None else Path(weights), input_shape, mean, std)
    return load_source(str(source), options)


def trace(
    module: nn.Module, example: Images, *, allow_unsupported: bool = False, name: str | None = None
) -> TraceResult:
    """Turn an unmodified PyTorch module into a network, proven equal to it on the example.

    Args:
        module: Any module from an image batch to one tensor; it is left as it was.
        example: ``[N, C, H, W]`` floats, as the module takes them.
        allow_unsupported: List operations a network cannot hold instead of failing.
        name: Name of the network; the module's class by default.

    Raises:
        UnsupportedError: Some operations cannot be expressed; all of them are listed.
        InputError: The example does not fit, or the module mixes images or changes from call to call.
        PredfuseError: The network does not give what the module gives.

    Source:
        What is understood and what is a block: docs/how-to/tracing.md.

    Example:
        >>> traced = predfuse.trace(model, images)
        >>> len(list(traced.network.bottlenecks()))
        1
    """
    example = example if isinstance(example, Tensor) else torch.as_tensor(_array(example))
    return trace_module(module, example, allow_unsupported=allow_unsupported, name=name)


def compile(
    model: nn.Module | Network | Stored,
    calibration: Images,
    options: CompileOptions | None = None,
    *,
    bits: int | None = None,
    name: str | None = None,
    mean: tuple[float, ...] = (),
    std: tuple[float, ...] = (),
    labels: tuple[str, ...] = (),
) -> Program:
    """Compile a model to integers; blocks with predictors become fused ones.

    How close the integers are to the model on the first calibration images stands in the program's
    ``metadata["agreement"]`` (:class:`predfuse.integer.agreement.Agreement`); where they are not, a warning is logged.
    So is the price of every block whose weights are not pruned.

    Args:
        model: Any PyTorch model :func:`predfuse.predictor.prepare.prepare` took (or one without predictors), a
            network, or where one is stored. It is left as it was.
        calibration: ``[N, C, H, W]``: normalised floats as the model takes them, or uint8 pixels, then with ``mean``
            and ``std`` (of a network: its own).
        options: Widths and margin.
        bits: Of activations, weights and factors, 16 or 8, where no options say so (16).
        name: Name of the program; the model's class, or the network's name, by default.
        mean: Per-channel mean subtracted from images scaled to 0..1.
        std: Per-channel divisor after that.
        labels: Class names.

    Raises:
        UnsupportedError: The model has operations a program cannot hold; all of them are listed.
        InputError: Images that do not fit, or a layer that cannot be exact.

    Source:
        The arithmetic of programs: docs/reference/program.md.

    Example:
        >>> program = predfuse.compile(prepared, images)
        >>> program.name, len(program.nodes)
        ('Sequential', 4)
    """
    pixels = _array(calibration)
    if isinstance(model, nn.Module):
        example = _example(model, pixels[:2], mean, std)
        network = to_network(model, example, name=name, mean=mean, std=std, labels=labels)
    else:
        if name or mean or std or labels:
            raise InputError("compile", "a network has its own name, mean, std and labels", "set them in the network")
        network = _network(model, "compile")
    if options is not None and bits not in (None, options.bits):
        raise InputError("bits", f"is {bits} beside options of {options.bits}", "state it in the options")
    options = options or CompileOptions(bits=16 if bits is None else bits)
    program = compile_and_compare(network, pixels, options).program
    warn_unpruned(program, pixels)
    return program


@overload
def run(what: Program, images: Images, *, machine: MachineName = ..., keep: tuple[str, ...] = ...) -> MachineResult: ...


@overload
def run(what: Network, images: Images, *, mode: Mode = ..., keep: tuple[str, ...] = ...) -> ExecutionResult: ...


@overload
def run(what: Stored, images: Images, *, keep: tuple[str, ...] = ...) -> MachineResult | ExecutionResult: ...


def run(
    what: Program | Network | Stored,
    images: Images,
    *,
    machine: MachineName | None = None,
    mode: Mode | None = None,
    keep: tuple[str, ...] = (),
) -> MachineResult | ExecutionResult:
    """Run a program in integers, or a network in floating point, on images.

    Args:
        what: A program, a network, or where one is stored.
        images: ``[N, C, H, W]``: uint8 pixels, or normalised floats.
        machine: Of a program: ``fast`` (the default), or ``reference``, slow and obvious; they give the same bits.
        mode: Of a network, how its blocks run: ``fused`` (the default; blocks without a predictor run plain), ``true``,
            ``predicted`` or ``fused_true``, see :data:`predfuse.fusion.results.Mode`.
        keep: Names of layers whose values the result holds.

    Raises:
        InputError: Images that do not fit, an unknown layer, machine or mode, or one that does not apply.

    Source:
        Networks: docs/explanation/arithmetic.md; programs: docs/reference/program.md.

    Example:
        >>> predfuse.run(program, images).scores.shape
        (16, 3)
        >>> predfuse.run("fusionet-s", pixels).logits.shape
        (2, 10)
    """
    what = _loaded(what)
    if isinstance(what, Program):
        if mode is not None:
            raise InputError("mode", "applies to networks, and this is a program", "leave it out")
        return run_program(what, _array(images), machine=machine or "fast", keep=keep)
    if machine is not None:
        raise InputError("machine", "applies to programs, and this is a network", "leave it out, or compile it first")
    return run_network(what, normalise(what, _array(images)), mode or "fused", keep=keep)


def count(what: Network | Stored, images: Images | None = None) -> NetworkCounts:
    """Count a network's operations per image: dense, pruned, with zero activations skipped, and fused.

    Args:
        what: A network, or where one is stored.
        images: ``[N, C, H, W]`` to count additions and skipped zeros on; without them every gate counts as open.

    Raises:
        InputError: Images that do not fit, or a program: count the network it was compiled from.

    Source:
        docs/explanation/arithmetic.md, Operations.

    Example:
        >>> counts = predfuse.count("fusionet-s", pixels)
        >>> counts.total.fused.multiplications < counts.total.dense.multiplications
        True
    """
    network = _network(what, "count")
    if images is None:
        return count_network(network)
    return count_network(network, run_network(network, normalise(network, _array(images)), "fused"))


def simulate(
    what: Program | Network | Stored,
    accelerator: Stored | AcceleratorSpec = "archon-ics21",
    fidelity: Literal["paper", "cycle"] = "paper",
    images: Images | None = None,
    *,
    allow_unsupported: bool = False,
) -> Simulation:
    """Cycles and energy on an accelerator: of every image, their mean and their range.

    Args:
        what: A program, a network with its weights, or where one is stored.
        accelerator: Name or file of a specification, or one that is loaded.
        fidelity: ``paper`` (closed forms, the same for all images) or ``cycle`` (real lists and masks, edges, stalls).
        images: ``[N, C, H, W]`` normalised floats or uint8 pixels: at ``cycle`` fidelity they give the masks of fused
            blocks.
        allow_unsupported: List layers the machine cannot run as ``unsupported``, at no cost, instead of failing.

    Raises:
        InputError: Unknown accelerator or fidelity, images missing or of another size, or a layer the machine cannot
            run.

    Source:
        docs/explanation/accelerators.md (paper), docs/explanation/archon.md (cycle).

    Example:
        >>> result = predfuse.simulate(program, "archon", "cycle", images[:2])
        >>> result.images, result.fastest_cycles <= result.total_cycles <= result.slowest_cycles
        (2, True)
    """
    what = _loaded(what)
    if not isinstance(what, Program):
        what = _network(what, "simulate")
    spec = load_spec(str(accelerator)) if isinstance(accelerator, str | Path) else accelerator
    array = None if images is None else _array(images)
    if fidelity != "cycle":
        return Simulation((simulate_paper(what, spec, fidelity, allow_unsupported=allow_unsupported),))
    runs = simulate_cycles(what, spec, array, allow_unsupported=allow_unsupported)
    return Simulation(tuple(run.result for run in runs))


def export(
    what: Network | Stored,
    path: Stored,
    form: Form = "plain",
    *,
    format_name: str | None = None,
    images: Images | None = None,
    precision: Precision | None = None,
) -> ExportCheck:
    """Write a network for other runtimes; the file is kept only if running it gives the network's values.

    Args:
        what: A network, or where one is stored.
        path: The file, ``.onnx`` or ``.pt2``.
        form: ``plain``, ``predicted`` (masks in the place of activations) or ``fused``.
        format_name: ``onnx`` or ``torch``; by default what the suffix says.
        images: ``[N, C, H, W]`` to check on; random ones by default.
        precision: ``float32`` or ``float64`` within; by default float64 where rounding decides masks.

    Raises:
        InputError: The path cannot be written, or form or format do not fit.
        PredfuseError: The exported network gives other values.

    Source:
        docs/how-to/export.md.

    Example:
        >>> check = predfuse.export("fusionet-s", folder / "fusionet-s.pt2")
        >>> (folder / "fusionet-s.pt2").exists()
        True
    """
    network = _network(what, "export")
    given = None if images is None else normalise(network, _array(images))
    return export_network(network, path, form, format_name, given, precision)


def analyze(what: Network | Stored, pointwise: float = 0.2, depthwise: float = 0.3) -> Analysis:
    """Say what fusion would buy on a network, block by block, and what to change where it buys nothing.

    Args:
        what: A network, or where one is stored.
        pointwise: Share of the blocks' 1x1 weights kept in the pruned forms (0..1).
        depthwise: Share of their depthwise weights kept (0..1).

    Raises:
        InputError: A share lies outside 0..1, or a machine cannot run a layer.

    Source:
        docs/how-to/tracing.md, Reading an analysis.

    Example:
        >>> [block.name for block in predfuse.analyze("fusionet-s").gaining][:2]
        ['b1', 'b2']
    """
    return analyze_network(_network(what, "analyze"), None, pointwise, depthwise)


def _loaded(what: Program | Network | Stored) -> Program | Network:
    return load(what) if isinstance(what, str | Path) else what


def _network(what: Any, verb: str) -> Network:
    found = _loaded(what)
    if isinstance(found, Program):
        raise InputError(verb, "takes a network, and this is a compiled program", "give what it was compiled from")
    if not isinstance(found, Network):
        raise InputError(
            verb, f"got a {type(found).__name__}", "give a network (predfuse.to_network), a file or a name"
        )
    return found


def _array(images: Images) -> ImageArray:
    if isinstance(images, Tensor):
        require_dense(images, "images")
        wide = images.float() if images.dtype == torch.bfloat16 else images  # which NumPy does not have
        return cast(ImageArray, wide.detach().cpu().numpy())
    with reading("images", "are no array", "give a tensor or an array [N, C, H, W]"):
        array = np.asarray(images)
        if not array.ndim or array.dtype.kind not in "biufc":
            raise TypeError(f"they are a {type(images).__name__}")
    return cast(ImageArray, array)


def _example(model: nn.Module, images: ImageArray, mean: tuple[float, ...], std: tuple[float, ...]) -> Tensor:
    """Some calibration images as the model takes them."""
    if images.dtype == np.uint8:
        channels = images.shape[1] if images.ndim == 4 else 0
        if len(mean) != channels or len(std) != channels:
            raise InputError("calibration", "is uint8 pixels without mean and std", "give one of each per channel")
        shape = (1, channels, 1, 1)
        images = (images / 255 - np.reshape(mean, shape)) / np.reshape(std, shape)
    parameter = next(model.parameters(), None)
    return torch.as_tensor(images).to(torch.empty(0) if parameter is None else parameter)
