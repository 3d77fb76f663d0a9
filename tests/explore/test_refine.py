"""The refinement after a sampler: what it asks for, where it ends, and that a kill changes nothing."""

from __future__ import annotations

import itertools
import math
from pathlib import Path

import explore_evaluations
import pytest
from hypothesis import given, strategies as st

from predfuse.errors import InputError
from predfuse.explore.evaluation import Outcome
from predfuse.explore.history import History
from predfuse.explore.moves import key, neighbours
from predfuse.explore.refine import COMBINATIONS, LEAST_GAIN, MOST_STEPS, Costs, proposals
from predfuse.explore.report import render_report
from predfuse.explore.search import explore
from predfuse.explore.space import Space, Value, parse_space
from predfuse.hardware.area import total_area_mm2

Key = tuple[Value, ...]
VALUES: dict[str, tuple[Value, ...]] = {"a": (1, 2, 3, 4), "b": (1, 3, 5), "c": (2, 4, 6), "d": ("x", "y")}
POINTS = [dict(zip(VALUES, point, strict=True)) for point in itertools.product(*VALUES.values())]

SPACE = """
machine: eyeriss-sparse
network: {name: mobilenetv2-s, fused: false, pruned: nothing}
fields:
  machine.array.rows: {from: 2, to: 16}
  machine.array.columns: {from: 4, to: 72, step: 4}
  machine.global_buffer.banks: {from: 4, to: 24, step: 2}
  machine.pe.weight_sram_words: [16, 24, 32, 48, 64, 96, 128]
objectives: [total_cycles]
limits: {at_most: {area_mm2: 1.7}}
sampler: tpe
evaluations: 20
refine: 70
"""


COSTS = st.lists(st.integers(1, 30), min_size=len(POINTS), max_size=len(POINTS))


@given(COSTS, st.integers(8, 16), st.integers(1, 9))
def test_it_ends_where_no_step_and_no_promising_combination_helps(
    costs: list[int], most: int, asked_first: int
) -> None:
    price = {key(point): float(cost) for point, cost in zip(POINTS, costs, strict=True)}

    def within(point: dict[str, Value]) -> bool:
        return sum(value for value in point.values() if isinstance(value, int)) <= most

    def best_of(some: Costs) -> dict[str, Value] | None:
        met = [point for point in POINTS if key(point) in some and within(point)]
        return min(met, key=lambda point: some[key(point)], default=None)

    first = {key(point): price[key(point)] for point in POINTS[:asked_first]}
    known, order = dict(first), []
    while found := proposals(known, first, VALUES, within, best_of):
        assert not {key(point) for point in found} & known.keys()
        for place, point in enumerate(found):  # after a kill in the middle the rest is asked for, in the same order
            assert proposals(known, first, VALUES, within, best_of) == found[place:]
            known[key(point)] = price[key(point)]
            order.append(point)
    best = best_of(known)
    assert best is not None
    steps = neighbours(best, VALUES)
    assert all(key(step) in known for step in steps)
    promises = {}
    for count in range(2, MOST_STEPS + 1):
        for chosen in itertools.combinations(steps, count):
            changed = [next(field for field in VALUES if step[field] != best[field]) for step in chosen]
            point = {**best, **{field: step[field] for field, step in zip(changed, chosen, strict=True)}}
            promised = sum(math.log(price[key(step)] / price[key(best)]) for step in chosen)
            if len(set(changed)) == count and within(point) and promised < -LEAST_GAIN:
                promises[key(point)] = promised
    worst = max(sorted(promises.values())[:COMBINATIONS], default=0.0)
    assert all(name in known for name, promised in promises.items() if promised < worst - 1e-9)
    assert all(price[key(point)] >= price[key(best)] * (1 - LEAST_GAIN) for point in order if within(point))


def refined(space: Space, journal: Path, points: int) -> History:
    """A search without workers, which is stopped after some points."""
    history = History(space, journal)

    def tell(point: dict[str, Value] | None) -> None:
        one = history.ask() if point is None else history.ask_for(point)
        assert one is not None
        spec, _ = space.split(one.point)
        outcome: Outcome = explore_evaluations.cheap(spec, None)  # type: ignore[arg-type]
        broken = space.limits.broken(outcome.metrics)
        history.tell(one, Outcome(outcome.metrics, "broken", broken) if broken else outcome)

    while history.counted < min(points, space.evaluations):
        tell(None)
    while history.counted < points and (found := history.refinements()):
        for point in found[: points - history.counted]:
            tell(point)
    return history


def test_a_refined_search_depends_on_its_file_alone(tmp_path: Path) -> None:
    space = parse_space(SPACE.replace("tpe", "random"), "space.yaml")
    whole = list(refined(space, tmp_path / "whole.log", 60).finished())
    for cut in (21, 33, 57):
        refined(space, tmp_path / f"{cut}.log", cut)
        assert list(refined(space, tmp_path / f"{cut}.log", 60).finished()) == whole
    for evaluations in (30, 80):
        text = SPACE.replace("tpe", "random").replace("evaluations: 20", f"evaluations: {evaluations}")
        with pytest.raises(InputError, match="was refined after 20 evaluations"):
            History(parse_space(text, "space.yaml"), tmp_path / "57.log")


