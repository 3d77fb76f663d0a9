"""Networks to be compared: those of trained runs with accuracy and masks, or full-size ones only calibrated.

A trained fused network is compiled to integers; its accuracy and masks are those of the integer machine.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from predfuse import models
from predfuse.arrays import ImageArray, Int64Array
from predfuse.data import Dataset
from predfuse.experiments.confidence import Accuracy, tested
from predfuse.fusion.execute import run_network
from predfuse.graph.nodes import Network
from predfuse.hardware.cycle.archon.machine import Masks
from predfuse.hardware.cycle.run import CycleRun
from predfuse.hardware.cycle.simulate import predicted_masks, run_with_masks
from predfuse.hardware.pruning import prune_blocks, with_pruned_rest
from predfuse.hardware.spec import AcceleratorSpec, EyerissSpec
from predfuse.integer.calibrate import normalise
from predfuse.integer.compile import compile_network
from predfuse.integer.fast_machine import FastMachine
from predfuse.integer.options import COMPILE_IMAGES
from predfuse.integer.program import Program
from predfuse.integer.run import to_integers
from predfuse.training.calibrated import calibrated, with_all_shifts, without_shifts
from predfuse.training.runs import Checkpoint, TrainedRun, load_run, require_same_data, same_data

SHIPPED_RUN = "fashion-mnist-fusionet-s"
DEMO_RUN = "fashion-mnist-fusionet-n"
"""The shape made for fusion; its predictors have weights up to 4, which ``archon-ics21`` does not take."""
SHIPPED_RIVAL = "fashion-mnist-mobilenetv2-s"
NARROW_RIVAL = "fashion-mnist-mobilenetv2-s-x0.5"
PUBLISHED_IMAGES = 4
"""Images the published networks take at most; they are large."""
BOUND_IMAGES = 2
"""Images whose zeros bound what skipping them can gain."""

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
        tested: Accuracy on the whole test set; None where it was not trained.
    """

    network: Network
    label: str
    accuracy: float | None
    masks: tuple[Masks, ...] = ()
    program: Program | None = None
    tested: Accuracy | None = None

    def runs_on(self, spec: AcceleratorSpec, images: int | None = None) -> list[CycleRun]:
        """Run it at cycle fidelity: once on a machine that knows no masks, else once for each of its images.

        Raises:
            InputError: The machine cannot run it.
        """
        what = self.network if self.program is None or isinstance(spec, EyerissSpec) else self.program
        return run_with_masks(what, spec, self.masks[:images])

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
        dense: Compact ones for a dense machine.
        sparse: The same, pruned, for a sparse one.
        fused: For an Archon.
        unfused: The networks of ``fused`` in order, pruned and not fused.
        images: How many images gave masks and accuracies.
        source: What they are, in words.
        notes: What the reader must know.
        few: ``[N, C, H, W]`` some of the images, as :func:`normalise` takes them.
    """

    dense: tuple[Contender, ...]
    sparse: tuple[Contender, ...]
    fused: tuple[Contender, ...]
    unfused: tuple[Contender, ...]
    images: int
    source: str
    notes: tuple[str, ...]
    few: ImageArray

    def with_pruned_tails(self) -> Lineup:
        """The same networks, those not fused with every 1x1 layer outside their blocks pruned too.

        They have no accuracy then: what such a network would reach after further training is not known, so that none
        of them stands beside another network at equal accuracy.
        """

        def pruned(contender: Contender) -> Contender:
            network = with_pruned_rest(contender.network)
            label = f"{contender.label}, tail too"
            return replace(contender, network=network, label=label, accuracy=None, tested=None)

        note = "1x1 layers outside the blocks of unfused networks are pruned too; what they then get right is not known"
        return replace(
            self,
            sparse=tuple(map(pruned, self.sparse)),
            unfused=tuple(map(pruned, self.unfused)),
            notes=(*self.notes, note),
        )


def load_runs(runs: Sequence[Path | str], against: Sequence[Path | str]) -> tuple[list[TrainedRun], list[TrainedRun]]:
    """The training runs of networks to be fused, and of compact ones on the same data to set beside them.

    Args:
        runs: Of networks with predictors, by folder or name in the zoo.
        against: Likewise; where none is named the shipped one, or the first runs themselves, unfused, where that is
            of other data.

    Raises:
        InputError: A run cannot be loaded, or is of other data than the first.
    """
    ours = [load_run(run, predictor=True) for run in runs]
    rivals = [load_run(run, predictor=False) for run in against or (SHIPPED_RIVAL,)]
    if not against and not same_data(ours[0], rivals[0]):
        rivals = ours
    for run in (*ours[1:], *rivals):
        require_same_data(ours[0], run)
    return ours, rivals


def trained(
    runs: Sequence[TrainedRun],
    rivals: Sequence[TrainedRun],
    dataset: Dataset,
    count: int,
    say: Say,
    classes: Mapping[str, Int64Array] | None = None,
) -> Lineup:
    """The networks of training runs on the first images of a data set.

    Args:
        runs: Of networks to be fused, with a predicted stage.
        rivals: Of compact ones.
        dataset: Test images; the first :data:`~predfuse.integer.options.COMPILE_IMAGES` calibrate the programs.
        count: How many of them are run.
        say: Told what is being done.
        classes: ``[N]`` what the first rival's ``vanilla`` and ``pruned`` take the images for, where that is known.
    """
    shown = dataset.first(count)

    def compact(checkpoint: Checkpoint, guesses: Int64Array | None) -> Contender:
        network, label = checkpoint.network, checkpoint.label
        if guesses is None:
            say(f"accuracy of {label}")
            inputs = normalise(network, shown.images)
            guesses = run_network(network, inputs, statistics=False).logits.argmax(axis=1)
        accuracy = float((guesses[: len(shown)] == shown.labels).mean())
        return Contender(network, label, accuracy, tested=tested(checkpoint))

    known = [classes or {}, *({} for _ in rivals[1:])]
    whole: dict[Path, tuple[Checkpoint, Int64Array | None]] = {}  # several may be pruned from one
    for rival, of in zip(rivals, known, strict=True):
        whole.setdefault(rival.vanilla.path, (rival.vanilla, of.get("vanilla")))
    fused = tuple(compiled(run.predicted, dataset, count, say) for run in runs if run.predicted is not None)
    notes = tuple(
        f"accuracy of {name} is that of its integer program; masks and cycles are those of the same run"
        for name in dict.fromkeys(contender.network.name for contender in fused)
    )
    return Lineup(
        dense=tuple(compact(checkpoint, guesses) for checkpoint, guesses in whole.values()),
        sparse=tuple(compact(rival.pruned, of.get("pruned")) for rival, of in zip(rivals, known, strict=True)),
        fused=fused,
        unfused=tuple(
            Contender(run.pruned.network, f"{run.pruned.name}, unfused", None, tested=tested(run.pruned))
            for run in runs
        ),
        images=len(shown),
        source=f"{shown.name} test images",
        notes=notes,
        few=shown.images[:BOUND_IMAGES],
    )


def compiled(checkpoint: Checkpoint, dataset: Dataset, count: int, say: Say) -> Contender:
    """A network with predictors compiled to integers, with the masks and the accuracy of its integer machine."""
    network = checkpoint.network
    say(f"compiling {network.name}")
    program = compile_network(network, dataset.images[:COMPILE_IMAGES])
    machine = FastMachine(program)
    say(f"running {network.name} in integers")
    integers, _ = to_integers(program, dataset.images[:count])
    records = [machine.run_image(image, keep=()) for image in integers]
    guesses = np.array([record.values[program.output.name].argmax() for record in records])
    accuracy = float((guesses == dataset.labels[:count]).mean())
    masks = tuple(record.masks for record in records)
    return Contender(network, checkpoint.label, accuracy, masks, program, tested(checkpoint))


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
    return Lineup(
        dense=(Contender(rival, rival.name, None),),
        sparse=(Contender(prune_blocks(rival), f"{rival.name}, pruned", None),),
        fused=tuple(fused),
        unfused=tuple(Contender(item.network, f"{item.label}, unfused", None) for item in fused),
        images=images,
        source=source,
        notes=notes,
        few=made.images[:1],
    )
