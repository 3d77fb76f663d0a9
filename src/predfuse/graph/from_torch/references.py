"""``package.module:function``: the user's own model, with weights from a safetensors file, ready to be traced."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from predfuse.errors import InputError, PredfuseError
from predfuse.graph.from_torch import TraceResult, trace
from predfuse.graph.reference_name import is_reference
from predfuse.readers.arrays import require_header
from predfuse.readers.boundary import is_file, reading

CONVERSION = (
    "convert it where you trust it: python -c \"import torch, safetensors.torch as s; d = torch.load('IN', "
    "weights_only=True); s.save_file({k: v.clone().contiguous() for k, v in d.items()}, 'OUT.safetensors')\""
)
_PICKLES = (".pt", ".pth", ".ckpt", ".bin", ".pkl", ".pickle")


def load_module(reference: str, weights: Path | None = None) -> nn.Module:
    """Call ``package.module:function`` without arguments; it must give a module (a module, or its class, do too).

    The working folder is searched first, as Python does. The user's code runs: only name code you trust.

    Args:
        reference: ``package.module:function``.
        weights: State dictionary to load, safetensors.

    Raises:
        InputError: No such module or function, it fails or gives something else, or the weights do not fit.
    """
    where = f"source {reference!r}"
    if not is_reference(reference):
        raise InputError(where, "is no reference to a function", "write package.module:function")
    name, _, path = reference.rpartition(":")
    target = _import(where, name)
    for attribute in path.split("."):
        if not hasattr(target, attribute):
            raise InputError(where, f"{name} has no {path}", "check the spelling")
        target = getattr(target, attribute)
    model = target
    if not isinstance(target, nn.Module):
        if not callable(target):
            raise InputError(where, f"is a {type(target).__name__}", "name a function that returns a torch.nn.Module")
        try:
            with torch.random.fork_rng(devices=[]):  # random weights are the same on every run
                torch.manual_seed(0)
                model = target()
        except PredfuseError:
            raise
        except Exception as error:
            what = f"fails when called without arguments ({type(error).__name__}: {error})"
            raise InputError(where, what, "name a function without required arguments") from error
    if not isinstance(model, nn.Module):
        raise InputError(where, f"gives a {type(model).__name__}", "return a torch.nn.Module")
    if weights is not None:
        load_weights(model, weights)
    return model


def _import(where: str, name: str) -> object:
    folder = str(Path.cwd())
    if folder not in sys.path:
        sys.path.insert(0, folder)
    try:
        return importlib.import_module(name)
    except Exception as error:
        what = f"cannot import {name} ({type(error).__name__}: {error})"
        raise InputError(where, what, "check the name, or run where it can be imported") from error


def load_weights(model: nn.Module, path: Path) -> None:
    """Fill a module from a safetensors file whose names and shapes are those of its state dictionary.

    Raises:
        InputError: The file is missing, a pickle, corrupt, or does not fit; names the first tensor that does not.
    """
    where = str(path)
    if path.suffix in _PICKLES:
        raise InputError(where, "is a pickle, which can run any code when it is read", CONVERSION)
    if not is_file(path):
        raise InputError(where, "does not exist", "check the path")
    require_header(path)
    with reading(where, "is no intact safetensors file", "make it again, or convert it"):
        tensors = load_file(path)
    wanted = model.state_dict()
    for name, tensor in wanted.items():
        if name not in tensors:
            if name.endswith("num_batches_tracked"):  # a counter old files lack and evaluation ignores
                tensors[name] = tensor
                continue
            raise InputError(where, f"lacks the tensor {name}", "give the weights of this very model")
        if tensors[name].shape != tensor.shape:
            shapes = f"{tuple(tensors[name].shape)} instead of {tuple(tensor.shape)}"
            raise InputError(where, f"{name} has shape {shapes}", "give the weights of this very model")
        if tensors[name].is_floating_point() and not bool(tensors[name].isfinite().all()):
            raise InputError(where, f"{name} holds NaN or infinite values", "repair or retrain the weights")
    unknown = sorted(tensors.keys() - wanted.keys())
    if unknown:
        raise InputError(where, f"holds the unknown tensor {unknown[0]}", "give the weights of this very model")
    model.load_state_dict(tensors)


def example_input(model: nn.Module, shape: tuple[int, int, int, int]) -> Tensor:
    """Normally distributed images in the type and on the device of the model's parameters."""
    parameter = next((p for p in model.parameters() if p.is_floating_point()), torch.empty(0))
    images = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    return images.to(dtype=parameter.dtype, device=parameter.device)


def trace_reference(
    reference: str,
    weights: Path | None = None,
    shape: tuple[int, int, int, int] | None = None,
    *,
    allow_unsupported: bool = False,
) -> TraceResult:
    """Load and trace ``package.module:function``.

    Args:
        reference: See :func:`load_module`.
        weights: See :func:`load_module`.
        shape: ``(N, C, H, W)`` of its input.
        allow_unsupported: See :func:`predfuse.graph.from_torch.trace`.

    Raises:
        InputError: As of :func:`load_module` and :func:`predfuse.graph.from_torch.trace`, or the shape is missing.
    """
    if shape is None:
        raise InputError(f"source {reference!r}", "needs an input shape", "give --input, e.g. --input 1,3,224,224")
    model = load_module(reference, weights)
    return trace(model, example_input(model, shape), allow_unsupported=allow_unsupported, name=reference)
