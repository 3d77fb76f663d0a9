"""What a search file may say: a machine and a network, fields with their values, objectives and limits."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias, get_args

from pydantic import BaseModel, ConfigDict, Field

from predfuse.errors import InputError
from predfuse.explore.networks import NetworkChoice
from predfuse.hardware.spec import PRICES, AcceleratorSpec, load_spec
from predfuse.hardware.vary import with_fields
from predfuse.readers.boundary import read_text
from predfuse.readers.documents import validated
from predfuse.readers.extends import extended

Value: TypeAlias = bool | int | float | str | tuple[int, ...]
"""Of one field; several numbers are one value of a field that holds a list, such as the channels of every stage."""
Metric: TypeAlias = Literal[
    "total_cycles",
    "stall_cycles",
    "energy_uj",
    "energy_delay_uj_ms",
    "area_mm2",
    "estimated_blocks",
    "accuracy_percent",
]
METRICS: tuple[str, ...] = get_args(Metric)
"""What is measured of every point; accuracy only of trained networks, and the only one of which more is better."""
MORE_IS_BETTER = frozenset(("accuracy_percent",))


def plain(value: Value) -> bool | int | float | str | list[int]:
    """A value as JSON has it, in the unit of its field; a tuple as a list.

    Source: docs/how-to/explore.md.
    """
    return list(value) if isinstance(value, tuple) else value


FILLED = 0.9
"""Share of a given area that machines of a search fill at least."""
_MISSING = object()
MAX_VALUES = 10_000
"""Most values of one range."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Range(_Strict):
    """Numbers from one to another, both included where the steps meet them. Source: docs/how-to/explore.md."""

    first: Annotated[float, Field(alias="from")]
    last: Annotated[float, Field(alias="to")]
    step: float | None = None
    """Distance of two values; 1 where neither it nor ``factor`` is given."""
    factor: float | None = None
    """Ratio of two values, in place of ``step``."""

    def values(self) -> tuple[Value, ...]:
        """All values of the field, in its own unit, whole numbers as integers.

        Raises:
            InputError: There are too many.
        """
        found: list[float] = []
        value = self.first
        if (self.step is not None and self.step <= 0) or (self.factor is not None and (self.factor <= 1 or value <= 0)):
            return ()
        while value <= self.last * (1 + 1e-12):
            if len(found) == MAX_VALUES:
                raise InputError(f"from {self.first} to {self.last}", f"is more than {MAX_VALUES:,} values", "use less")
            found.append(value)
            value = value * self.factor if self.factor is not None else self.first + len(found) * (self.step or 1)
        return tuple(int(one) if float(one).is_integer() else one for one in found)

    def beyond(self) -> tuple[Value, ...]:
        """The values and those that follow them above the last one, at the same distance, up to twice as large.

        Raises:
            InputError: There are too many.
        """
        return self.model_copy(update={"last": 2 * self.last}).values() if self.last > 0 else self.values()


class Limits(_Strict):
    """Bounds on metrics; what breaks one is on no front. Source: docs/how-to/explore.md."""

    at_most: dict[Metric, float] = {}
    at_least: dict[Metric, float] = {}

    def broken(self, metrics: Mapping[str, float]) -> str:
        """The first limit that ``metrics`` (each in the unit of its name) break, in words; empty if none does."""
        for name, bound in self.at_most.items():
            if metrics.get(name, -math.inf) > bound:
                return f"{name} {metrics[name]:,.6g} is above {bound:,.6g}"
        for name, bound in self.at_least.items():
            if metrics.get(name, math.inf) < bound:
                return f"{name} {metrics[name]:,.6g} is below {bound:,.6g}"
        return ""


class _Document(_Strict):
    machine: str
    network: NetworkChoice
    fields: Annotated[dict[str, list[Value] | Range], Field(min_length=1)]
    objectives: Annotated[list[Metric], Field(min_length=1)]
    limits: Limits = Limits()
    sampler: Literal["grid", "random", "tpe", "nsga2"] = "tpe"
    evaluations: Annotated[int, Field(gt=0)] | None = None
    refine: Annotated[int, Field(ge=0)] = 0
    seed: Annotated[int, Field(ge=0)] = 0


