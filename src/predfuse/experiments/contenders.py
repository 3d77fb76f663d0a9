"""Networks to be compared: those of trained runs with accuracy and masks, or full-size ones only calibrated.

A trained fused network is compiled to integers; its accuracy and masks are those of the integer machine.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from predfuse import models
from predfuse.data import Dataset
from predfuse.fusion.execute import run_network
from predfuse.graph.nodes import Array, Network
from predfuse.hardware.cycle.archon.machine import Masks
from predfuse.hardware.cycle.simulate import predicted_masks
from predfuse.hardware.pruning import prune_blocks
from predfuse.integer.calibrate import normalise
from predfuse.integer.compile import compile_network
from predfuse.integer.fast_machine import FastMachine
from predfuse.integer.program import Program
from predfuse.integer.run import to_integers
from predfuse.training.calibrated import calibrated, with_all_shifts, without_shifts
from predfuse.training.runs import TrainedRun

SHIPPED_RUN = "fashion-mnist-fusionet-s"
SHIPPED_RIVAL = "fashion-mnist-mobilenetv2-s"
COMPILE_IMAGES = 32
"""Images the scales of the integer program are chosen on."""
PUBLISHED_IMAGES = 4
"""Images the published networks take at most; they are large."""

Say = Callable[[str], None]
"""Told what is being done."""


@dataclass(frozen=True, eq=False)
class Contender:
    """One network to be run.

    Attributes:
        network: The network.
        label: What it is called.
        accuracy: On the images, 0..1; None where it was not trained.
        masks: Of every image, where blocks are fused.
        program: Compiled, where the masks are those of the integer machine.
    """

    network: Network
    label: str
    accuracy: float | None
    masks: tuple[Masks, ...] = ()
    program: Program | None = None

    @property
    def survivors(self) -> tuple[float, float] | None:
        """Mean share of the activations of both stages that the masks let through; None without masks."""
        if not self.masks:
            return None
        return self._survivors(0), self._survivors(1)

    def _survivors(self, stage: int) -> float:
        found = [pair[stage] for masks in self.masks for pair in masks.values()]
        return sum(int(np.count_nonzero(mask)) for mask in found) / sum(mask.size for mask in found)


@dataclass(frozen=True, eq=False)
class Lineup:
    """The networks of one comparison.

    Attributes:
        dense: For a dense machine.
        sparse: The same, pruned, for a sparse one.
        fused: For an Archon.
        images: How many images gave masks and accuracies.
        source: What they are, in words.
        notes: What the reader must know.
    """

    dense: Contender
    sparse: Contender
    fused: tuple[Contender, ...]
    images: int
    source: str
    notes: tuple[str, ...]


def trained(
    run: TrainedRun,
    rival: TrainedRun,
    dataset: Dataset,
    count: int,
    say: Say,
    classes: Mapping[str, Array] | None = None,
) -> Lineup:
    """The networks of two training runs on the first images of a data set.

    Args:
        run: Of the network to be fused, with a predicted stage.
        rival: Of the compact one.
        dataset: Test images; the first :data:`COMPILE_IMAGES` calibrate the program.
        count: How many of them are run.
        say: Told what is being done.
        classes: ``[N]`` what the rival's ``vanilla`` and ``pruned`` take the images for, where that is known.
    """
    tested = dataset.first(count)
    compact = []
    for checkpoint in (rival.vanilla, rival.pruned):
        label = f"{checkpoint.network.name}, {checkpoint.stage}"
        if classes is not None:
            guesses = classes[checkpoint.stage][:count]
        else:
            say(f"accuracy of {label}")
            inputs = normalise(checkpoint.network, tested.images)
            guesses = run_network(checkpoint.network, inputs, statistics=False).logits.argmax(axis=1)
        compact.append(Contender(checkpoint.network, label, float((guesses == tested.labels).mean())))
    assert run.predicted is not None
    fused = compiled(run.predicted.network, run.predicted.stage, dataset, count, say)
    name = fused.network.name
    note = f"accuracy of {name} is that of its integer program; masks and cycles are those of the same run"
    return Lineup(compact[0], compact[1], (fused,), len(tested), f"{tested.name} test images", (note,))


def compiled(network: Network, stage: str, dataset: Dataset, count: int, say: Say) -> Contender:
    """A network with predictors compiled to integers, with the masks and the accuracy of its integer machine."""
    say(f"compiling {network.name}")
    program = compile_network(network, dataset.images[:COMPILE_IMAGES])
    machine = FastMachine(program)
    say(f"running {network.name} in integers")
    integers, _ = to_integers(program, dataset.images[:count])
    records = [machine.run_image(image, keep=()) for image in integers]
    guesses = np.array([record.values[program.output.name].argmax() for record in records])
    accuracy = float((guesses == dataset.labels[:count]).mean())
    masks = tuple(record.masks for record in records)
    return Contender(network, f"{network.name}, {stage}", accuracy, masks, program)


def published(images: int, root: Path | None, say: Say) -> Lineup:
    """The full-size networks of ICS 2021, the fused ones with all shifts, as calibrated, and without any."""
    images = min(images, PUBLISHED_IMAGES)
    rival = models.network("mobilenetv2")
    fused: list[Contender] = []
    source = ""
    for name in ("fusionet", "mobilenetv2-fused"):
        say(f"calibrating {name}")
        made = calibrated(name, images, root=root)
        source = made.source
        bare = without_shifts(made.network)
        say(f"masks of {name}")
        masks = tuple(predicted_masks(made.network, made.images))
        fused += [
            Contender(with_all_shifts(made.network), f"{name}, all shifts", None, masks),
            Contender(made.network, name, None, masks),
            Contender(bare, f"{name}, no shifts", None, tuple(predicted_masks(bare, made.images))),
        ]
    notes = (
        "networks are calibrated on real images, not trained: weights initialised and pruned by magnitude to 20 % "
        "(1x1) and 30 % (depthwise), batch norms and predictors fitted; hence no accuracy",
        "'all shifts': a shift in every channel, dead ones too, as training leaves them: most bias sums there can be; "
        "the rows to quote for trained networks",
        "'no shifts': the shifts of the blocks' batch norms pruned away, so that there are no bias sums",
    )
    dense, sparse = Contender(rival, rival.name, None), Contender(prune_blocks(rival), f"{rival.name}, pruned", None)
    return Lineup(dense, sparse, tuple(fused), images, source, notes)
