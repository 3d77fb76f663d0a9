"""The demonstration: real images through a trained network plain, pruned, predicted and fused, and what each costs.

It reads folders as ``predfuse train`` leaves them: ``vanilla.safetensors``, ``pruned.safetensors``,
``predicted-joint.safetensors`` or ``predicted-frozen.safetensors`` (the more accurate one is taken), ``config.yaml``
and ``log.jsonl``. Two such folders ship with the package.
"""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from predfuse import data, zoo
from predfuse.data import Dataset
from predfuse.errors import InputError
from predfuse.fusion.counts import LayerCounts, NetworkCounts, Operations, count_network, multiplication_reductions
from predfuse.fusion.execute import plan_network, run_plan
from predfuse.fusion.masks import OFF
from predfuse.fusion.results import ExecutionResult, Mode
from predfuse.graph.nodes import Array, Bottleneck, Network
from predfuse.hardware.closed_form.compare import Comparison, compare_paper

if TYPE_CHECKING:
    from predfuse.experiments.compare import CompareResult

VariantName = Literal["vanilla", "pruned", "predicted", "fused"]
Progress = Callable[[str, int, int], None]
"""Called with what is being run, images done and images in all."""

SHIPPED_RUN = "fashion-mnist-fusionet-s"
SHIPPED_RIVAL = "fashion-mnist-mobilenetv2-s"
IMAGES = 1000
SIMULATED_IMAGES = 50
"""Images the accelerators are simulated on; schedules hardly depend on them."""


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


@dataclass(frozen=True, eq=False)
class TrainedRun:
    """The checkpoints of one training run.

    Attributes:
        folder: Where they lie.
        vanilla: Trained without any modification.
        pruned: The same with most weights zero.
        predicted: The same with predictors; None where the run has none.
        history: The lines of its log; empty where there is none.
    """

    folder: Path
    vanilla: Checkpoint
    pruned: Checkpoint
    predicted: Checkpoint | None
    history: tuple[dict[str, Any], ...]


@dataclass(frozen=True, eq=False)
class Variant:
    """One network run one way.

    Attributes:
        name: What the reports call it.
        checkpoint: What was run.
        result: Outputs and statistics.
        accuracy: On the images of the demonstration, 0..1.
        seconds: Wall-clock time of the run, statistics included.
    """

    name: VariantName
    checkpoint: Checkpoint
    result: ExecutionResult
    accuracy: float
    seconds: float

    @property
    def classes(self) -> Array:
        """``[N]`` the class every image was taken for."""
        return np.asarray(self.result.logits.argmax(axis=1))


@dataclass(frozen=True, eq=False)
class DemoResult:
    """Everything the demonstration measured.

    Attributes:
        dataset: The images.
        run: The fusible network's training run.
        rival: The compact competitor's.
        variants: The fusible network: vanilla, pruned, predicted, fused.
        rival_variants: The competitor: vanilla, pruned.
        counts: Operations of the predicted network, all ways of executing it, from the masks of these images.
        rival_counts: Operations of the pruned competitor.
        published_reductions: Dense multiplications per fused one of every block of the published FusioNet.
        machines: The competitor dense and pruned on machines made for that, the fusible network on Archon, by the
            closed forms of the paper.
        comparison: The same by simulation at cycle fidelity, on the first images only.
    """

    dataset: Dataset
    run: TrainedRun
    rival: TrainedRun
    variants: dict[VariantName, Variant]
    rival_variants: dict[VariantName, Variant]
    counts: NetworkCounts
    rival_counts: NetworkCounts
    published_reductions: dict[str, float]
    machines: Comparison
    comparison: CompareResult

    @property
    def fused_max_abs_difference(self) -> float:
        """Largest difference of any output between the predicted network run stage by stage and fused."""
        return float(np.abs(self.variants["fused"].result.logits - self.variants["predicted"].result.logits).max())


def shipped_run(name: str) -> Path:
    """The folder of a training run that ships with the package."""
    return zoo.folder(name)


def load_run(folder: Path, predictor: bool) -> TrainedRun:
    """Load the checkpoints of a training run.

    Args:
        folder: As ``predfuse train`` leaves it, or the name of a run in the zoo.
        predictor: Whether a predicted stage is needed.

    Raises:
        InputError: The folder or a checkpoint is missing, unusable, or of another network than the vanilla one.
    """
    folder = zoo.folder(folder)
    if not folder.is_dir():
        mend = "name the output folder of predfuse train, or one that predfuse zoo lists"
        raise InputError(str(folder), "is no folder of a training run", mend)
    vanilla = _load_checkpoint(folder / "vanilla.safetensors")
    architecture = str(vanilla.metadata["architecture"])
    pruned = _load_checkpoint(folder / "pruned.safetensors", architecture)
    predicted = None
    if predictor:
        paths = sorted(folder.glob("predicted-*.safetensors"))
        if not paths:
            what = "holds no predicted-*.safetensors"
            raise InputError(str(folder), what, "train it with a predict: section in the configuration")
        candidates = [_load_checkpoint(path, architecture) for path in paths]
        predicted = max(candidates, key=lambda candidate: float(candidate.metadata.get("test_accuracy", 0)))
        if any(block.predictor is None for block in predicted.network.bottlenecks()):
            raise InputError(str(predicted.path), "has a block without a predictor", "train the predict stage again")
    return TrainedRun(folder, vanilla, pruned, predicted, _read_history(folder / "log.jsonl"))


