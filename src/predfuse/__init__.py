"""Predictive layer fusion for CNNs: from a trainable PyTorch model to an accelerator that runs it bit for bit.

predfuse.prepare(model, predfuse.PrepareConfig(), images)    # predictors, in place; then train as before
program = predfuse.compile(model, images)                     # integers, fused blocks
result = predfuse.simulate(program, "archon-ics21")           # cycles and energy of one image
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from predfuse.api import compile, simulate
    from predfuse.integer import run_program as run
    from predfuse.predictor.layerwise import layerwise_loss
    from predfuse.predictor.prepare import PrepareConfig, predictor_parameters, prepare, to_network

__version__ = "0.1.0"

__all__ = [
    "PrepareConfig",
    "__version__",
    "compile",
    "layerwise_loss",
    "predictor_parameters",
    "prepare",
    "run",
    "simulate",
    "to_network",
]

_HOMES = {
    "PrepareConfig": ("predfuse.predictor.prepare", "PrepareConfig"),
    "compile": ("predfuse.api", "compile"),
    "layerwise_loss": ("predfuse.predictor.layerwise", "layerwise_loss"),
    "predictor_parameters": ("predfuse.predictor.prepare", "predictor_parameters"),
    "prepare": ("predfuse.predictor.prepare", "prepare"),
    "run": ("predfuse.integer", "run_program"),
    "simulate": ("predfuse.api", "simulate"),
    "to_network": ("predfuse.predictor.prepare", "to_network"),
}


def __getattr__(name: str) -> Any:
    """Import a verb when it is first used: ``import predfuse`` stays quick."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, attribute = _HOMES[name]
    return getattr(importlib.import_module(module), attribute)
