"""The demonstration: real images through a trained network plain, pruned, predicted and fused, and what each costs.

It reads two folders as ``predfuse train`` leaves them (see :mod:`predfuse.training.runs`); two ship with the package.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from predfuse import models
from predfuse.arrays import Int64Array, Mask, UInt8Array
from predfuse.data import Dataset
from predfuse.errors import InputError
from predfuse.experiments.compare import CompareResult, Machine, compare_lineup, on_equal_terms
from predfuse.experiments.confidence import wilson_interval
from predfuse.experiments.contenders import DEMO_RUN, NARROW_RIVAL, load_runs, trained
from predfuse.experiments.demo_gateware import GatewareRun, first_block
from predfuse.experiments.equal_terms import machines
from predfuse.fusion.counts import LayerCounts, NetworkCounts, Operations, count_network, multiplication_reductions
from predfuse.fusion.execute import plan_network, run_plan
from predfuse.fusion.masks import OFF
from predfuse.fusion.results import BlockStatistics, ExecutionResult, Mode
from predfuse.graph.nodes import Bottleneck, Network
from predfuse.hardware.area import area_without_mask_buffer_um2
from predfuse.integer.calibrate import normalise
from predfuse.integer.options import COMPILE_IMAGES
from predfuse.training.runs import Checkpoint, load_run

VariantName = Literal["vanilla", "pruned", "predicted", "fused"]
Progress = Callable[[str, int, int], None]
"""Called with what is being run, images done and images in all."""

IMAGES = 1000
SIMULATED_IMAGES = 25
"""Images the accelerators are simulated on; schedules hardly depend on them."""
EQUAL_MACHINES = (
    *("archon-1.7-n", "dense-1.7"),
    *(f"sparse-depth-first-1.7-{name}" for name in ("fashion-n", "half", "m")),
)
"""Of one area and searched as freely: the fused one, and rivals that suit the shipped networks of Fashion-MNIST."""


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
    def classes(self) -> Int64Array:
        """``[N]`` the class every image was taken for."""
        return np.asarray(self.result.logits.argmax(axis=1))

    @property
    def interval(self) -> tuple[float, float]:
        """95 % interval of the accuracy, 0..1."""
        return wilson_interval(self.accuracy, len(self.result.logits))


@dataclass(frozen=True, eq=False)
class DemoResult:
    """Everything the demonstration measured.

    Attributes:
        dataset: The images.
        variants: The fusible network: vanilla, pruned, predicted, fused.
        rival_variants: The compact competitor: vanilla, pruned.
        history: Test accuracies in the log of the fusible network's training; empty where it has none.
        counts: Operations of the predicted network, all ways of executing it, from the masks of these images.
        rival_counts: Operations of the pruned competitor.
        published_reductions: Dense multiplications per fused one of every block of the published FusioNet.
        closed_forms: The competitor dense and pruned on machines made for that, the fusible network on Archon, by the
            closed forms of the paper.
        comparison: By simulation at cycle fidelity, on the first images only: on equal terms, and as published.
        examples: Positions of the first image of every class, by class.
        masks: Predicted masks of the last of these images, ``([M, H, W], [M, P, Q])`` bool by block.
        gateware: One block on the simulated gateware, or why it was not run.
    """

    dataset: Dataset
    variants: dict[VariantName, Variant]
    rival_variants: dict[VariantName, Variant]
    history: tuple[dict[str, Any], ...]
    counts: NetworkCounts
    rival_counts: NetworkCounts
    published_reductions: dict[str, float]
    closed_forms: CompareResult
    comparison: CompareResult
    examples: tuple[int, ...]
    masks: dict[str, tuple[Mask, Mask]]
    gateware: GatewareRun | str

    @property
    def network_name(self) -> str:
        """Name of the fusible network."""
        return self.variants["fused"].checkpoint.network.name

    @property
    def rival_name(self) -> str:
        """Name of the network it is compared with."""
        return self.rival_variants["pruned"].checkpoint.network.name

    @property
    def fused_max_abs_difference(self) -> float:
        """Largest difference of any output between the predicted network run stage by stage and fused."""
        return float(np.abs(self.variants["fused"].result.logits - self.variants["predicted"].result.logits).max())

    @property
    def blocks(self) -> list[tuple[BlockStatistics, LayerCounts]]:
        """Gates and operations of every block."""
        counts = [layer for layer in self.counts.layers if layer.kind == Bottleneck.__name__]
        return list(zip(self.variants["fused"].result.blocks, counts, strict=True))

    def speedup_at_equal_area(self, over: Machine) -> float:
        """By the closed forms, as if cycles fell with area: times its area over Archon's with its mask buffer."""
        forms = self.closed_forms
        return forms.speedup(forms.best, over) * over.area_um2 / forms.best.area_um2