def require_same_data(run: TrainedRun, rival: TrainedRun) -> None:
    """Check that two training runs can be compared.

    Raises:
        InputError: They were trained on different data.
    """
    data_of_run, data_of_rival = run.vanilla.metadata.get("data"), rival.vanilla.metadata.get("data")
    if data_of_run != data_of_rival:
        what = f"was trained on {data_of_rival}, not {data_of_run}"
        raise InputError(str(rival.folder), what, "compare runs on the same data")


def _load_checkpoint(path: Path, architecture: str | None = None) -> Checkpoint:
    from predfuse.training.checkpoint import read_tensors
    from predfuse.training.run import network_of

    network = network_of(path, architecture)
    metadata = read_tensors(path)[1]
    return Checkpoint(path, str(metadata.get("stage", path.stem)), network, metadata)


def _read_history(path: Path) -> tuple[dict[str, Any], ...]:
    if not path.is_file():
        return ()
    try:
        lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, ValueError) as error:
        raise InputError(str(path), "is no JSON-lines log", "remove it or train again") from error
    return tuple(line for line in lines if isinstance(line, dict) and "test_accuracy" in line)


def demo_images(run: TrainedRun, count: int, root: Path | None = None) -> Dataset:
    """The first test images of the data set a run was trained on; up to 1,000 of Fashion-MNIST ship with the package.

    Args:
        run: The run.
        count: How many images.
        root: Folder of data sets; default: the usual places.

    Raises:
        InputError: The checkpoint does not name its data, or the data is not there.
    """
    name = run.vanilla.metadata.get("data")
    if not isinstance(name, str):
        raise InputError(str(run.vanilla.path), "does not say which data it was trained on", "train it again")
    if name == "fashion-mnist" and count <= IMAGES:
        name = "fashion-mnist-1000"
    return data.load(name, "test", root=None if name == "fashion-mnist-1000" else root, limit=count)


def normalise(network: Network, images: Array) -> Array:
    """Images ``[N, C, H, W]`` uint8 as the network's input, float64."""
    mean = np.array(network.mean or (0.0,))[:, None, None]
    std = np.array(network.std or (1.0,))[:, None, None]
    return np.asarray((images / 255.0 - mean) / std)


def run_demo(
    run_folder: Path,
    rival_folder: Path,
    count: int = IMAGES,
    progress: Progress | None = None,
    workers: int | None = None,
) -> DemoResult:
    """Run the demonstration.

    Args:
        run_folder: Training run of a network with predictors.
        rival_folder: Training run of the network it is compared with.
        count: How many test images.
        progress: Told how far each run is.
        workers: Threads; default one per processor.

    Raises:
        InputError: A folder, checkpoint or data set is missing or unusable, or the two runs used different data.
    """
    from predfuse import models

    if count < 1:
        raise InputError("images", f"is {count}", "use 1 or more")
    run, rival = load_run(run_folder, predictor=True), load_run(rival_folder, predictor=False)
    require_same_data(run, rival)
    assert run.predicted is not None
    dataset = demo_images(run, count)
    threads = workers or os.cpu_count() or 1

    def go(name: VariantName, checkpoint: Checkpoint, mode: Mode, statistics: bool) -> Variant:
        label = f"{checkpoint.network.name} {name}"
        done = 0

        def step(images: int) -> None:
            nonlocal done
            done += images
            if progress is not None:
                progress(label, done, len(dataset))

        step(0)
        started = time.perf_counter()
        plan = plan_network(checkpoint.network, mode)
        inputs = normalise(checkpoint.network, dataset.images)
        result = run_plan(plan, inputs, statistics=statistics, progress=step, workers=threads)
        return Variant(name, checkpoint, result, result.accuracy(dataset.labels), time.perf_counter() - started)

    variants: dict[VariantName, Variant] = {
        "vanilla": go("vanilla", run.vanilla, "true", statistics=False),
        "pruned": go("pruned", run.pruned, "true", statistics=False),
        "predicted": go("predicted", run.predicted, "predicted", statistics=False),
        "fused": go("fused", run.predicted, "fused", statistics=True),
    }
    rival_variants: dict[VariantName, Variant] = {
        "vanilla": go("vanilla", rival.vanilla, "true", statistics=False),
        "pruned": go("pruned", rival.pruned, "true", statistics=True),
    }
    from predfuse.experiments.compare import compare

    simulated = min(count, SIMULATED_IMAGES)
    if progress is not None:
        progress("simulating", 0, 1)
    comparison = compare(images=simulated, run=run_folder, against=rival_folder)
    if progress is not None:
        progress("simulating", 1, 1)
    return DemoResult(
        dataset=dataset,
        run=run,
        rival=rival,
        variants=variants,
        rival_variants=rival_variants,
        counts=count_network(run.predicted.network, variants["fused"].result),
        rival_counts=count_network(rival.pruned.network, rival_variants["pruned"].result),
        published_reductions=multiplication_reductions(models.network("fusionet")),
        machines=compare_paper(rival.vanilla.network, rival.pruned.network, run.predicted.network),
        comparison=comparison,
    )


