"""Where a run computes: the processor, or a GPU of PyTorch's ``cuda`` kind, in 32-bit floats and deterministically."""

from __future__ import annotations

import os

import torch

from predfuse.errors import InputError

DEVICES = ("auto", "cpu", "cuda")


def choose_device(name: str) -> torch.device:
    """The device called ``"cpu"``, ``"cuda"``, or ``"auto"``: a GPU if there is one.

    On a GPU this makes every operation deterministic, compiled kernels too (they choose how to sum by rule then, not by
    timing), so that an interrupted run goes on to the same weights, and keeps convolutions and products in full 32-bit
    floats: a predictor's integers are exact only there.

    Raises:
        InputError: Unknown name, or no GPU.
    """
    if name not in DEVICES:
        raise InputError(f"device {name!r}", "is unknown", f"use one of {', '.join(DEVICES)}")
    if name == "cpu" or (name == "auto" and not torch.cuda.is_available()):
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise InputError("device cuda", "PyTorch sees no GPU here", "use cpu, or install PyTorch for your GPU")
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read when the first product is computed
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cuda.matmul.allow_tf32 = False
    return torch.device("cuda")


def describe(device: torch.device) -> str:
    """``"cpu"``, or the GPU's name."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
