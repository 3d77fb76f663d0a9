"""Refinement of the best point of a search: every step of one field is measured, what promises most is combined.

A sampler leaves a space of twenty fields with steps that would still pay: an enlarged part pays for itself only where
another shrinks to make room. Steps that break the limit on the area are therefore measured too; combinations keep it.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping

from predfuse.explore.moves import Point, key, neighbours
from predfuse.explore.space import Value

MOST_STEPS = 3
"""Fields that one combination changes at most."""
COMBINATIONS = 10
"""Combinations measured around a point."""
LEAST_GAIN = 0.001
"""Share by which a point has to be better for the search to go on from there."""

Costs = Mapping[tuple[Value, ...], float]


def proposals(
    costs: Costs,
    first: Costs,
    values: Mapping[str, tuple[Value, ...]],
    within: Callable[[Point], bool],
    best_of: Callable[[Costs], Point | None],
) -> list[Point]:
    """The points to be measured next, in their order; none where no step and no combination helps any more.

    It is a function of what was measured, so that an interrupted search goes on to the same points.

    Args:
        costs: By key of a point, what it costs, above zero and in any unit; infinite where that is unknown. All points
            measured so far.
        first: Those of them that the sampler asked for.
        values: Those every field may have, in their order.
        within: Whether a point meets the limits that are known beforehand.
        best_of: The cheapest of some points that meets all limits, if there is one.

    Source: docs/how-to/explore.md, Refinement.
    """
    known = dict(first)
    center = best_of(known)
    while center is not None:
        steps = neighbours(center, values)
        if missing := [step for step in steps if key(step) not in costs]:
            return missing
        base = costs[key(center)]
        gains = {key(step): math.log(costs[key(step)] / base) for step in steps if math.isfinite(costs[key(step)])}
        combined = list(itertools.islice(_combinations(center, steps, gains, within), COMBINATIONS))
        if missing := [point for point in combined if key(point) not in costs]:
            return missing
        known |= {key(point): costs[key(point)] for point in (*steps, *combined)}
        best = best_of(known)
        if best is None or costs[key(best)] > base * (1 - LEAST_GAIN):
            break
        center = best
    return []


def _combinations(
    center: Point, steps: list[Point], gains: Mapping[tuple[Value, ...], float], within: Callable[[Point], bool]
) -> Iterator[Point]:
    """Several steps at once, those first whose logarithms of cost add up to least, as long as that is a gain."""
    changes = [
        (next(field for field in step if step[field] != center[field]), step) for step in steps if key(step) in gains
    ]
    found: list[tuple[float, int, Point]] = []
    for count in range(2, MOST_STEPS + 1):
        for chosen in itertools.combinations(changes, count):
            gain = sum(gains[key(step)] for _, step in chosen)
            if gain < -LEAST_GAIN and len({field for field, _ in chosen}) == count:
                found.append((gain, len(found), {**center, **{field: step[field] for field, step in chosen}}))
    return (point for _, _, point in sorted(found, key=lambda one: one[:2]) if within(point))
