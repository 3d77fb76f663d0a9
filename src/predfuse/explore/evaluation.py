"""One evaluation, a pure function of machine and network, and the cache its results are kept in by content.

Workers import this module and no PyTorch.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from predfuse import __version__
from predfuse.errors import InputError
from predfuse.files import write_text_atomically
from predfuse.graph.nodes import Network
from predfuse.hardware.area import total_area_mm2
from predfuse.hardware.cycle.archon.machine import Masks
from predfuse.hardware.evaluate import evaluate as hardware_evaluate
from predfuse.hardware.spec import AcceleratorSpec
from predfuse.integer.program import Program
from predfuse.readers.boundary import reading
from predfuse.readers.documents import read_json

NAMELESS = ("name", "description", "source")
"""Fields of a specification that no cost depends on."""
_FOLDERS = ("fusion", "graph", "hardware", "integer", "explore")


@dataclass(frozen=True, eq=False)
class Subject:
    """A network ready to be measured on any machine.

    Attributes:
        network: Pruned; with predictors if fused, and then compiled to integers where it was trained.
        masks: Of every image, where blocks have predictors.
        accuracy_percent: Of a trained network on test images, where it is wanted.
        source: Its images, in words.
        digest: SHA-256 of all of it.
    """

    network: Network | Program
    masks: tuple[Masks, ...]
    accuracy_percent: float | None
    source: str
    digest: str


@dataclass(frozen=True)
class Outcome:
    """What became of a point.

    Attributes:
        metrics: See :data:`predfuse.explore.space.METRICS`; only the area where a limit was broken beforehand.
        state: ``met``; ``broken`` (a limit); ``unfit`` (the machine cannot run the network, or cannot be built);
            ``failed`` (raised or lost its worker, more often than it is tried again).
        reason: Why it is not ``met``.
        evaluated: Whether it counts as an evaluation.
        source: The network's images, in words.

    Source: docs/how-to/explore.md, How it runs.
    """

    metrics: Mapping[str, float]
    state: str = "met"
    reason: str = ""
    evaluated: bool = True
    source: str = ""

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return {**self.__dict__, "metrics": dict(self.metrics)}


def evaluate(spec: AcceleratorSpec, subject: Subject) -> Outcome:
    """Cycles, energy and area of a network on a machine; equal arguments give equal outcomes.

    A machine that cannot run the network is ``unfit``, an outcome like any other.
    """
    try:
        costs = hardware_evaluate(spec, subject.network, subject.masks)
    except InputError as error:
        return Outcome({"area_mm2": total_area_mm2(spec)}, "unfit", str(error))
    metrics = {
        "total_cycles": float(costs.cycles),
        "stall_cycles": float(costs.stall_cycles),
        "energy_uj": costs.energy_uj,
        "energy_delay_uj_ms": costs.energy_uj * spec.milliseconds(costs.cycles),
        "area_mm2": costs.area_mm2,
        "estimated_blocks": float(costs.estimated_blocks),
    }
    if subject.accuracy_percent is not None:
        metrics["accuracy_percent"] = subject.accuracy_percent
    return Outcome(metrics)


@lru_cache(maxsize=1)
def model_version() -> str:
    """The version of the package and a digest of all source that a cost depends on."""
    package = Path(__file__).parents[1]
    found = hashlib.sha256()
    for folder in _FOLDERS:
        for file in sorted((package / folder).rglob("*.py")):
            if folder != "explore" or file.name in ("evaluation.py", "networks.py"):
                found.update(file.relative_to(package).as_posix().encode())
                found.update(file.read_bytes())
    return f"{__version__}-{found.hexdigest()[:16]}"


def _digest(plain: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()


class Cache:
    """Outcomes by content, one JSON file each; written whole or not at all, so that many searches may share it.

    Args:
        folder: Made if it is not there.

    Raises:
        InputError: The folder holds results of another version of the models, or cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        mark = folder / "version.json"
        if mark.is_file():
            held = read_json(mark, "is not the mark of a cache", "name another folder")
            with reading(str(mark), "is not the mark of a cache", "name another folder"):
                held = held["version"]
            if held != model_version():
                what = f"holds results of version {held}, this is {model_version()}"
                raise InputError(str(folder), what, "remove it or name another folder")
            return
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(str(folder), f"cannot be made ({error.strerror})", "name another folder") from error
        write_text_atomically(mark, json.dumps({"version": model_version()}) + "\n")

    @staticmethod
    def key(spec: AcceleratorSpec, digest: str) -> str:
        """SHA-256 of everything an outcome depends on: the specification, network and images, and the models."""
        document = spec.model_dump(mode="json", exclude=set(NAMELESS))
        plain = json.dumps([document, digest, model_version()], sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(plain.encode()).hexdigest()

    def get(self, key: str) -> Outcome | None:
        """The outcome that is stored; None where there is none.

        Raises:
            InputError: The file is damaged.
        """
        path = self._path(key)
        if not path.is_file():
            return None
        with reading(str(path), "is damaged", "remove it"):
            held = read_json(path, "is damaged", "remove it")
            if held["sha256"] != _digest(held["outcome"]):
                raise InputError(str(path), "is damaged (its checksum is another)", "remove it")
            return Outcome(**held["outcome"])

    def put(self, key: str, outcome: Outcome) -> None:
        """Keep an outcome."""
        path = self._path(key)
        path.parent.mkdir(exist_ok=True)
        plain = outcome.as_json()
        write_text_atomically(path, json.dumps({"outcome": plain, "sha256": _digest(plain)}, sort_keys=True) + "\n")

    def __len__(self) -> int:
        return sum(1 for _ in self._folder.glob("??/*.json"))

    def _path(self, key: str) -> Path:
        return self._folder / key[:2] / f"{key[2:]}.json"