def test_steps_above_the_area_are_measured_and_are_on_no_front(tmp_path: Path) -> None:
    space = parse_space(SPACE, "space.yaml")
    alone = parse_space(SPACE.replace("refine: 70", ""), "space.yaml")
    found = explore(space, tmp_path / "out", workers=1, evaluation=explore_evaluations.cheap)
    without = explore(alone, tmp_path / "alone", workers=1, evaluation=explore_evaluations.cheap)
    assert found.rows[: len(without.rows)] == without.rows
    assert 20 < len(found.rows) <= 90
    (best,), (before,) = found.front_rows(), without.front_rows()
    assert best.outcome.metrics["total_cycles"] < before.outcome.metrics["total_cycles"]
    assert best.outcome.metrics["area_mm2"] <= 1.7
    above = [row for row in found.rows[20:] if row.outcome.metrics["area_mm2"] > 1.7]
    assert above and all(row.outcome.state == "broken" and row.outcome.evaluated for row in above)
    assert found.as_json()["space"]["refine"] == 70


@pytest.mark.parametrize(("old", "new"), [("[total_cycles]", "[total_cycles, energy_uj]"), ("tpe", "grid")])
def test_refinement_needs_one_objective_and_a_sampler(old: str, new: str) -> None:
    with pytest.raises(InputError, match="needs one objective and a sampler that is no grid; leave it out"):
        parse_space(SPACE.replace(old, new), "space.yaml")


def test_steps_go_on_above_a_range_and_stay_within_the_values_of_a_list(tmp_path: Path) -> None:
    narrow = SPACE.replace("{from: 2, to: 16}", "{from: 2, to: 5}").replace("[16, 24, 32, 48, 64, 96, 128]", "[16, 24]")
    space = parse_space(narrow, "space.yaml")
    assert space.refined_values["machine.array.rows"] == (2, 3, 4, 5, 6, 7, 8, 9, 10)
    found = explore(space, tmp_path / "out", workers=1, evaluation=explore_evaluations.cheap)
    rows = [int(str(row.point["machine.array.rows"])) for row in found.rows]
    assert max(rows[: space.evaluations]) <= 5 < max(rows) <= 10
    assert {row.point["machine.pe.weight_sram_words"] for row in found.rows} <= {16, 24}
    again = list(History(space, tmp_path / "out" / "journal.log").finished())
    assert [asked.point for asked, _ in again] == [row.point for row in found.rows]
    assert found.as_json()["importance"]["total_cycles"]
    assert f'"{max(rows)}"' in render_report(found)


def test_a_search_begins_with_a_machine_and_finds_nothing_worse(tmp_path: Path) -> None:
    text = SPACE.replace("[total_cycles]", "[energy_uj]").replace("refine: 70", "refine: 0")
    space = parse_space(text, "space.yaml")
    machine = tmp_path / "mine.yaml"
    sizes = "array: {rows: 3, columns: 12}\nglobal_buffer: {banks: 26, depth: 8192, width_bits: 64}\n"
    machine.write_text(f"name: mine\nextends: eyeriss-sparse\n{sizes}pe: {{weight_sram_words: 48}}\n")
    space.begin_with([str(machine)])
    found = explore(space, tmp_path / "out", workers=1, evaluation=explore_evaluations.cheap)
    assert list(found.rows[0].point.values()) == [3, 12, 26, 48]
    assert len(found.rows) == space.evaluations
    (best,) = found.front_rows()
    assert best.outcome.metrics["energy_uj"] <= found.rows[0].outcome.metrics["energy_uj"]
    other = parse_space(text, "space.yaml")
    with pytest.raises(InputError, match="holds another search"):
        explore(other, tmp_path / "out", workers=1, evaluation=explore_evaluations.cheap)


def test_a_beginning_that_breaks_the_limits_is_moved_until_it_meets_them(tmp_path: Path) -> None:
    space = parse_space(SPACE, "space.yaml")
    machine = tmp_path / "large.yaml"
    sizes = "array: {rows: 16, columns: 72}\nglobal_buffer: {banks: 24, depth: 8192, width_bits: 64}\n"
    machine.write_text(f"name: large\nextends: eyeriss-sparse\n{sizes}pe: {{weight_sram_words: 128}}\n")
    space.begin_with([str(machine)])
    points = [History(space, tmp_path / f"{number}.log").ask() for number in range(2)]
    assert points[0] is not None and points[0] == points[1]
    assert total_area_mm2(space.split(space.begin[0])[0]) > 1.7 >= total_area_mm2(space.split(points[0].point)[0]) > 1.5


@pytest.mark.parametrize(
    ("text", "machine", "message"),
    [
        (SPACE, "eyeriss-sparse", "machine.global_buffer.banks: is 27; begin with a machine this file"),
        (SPACE, "archon", "machine.pe.weight_sram_words: is not there"),
        (SPACE.replace("tpe", "grid").replace("refine: 70", ""), "sparse-1.7", "a search of machines that is no grid"),
    ],
)
def test_a_beginning_the_search_cannot_have_is_refused(text: str, machine: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        parse_space(text, "space.yaml").begin_with([machine])