class Space:
    """A search, checked: every field exists and has values.

    Attributes:
        base: Name or file of the machine the fields change.
        machine: That machine.
        network: The network the fields change.
        values: The values of every field, by dotted name (``machine.`` or ``network.`` in front).
        refined_values: The same for the refinement, for which the upper end of a range is no end.
        objectives: Metrics, each the better the smaller (accuracy: the larger).
        limits: Bounds on metrics.
        sampler: ``grid``, ``random``, ``tpe`` or ``nsga2``.
        evaluations: Points of the sampler to be evaluated (a grid: at most); those that break a limit beforehand do not
            count.
        refine: Points to be evaluated after them at most, around the best one.
        seed: Of the sampler.
        begin: Points measured before the sampler chooses any.

    Source: docs/how-to/explore.md.
    """

    def __init__(self, document: _Document, file: str) -> None:
        self.base: str = document.machine
        self.machine: AcceleratorSpec = load_spec(document.machine)
        self.network = document.network
        self.values: dict[str, tuple[Value, ...]] = {}
        self.refined_values: dict[str, tuple[Value, ...]] = {}
        self.objectives: tuple[str, ...] = tuple(document.objectives)
        self.limits, self.sampler, self.seed = document.limits, document.sampler, document.seed
        for field, given in document.fields.items():
            values = given.values() if isinstance(given, Range) else tuple(given)
            if not values or len({json.dumps(value) for value in values}) < len(values):
                what = "holds a value twice" if values else "has no value"
                raise InputError(f"{file}: fields.{field}", what, "give a list, or `from` a number `to` a larger one")
            self.values[field] = values
            self.refined_values[field] = given.beyond() if isinstance(given, Range) else values
            try:
                self._require(field)
            except InputError as error:
                raise InputError(f"{file}: fields.{field}", error.what, error.mend) from error
        if len(set(self.objectives)) < len(self.objectives):
            raise InputError(f"{file}: objectives", "holds one twice", "name each once")
        trained = self.network.trained
        if "accuracy_percent" in self.wanted and not trained:
            raise InputError(f"{file}: accuracy_percent", "is known of trained networks only", "name a checkpoint")
        if document.evaluations is None and self.sampler != "grid":
            raise InputError(f"{file}: evaluations", "is missing", "say how many points may be evaluated")
        self.evaluations = document.evaluations if document.evaluations is not None else self.size
        self.refine = document.refine
        self.begin: tuple[dict[str, Value], ...] = ()
        if self.refine and (len(self.objectives) > 1 or self.sampler == "grid"):
            raise InputError(f"{file}: refine", "needs one objective and a sampler that is no grid", "leave it out")

    @property
    def wanted(self) -> set[str]:
        """Metrics that are an objective or have a limit."""
        return {*self.objectives, *self.limits.at_most, *self.limits.at_least}

    @property
    def size(self) -> int:
        """Points of the space."""
        return math.prod(len(values) for values in self.values.values())

    def _require(self, field: str) -> None:
        """Refuse a field that does not exist; its values are checked with those of the others, point by point."""
        part, _, rest = field.partition(".")
        if part == "network":
            self.network.with_fields({rest: self.values[field][0]})
            return
        document = self.machine.model_dump(mode="json", exclude=set(PRICES)) if part == "machine" else {}
        place, known = _at(document, rest), _at(document, rest.rpartition(".")[0])
        if place is _MISSING or isinstance(place, dict):
            mend = "begin with machine. or network."
            if part == "machine" and isinstance(known, dict):
                mend = f"use one of {', '.join(sorted(place if isinstance(place, dict) else known))}"
            raise InputError(field, "is no field", mend)

    def split(self, point: Mapping[str, Value]) -> tuple[AcceleratorSpec, NetworkChoice]:
        """The machine and the network of a point; the machine at the prices that follow from its sizes.

        Raises:
            InputError: Values that cannot go together.
        """
        changes: dict[str, dict[str, Value]] = {"machine": {}, "network": {}}
        for field, value in point.items():
            part, _, rest = field.partition(".")
            changes[part][rest] = value
        return with_fields(self.machine, changes["machine"]), self.network.with_fields(changes["network"])

    def begin_with(self, machines: Sequence[str]) -> None:
        """Measure the sizes of some machines, by name or file, before the sampler chooses any.

        Raises:
            InputError: A machine is of another kind or has a size the search cannot have, or the search is of networks
                or a grid.
        """
        if machines and (self.sampler == "grid" or any(not field.startswith("machine.") for field in self.values)):
            raise InputError("--begin", "needs a search of machines that is no grid", "leave it out")
        for name in machines:
            document, point = load_spec(name).model_dump(mode="json"), {}
            for field, known in self.refined_values.items():
                value = _at(document, field.partition(".")[2])
                if value not in known:
                    what = "is not there" if value is _MISSING else f"is {json.dumps(value)}"
                    raise InputError(f"--begin {name}: {field}", what, "begin with a machine this file can find")
                point[field] = value
            self.begin += (point,)

    def as_json(self) -> dict[str, Any]:
        """What decides which points there are and what they cost, as plain values; not how many are evaluated."""
        begin = {"begin": [[plain(value) for value in point.values()] for point in self.begin]} if self.begin else {}
        return {
            **begin,
            "machine": self.machine.model_dump(mode="json"),
            "network": self.network.model_dump(mode="json"),
            "values": {field: [plain(value) for value in values] for field, values in self.values.items()},
            "objectives": list(self.objectives),
            "limits": self.limits.model_dump(mode="json"),
            "sampler": self.sampler,
            "seed": self.seed,
        }


