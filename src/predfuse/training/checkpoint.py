"""Checkpoints: a network's tensors as safetensors, everything else as JSON in the file's metadata; no pickle."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from predfuse import models
from predfuse.errors import InputError
from predfuse.input_checks import require_labels, require_normalisation
from predfuse.models.from_graph import rebuilt
from predfuse.models.layers import Cnn
from predfuse.predictor.format import PredictorFormat
from predfuse.predictor.initialise import attach_empty_predictors
from predfuse.readers.boundary import located
from predfuse.readers.documents import validated
from predfuse.tensor_file import load_tensor_file, save_tensor_file
from predfuse.training.pruning import make_shifts_prunable, prunable_shifts

FORMAT = "predfuse-checkpoint"
VERSION = 2
"""2: in the one form of all files, with a checksum (1 had none)."""
RETRAIN = "check the path or train it again"
LARGEST = 1e18
"""Largest value of a weight, statistic or state; squares of larger ones overflow."""


def write_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, Any]) -> None:
    """Write tensors and JSON metadata to one file with a checksum, atomically (see :mod:`predfuse.tensor_file`)."""
    plain = {name: tensor.detach().cpu().numpy() for name, tensor in tensors.items()}
    save_tensor_file(path, FORMAT, VERSION, json.loads(json.dumps(metadata)), plain)


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read what :func:`write_tensors` wrote.

    Raises:
        InputError: Missing, truncated or corrupt file, or one of another format or version.
    """
    file = load_tensor_file(path, FORMAT, VERSION)
    return {name: torch.from_numpy(array) for name, array in file.tensors.items()}, file.document


class _Facts(BaseModel):
    """What a checkpoint has to say for a network to be built from it, where it says it at all."""

    model_config = ConfigDict(extra="allow", strict=True, allow_inf_nan=False)

    architecture: str
    options: dict[str, Any] = {}
    bits: int | None = None
    shifts: Literal["pruned"] | None = None
    stage: str = ""
    data: str = ""
    test_accuracy: float = Field(0.0, ge=0, le=1)
    mean: list[float] = []
    std: list[float] = []
    labels: list[str] = []
    config: dict[str, Any] = {}


def save_checkpoint(path: Path, model: Cnn, metadata: Mapping[str, Any]) -> None:
    """Save a network with enough metadata to build it again (``architecture``, ``options``, ``bits``, ...)."""
    predictors = [block.predictor for _, block in model.bottlenecks() if block.predictor is not None]
    description = {
        "architecture": model.architecture,
        "options": model.options,
        **(asdict(predictors[0].format) if predictors else {"bits": None}),
        **({"shifts": "pruned"} if prunable_shifts(model) else {}),
        **metadata,
    }
    write_tensors(path, model.state_dict(), description)


def load_checkpoint(path: Path, architecture: str | None = None) -> tuple[Cnn, dict[str, Any]]:
    """Rebuild the network a checkpoint holds, in evaluation mode.

    Args:
        path: The safetensors file.
        architecture: Registry name it must be of, if given.

    Raises:
        InputError: Unusable file (see :func:`read_tensors`), another network than expected, tensors that are missing,
            surplus, of another shape, or not finite.
    """
    tensors, metadata = read_tensors(path)
    facts = validated(_Facts, metadata, str(path), RETRAIN)
    name = facts.architecture
    of_graph = "graph" in facts.options
    if name not in models.names() and not of_graph:
        raise InputError(str(path), f"holds the unknown network {name!r}", "use a matching predfuse")
    if architecture is not None and name != architecture:
        raise InputError(str(path), f"holds {name}, not {architecture}", f"name a checkpoint of {architecture}")
    with located(path):
        model = rebuilt(name, facts.options) if of_graph else models.build_from(name, facts.options)
    require_normalisation(str(path), facts.mean, facts.std, model.input_shape[0])
    classes = model.options.get("num_classes")
    require_labels(str(path), facts.labels, classes if isinstance(classes, int) else 0)
    if metadata.get("shifts") == "pruned":
        make_shifts_prunable(model)
    if metadata.get("bits"):
        known = {field.name: metadata[field.name] for field in fields(PredictorFormat) if field.name in metadata}
        with located(path):
            attach_empty_predictors(model, PredictorFormat(**known))
    fill(model, tensors, str(path))
    model.eval()
    return model, metadata


def fill(model: torch.nn.Module, tensors: Mapping[str, Tensor], where: str) -> None:
    """Copy tensors into a model of exactly these names and shapes.

    Raises:
        InputError: Naming the first tensor that does not fit.
    """
    wanted = model.state_dict()
    for name, tensor in wanted.items():
        if name not in tensors:
            raise InputError(where, f"lacks the tensor {name}", RETRAIN)
        if tensors[name].shape != tensor.shape:
            shapes = f"{tuple(tensors[name].shape)} instead of {tuple(tensor.shape)}"
            raise InputError(where, f"{name} has shape {shapes}", "use a checkpoint of this very network")
        if tensors[name].dtype != tensor.dtype:
            types = f"{tensors[name].dtype}, not {tensor.dtype}".replace("torch.", "")
            raise InputError(where, f"{name} holds {types}", "use a checkpoint of this very network")
        if tensors[name].is_floating_point() and not tensors[name].isfinite().all():
            raise InputError(where, f"{name} holds NaN or infinite values", RETRAIN)
        if tensors[name].is_floating_point() and bool((tensors[name].abs() > LARGEST).any()):
            raise InputError(where, f"{name} holds values above {LARGEST:.0e}", RETRAIN)
        if name.endswith(("running_var", "num_batches_tracked")) and bool((tensors[name] < 0).any()):
            raise InputError(where, f"{name} is negative", RETRAIN)
    for name in tensors:
        if name not in wanted:
            raise InputError(where, f"holds the unknown tensor {name}", "use a checkpoint of this very network")
    model.load_state_dict(dict(tensors))
