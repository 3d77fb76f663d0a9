"""Points moved to where the limits on the area are met."""

from __future__ import annotations

from pathlib import Path
from random import Random

from hypothesis import given, strategies as st

from predfuse.explore.history import History
from predfuse.explore.moves import key, moved, outside
from predfuse.explore.space import Value, parse_space
from predfuse.hardware.area import total_area_mm2

VALUES: dict[str, tuple[Value, ...]] = {"a": (1, 2, 3, 4), "b": (1, 3, 5), "c": ("x", "y")}

SPACE = """
machine: eyeriss-sparse
network: {name: mobilenetv2-s, fused: false, pruned: nothing}
fields:
  machine.array.rows: {from: 2, to: 16}
  machine.array.columns: {from: 4, to: 72}
  machine.schedule: [layers, depth-first]
objectives: [total_cycles]
limits: {at_most: {area_mm2: 1.9}, at_least: {area_mm2: 1.7}}
sampler: tpe
evaluations: 30
"""


@given(
    st.fixed_dictionaries({field: st.sampled_from(of_field) for field, of_field in VALUES.items()}),
    st.integers(2, 10),
    st.sets(st.tuples(*(st.sampled_from(of_field) for of_field in VALUES.values()))),
    st.integers(0, 5),
)
def test_moved_points_meet_the_limits_and_are_new(
    point: dict[str, Value], most: int, seen: set[tuple[Value, ...]], seed: int
) -> None:
    def excess(one: dict[str, Value]) -> float:
        first, second = one["a"], one["b"]
        assert isinstance(first, int) and isinstance(second, int)
        return outside(first + second, most - 2, most)

    found = moved(point, VALUES, excess, seen, Random(seed))
    assert found is not None  # sums go down and up in steps of 1 and 2, and the limits leave room for 2
    assert excess(found) == 0 and all(found[field] in VALUES[field] for field in VALUES)
    assert found == moved(point, VALUES, excess, seen, Random(seed))
    if excess(point) == 0 and key(point) not in seen:
        assert found == point
    if not seen:
        assert moved(point, VALUES, lambda one: 1.0, seen, Random(seed)) is None  # nothing meets this


def test_every_point_a_search_asks_for_meets_its_area_and_is_new(tmp_path: Path) -> None:
    space = parse_space(SPACE, "space.yaml")
    history = History(space, tmp_path / "journal.log")
    asked = [history.ask() for _ in range(30)]
    points = [one.point for one in asked if one is not None]
    assert len({key(point) for point in points}) == 30
    for one in points:
        assert 1.7 <= total_area_mm2(space.split(one)[0]) <= 1.9
    kept = [trial.params for trial in history.memory.get_trials(deepcopy=False)]
    rows = space.values["machine.array.rows"]
    assert [rows[params["machine.array.rows"]] for params in kept] == [one["machine.array.rows"] for one in points]
