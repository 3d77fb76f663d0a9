"""The trained networks that ship with the package: one folder per training run, and what is known about each.

A folder holds the run's ``config.yaml`` and ``log.jsonl`` as ``predfuse train`` left them, a ``card.json`` with the
facts of every stage, and the checkpoints of the runs whose weights ship.
"""

from predfuse.zoo.catalogue import (
    ABLATION_RESULTS,
    check,
    folder,
    names,
    root,
    stages,
    summaries,
)

__all__ = [
    "ABLATION_RESULTS",
    "check",
    "folder",
    "names",
    "root",
    "stages",
    "summaries",
]
