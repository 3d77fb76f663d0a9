"""Points moved to where the limits on the area are met: sizes change place by place, each step bringing it nearer.

The area of a machine is known at once, its costs are not. A sampler that knows nothing of areas would ask for machines
far above or below them most of the time; moved points lie near the limit and are what the sampler is told of.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from random import Random

from predfuse.explore.space import Value

Point = dict[str, Value]
STEPS_AWAY = 3
"""Random steps away from a point that was asked for before."""
ATTEMPTS = 20
"""Ways tried to find a point that was not; then it is asked for again, and its known outcome counts once more."""


def key(point: Mapping[str, Value]) -> tuple[Value, ...]:
    """A point as a member of a set."""
    return tuple(point.values())


def moved(
    point: Point,
    values: Mapping[str, tuple[Value, ...]],
    excess: Callable[[Point], float],
    seen: Collection[tuple[Value, ...]],
    random: Random,
) -> Point | None:
    """A point near ``point`` that meets the limits and was not asked for before; None where no step leads there.

    Args:
        point: A value for every field.
        values: Those every field may have, in their order.
        excess: What a point is above the limits (positive) or below them (negative); infinite if it is impossible.
        seen: Keys of earlier points.
        random: Decides which of several steps is taken.
    """
    found = _within(point, values, excess, random)
    for _ in range(ATTEMPTS):
        if found is None or key(found) not in seen:
            break
        away = found
        for _ in range(STEPS_AWAY):
            away = random.choice(neighbours(away, values) or [away])
        found = _within(away, values, excess, random) or found
    return found


def _within(
    point: Point, values: Mapping[str, tuple[Value, ...]], excess: Callable[[Point], float], random: Random
) -> Point | None:
    off = excess(point)
    while off:
        steps = neighbours(point, values)
        random.shuffle(steps)
        for step in steps:
            there = excess(step)
            if abs(there) < abs(off):
                point, off = step, there
                break
        else:
            return None
    return point


def neighbours(point: Point, values: Mapping[str, tuple[Value, ...]]) -> list[Point]:
    """The points that differ from ``point`` by one place in one field. Source: docs/how-to/explore.md, Refinement."""
    found = []
    for field, of_field in values.items():
        place = of_field.index(point[field])
        found += [{**point, field: of_field[next_]} for next_ in (place - 1, place + 1) if 0 <= next_ < len(of_field)]
    return found


def outside(value: float, least: float, most: float) -> float:
    """How far ``value`` is above ``most`` (positive) or below ``least`` (negative)."""
    return max(0.0, value - most) + min(0.0, value - least) if math.isfinite(value) else math.inf
