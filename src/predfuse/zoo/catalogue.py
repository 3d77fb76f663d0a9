"""What the zoo holds: facts by run and stage, means over seeds, and whether the files are those the facts are about."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from predfuse.files import as_csv, sha256_of_file
from predfuse.readers.boundary import reading
from predfuse.readers.documents import read_json

CARD = "card.json"
RESULTS = "results.csv"
ABLATION_RESULTS = "cifar10-ablations.csv"
STAGES = ("vanilla", "pruned", "predicted-joint", "predicted-frozen")


@dataclass(frozen=True)
class Stage:
    """One stage of one training run.

    Attributes:
        run: Folder of the run in the zoo.
        data: Data set.
        network: Registered name, and ``x0.5`` or the like for a width other than 1.
        seed: Of initial weights, order and variation of the images; predicted: of the latter two where it has its own.
        stage: ``vanilla``, ``pruned``, ``predicted-joint`` or ``predicted-frozen``.
        recipe: Digest of the configuration up to this stage, seeds left out.
        test_accuracy: On the whole test set, 0..1, no test-time augmentation.
        test_images: Size of the test set.
        parameters: Numbers the network holds, predictors and batch norms included.
        pointwise_sparsity: Share of zero weights in the blocks' 1x1 convolutions; None before pruning.
        depthwise_sparsity: Share of zeros in the depthwise convolutions.
        epochs: Of this stage alone, all cycles (the layer-wise steps of the predictors not counted).
        device: What it was trained on; several where it went on elsewhere.
        training_hours: Of this stage alone (predicted: the layer-wise steps before it too), where it was trained.
        images_per_second: Training speed there, mean over the stage.
        commit: Source it was trained with; None if not known.
        file: Checkpoint within the run's folder; None where the weights do not ship.
        file_bytes: Its size.
        sha256: Its checksum.
        held_out_images: Training images that were not trained on but chosen by; 0: none were.
        held_out_accuracy: On these, 0..1.
    """

    run: str
    data: str
    network: str
    seed: int
    stage: str
    recipe: str
    test_accuracy: float
    test_images: int
    parameters: int
    pointwise_sparsity: float | None
    depthwise_sparsity: float | None
    epochs: float
    device: str
    training_hours: float
    images_per_second: float
    commit: str | None
    file: str | None
    file_bytes: int | None
    sha256: str | None
    held_out_images: int = 0
    held_out_accuracy: float | None = None


@dataclass(frozen=True)
class Summary:
    """One network at one stage over all seeds of one recipe: that of the weights that ship.

    Attributes:
        data: Data set.
        network: Registered name, and ``x0.5`` or the like for a width other than 1.
        stage: As in :class:`Stage`.
        seeds: How many runs.
        mean: Of their test accuracies, 0..1.
        lowest: Of these.
        highest: Of these.
        training_hours: Mean, all stages up to this one together.
    """

    data: str
    network: str
    stage: str
    seeds: int
    mean: float
    lowest: float
    highest: float
    training_hours: float


def full_name(architecture: str, options: Mapping[str, Any], facts: Mapping[str, Any]) -> str:
    """The registered name, its widths where they are not 1, and its tail where that is pruned too.

    Networks of different widths are different networks, and so are those whose 1x1 layers outside the blocks are
    pruned.

    Args:
        architecture: Registered name.
        options: Of its constructor; ``width`` and ``middle_width`` are factors without a unit.
        facts: Of the stage; ``outside_sparsity`` is the share of zeros outside the blocks.

    Source: docs/explanation/zoo.md.
    """
    factors = {"": options.get("width", 1.0), "middle ": options.get("middle_width", 1.0)}
    parts = [architecture, *(f"{part}x{factor:g}" for part, factor in factors.items() if factor != 1.0)]
    return " ".join([*parts, "with tail"] if facts.get("outside_sparsity") else parts)


def root() -> Path:
    """The folder of the zoo. Source: docs/explanation/zoo.md."""
    return Path(str(resources.files("predfuse") / "zoo"))


def names(where: Path | None = None) -> list[str]:
    """The runs of the zoo, sorted. Source: docs/explanation/zoo.md."""
    return sorted(card.parent.name for card in (where or root()).glob(f"*/{CARD}"))


def folder(name: str | Path) -> Path:
    """The folder of a run, given as a path or as a name in the zoo; a path that exists comes first.

    Source: docs/explanation/zoo.md.
    """
    path = Path(name)
    if not path.exists() and len(path.parts) == 1 and (root() / path / CARD).is_file():
        return root() / path
    return path


def stages(where: Path | None = None) -> list[Stage]:
    """The facts of all runs, by name and stage.

    Raises:
        InputError: A card is not of this version's form.

    Source: docs/reference/files.md, Cards of the zoo.
    """
    base = where or root()
    return [stage for name in names(base) for stage in read_card(base / name / CARD)]


def shipped_vanilla(recipe: str, seed: int) -> Path | None:
    """The vanilla network of a recipe and seed that ships with another run than the one made of it; None if none does.

    Source: docs/explanation/zoo.md.
    """
    for stage in stages():
        if (stage.stage, stage.recipe, stage.seed) == ("vanilla", recipe, seed) and stage.file is not None:
            return root() / stage.run / stage.file
    return None


def read_card(path: Path) -> list[Stage]:
    """The facts of one run.

    Raises:
        InputError: The card is not of this version's form.

    Source: docs/reference/files.md, Cards of the zoo.
    """
    what, mend = "is no card of a training run", "make it with predfuse zoo add"
    with reading(str(path), what, mend):
        return [Stage(**entry) for entry in read_json(path, what, mend)]


def card_text(entries: Sequence[Stage]) -> str:
    """The card of one run as JSON. Source: docs/reference/files.md, Cards of the zoo."""
    return json.dumps([asdict(entry) for entry in entries], indent=2) + "\n"


def results_text(entries: Sequence[Stage]) -> str:
    """All facts as CSV, one line per run and stage. Source: docs/reference/files.md, Cards of the zoo."""
    return as_csv(map(asdict, entries))


def summaries(entries: Sequence[Stage]) -> list[Summary]:
    """Means and ranges over the seeds, in the order of data, network and stage.

    Only runs of one recipe are averaged: that of the weights that ship, of several the one of most runs.

    Source: docs/explanation/zoo.md, What they reach.
    """
    found = []
    for data, network in sorted({(entry.data, entry.network) for entry in entries}):
        hours = 0.0
        for stage in STAGES:
            runs = [e for e in entries if (e.data, e.network, e.stage) == (data, network, stage)]
            if not runs:
                continue
            recipes = Counter(entry.recipe for entry in runs)
            shipped = {entry.recipe for entry in runs if entry.file is not None} or set(recipes)
            recipe = max(sorted(shipped), key=recipes.__getitem__)
            runs = [entry for entry in runs if entry.recipe == recipe]
            accuracies = [entry.test_accuracy for entry in runs]
            own_hours = sum(entry.training_hours for entry in runs) / len(runs)
            mean = sum(accuracies) / len(runs)
            low, high = min(accuracies), max(accuracies)
            found.append(Summary(data, network, stage, len(runs), mean, low, high, hours + own_hours))
            if not stage.startswith("predicted"):
                hours += own_hours  # the tunings are alternatives, both from the pruned network
    return found


def check(where: Path | None = None) -> list[str]:
    """What is wrong with the files of the zoo, one sentence each; empty if all is as the cards say.

    Every shipped checkpoint must have its card's size and checksum, and ``results.csv`` must be made of the cards.

    Source: docs/reference/files.md, Cards of the zoo.
    """
    base = where or root()
    entries = stages(base)
    wrong = []
    for entry in entries:
        if entry.file is None:
            continue
        path = base / entry.run / entry.file
        if not path.is_file():
            wrong.append(f"{path} is missing")
        elif path.stat().st_size != entry.file_bytes or sha256_of_file(path) != entry.sha256:
            wrong.append(f"{path} is not the file its card describes")
    results = base / RESULTS
    if not results.is_file() or results.read_text(encoding="utf-8") != results_text(entries):
        wrong.append(f"{results} is not made of the cards")
    return wrong
