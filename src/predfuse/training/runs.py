"""What a finished training run is: its checkpoints as networks, its log, and the test images of its data set.

A folder as ``predfuse train`` leaves it holds ``vanilla.safetensors``, ``pruned.safetensors``,
``predicted-joint.safetensors`` or ``predicted-frozen.safetensors`` (the more accurate one is taken), ``config.yaml``
and ``log.jsonl``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from predfuse import data, models
from predfuse.data import Dataset
from predfuse.errors import InputError
from predfuse.graph.nodes import Network
from predfuse.models.layers import Cnn
from predfuse.readers.boundary import is_file
from predfuse.readers.documents import read_json_lines
from predfuse.training.checkpoint import load_checkpoint
from predfuse.training.config import load_config
from predfuse.zoo import catalogue

SHIPPED_TEST_IMAGES = 1000
"""So many of the test images of Fashion-MNIST ship with the package."""


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """One network of a training run.

    Attributes:
        path: Its file.
        stage: ``vanilla``, ``pruned``, ``predicted-joint``, ...
        network: The network, lowered.
        metadata: What the training wrote beside the weights.
    """

    path: Path
    stage: str
    network: Network
    metadata: dict[str, Any]

    @property
    def name(self) -> str:
        """Of the network, with its width where that is not 1, and its tail where that is pruned."""
        return catalogue.full_name(self.network.name, self.metadata.get("options", {}), self.metadata)

    @property
    def label(self) -> str:
        """Network and stage: what tables call it."""
        return f"{self.name}, {self.stage}"


@dataclass(frozen=True, eq=False)
class TrainedRun:
    """The checkpoints of one training run.

    Attributes:
        folder: Where they lie.
        vanilla: Trained without any modification.
        pruned: The network after pruning, most weights zero.
        predicted: The network with predictors; None where the run has none.
        history: The lines of its log that state a test accuracy; empty where there are none.
    """

    folder: Path
    vanilla: Checkpoint
    pruned: Checkpoint
    predicted: Checkpoint | None
    history: tuple[dict[str, Any], ...]

    def test_images(self, count: int, root: Path | None = None) -> Dataset:
        """The first test images of the data set it was trained on, in the size it was trained on.

        Args:
            count: How many images; up to 1,000 of Fashion-MNIST ship with the package.
            root: Folder of data sets; default: that of the training if it is there, else the usual places.

        Raises:
            InputError: The checkpoint does not name its data, or the data is not there.
        """
        facts = self.vanilla.metadata
        name, source = facts.get("data"), facts.get("config", {}).get("data", {})
        if not isinstance(name, str):
            raise InputError(str(self.vanilla.path), "does not say which data it was trained on", "train it again")
        if name == "fashion-mnist" and count <= SHIPPED_TEST_IMAGES:
            return data.load("fashion-mnist-1000", "test", limit=count)
        trained_from = Path(source.get("root") or "missing")
        root = root or (trained_from if trained_from.is_dir() else None)
        return data.load(name, "test", root=root, limit=count, size=source.get("size"))


def load_run(folder: Path | str, predictor: bool) -> TrainedRun:
    """Load the checkpoints of a training run.

    Args:
        folder: As ``predfuse train`` leaves it, or the name of a run in the zoo.
        predictor: Whether a predicted stage is needed.

    Raises:
        InputError: The folder or a checkpoint is missing, unusable, or of another network than the vanilla one.
    """
    folder = catalogue.folder(folder)
    if not folder.is_dir():
        mend = "name the output folder of predfuse train, or one that predfuse zoo lists"
        raise InputError(str(folder), "is no folder of a training run", mend)
    vanilla = _checkpoint(_vanilla_of(folder))
    architecture = str(vanilla.metadata["architecture"])
    pruned = _checkpoint(folder / "pruned.safetensors", architecture)
    predicted = None
    if predictor:
        paths = sorted(folder.glob("predicted-*.safetensors"))
        if not paths:
            what = "holds no predicted-*.safetensors"
            raise InputError(str(folder), what, "train it with a predict: section in the configuration")
        candidates = [_checkpoint(path, architecture) for path in paths]
        predicted = max(candidates, key=lambda candidate: float(candidate.metadata.get("test_accuracy", 0)))
        if any(block.predictor is None for block in predicted.network.bottlenecks()):
            raise InputError(str(predicted.path), "has a block without a predictor", "train the predict stage again")
    return TrainedRun(folder, vanilla, pruned, predicted, _history(folder / "log.jsonl"))


def _vanilla_of(folder: Path) -> Path:
    """The vanilla checkpoint of a run; of one in the zoo that was pruned from the network of another, that one's."""
    own = folder / "vanilla.safetensors"
    if not own.exists() and (folder / catalogue.CARD).is_file():
        config = load_config(folder / "config.yaml")
        return catalogue.shipped_vanilla(config.recipe("vanilla"), config.seed_of("vanilla")) or own
    return own


def require_same_data(run: TrainedRun, rival: TrainedRun) -> None:
    """Check that two training runs can be compared.

    Raises:
        InputError: They were trained on different data.
    """
    if not same_data(run, rival):
        what = f"was trained on {rival.vanilla.metadata.get('data')}, not {run.vanilla.metadata.get('data')}"
        raise InputError(str(rival.folder), what, "name a run on the same data (--against)")


def same_data(run: TrainedRun, rival: TrainedRun) -> bool:
    """Whether two training runs saw the same data set."""
    return run.vanilla.metadata.get("data") == rival.vanilla.metadata.get("data")


def network_of(path: Path) -> Network:
    """The graph of a checkpoint's network, with its normalisation and labels."""
    return _checkpoint(path).network


def _checkpoint(path: Path, architecture: str | None = None) -> Checkpoint:
    model, metadata = load_checkpoint(path, architecture)
    return Checkpoint(path, str(metadata.get("stage", path.stem)), _lowered(model, metadata), metadata)


def trained_size(metadata: Mapping[str, Any]) -> int | None:
    """Side in pixels that the pictures of an image folder were resampled to for training; None: they were not."""
    size = metadata.get("config", {}).get("data", {}).get("size")
    return size if isinstance(size, int) else None


def _lowered(model: Cnn, metadata: Mapping[str, Any]) -> Network:
    known = {key: metadata[key] for key in ("stage", "data", "test_accuracy") if key in metadata}
    size = trained_size(metadata)
    return models.to_network(
        model,
        name=model.architecture,
        mean=tuple(metadata.get("mean", ())),
        std=tuple(metadata.get("std", ())),
        labels=tuple(metadata.get("labels", ())),
        metadata=known if size is None else {**known, "size": size},
    )


def _history(path: Path) -> tuple[dict[str, Any], ...]:
    if not is_file(path):
        return ()
    lines = read_json_lines(path, mend="remove it or train again")
    return tuple(line for line in lines if "test_accuracy" in line)