def wilson_interval(share: float, count: int, z: float = 1.96) -> tuple[float, float]:
    """95 % confidence interval of a share observed in ``count`` independent trials (Wilson 1927)."""
    centre = (share + z * z / (2 * count)) / (1 + z * z / count)
    half = z / (1 + z * z / count) * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    return max(0.0, centre - half), min(1.0, centre + half)


def as_json(result: DemoResult) -> dict[str, Any]:
    """The measured figures as plain JSON values: shares 0..1, operations per image."""
    total, rival = result.counts.total, result.rival_counts.total
    assert total.nonzero is not None and rival.nonzero is not None
    fused = result.variants["fused"].result
    return {
        "network": fused.network,
        "data": result.dataset.name,
        "images": len(result.dataset),
        "accuracy": {name: variant.accuracy for name, variant in result.variants.items()},
        "accuracy_95_percent_interval": {
            name: list(wilson_interval(variant.accuracy, len(result.dataset)))
            for name, variant in result.variants.items()
        },
        "test_set_accuracy": {
            name: variant.checkpoint.metadata.get("test_accuracy")
            for name, variant in result.variants.items()
            if name != "fused"
        },
        "fused_max_abs_difference": result.fused_max_abs_difference,
        "operations": {
            "dense": _operations(total.dense),
            "pruned": _operations(total.pruned),
            "pruned_zero_activations": _operations(total.nonzero),
            "fused": _operations(total.fused),
        },
        "multiplication_reduction": total.multiplication_reduction,
        "blocks": [
            {
                "name": block.name,
                "survivors_expand": block.expand.survivors,
                "survivors_depthwise": block.depthwise.survivors,
                "false_on": (block.expand + block.depthwise).false_on_share,
                "false_off": (block.expand + block.depthwise).false_off_share,
                "false_on_expand": block.expand.false_on_share,
                "false_off_expand": block.expand.false_off_share,
                "false_on_depthwise": block.depthwise.false_on_share,
                "false_off_depthwise": block.depthwise.false_off_share,
                "multiplication_reduction": counts.multiplication_reduction,
                "operations": {
                    "dense": _operations(counts.dense),
                    "pruned": _operations(counts.pruned),
                    "fused": _operations(counts.fused),
                },
            }
            for block, counts in zip(fused.blocks, block_counts(result.counts), strict=True)
        ],
        "rival": {
            "network": rival_name(result),
            "accuracy": {name: variant.accuracy for name, variant in result.rival_variants.items()},
            "operations": {
                "dense": _operations(rival.dense),
                "pruned": _operations(rival.pruned),
                "pruned_zero_activations": _operations(rival.nonzero),
            },
        },
        "published_fusionet_multiplication_reduction": result.published_reductions,
        "machines": result.machines.as_json(),
        "comparison": result.comparison.as_json(),
        "seconds": {name: variant.seconds for name, variant in result.variants.items()},
    }


def _operations(operations: Operations) -> dict[str, float]:
    """``additions`` holds all of them, whatever their width; its parts follow."""
    return {
        "multiplications": operations.multiplications,
        "additions": operations.additions + operations.bias_additions + operations.predictor_additions,
        "bias_additions": operations.bias_additions,
        "predictor_additions": operations.predictor_additions,
        "weights": operations.weights,
    }


def block_counts(counts: NetworkCounts) -> list[LayerCounts]:
    """The bottlenecks among the layers."""
    return [layer for layer in counts.layers if layer.kind == Bottleneck.__name__]


def rival_name(result: DemoResult) -> str:
    """Name of the network that is compared with."""
    return result.rival.pruned.network.name


def masks_of_image(result: DemoResult, position: int) -> dict[str, tuple[Array, Array]]:
    """The predicted masks of one image, ``([M, H, W], [M, P, Q])`` bool by block."""
    assert result.run.predicted is not None
    network = result.run.predicted.network
    image = normalise(network, result.dataset.images[position : position + 1])
    names = [block.name for block in network.bottlenecks()]
    masks = run_plan(plan_network(network, "fused"), image, statistics=False, keep=names).masks
    return {name: (masks[name][0][0] != OFF, masks[name][1][0] != OFF) for name in names}


def first_of_each_class(labels: Array) -> list[int]:
    """Positions of the first image of every class, by class."""
    values: Sequence[int] = np.unique(labels).tolist()
    return [int(np.flatnonzero(labels == value)[0]) for value in values]
