"""What the predictors of a run err by, stage by stage."""

from __future__ import annotations

from pathlib import Path

import torch

from predfuse import data
from predfuse.errors import InputError
from predfuse.predictor.errors import BlockErrors, predictor_errors
from predfuse.training.checkpoint import load_checkpoint
from predfuse.training.images import Normaliser
from predfuse.zoo.catalogue import folder

STAGES = ("pruned", "ternary", "layerwise", "predicted-joint", "predicted-frozen")


def run_errors(run: str, images: int, root: Path | None = None) -> dict[str, list[BlockErrors]]:
    """The errors of every block by stage, for the first test images of the data the run was trained on.

    Args:
        run: Name in the zoo, or folder of a run.
        images: How many.
        root: Folder of the data set; default: the usual places.

    Raises:
        InputError: No pruned or predicted network in the folder, or unusable data.
    """
    where = folder(run)
    paths = {stage: path for stage in STAGES if (path := where / f"{stage}.safetensors").is_file()}
    if not paths:
        raise InputError(run, "holds no pruned or predicted network", "name a run of predfuse zoo, or a run's folder")
    found, test = {}, None
    for stage, path in paths.items():
        model, facts = load_checkpoint(path)
        if test is None:  # all stages of a run have the same data
            test = data.load(str(facts["data"]), "test", root=root, limit=images)
            normalise = Normaliser(tuple(facts["mean"]), tuple(facts["std"]), torch.device("cpu"))
            pictures = normalise(torch.from_numpy(test.images))
        bits = facts["config"]["predict"]["bits"] if facts["config"].get("predict") else 4
        found[stage] = predictor_errors(model, pictures, bits)
    return found
