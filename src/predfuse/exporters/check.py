"""Running an exported network in onnxruntime and comparing every layer with the PyTorch module."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from predfuse.arrays import Float32Array, FloatArray, Int64Array
from predfuse.errors import PredfuseError
from predfuse.exporters.arrays import Form, Precision
from predfuse.exporters.graph import require_onnx
from predfuse.exporters.module import GatedBlock, NetworkModule, to_module
from predfuse.graph.nodes import INPUT, Network

if TYPE_CHECKING:
    import onnx

log = logging.getLogger(__name__)

TOLERANCE = 1e-4
"""Largest error of any value, relative to the largest magnitude of its layer's output."""


@dataclass(frozen=True)
class ExportCheck:
    """How closely onnxruntime agrees with the float64 module of the same weights.

    Attributes:
        images: Images compared.
        worst_layer: The layer with the largest error, every layer being given the inputs onnxruntime gave it.
        worst_error: That error, relative to the largest magnitude of the layer's output.
        output_error: The largest error of the network's output, from the images on.
        agreeing: Images whose output is within ``TOLERANCE``.
        changed_images: Images on which onnxruntime decided some gate otherwise. Predictors round down, so that a
            rounding error of one value in a million may change a code and with it a mask; ``output_error`` is then
            larger, though every layer is right.
        changed_gates: How many gates that were.
        output_error_same_masks: The largest error of the network's output if the module takes onnxruntime's masks; the
            same as ``output_error`` where none changed.

    Source: docs/how-to/export.md, What is checked before a file is kept.
    """

    images: int
    worst_layer: str
    worst_error: float
    output_error: float
    agreeing: int
    changed_images: int
    changed_gates: int
    output_error_same_masks: float

    def summary(self) -> str:
        """One line for people."""
        text = (
            f"checked on {self.images} images: output off by {self.output_error:.1e} of its largest value, "
            f"{self.agreeing} of {self.images} within {TOLERANCE:.0e}; worst layer {self.worst_layer} "
            f"off by {self.worst_error:.1e}"
        )
        if not self.changed_gates:
            return text
        return (
            f"{text}; rounding changed {self.changed_gates} gates on {self.changed_images} images, under the same "
            f"masks the output is off by {self.output_error_same_masks:.1e}"
        )


Masks = dict[str, tuple[Tensor, Tensor]]
"""Both masks of every predicted block ``[N, M, H, W]``, booleans, by the block's name."""


def check_images(network: Network, count: int = 2, seed: int = 0) -> Float32Array:
    """Random normalised images ``[N, C, H, W]``, ``count`` images drawn with ``seed``, float32.

    Source: docs/how-to/export.md, What is checked before a file is kept.
    """
    return np.random.default_rng(seed).normal(size=(count, *network.input_shape)).astype(np.float32)


def relative_error(got: FloatArray, wanted: FloatArray, inputs: float = 0.0) -> float:
    """Largest difference relative to the largest wanted magnitude; infinite where ``got`` is not finite.

    Args:
        got: What a runtime gave, of any shape.
        wanted: What it should have given, same shape.
        inputs: Largest magnitude the values were computed from, in the unit of ``got`` (0: not known): results below a
            share of 1e-6 of it are rounding errors around 0 and are compared with that share.

    Source: docs/how-to/export.md, What is checked before a file is kept.
    """
    if not np.isfinite(got).all():
        return float("inf")
    largest = max(float(np.abs(wanted).max()), 1e-6 * inputs, float(np.finfo(np.float32).tiny))
    return float(np.abs(got - wanted).max()) / largest


