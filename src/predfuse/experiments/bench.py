"""Speed on one core: what prediction costs in PyTorch, how fast the fused network and the integer machine run.

Times are processor seconds of this process, pinned to one core where the system allows it: they say what one core
does whatever else the machine is busy with. Every figure is the best of several rounds, the rounds of the things
compared interleaved.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from predfuse import models
from predfuse.arrays import FloatArray
from predfuse.fusion.execute import Plan, plan_network, run_plan
from predfuse.fusion.results import Mode
from predfuse.graph.nodes import INPUT, Network
from predfuse.hardware.closed_form.simulate import simulate
from predfuse.hardware.cycle.archon.machine import prepare, run_archon
from predfuse.hardware.cycle.simulate import predicted_masks
from predfuse.hardware.evaluate import evaluate
from predfuse.hardware.spec import AcceleratorSpec, ArchonSpec, load_spec
from predfuse.hardware.vary import with_fields
from predfuse.integer.calibrate import normalise
from predfuse.integer.compile import compile_network
from predfuse.integer.fast_machine import FastMachine
from predfuse.integer.run import to_integers
from predfuse.training.calibrated import calibrated
from predfuse.training.checkpoint import load_checkpoint
from predfuse.training.fast.choose import use_kernels
from predfuse.training.memory import keep_freed_memory
from predfuse.training.runs import load_run

MAX_PREDICTED_RATIO = 2.5
"""A predicted forward pass may take this many times the vanilla one."""

MIN_TRAINING_RATIO = 1.2
"""Training a pruned or predicted network, blocks a middle channel at a time must be this many times as fast as layer
by layer."""

MIN_FUSED_IMAGES_PER_SECOND = 50.0
MIN_SIMULATED_IMAGES_PER_SECOND = {"fusionet": 1 / 3, "fusionet-s": 20.0}
"""Integer outputs, and cycles and energy on ``archon``, after compilation; by network."""
MAX_EVALUATION_SECONDS = {
    "fusionet-s on archon": 0.5,
    "fusionet on archon": 10.0,
    "mobilenetv2's blocks on dense": 0.05,
    "mobilenetv2's blocks on dense by closed forms": 0.05,
}
"""Cycles, energy and area of one image on a machine not seen before, masks at hand: what a search waits for."""
FULL_SIZE = "fusionet"
COMPILE_IMAGES = 8

BATCH = 50
ROUNDS = 5
MODES: tuple[Mode, ...] = ("true", "predicted", "fused")


@dataclass(frozen=True)
class BenchResult:
    """Images per processor second on one core.

    Attributes:
        network: What was run.
        images: Distinct images per round.
        vanilla: PyTorch, activation functions, batches of 50.
        predicted: PyTorch, predicted masks, batches of 50.
        training: Time of a training step layer by layer over that a middle channel at a time, by stage; no speed.
        executed: The executor of :mod:`predfuse.fusion.execute` in float64, image by image, by mode.
        simulated: Integer machine and ``archon`` at cycle fidelity together, image by image, by network.
        evaluation_seconds: Of :func:`predfuse.hardware.evaluate.evaluate`, by network and machine.
    """

    network: str
    images: int
    vanilla: float
    predicted: float
    training: dict[str, float]
    executed: dict[Mode, float]
    simulated: dict[str, float]
    evaluation_seconds: dict[str, float]

    @property
    def predicted_ratio(self) -> float:
        """Time of the predicted forward pass over that of the vanilla one, in PyTorch."""
        return self.vanilla / self.predicted

    @property
    def missed(self) -> tuple[str, ...]:
        """The limits that do not hold, in words."""
        found = []
        if self.predicted_ratio > MAX_PREDICTED_RATIO:
            found.append(f"predicted takes {self.predicted_ratio:.2f}x vanilla, more than {MAX_PREDICTED_RATIO}x")
        for stage, ratio in self.training.items():
            if ratio < MIN_TRAINING_RATIO:
                found.append(f"{stage} training is {ratio:.2f}x as fast as layers, less than {MIN_TRAINING_RATIO}x")
        if self.executed["fused"] < MIN_FUSED_IMAGES_PER_SECOND:
            limit = f"less than {MIN_FUSED_IMAGES_PER_SECOND:g}"
            found.append(f"fused runs {self.executed['fused']:.1f} images/s, {limit}")
        for name, speed in self.simulated.items():
            least = MIN_SIMULATED_IMAGES_PER_SECOND.get(name, 0.0)
            if speed < least:
                found.append(f"{name} in integers with cycles runs {speed:.2f} images/s, less than {least:.2g}")
        for name, seconds in self.evaluation_seconds.items():
            if seconds > MAX_EVALUATION_SECONDS.get(name, math.inf):
                found.append(f"evaluating {name} takes {seconds:.3f} s, more than {MAX_EVALUATION_SECONDS[name]:g}")
        return tuple(found)

    def as_json(self) -> dict[str, Any]:
        """The figures as plain JSON values."""
        return {
            "network": self.network,
            "images": self.images,
            "pytorch_images_per_second": {"vanilla": self.vanilla, "predicted": self.predicted},
            "predicted_ratio": self.predicted_ratio,
            "training_ratio": dict(self.training),
            "executed_images_per_second": dict(self.executed),
            "simulated_images_per_second": dict(self.simulated),
            "evaluation_seconds": dict(self.evaluation_seconds),
            "missed": list(self.missed),
        }


def run_bench(folder: Path | str, images: int = 100, rounds: int = ROUNDS, full_size: bool = True) -> BenchResult:
    """Time the networks of a training run, and the full-size FusioNet in integers.

    Args:
        folder: As ``predfuse train`` leaves it, with a predicted stage.
        images: How many test images each round runs.
        rounds: How often each is timed.
        full_size: Whether to compile and time the full-size FusioNet too (calibrated, not trained).

    Raises:
        InputError: The folder, a checkpoint or the images are missing or unusable.
    """
    run = load_run(folder, predictor=True)
    assert run.predicted is not None
    network = run.predicted.network
    inputs = normalise(network, run.test_images(images).images)
    timed = {name: load_checkpoint(item.path)[0] for name, item in (("v", run.vanilla), ("p", run.predicted))}
    plans = {mode: plan_network(network, mode) for mode in MODES}
    batches = [torch.from_numpy(inputs[at : at + BATCH]).float() for at in range(0, len(inputs), BATCH)]

    def forward(name: str) -> Callable[[], None]:
        return lambda: _forward(timed[name], batches)

    def execute(mode: Mode) -> Callable[[], None]:
        return lambda: _execute(plans[mode], inputs)

    with one_core():
        vanilla, predicted = _best_seconds([forward("v"), forward("p")], rounds)
        executed = _best_seconds([execute(mode) for mode in MODES], rounds)
        simulated = {network.name: 1 / _simulation_seconds(network, inputs[:COMPILE_IMAGES], rounds)}
        evaluated = {f"{network.name} on archon": _evaluation_seconds(network, inputs[:1], rounds)}
        if full_size:
            made = calibrated(FULL_SIZE, 1)
            simulated[FULL_SIZE] = 1 / _simulation_seconds(made.network, made.images, rounds)
            evaluated[f"{FULL_SIZE} on archon"] = _evaluation_seconds(made.network, made.images, rounds)
            blocks, name = blocks_of("mobilenetv2"), "mobilenetv2's blocks on dense"
            evaluated[name] = _evaluation_seconds(blocks, None, rounds)
            evaluated[f"{name} by closed forms"] = _evaluation_seconds(blocks, None, rounds, closed_forms=True)
        keep_freed_memory()  # as training does; last, for it stays so
        training = {
            stage: _training_ratio(item.path, batches[0], rounds)
            for stage, item in (("pruned", run.pruned), ("predicted", run.predicted))
        }
    count = len(inputs)
    speeds = {mode: count / seconds for mode, seconds in zip(MODES, executed, strict=True)}
    return BenchResult(network.name, count, count / vanilla, count / predicted, training, speeds, simulated, evaluated)


def _simulation_seconds(network: Network, images: FloatArray, rounds: int) -> float:
    """Processor seconds for the scores of one image in integers and its cycles and energy, compiled before."""
    program = compile_network(network, images)
    machine, spec = FastMachine(program), load_spec("archon")
    assert isinstance(spec, ArchonSpec)
    prepared = prepare(program, spec)
    (integers, *_), _ = to_integers(program, images)

    def job() -> None:
        run_archon(prepared, machine.run_image(integers, keep=(), keep_masks=True).masks)

    return _best_seconds([job], rounds)[0]


def _evaluation_seconds(network: Network, images: FloatArray | None, rounds: int, closed_forms: bool = False) -> float:
    """Processor seconds of one evaluation: of a fused network on ``archon`` with one image's masks, else on dense."""
    masks = () if images is None else tuple(predicted_masks(network, images[:1]))
    spec: AcceleratorSpec = load_spec("eyeriss-dense") if images is None else load_spec("archon")
    field, size = ("pe.adders", spec.pe.adders) if isinstance(spec, ArchonSpec) else ("array.rows", spec.array.rows)
    machines = iter([with_fields(spec, {field: size + more}) for more in range(rounds + 1)])  # each another one

    def job() -> None:
        if closed_forms:
            simulate(network, next(machines))
        else:
            evaluate(next(machines), network, masks)

    return _best_seconds([job], rounds)[0]


