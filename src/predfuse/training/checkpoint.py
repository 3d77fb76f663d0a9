"""Checkpoints: a network's tensors as safetensors, everything else as JSON in the file's metadata; no pickle."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from predfuse import models
from predfuse.errors import InputError
from predfuse.files import write_atomically
from predfuse.models.layers import Cnn
from predfuse.predictor.format import PredictorFormat
from predfuse.predictor.initialise import attach_empty_predictors
from predfuse.training.pruning import make_shifts_prunable, prunable_shifts

FORMAT = "predfuse-checkpoint"
VERSION = 1
RETRAIN = "check the path or train it again"


def write_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, Any]) -> None:
    """Write tensors and JSON metadata to one file, atomically."""
    plain = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    header = {"predfuse": json.dumps({"format": FORMAT, "version": VERSION, **metadata}, sort_keys=True)}
    write_atomically(path, lambda temporary: save_file(plain, temporary, metadata=header))


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read what :func:`write_tensors` wrote.

    Raises:
        InputError: Missing, truncated or corrupt file, or one of another format or version.
    """
    where = str(path)
    if not path.is_file():
        raise InputError(where, "does not exist", RETRAIN)
    try:
        with safe_open(path, framework="pt") as file:
            header = (file.metadata() or {}).get("predfuse")
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
    except (SafetensorError, OSError, RuntimeError, ValueError) as error:
        raise InputError(where, f"is truncated or corrupt ({error})", RETRAIN) from error
    try:
        metadata = json.loads(header) if header else {}
    except ValueError as error:
        raise InputError(where, "has corrupt metadata", RETRAIN) from error
    if not isinstance(metadata, dict) or metadata.get("format") != FORMAT:
        raise InputError(where, "is not a predfuse checkpoint", "name a file written by predfuse train")
    if metadata.get("version") != VERSION:
        raise InputError(where, f"has version {metadata.get('version')}, not {VERSION}", "use a matching predfuse")
    return tensors, metadata


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
    name = metadata.get("architecture")
    if not isinstance(name, str) or name not in models.names():
        raise InputError(str(path), f"holds the unknown network {name!r}", "use a matching predfuse")
    if architecture is not None and name != architecture:
        raise InputError(str(path), f"holds {name}, not {architecture}", f"name a checkpoint of {architecture}")
    model = models.build(name, **metadata.get("options", {}))
    if metadata.get("shifts") == "pruned":
        make_shifts_prunable(model)
    if metadata.get("bits"):
        known = {field.name: metadata[field.name] for field in fields(PredictorFormat) if field.name in metadata}
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
        if tensors[name].is_floating_point() and not tensors[name].isfinite().all():
            raise InputError(where, f"{name} holds NaN or infinite values", RETRAIN)
    for name in tensors:
        if name not in wanted:
            raise InputError(where, f"holds the unknown tensor {name}", "use a checkpoint of this very network")
    model.load_state_dict(dict(tensors))
