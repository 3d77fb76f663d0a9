"""What the predictors of a run err by, stage by stage."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from predfuse import data
from predfuse.errors import InputError
from predfuse.predictor.errors import BlockErrors, predictor_errors
from predfuse.predictor.format import PUBLISHED_FORMAT, PredictorFormat
from predfuse.training.augment import Normaliser
from predfuse.training.checkpoint import load_checkpoint
from predfuse.zoo.catalogue import folder

STAGES = ("pruned", "layerwise", "predicted-joint", "predicted-frozen")


def run_errors(
    run: str, images: int, root: Path | None = None, largest_weight: int | None = None
) -> tuple[PredictorFormat, dict[str, list[BlockErrors]]]:
    """The errors of every block by stage, for the first test images of the data the run was trained on.

    Args:
        run: Name in the zoo, or folder of a run.
        images: How many.
        root: Folder of the data set; default: the usual places.
        largest_weight: Of the predictors made of the blocks' weights; default: as the run's own.

    Returns:
        The format of the predictors made of the blocks' weights, and the errors.

    Raises:
        InputError: No pruned or predicted network in the folder, or unusable data.
    """
    where = folder(run)
    paths = {stage: path for stage in STAGES if (path := where / f"{stage}.safetensors").is_file()}
    if not paths:
        raise InputError(run, "holds no pruned or predicted network", "name a run of predfuse zoo, or a run's folder")
    loaded = {stage: load_checkpoint(path) for stage, path in paths.items()}
    blocks = [block for model, _ in loaded.values() for _, block in model.bottlenecks()]
    made = next((block.predictor.format for block in blocks if block.predictor is not None), PUBLISHED_FORMAT)
    if largest_weight is not None:
        made = replace(made, largest_weight=largest_weight)
    facts = next(iter(loaded.values()))[1]  # all stages of a run have the same data
    test = data.load(str(facts["data"]), "test", root=root, limit=images)
    normalise = Normaliser(tuple(facts["mean"]), tuple(facts["std"]), torch.device("cpu"))
    pictures = normalise(torch.from_numpy(test.images))
    return made, {stage: predictor_errors(model, pictures, made) for stage, (model, _) in loaded.items()}