def run_demo(
    run_folder: Path | str = DEMO_RUN,
    rival_folder: Path | str | None = None,
    count: int = IMAGES,
    progress: Progress | None = None,
    workers: int | None = None,
) -> DemoResult:
    """Run the demonstration.

    Args:
        run_folder: Training run of a network with predictors.
        rival_folder: Training run of the network it is compared with; default: as :func:`load_runs` finds one.
        count: How many test images.
        progress: Told how far each run is.
        workers: Threads; default one per processor.

    Raises:
        InputError: A folder, checkpoint or data set is missing or unusable, or the two runs used different data.
    """
    if count < 1:
        raise InputError("images", f"is {count}", "use 1 or more")
    (run,), (rival,) = load_runs([run_folder], [rival_folder] if rival_folder else [])
    assert run.predicted is not None
    loaded = run.test_images(max(count, COMPILE_IMAGES))
    dataset = loaded.first(count)
    threads = workers or os.cpu_count() or 1
    say = progress or (lambda what, done, total: None)

    def go(name: VariantName, checkpoint: Checkpoint, mode: Mode, statistics: bool) -> Variant:
        label = f"{checkpoint.network.name} {name}"
        done = 0

        def step(images: int) -> None:
            nonlocal done
            done += images
            say(label, done, len(dataset))

        step(0)
        started = time.perf_counter()
        # only what is compared to the last bit, or counted, needs double precision
        single = mode == "true" and not statistics
        plan = plan_network(checkpoint.network, mode, np.float32 if single else np.float64)
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
    say("simulating", 0, 1)
    classes = {variant.checkpoint.stage: variant.classes for variant in rival_variants.values()}
    simulated = min(count, SIMULATED_IMAGES)
    # Beside the shipped network stands what is as accurate, too: the rival at half its width.
    narrow = [] if rival_folder or run_folder != DEMO_RUN else [load_run(NARROW_RIVAL, predictor=False)]
    lineup = trained([run], [rival, *narrow], loaded, simulated, lambda text: None, classes)
    comparison = compare_lineup(lineup, "shipped", "cycle", lambda text: None)
    comparison = on_equal_terms(comparison, lineup, machines(EQUAL_MACHINES), curves=False, say=lambda text: None)
    say("simulating", 1, 1)
    say("gateware (minutes the first time)", 0, 1)
    (fused,) = lineup.fused
    assert fused.program is not None
    gateware = first_block(fused.program, dataset.images)
    say("gateware (minutes the first time)", 1, 1)
    examples = first_of_each_class(dataset.labels)
    return DemoResult(
        dataset=dataset,
        variants=variants,
        rival_variants=rival_variants,
        history=run.history,
        counts=count_network(run.predicted.network, variants["fused"].result),
        rival_counts=count_network(rival.pruned.network, rival_variants["pruned"].result),
        published_reductions=multiplication_reductions(models.network("fusionet")),
        closed_forms=compare_lineup(lineup, "shipped", "paper", lambda text: None),
        comparison=comparison,
        examples=examples,
        masks=masks_of_image(run.predicted.network, dataset.images[examples[-1]]),
        gateware=gateware,
    )


def as_json(result: DemoResult) -> dict[str, Any]:
    """The measured figures as plain JSON values: shares 0..1, operations per image."""
    total, rival = result.counts.total, result.rival_counts.total
    assert total.nonzero is not None and rival.nonzero is not None
    return {
        "network": result.network_name,
        "data": result.dataset.name,
        "images": len(result.dataset),
        "accuracy": {name: variant.accuracy for name, variant in result.variants.items()},
        "accuracy_95_percent_interval": {name: list(variant.interval) for name, variant in result.variants.items()},
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
            for block, counts in result.blocks
        ],
        "rival": {
            "network": result.rival_name,
            "accuracy": {name: variant.accuracy for name, variant in result.rival_variants.items()},
            "operations": {
                "dense": _operations(rival.dense),
                "pruned": _operations(rival.pruned),
                "pruned_zero_activations": _operations(rival.nonzero),
            },
        },
        "published_fusionet_multiplication_reduction": result.published_reductions,
        "machines": _closed_forms(result),
        "comparison": result.comparison.as_json(),
        "gateware": _gateware(result.gateware),
        "seconds": {name: variant.seconds for name, variant in result.variants.items()},
    }


def _gateware(run: GatewareRun | str) -> dict[str, Any]:
    if isinstance(run, str):
        return {"skipped": run}
    return {
        "machine": run.machine,
        "block": run.block.layer,
        "steps": len(run.block.steps),
        "list_cycles": run.block.list_cycles,
        "predict_cycles": run.block.predict_cycles,
        "differences": len(run.block.differences),
        "seconds": run.seconds,
    }


def _operations(operations: Operations) -> dict[str, float]:
    """``additions`` holds all of them, whatever their width; its parts follow."""
    return {
        "multiplications": operations.multiplications,
        "additions": operations.all_additions,
        "bias_additions": operations.bias_additions,
        "predictor_additions": operations.predictor_additions,
        "weights": operations.weights,
    }


def _closed_forms(result: DemoResult) -> dict[str, Any]:
    forms = result.closed_forms
    rivals = {"dense": forms.dense, "sparse": forms.sparse}
    machines = {
        role: {
            "network": machine.contender.network.name,
            "accelerator": machine.spec.name,
            "total_cycles": machine.costs.total_cycles,
            "milliseconds": machine.result.milliseconds,
            "energy_uj": machine.costs.total_energy_uj,
            "pes": machine.spec.array.pes,
            "area_um2": area_without_mask_buffer_um2(machine.spec),
            "area_with_masks_um2": machine.area_um2,
        }
        for role, machine in {**rivals, "fused": forms.best}.items()
    }
    return {
        "fidelity": forms.fidelity,
        **machines,
        **{f"{role}_speedup": forms.speedup(forms.best, machine) for role, machine in rivals.items()},
        **{f"{role}_speedup_at_equal_area": result.speedup_at_equal_area(machine) for role, machine in rivals.items()},
    }


def masks_of_image(network: Network, image: UInt8Array) -> dict[str, tuple[Mask, Mask]]:
    """The predicted masks of one image ``[C, H, W]`` uint8: ``([M, H, W], [M, P, Q])`` bool by block."""
    names = [block.name for block in network.bottlenecks()]
    inputs = normalise(network, image[None])
    masks = run_plan(plan_network(network, "fused"), inputs, statistics=False, keep=names).masks
    return {name: (masks[name][0][0] != OFF, masks[name][1][0] != OFF) for name in names}


def first_of_each_class(labels: Int64Array) -> tuple[int, ...]:
    """Positions of the first image of every class, by class."""
    return tuple(int(position) for position in np.unique(labels, return_index=True)[1])
