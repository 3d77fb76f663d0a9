"""How far a measured accuracy can be from the true one: intervals over images and over seeds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from predfuse import zoo
from predfuse.training.runs import Checkpoint


@dataclass(frozen=True)
class Accuracy:
    """Accuracy on the whole test set, as training measured it.

    Attributes:
        share: Mean over the seeds, 0..1.
        low: Lower end of the 95 % intervals of all seeds.
        high: Their upper end.
        seeds: Trainings by the same recipe that are known.
        images: Of the test set.
    """

    share: float
    low: float
    high: float
    seeds: int
    images: int

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def wilson_interval(share: float, count: int) -> tuple[float, float]:
    """95 % confidence interval of a share observed in ``count`` independent trials (Wilson 1927)."""
    z = 1.96
    centre = (share + z * z / (2 * count)) / (1 + z * z / count)
    half = z / (1 + z * z / count) * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    return max(0.0, centre - half), min(1.0, centre + half)


def over_seeds(shares: Sequence[float], images: int) -> Accuracy:
    """Mean and interval of the accuracies that several seeds reached on as many images each."""
    bounds = [wilson_interval(share, images) for share in shares]
    low, high = min(low for low, _ in bounds), max(high for _, high in bounds)
    return Accuracy(sum(shares) / len(shares), low, high, len(shares), images)


def tested(checkpoint: Checkpoint) -> Accuracy | None:
    """What a checkpoint and those of other seeds in the zoo reached in training; None where that is not known."""
    share, images = (checkpoint.metadata.get(key) for key in ("test_accuracy", "test_images"))
    if share is None or not images:
        return None
    known = zoo.stages()
    own = [
        stage for stage in known if (zoo.root() / stage.run, stage.stage) == (checkpoint.path.parent, checkpoint.stage)
    ]
    same = [stage for stage in known if own and (stage.recipe, stage.stage) == (own[0].recipe, own[0].stage)]
    return over_seeds([stage.test_accuracy for stage in same] or [float(share)], int(images))
