"""What training a registered network costs: measured for a few steps on what is here, estimated for another GPU."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import nn

from predfuse import models
from predfuse.experiments.bench import one_core
from predfuse.fusion.counts import count_network
from predfuse.models.layers import Cnn
from predfuse.predictor.initialise import insert_predictors
from predfuse.training.config import PruneConfig
from predfuse.training.device import choose_device, describe
from predfuse.training.fast.choose import use_kernels
from predfuse.training.fast.cuda_graph import gradients
from predfuse.training.losses import cross_entropy
from predfuse.training.memory import keep_freed_memory
from predfuse.training.pruning import Pruner

FLOPS_PER_MULTIPLICATION = 6
"""A multiplication and an addition, forwards and for both gradients."""

BYTES_PER_ACTIVATION = 18 * 4
"""Memory traffic of a training step per value a convolution writes, in 32-bit floats.

Forwards it is written, read twice and written by the batch norm, read and written by the ReLU, read by the next
convolution: about 6 passes. Backwards about twice as many.
"""

GPU_EFFICIENCY = 0.5
"""Part of a GPU's peak arithmetic and bandwidth assumed to be reached; an assumption, like the two above."""


@dataclass(frozen=True)
class StageCost:
    """One stage of training.

    Attributes:
        stage: ``vanilla``, ``pruned`` (at the final sparsity) or ``predicted`` (tuning end to end).
        images_per_second: Measured: per processor second on one core, per second of wall time on a GPU.
        images: Of the whole stage: epochs times images of the data set.
    """

    stage: str
    images_per_second: float
    images: float

    @property
    def hours(self) -> float:
        """Where it was measured, extrapolated from that speed."""
        return self.images / self.images_per_second / 3600


@dataclass(frozen=True)
class TrainingCost:
    """What training all stages of a network costs.

    Attributes:
        network: Registered name.
        batch: Images per step that were timed.
        steps: Steps timed.
        measured_on: One core, or the GPU's name.
        stages: In their order.
        multiplications: Of one image, forwards.
        activations: Values all convolutions write for one image.
        gpu_images_per_second: Estimate for vanilla training; see :func:`gpu_images_per_second`.
    """

    network: str
    batch: int
    steps: int
    measured_on: str
    stages: tuple[StageCost, ...]
    multiplications: int
    activations: int
    gpu_images_per_second: float

    @property
    def gpu_hours(self) -> float:
        """Hours of vanilla training on the GPU of the estimate."""
        return self.stages[0].images / self.gpu_images_per_second / 3600


def gpu_images_per_second(
    multiplications: int, activations: int, peak_flops: float, bandwidth_bytes_per_second: float
) -> float:
    """Upper bound of training speed by arithmetic or by memory traffic, whichever is lower; no measurement."""
    by_arithmetic = peak_flops / (multiplications * FLOPS_PER_MULTIPLICATION)
    by_memory = bandwidth_bytes_per_second / (activations * BYTES_PER_ACTIVATION)
    return GPU_EFFICIENCY * min(by_arithmetic, by_memory)


@torch.no_grad()
def activations_per_image(model: Cnn) -> int:
    """Values all convolutions of a registered network write for one image."""
    written: list[int] = []
    hooks = [
        module.register_forward_hook(lambda _, __, output: written.append(output.numel()))
        for module in model.modules()
        if isinstance(module, nn.Conv2d)
    ]
    training = model.training
    model.eval()(torch.zeros(1, *model.input_shape))
    model.train(training)
    for hook in hooks:
        hook.remove()
    return sum(written)


def training_cost(
    network: str,
    images: Mapping[str, float],
    *,
    batch: int = 16,
    steps: int = 3,
    device: str = "cpu",
    peak_flops: float = 19.5e12,
    bandwidth_bytes_per_second: float = 1.555e12,
) -> TrainingCost:
    """Time a few training steps of every stage on random images, after one that is not timed.

    Args:
        network: Registered name.
        images: Of each stage, ``vanilla``, ``pruned`` and ``predicted``: epochs times images of the data set. A network
            without fusable blocks has the first alone.
        batch: Images per step.
        steps: Timed steps.
        device: ``"cpu"`` (one core), ``"cuda"``, or ``"auto"``: a GPU if there is one, as for training.
        peak_flops: Of the GPU estimated for; default: 32-bit floats on an NVIDIA A100 (40 GB), by its data sheet.
        bandwidth_bytes_per_second: Of its memory; likewise.

    Raises:
        InputError: No such network, or no such device.
    """
    place = choose_device(device)
    keep_freed_memory()
    model = models.build(network).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    multiplications = round(count_network(models.to_network(model)).total.dense.multiplications)
    activations = activations_per_image(model)
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(batch, *model.input_shape, generator=generator)
    inputs = inputs.contiguous(memory_format=torch.channels_last)
    with torch.no_grad():
        classes = model.eval()(inputs[:1]).shape[1]
    labels = torch.randint(0, classes, (batch,), generator=generator).to(place)
    inputs = inputs.to(place)
    model.to(place)

    def measure(stage: str) -> StageCost:
        optimizer = torch.optim.SGD(model.train().parameters(), lr=0.01, momentum=0.9, nesterov=True)
        compute = gradients(model, cross_entropy(0.0), captured=place.type == "cuda")

        def step() -> None:
            compute(inputs, labels)
            optimizer.step()
            pruner.apply()

        seconds = _seconds_on_gpu(step, steps) if place.type == "cuda" else _seconds_on_one_core(step, steps)
        return StageCost(stage, batch * steps / seconds, images[stage])

    pruner = Pruner(model)
    with one_core():
        use_kernels(model, place, pruned=False)
        found = [measure("vanilla")]
        if any(model.bottlenecks()):
            use_kernels(model, place)
            pruner.prune(PruneConfig().pointwise_sparsity, PruneConfig().depthwise_sparsity)
            found.append(measure("pruned"))
            insert_predictors(model, inputs)
            found.append(measure("predicted"))
    on_gpu = gpu_images_per_second(multiplications, activations, peak_flops, bandwidth_bytes_per_second)
    where = describe(place) if place.type == "cuda" else "one core"
    return TrainingCost(network, batch, steps, where, tuple(found), multiplications, activations, on_gpu)


def _seconds_on_one_core(step: Callable[[], None], steps: int) -> float:
    step()
    started = time.process_time()
    for _ in range(steps):
        step()
    return time.process_time() - started


def _seconds_on_gpu(step: Callable[[], None], steps: int) -> float:
    step()
    torch.cuda.synchronize()
    started = time.perf_counter()
    for _ in range(steps):
        step()
    torch.cuda.synchronize()
    return time.perf_counter() - started
