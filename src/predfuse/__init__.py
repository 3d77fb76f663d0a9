"""Predictive layer fusion for CNNs: from a trainable PyTorch model to an accelerator that runs it bit for bit.

predfuse.prepare(model, predfuse.PrepareConfig(), images)         # predictors, in place; then train as before
program = predfuse.compile(model, images)                          # integers, fused blocks
result = predfuse.simulate(program, "archon", "cycle", images)     # cycles and energy, image by image
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from predfuse.api import analyze, compile, count, export, load, run, simulate, trace
    from predfuse.predictor.layerwise import layerwise_loss
    from predfuse.predictor.prepare import PrepareConfig, predictor_parameters, prepare, to_network
    from predfuse.pruning.prune import PruneConfig, prune

__version__ = "0.2.0"

__all__ = [
    "PrepareConfig",
    "PruneConfig",
    "__version__",
    "analyze",
    "compile",
    "count",
    "export",
    "layerwise_loss",
    "load",
    "predictor_parameters",
    "prepare",
    "prune",
    "run",
    "simulate",
    "to_network",
    "trace",
]

_HOMES = {
    **dict.fromkeys(("analyze", "compile", "count", "export", "load", "run", "simulate", "trace"), "predfuse.api"),
    **dict.fromkeys(("PrepareConfig", "predictor_parameters", "prepare", "to_network"), "predfuse.predictor.prepare"),
    "layerwise_loss": "predfuse.predictor.layerwise",
    **dict.fromkeys(("PruneConfig", "prune"), "predfuse.pruning.prune"),
}


def __getattr__(name: str) -> Any:
    """Import a verb when it is first used: ``import predfuse`` stays quick."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