def _at(document: dict[str, Any], path: str) -> Any:
    """What a document has at a dotted path: itself at an empty one, ``_MISSING`` where there is nothing."""
    place: Any = document
    for name in path.split(".") if path else ():
        place = place.get(name, _MISSING) if isinstance(place, dict) else _MISSING
    return place


def load_space(
    path: Path,
    area_mm2: float | None = None,
    network: str | None = None,
    evaluations: int | None = None,
    begin: Sequence[str] = (),
) -> Space:
    """Read a search file.

    Args:
        path: The file.
        area_mm2: Area in place of the limits the file states: at most this, and no less than nine tenths of it, which
            smaller machines would waste.
        network: Name of the network in place of the file's; its other fields stay.
        evaluations: Points to be evaluated, in place of the file's number (count).
        begin: Machines, by name or file, whose sizes are measured first.

    Raises:
        InputError: The file cannot be read, or says something impossible.

    Source: docs/how-to/explore.md.
    """
    space = parse_space(read_text(path), str(path))
    if network is not None:
        space.network = space.network.with_fields({"name": network})
    if evaluations is not None:
        if evaluations < 1:
            raise InputError("--evaluations", f"is {evaluations}", "use 1 or more")
        space.evaluations = evaluations
    if area_mm2 is not None:
        if not area_mm2 > 0:
            raise InputError("--area", f"is {area_mm2:g}", "use an area above 0 mm2")
        at_most: dict[Metric, float] = {**space.limits.at_most, "area_mm2": area_mm2}
        at_least: dict[Metric, float] = {**space.limits.at_least, "area_mm2": FILLED * area_mm2}
        space.limits = Limits(at_most=at_most, at_least=at_least)
    space.begin_with(begin)
    return space


def parse_space(text: str, file: str) -> Space:
    """Check the text of a search file; ``file`` is named in messages.

    Raises:
        InputError: As :func:`load_space`.

    Source: docs/how-to/explore.md.
    """
    return Space(validated(_Document, extended(text, file), file, "see docs/how-to/explore.md for its form"), file)