def check_onnx(
    network: Network, form: Form, path: Path, images: FloatArray | None = None, precision: Precision = "float32"
) -> ExportCheck:
    """Compare the ONNX file at ``path`` with the network it was made from.

    Args:
        network: The network.
        form: The form it was exported in.
        path: The file.
        images: ``[N, C, H, W]``, normalised; random ones if not given.
        precision: The precision it was exported in.

    Raises:
        InputError: ``onnx`` or ``onnxruntime`` is not installed.
        PredfuseError: The file uses operators outside the standard set, onnxruntime refuses it, a layer is off by more
            than ``TOLERANCE``, or the output is, under the masks onnxruntime decided on.

    Source: docs/how-to/export.md, What is checked before a file is kept.
    """
    require_onnx("onnxruntime")
    import onnx

    given = check_images(network) if images is None else images.astype(np.float32)
    model = onnx.load(path)
    _require_standard(model, network)
    scores = _run(model, network, given)[network.output]
    module = to_module(network, form, precision).double()
    compared = [node.output[0] for node in model.graph.node if node.op_type == "Greater"]
    inner = [*(node.name for node in network.nodes[:-1]), *compared]
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in inner)
    values = _run(model, network, given)
    errors = _layer_errors(module, values)
    worst = max(errors, key=errors.__getitem__)
    _require_close(worst, errors[worst])
    decided = _decided_masks(module, [torch.from_numpy(values[name]) for name in compared])
    wanted, masks = _forward(module, given)
    guided, _ = _forward(module, given, decided)
    same_masks_error = max(_output_errors(scores, guided))
    _require_close(network.output, same_masks_error)
    errors_by_image = _output_errors(scores, wanted)
    changed = _changed_gates(decided, masks, len(given))
    agreeing = sum(error <= TOLERANCE for error in errors_by_image)
    if agreeing < len(given):
        what = "%s: rounding changes %d gates on %d of %d images, the outputs of %d are off by up to %.1e"
        figures = (changed.sum(), (changed > 0).sum(), len(given), len(given) - agreeing, max(errors_by_image))
        log.warning(what, network.name, *figures)
    return ExportCheck(
        images=len(given),
        worst_layer=worst,
        worst_error=errors[worst],
        output_error=max(errors_by_image),
        agreeing=agreeing,
        changed_images=int((changed > 0).sum()),
        changed_gates=int(changed.sum()),
        output_error_same_masks=same_masks_error,
    )


def _require_close(layer: str, error: float) -> None:
    if not error <= TOLERANCE:
        what = f"onnxruntime gives values off by {error:.1e} of the largest, more than {TOLERANCE:.0e}"
        raise PredfuseError(f"layer {layer}: {what}")


def _output_errors(scores: FloatArray, wanted: Tensor) -> list[float]:
    """Relative error of every image's output."""
    return [relative_error(got, of_image) for got, of_image in zip(scores, wanted.numpy(), strict=True)]


def _decided_masks(module: NetworkModule, compared: list[Tensor]) -> Masks:
    """The masks by block, out of the results of a file's comparisons: only predictors compare, twice a block."""
    gated = [
        node.name
        for node, layer in zip(module.graph.nodes, module.layers, strict=True)
        if isinstance(layer, GatedBlock)
    ]
    return {name: (first, second) for name, first, second in zip(gated, compared[::2], compared[1::2], strict=True)}


def _forward(module: NetworkModule, images: FloatArray, given: Masks | None = None) -> tuple[Tensor, Masks]:
    """Output of the module for float32 images, under its own masks or given ones, and its own masks."""
    masks: Masks = {}
    names = dict(zip(module.layers, (node.name for node in module.graph.nodes), strict=True))

    def call(layer: nn.Module, *inputs: Tensor) -> Tensor:
        if isinstance(layer, GatedBlock):
            name = names[layer]
            masks[name] = layer.gates(inputs[0])
            return layer.gated(inputs[0], *(given or masks)[name])
        result: Tensor = layer(*inputs)
        return result

    with torch.no_grad():
        return module.run(torch.from_numpy(images).double(), call), masks


def _changed_gates(decided: Masks, wanted: Masks, images: int) -> Int64Array:
    """How many gates of every image differ, ``[N]``."""
    changed = np.zeros(images, np.int64)
    for name, pair in decided.items():
        for got, expected in zip(pair, wanted[name], strict=True):
            changed += (got != expected).flatten(1).sum(1).numpy()
    return changed


def _layer_errors(module: NetworkModule, values: dict[str, FloatArray]) -> dict[str, float]:
    """Error of every layer, given the inputs onnxruntime gave it."""
    errors: dict[str, float] = {}
    tensors = {name: torch.from_numpy(value).double() for name, value in values.items()}
    with torch.no_grad():
        for node, layer in zip(module.graph.nodes, module.layers, strict=True):
            wanted = layer(*(tensors[source] for source in node.inputs)).numpy()
            largest = max(float(np.abs(values[source]).max()) for source in node.inputs)
            errors[node.name] = relative_error(values[node.name].reshape(wanted.shape), wanted, largest)
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


def _run(model: onnx.ModelProto, network: Network, images: FloatArray) -> dict[str, FloatArray]:
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