def blocks_of(name: str) -> Network:
    """The bottleneck blocks of a registered network, one after another, as a network of their own."""
    whole = models.network(name)
    first, *others = whole.bottlenecks()
    shape = whole.shapes()[first.inputs[0]]
    return replace(whole, input_shape=shape, nodes=(replace(first, inputs=(INPUT,)), *others), mean=(), std=())


def _training_ratio(path: Path, images: torch.Tensor, rounds: int) -> float:
    """Time of forward and backward layer by layer over that a middle channel at a time."""
    layers, loops = load_checkpoint(path)[0].train(), load_checkpoint(path)[0].train()
    use_kernels(loops, torch.device("cpu"))

    def job(model: torch.nn.Module) -> Callable[[], None]:
        return lambda: model(images).square().mean().backward()

    by_layers, by_loops = _best_seconds([job(layers), job(loops)], rounds)
    return by_layers / by_loops


def _forward(model: torch.nn.Module, batches: list[torch.Tensor]) -> None:
    with torch.no_grad():
        for batch in batches:
            model(batch)


def _execute(plan: Plan, inputs: FloatArray) -> None:
    run_plan(plan, inputs, statistics=False)


def _best_seconds(jobs: list[Callable[[], None]], rounds: int) -> list[float]:
    """Least processor seconds of each job; each runs once before, to compile and to fill the caches."""
    for job in jobs:
        job()
    best = [float("inf")] * len(jobs)
    for _ in range(rounds):
        for index, job in enumerate(jobs):
            started = time.process_time()
            job()
            best[index] = min(best[index], time.process_time() - started)
    return best


@contextmanager
def one_core() -> Iterator[None]:
    """One PyTorch thread, one core for the whole process; both as before afterwards."""
    threads = torch.get_num_threads()
    cores = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else None
    torch.set_num_threads(1)
    if cores:
        os.sched_setaffinity(0, {max(cores)})
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        if cores:
            os.sched_setaffinity(0, cores)
