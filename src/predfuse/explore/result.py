"""What a search found: all points, the Pareto front, hypervolume over time; as JSON and CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from predfuse.explore.evaluation import Outcome
from predfuse.explore.space import METRICS, MORE_IS_BETTER, Space, Value, plain

Vector = tuple[float, ...]


@dataclass(frozen=True)
class Row:
    """A point and what became of it."""

    number: int
    point: Mapping[str, Value]
    outcome: Outcome


@dataclass(frozen=True)
class SearchResult:
    """Everything a search found.

    Attributes:
        space: What was searched.
        rows: All points, in the order they were asked for.
        front: Places in ``rows`` of what no other point is as good as in all objectives and better in one; of equals
            the first.
        hypervolume: Share of the box between the best and the worst of every objective that the front dominates, after
            every evaluation that met the limits: number and share.
        importance: By objective, what share of being among the best tenth every field explains.
        sources: The images, in words.
        version: Of the models.
        computed: Evaluations computed in this run; the others were known.

    Source: docs/how-to/explore.md.
    """

    space: Space
    rows: tuple[Row, ...]
    front: tuple[int, ...]
    hypervolume: tuple[tuple[int, float], ...]
    importance: Mapping[str, Mapping[str, float]]
    sources: tuple[str, ...]
    version: str
    computed: int

    @classmethod
    def of(
        cls,
        space: Space,
        rows: tuple[Row, ...],
        importance: Mapping[str, Mapping[str, float]],
        version: str,
        computed: int,
    ) -> SearchResult:
        """Find front and hypervolume.

        Args:
            space: What was searched.
            rows: All points.
            importance: Share of what each objective varies by that a field explains, 0..1, by objective and field.
            version: Of predfuse.
            computed: Points computed in this run, not taken from the cache.
        """
        met = [place for place, row in enumerate(rows) if row.outcome.state == "met"]
        vectors = {place: vector(rows[place], space.objectives) for place in met}
        front = pareto_front(vectors)
        volumes = hypervolume_over_time([(rows[place].number, vectors[place]) for place in met])
        sources = tuple(dict.fromkeys(row.outcome.source for row in rows if row.outcome.source))
        return cls(space, rows, front, volumes, importance, sources, version, computed)

    def counts(self) -> dict[str, int]:
        """Points by state."""
        found = dict.fromkeys(("met", "broken", "unfit", "failed"), 0)
        for row in self.rows:
            found[row.outcome.state] += 1
        return found

    def front_rows(self) -> list[Row]:
        """The front, best in the first objective first."""
        name = self.space.objectives[0]
        sign = -1 if name in MORE_IS_BETTER else 1
        return sorted((self.rows[place] for place in self.front), key=lambda row: sign * row.outcome.metrics[name])

    def as_json(self) -> dict[str, Any]:
        """Plain values. Nothing in it depends on how often the search was interrupted."""
        return {
            "version": self.version,
            "images": list(self.sources),
            "space": {**self.space.as_json(), "evaluations": self.space.evaluations, "refine": self.space.refine},
            "points": self.counts(),
            "front": [self._row(row) for row in self.front_rows()],
            "hypervolume": [{"number": number, "share": share} for number, share in self.hypervolume],
            "importance": {name: dict(shares) for name, shares in self.importance.items()},
            "rows": [self._row(row) for row in self.rows],
        }

    @staticmethod
    def _row(row: Row) -> dict[str, Any]:
        outcome = row.outcome.as_json()
        del outcome["evaluated"], outcome["source"]
        return {"number": row.number, "point": {field: plain(value) for field, value in row.point.items()}, **outcome}

    def as_csv(self) -> str:
        """A line per point."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["number", "state", "on_front", *self.space.values, *METRICS, "reason"])
        on_front = set(self.front)
        for place, row in enumerate(self.rows):
            metrics = [row.outcome.metrics.get(name, "") for name in METRICS]
            state = [row.number, row.outcome.state, int(place in on_front)]
            writer.writerow([*state, *row.point.values(), *metrics, row.outcome.reason])
        return text.getvalue()


def vector(row: Row, objectives: Sequence[str]) -> Vector:
    """The objectives of a point, each the better the smaller. Source: predfuse.explore.space.Space, its objectives."""
    return tuple(
        -row.outcome.metrics[name] if name in MORE_IS_BETTER else row.outcome.metrics[name] for name in objectives
    )


def pareto_front(vectors: Mapping[int, Vector]) -> tuple[int, ...]:
    """Keys of the ``vectors`` (points, each objective in its unit) that none dominates; of equal ones the first.

    Source: Pareto dominance, as docs/how-to/explore.md has it.
    """
    front: list[tuple[int, Vector]] = []
    for key, one in sorted(vectors.items(), key=lambda item: (item[1], item[0])):
        # In this order a later vector dominates no earlier one.
        if not any(all(a <= b for a, b in zip(other, one, strict=True)) for _, other in front):
            front.append((key, one))
    return tuple(sorted(key for key, _ in front))


def hypervolume(vectors: Sequence[Vector], reference: Vector) -> float:
    """Volume between ``reference`` and the vectors, where smaller is better; exact, by slices along the first axis.

    Source: Zitzler and Thiele 1998, the S metric; docs/how-to/explore.md.
    """
    inside = [one for one in vectors if all(a < b for a, b in zip(one, reference, strict=True))]
    if not inside:
        return 0.0
    if len(reference) == 1:
        return reference[0] - min(one[0] for one in inside)
    total = 0.0
    starts = sorted({one[0] for one in inside})
    for start, end in zip(starts, [*starts[1:], reference[0]], strict=True):
        total += (end - start) * hypervolume([one[1:] for one in inside if one[0] <= start], reference[1:])
    return total


def hypervolume_over_time(numbered: Sequence[tuple[int, Vector]]) -> tuple[tuple[int, float], ...]:
    """The number of every point of ``numbered`` that enlarges it, and of the last; with the share of their box then.

    Source: predfuse.explore.result.hypervolume.
    """
    if not numbered:
        return ()
    columns = list(zip(*(one for _, one in numbered), strict=True))
    best, worst = [min(column) for column in columns], [max(column) for column in columns]

    def shares(one: Vector) -> Vector:
        box = zip(one, best, worst, strict=True)
        return tuple((value - low) / (high - low) if high > low else 0.0 for value, low, high in box)

    scaled = [(number, shares(one)) for number, one in numbered]
    reference = (1.0,) * len(best)
    found: list[tuple[int, float]] = []
    front: list[Vector] = []
    share = 0.0
    for number, one in scaled:
        if any(all(a <= b for a, b in zip(other, one, strict=True)) for other in front):
            continue
        front = [other for other in front if not all(a <= b for a, b in zip(one, other, strict=True))] + [one]
        share = hypervolume(front, reference)
        found.append((number, share))
    if found[-1][0] != scaled[-1][0]:
        found.append((scaled[-1][0], share))
    return tuple(found)
