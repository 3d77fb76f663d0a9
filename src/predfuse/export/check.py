"""Running an exported network in onnxruntime and comparing every layer with the PyTorch module."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from predfuse.errors import PredfuseError
from predfuse.export.arrays import Form
from predfuse.export.graph import require_onnx
from predfuse.export.module import NetworkModule, to_module
from predfuse.ir import INPUT, Array, Network

if TYPE_CHECKING:
    import onnx

log = logging.getLogger(__name__)

TOLERANCE = 1e-4
"""Largest error of any value, relative to the largest magnitude of its layer's output."""


@dataclass(frozen=True)
class ExportCheck:
    """How closely onnxruntime agrees with the float64 module.

    Attributes:
        images: Random images compared.
        worst_layer: The layer with the largest error, every layer being given the inputs onnxruntime gave it.
        worst_error: That error, relative to the largest magnitude of the layer's output.
        output_error: The largest error of the network's output, from the images on. A predicted network's float inputs
            are floored, so that a rounding error of one value in a million may change a code and with it a mask; this
            error is then larger, though every layer is right.
        agreeing: Images whose output is within ``TOLERANCE``.
    """

    images: int
    worst_layer: str
    worst_error: float
    output_error: float
    agreeing: int


def check_images(network: Network, count: int = 2, seed: int = 0) -> Array:
    """Random normalised images ``[N, C, H, W]``, float32."""
    return np.random.default_rng(seed).normal(size=(count, *network.input_shape)).astype(np.float32)


def relative_error(got: Array, wanted: Array, inputs: float = 0.0) -> float:
    """Largest difference relative to the largest wanted magnitude; infinite where ``got`` is not finite.

    Args:
        got: What a runtime gave.
        wanted: What it should have given, same shape.
        inputs: Largest magnitude the values were computed from: results below a millionth of it are rounding errors
            around 0 and are compared with that millionth.
    """
    if not np.isfinite(got).all():
        return float("inf")
    largest = max(float(np.abs(wanted).max()), 1e-6 * inputs, float(np.finfo(np.float32).tiny))
    return float(np.abs(got - wanted).max()) / largest


def check_onnx(network: Network, form: Form, path: Path, images: Array | None = None) -> ExportCheck:
    """Compare the ONNX file at ``path`` with the network it was made from.

    Args:
        network: The network.
        form: The form it was exported in.
        path: The file.
        images: ``[N, C, H, W]``, normalised; random ones if not given.

    Raises:
        InputError: ``onnx`` or ``onnxruntime`` is not installed.
        PredfuseError: The file uses operators outside the standard set, onnxruntime refuses it, or a layer (of a plain
            network also the output) is off by more than ``TOLERANCE``.
    """
    require_onnx("onnxruntime")
    import onnx

    given = check_images(network) if images is None else images.astype(np.float32)
    model = onnx.load(path)
    _require_standard(model, network)
    scores = _run(model, network, given)[network.output]
    model.graph.output.extend(onnx.ValueInfoProto(name=node.name) for node in network.nodes[:-1])
    module = to_module(network, form).double()
    errors = _layer_errors(module, _run(model, network, given))
    worst = max(errors, key=errors.__getitem__)
    with torch.no_grad():
        wanted = module(torch.from_numpy(given).double()).numpy()
    output_errors = [relative_error(got, scores_wanted) for got, scores_wanted in zip(scores, wanted, strict=True)]
    if form == "plain":
        _require_close(network.output, max(output_errors))
    _require_close(worst, errors[worst])
    agreeing = sum(error <= TOLERANCE for error in output_errors)
    if agreeing < len(given):
        what = "%s: rounding changes some masks, the outputs of %d of %d images are off by up to %.1e"
        log.warning(what, network.name, len(given) - agreeing, len(given), max(output_errors))
    return ExportCheck(len(given), worst, errors[worst], max(output_errors), agreeing)


def _require_close(layer: str, error: float) -> None:
    if not error <= TOLERANCE:
        what = f"onnxruntime gives values off by {error:.1e} of the largest, more than {TOLERANCE:.0e}"
        raise PredfuseError(f"layer {layer}: {what}")


def _layer_errors(module: NetworkModule, values: dict[str, Array]) -> dict[str, float]:
    """Error of every layer, given the inputs onnxruntime gave it."""
    errors: dict[str, float] = {}
    tensors = {name: torch.from_numpy(value).double() for name, value in values.items()}
    with torch.no_grad():
        for name, sources, layer in zip(module.names, module.sources, module.nodes, strict=True):
            wanted = layer(*(tensors[source] for source in sources)).numpy()
            largest = max(float(np.abs(values[source]).max()) for source in sources)
            errors[name] = relative_error(values[name].reshape(wanted.shape), wanted, largest)
    return errors


def _require_standard(model: onnx.ModelProto, network: Network) -> None:
    import onnx

    custom = sorted({node.op_type for node in model.graph.node if node.domain} | {f.name for f in model.functions})
    if custom:
        raise PredfuseError(f"network {network.name}: the exported file uses custom operators {', '.join(custom)}")
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        reason = " ".join(str(error).split())
        raise PredfuseError(f"network {network.name}: the exported file is not valid ONNX ({reason})") from error


def _run(model: onnx.ModelProto, network: Network, images: Array) -> dict[str, Array]:
    """Outputs of a model by name, and the images under ``"input"``."""
    import onnxruntime
    from onnxruntime.capi import onnxruntime_pybind11_state as states

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        names = [output.name for output in session.get_outputs()]
        outputs = session.run(names, {INPUT: images})
    except (states.Fail, states.InvalidArgument, states.InvalidGraph, states.NotImplemented, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise PredfuseError(f"network {network.name}: onnxruntime refuses the exported file ({reason})") from error
    return {INPUT: images, **dict(zip(names, outputs, strict=True))}
