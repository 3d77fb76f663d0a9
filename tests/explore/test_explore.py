"""The search: spaces and their errors, front and hypervolume, kills, lost workers, failures, the command line."""

from __future__ import annotations

import csv
import itertools
import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import explore_evaluations
import pytest
from distributed import LocalCluster
from hypothesis import given, strategies as st
from typer.testing import CliRunner

from predfuse.cli import app
from predfuse.errors import InputError, PredfuseError
from predfuse.explore import search
from predfuse.explore.evaluation import Cache, Outcome, evaluate, model_version
from predfuse.explore.history import BATCH, History
from predfuse.explore.machines import machine_files, stale_machine_files
from predfuse.explore.networks import NetworkChoice, make_subject
from predfuse.explore.report import render_report
from predfuse.explore.result import Row, SearchResult, hypervolume, hypervolume_over_time, pareto_front
from predfuse.explore.search import explore
from predfuse.explore.space import Space, parse_space
from predfuse.files import write_text_atomically
from predfuse.graph.nodes import Conv, Network
from predfuse.hardware.spec import load_spec

GRID = """
machine: eyeriss-sparse
network: {name: mobilenetv2-s, fused: false, pruned: nothing}
fields:
  machine.array.rows: [3, 4]
  machine.array.columns: {from: 4, to: 12, factor: 2}
  machine.global_buffer.banks: {from: 4, to: 10, step: 2}
objectives: [total_cycles, energy_uj]
sampler: grid
"""


Run = Callable[..., SearchResult]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """A cluster of two workers, as a user's own would be: its address, and where evaluations leave their notes."""
    notes = tmp_path_factory.mktemp("notes")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PREDFUSE_TEST_FOLDER", str(notes))
        with LocalCluster(
            n_workers=2, threads_per_worker=1, memory_limit=0, dashboard_address="127.0.0.1:0"
        ) as started:
            yield started.scheduler_address, notes


@pytest.fixture
def notes(cluster: tuple[str, Path]) -> Path:
    """Where evaluations leave their notes, empty."""
    for file in cluster[1].iterdir():
        file.unlink()
    return cluster[1]


@pytest.fixture
def run(cluster: tuple[str, Path]) -> Run:
    """A search on that cluster."""
    return partial(explore, scheduler=cluster[0])


def grid() -> Space:
    return parse_space(GRID, "grid.yaml")


def calls(notes: Path) -> Counter[str]:
    return Counter(line for file in notes.glob("calls-*") for line in file.read_text().splitlines())


def test_space() -> None:
    space = grid()
    assert space.values == {
        "machine.array.rows": (3, 4),
        "machine.array.columns": (4, 8),
        "machine.global_buffer.banks": (4, 6, 8, 10),
    }
    assert space.size == space.evaluations == 16
    spec, choice = space.split({"machine.array.rows": 4, "machine.global_buffer.banks": 6})
    assert (spec.array.rows, spec.global_buffer.banks, spec.global_buffer.depth) == (4, 6, 6 * 512)
    assert choice == space.network


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("array.rows", "array.wheels", "fields.machine.array.wheels: is no field; use one of columns, rows"),
        ("machine.array.rows", "wheels.array", "fields.wheels.array: is no field; begin with machine. or network."),
        ("machine.array.rows", "network.speed", "fields.network.speed: is not of a network"),
        ("from: 4, to: 10", "from: 10, to: 4", "fields.machine.global_buffer.banks: has no value"),
        ("[3, 4]", "[]", "fields.machine.array.rows: has no value"),
        ("[3, 4]", "[3, 3]", "holds a value twice"),
        ("step: 2", "step: 0", "has no value"),
        ("sampler: grid", "sampler: tpe", "evaluations: is missing"),
        ("sampler: grid", "sampler: luck", "sampler: is 'luck'"),
        ("sampler: grid", "wheels: 4", "wheels: is an unknown key"),
        ("total_cycles, energy_uj", "speed", "objectives.0: is 'speed'"),
        ("total_cycles, energy_uj", "energy_uj, energy_uj", "objectives: holds one twice"),
        ("total_cycles, energy_uj", "accuracy_percent", "is known of trained networks only"),
        ("eyeriss-sparse", "wheel", "accelerator 'wheel': is neither shipped nor a file"),
        ("fields:", "fields: [", "is not valid YAML"),
    ],
)
def test_wrong_spaces_are_one_line(old: str, new: str, message: str) -> None:
    assert old in GRID
    with pytest.raises(InputError) as caught:
        parse_space(GRID.replace(old, new), "grid.yaml")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


VECTORS = st.integers(1, 3).flatmap(lambda size: st.lists(st.tuples(*[st.integers(0, 5)] * size), max_size=12))


@given(VECTORS)
def test_front_against_its_definition(vectors: list[tuple[int, ...]]) -> None:
    def beats(a: int, b: int) -> bool:
        return all(x <= y for x, y in zip(vectors[a], vectors[b], strict=True)) and (vectors[a] != vectors[b] or a < b)

    places = range(len(vectors))
    expected = [b for b in places if not any(beats(a, b) for a in places if a != b)]
    assert list(pareto_front(dict(enumerate(vectors)))) == expected


@given(VECTORS)
def test_hypervolume_against_counted_cells(vectors: list[tuple[int, ...]]) -> None:
    size = len(vectors[0]) if vectors else 1
    cells = itertools.product(range(6), repeat=size)
    dominated = sum(any(all(x <= y for x, y in zip(v, cell, strict=True)) for v in vectors) for cell in cells)
    assert hypervolume(vectors, (6,) * size) == dominated
    shares = [share for _, share in hypervolume_over_time(list(enumerate(vectors)))]
    assert shares == sorted(shares)


def played(space: Space, journal: Path, points: int) -> History:
    """A search without workers: batch by batch, as search.py does."""
    history = History(space, journal)
    while history.counted < points:
        batch = BATCH[space.sampler]
        asked = [found for _ in range(batch - history.counted % batch) if (found := history.ask())]
        for one in reversed(asked) if history.counted + len(asked) <= points else asked[: points - history.counted]:
            spec, _ = space.split(one.point)
            history.tell(one, explore_evaluations.cheap(spec, None))  # type: ignore[arg-type]
    return history


@pytest.mark.parametrize("sampler", ["random", "tpe", "nsga2"])
def test_a_search_depends_on_its_file_alone(sampler: str, tmp_path: Path) -> None:
    text = GRID.replace("sampler: grid", f"sampler: {sampler}\nevaluations: 60\nseed: 3")
    space = parse_space(text, "space.yaml")
    whole = played(space, tmp_path / "whole.log", 60)
    played(space, tmp_path / "cut.log", 27)
    resumed = played(space, tmp_path / "cut.log", 60)
    assert list(resumed.finished()) == list(whole.finished())
    again = History(space, tmp_path / "cut.log")
    assert again.counted == 60
    other = parse_space(text.replace("seed: 3", "seed: 4"), "space.yaml")
    assert list(played(other, tmp_path / "other.log", 60).finished()) != list(whole.finished())
    with pytest.raises(InputError, match="holds another search"):
        History(other, tmp_path / "cut.log")


@pytest.mark.parametrize("sampler", ["grid", "tpe"])
def test_a_field_may_hold_lists(sampler: str, tmp_path: Path) -> None:
    lists = "network.options.channels: [[16, 24], [16, 32, 32], [8, 8]]"
    text = GRID.replace("machine.array.rows: [3, 4]", lists).replace("grid", f"{sampler}\nevaluations: 20")
    space = parse_space(text, "space.yaml")
    assert space.values["network.options.channels"] == ((16, 24), (16, 32, 32), (8, 8))
    whole = list(played(space, tmp_path / "whole.log", 20).finished())
    played(space, tmp_path / "cut.log", 13)
    assert list(played(space, tmp_path / "cut.log", 20).finished()) == whole
    point = whole[-1][0].point
    assert space.split(point)[1].options == {"channels": point["network.options.channels"]}
    assert isinstance(point["network.options.channels"], tuple)
    with pytest.raises(InputError, match="holds a value twice"):
        parse_space(text.replace("[8, 8]", "[16, 24]"), "space.yaml")


def test_the_estimator_finds_better_points_than_chance(tmp_path: Path) -> None:
    text = GRID.replace("[3, 4]", "{from: 2, to: 40}").replace("to: 12", "to: 1024").replace("to: 10", "to: 60")
    best = {}
    for sampler in ("random", "tpe"):
        space = parse_space(
            text.replace("sampler: grid", f"sampler: {sampler}\nevaluations: 80").replace(", energy_uj]", "]"), "s"
        )
        rows = played(space, tmp_path / sampler, 80).finished()
        best[sampler] = min(outcome.metrics["total_cycles"] for _, outcome in rows)
    assert best["tpe"] < best["random"]


def test_grid_is_complete_and_a_lost_worker_loses_nothing(run: Run, notes: Path, tmp_path: Path) -> None:
    result = run(grid(), tmp_path / "out", evaluation=explore_evaluations.kills_its_worker_once)
    assert (notes / "killed").exists()
    assert len(result.rows) == len({tuple(row.point.values()) for row in result.rows}) == 16
    assert result.counts() == {"met": 16, "broken": 0, "unfit": 0, "failed": 0}
    assert set(calls(notes)) == {" ".join(str(value) for value in row.point.values()) for row in result.rows}
    done = calls(notes)
    again = run(grid(), tmp_path / "out", evaluation=explore_evaluations.counted)
    assert again.as_json() == result.as_json()
    assert (again.computed, calls(notes)) == (0, done)
    table = list(csv.DictReader(result.as_csv().splitlines()))
    assert [row["on_front"] for row in table].count("1") == len(result.front)
    page = render_report(result)
    for text in ("Hypervolume over time", "What each field matters", "parcoords", "global_buffer.banks"):
        assert text in page
    assert result.hypervolume[-1][1] == max(share for _, share in result.hypervolume)


def test_failures_end_the_search_or_are_skipped(run: Run, notes: Path, tmp_path: Path) -> None:
    failing = explore_evaluations.raises_at_four_rows
    with pytest.raises(PredfuseError, match=r"RuntimeError: four rows.*--keep-going skips it"):
        run(grid(), tmp_path / "out", evaluation=failing)
    result = run(grid(), tmp_path / "out", evaluation=failing, keep_going=True)
    assert result.counts() == {"met": 8, "broken": 0, "unfit": 0, "failed": 8}
    assert all(
        row.outcome.reason == "RuntimeError: four rows" for row in result.rows if row.point["machine.array.rows"] == 4
    )
    assert calls(notes)["raised"] >= 8 * 3


KILLED = """
import os, signal, sys
from pathlib import Path
import explore_evaluations
from predfuse.explore.search import explore
from predfuse.explore.space import load_space

def stop(progress):
    if progress.done == 7:
        os.kill(os.getpid(), signal.SIGKILL)

if __name__ == "__main__":
    explore(load_space(Path(sys.argv[1])), Path(sys.argv[2]), scheduler=sys.argv[3], progress=stop,
            evaluation=explore_evaluations.counted)
"""


def test_killed_and_resumed(
    cluster: tuple[str, Path],
    run: Run,
    notes: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    space, script = tmp_path / "grid.yaml", tmp_path / "killed.py"
    space.write_text(GRID)
    script.write_text(KILLED)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(path for path in sys.path if path))
    done = subprocess.run([sys.executable, script, space, tmp_path / "cut", cluster[0]], capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    known = len(Cache(tmp_path / "cut" / "cache"))
    assert 7 <= known < 16
    resumed = run(grid(), tmp_path / "cut", evaluation=explore_evaluations.counted)
    assert resumed.computed == 16 - known
    assert [row.number for row in resumed.rows] == list(range(16))
    whole = run(grid(), tmp_path / "whole", evaluation=explore_evaluations.cheap)
    assert resumed.as_json() == whole.as_json()


def test_limits(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    limited = GRID + "limits: {at_most: {area_mm2: 0.4, energy_uj: 22}}\n"
    result = run(parse_space(limited, "s"), tmp_path / "out", evaluation=explore_evaluations.unfit_at_four_rows)
    for row in result.rows:
        spec, _ = grid().split(row.point)
        area = explore_evaluations.cheap(spec, None).metrics["area_mm2"]  # type: ignore[arg-type]
        expected = 3 * spec.global_buffer.banks + spec.array.columns <= 22
        assert row.outcome.evaluated == (area <= 0.4)
        if row.outcome.evaluated:
            assert row.outcome.state == ("unfit" if spec.array.rows == 4 else "met" if expected else "broken")
    assert result.counts()["met"] and result.counts()["broken"] and result.counts()["unfit"]
    monkeypatch.setattr(search, "FRUITLESS", 20)
    nothing = limited.replace("0.4", "0.01")
    for name, sampler in (("grid", "grid"), ("random", "random\nevaluations: 5")):
        space = parse_space(nothing.replace("sampler: grid", f"sampler: {sampler}"), "s")
        with pytest.raises(InputError, match=r"limits: .*area_mm2 .* is above 0.01"):
            run(space, tmp_path / name, evaluation=explore_evaluations.cheap)


def test_evaluation_is_pure_and_its_key_tells_all_apart() -> None:
    subject = make_subject(NetworkChoice(name="mobilenetv2-s", fused=False, pruned="nothing"))
    pruned = make_subject(NetworkChoice(name="mobilenetv2-s", fused=False, pruned="everything"))
    tail = [node for node in pruned.network.nodes if isinstance(node, Conv) and node.kernel == (1, 1)]
    assert all((node.weight != 0).mean() < 0.21 for node in tail)
    space = grid()
    spec, _ = space.split({"machine.array.rows": 4})
    other, _ = space.split({"machine.array.rows": 3})
    first = evaluate(spec, subject)
    assert first == evaluate(spec, subject)
    assert first.state == "met" and first.metrics["total_cycles"] > 0
    keys = {Cache.key(one, two.digest) for one in (spec, other) for two in (subject, pruned)}
    assert len(keys) == 4
    assert Cache.key(spec.model_copy(update={"name": "x"}), subject.digest) in keys


def test_shares_of_shifts() -> None:
    whole = make_subject(NetworkChoice(name="fusionet-s"))
    fifth = make_subject(NetworkChoice(name="fusionet-s", shift_share=0.2))
    assert whole.masks and fifth.masks and whole.digest != fifth.digest
    assert isinstance(fifth.network, Network)
    for block in fifth.network.bottlenecks():
        assert (block.expand_bias != 0).sum() <= round(0.2 * block.expand_bias.size)


def test_cache_refuses_other_versions(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    cache.put("a" * 64, Outcome({"area_mm2": 1.5}))
    assert Cache(tmp_path).get("a" * 64) == Outcome({"area_mm2": 1.5})
    assert cache.get("b" * 64) is None
    (file,) = tmp_path.glob("aa/*.json")
    whole = file.read_text()
    for damaged in (whole.replace("1.5", "1.6"), whole[:-9], "{}"):
        file.write_text(damaged)
        with pytest.raises(InputError, match="is damaged"):
            cache.get("a" * 64)
    (tmp_path / "version.json").write_text(json.dumps({"version": "0.0"}))
    with pytest.raises(InputError, match=f"holds results of version 0.0, this is {model_version()}"):
        Cache(tmp_path)


def _other_version(folder: Path) -> list[str]:
    (folder / "cache").mkdir()
    (folder / "cache" / "version.json").write_text('{"version": "0.0"}')
    return ["--cache", str(folder / "cache")]


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        (("rows", "wheels"), lambda folder: [], "is no field"),
        (("", ""), lambda folder: ["-j", "0"], "-j: is 0"),
        (
            ("", ""),
            lambda folder: ["--scheduler", "tcp://127.0.0.1:1"],
            "scheduler tcp://127.0.0.1:1: is not reachable",
        ),
        (("", ""), _other_version, "holds results of version 0.0"),
    ],
)
def test_command_line_errors(
    change: tuple[str, str],
    options: Callable[[Path], list[str]],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("predfuse.explore.cluster.CONNECT_SECONDS", 0.5)
    space = tmp_path / "space.yaml"
    space.write_text(GRID.replace(*change) if change[0] else GRID)
    done = CliRunner().invoke(app, ["explore", str(space), "-o", str(tmp_path / "out"), *options(tmp_path)])
    assert isinstance(done.exception, InputError)
    assert message in str(done.exception)
    assert done.exception.exit_code == 2


def test_limits_that_no_evaluated_point_meets_end_with_code_2(tmp_path: Path) -> None:
    """What was computed is written all the same."""
    space = tmp_path / "space.yaml"
    one = GRID.replace("[3, 4]", "[9]").replace("factor: 2", "factor: 4").replace("to: 10", "to: 4")
    space.write_text(one + "limits: {at_most: {total_cycles: 1}}\n")
    done = CliRunner().invoke(app, ["explore", str(space), "-o", str(tmp_path / "out"), "-j", "1"])
    assert isinstance(done.exception, InputError) and done.exception.exit_code == 2
    assert "no point runs the network within its limits (total_cycles " in str(done.exception)
    assert (tmp_path / "out" / "result.json").is_file()


def test_command_line(tmp_path: Path) -> None:
    space = tmp_path / "space.yaml"
    space.write_text(GRID.replace("[3, 4]", "[9]").replace("factor: 2", "factor: 4").replace("to: 10", "to: 4"))
    done = CliRunner().invoke(app, ["explore", str(space), "-o", str(tmp_path / "out"), "-j", "1"])
    assert done.exit_code == 0, done.output
    found = json.loads((tmp_path / "out" / "result.json").read_text())
    assert found["points"]["met"] == len(found["rows"]) == 1
    assert (tmp_path / "out" / "points.csv").is_file() and (tmp_path / "out" / "report.html").is_file()
    (machine,) = (tmp_path / "out").glob("*.yaml")
    assert load_spec(machine).name == machine.stem


def test_machines_on_the_front_are_those_the_search_evaluated(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "own.yaml").write_text("extends: archon\nname: own\ndesign: {plain_layers: mapped}\n")
    (tmp_path / "shift.yaml").write_text("extends: sparse-1.7\nname: other\n")
    bases: tuple[tuple[str, str, tuple[int | str, ...]], ...] = (
        ("archon", "design.parallel_lists", (1, 2)),
        (str(tmp_path / "own.yaml"), "pe.adders", (5, 8)),
        ("eyeriss-sparse", "schedule", ("layers", "depth-first")),
        (str(tmp_path / "shift.yaml"), "array.rows", (4, 5)),
    )
    for base, field, values in bases:
        text = f"machine: {base}\nnetwork: {{name: fusionet-s}}\nfields:\n  machine.{field}: {list(values)}\n"
        space = parse_space(f"{text}objectives: [area_mm2, total_cycles]\nsampler: grid\n", "space.yaml")
        rows = tuple(
            Row(number, {f"machine.{field}": value}, Outcome({"area_mm2": 1.0 + number, "total_cycles": 9.0 - number}))
            for number, value in enumerate(values)
        )
        files = machine_files(SearchResult.of(space, rows, {}, "version", 2), tmp_path / "out")
        assert len(files) == 2
        for (name, text), row in zip(files.items(), rows, strict=True):
            path = tmp_path / "out" / name
            write_text_atomically(path, text)
            read, evaluated = load_spec(path), space.split(row.point)[0]
            assert read.name == path.stem
            own = {"name", "description", "source"}
            assert read.model_dump(exclude=own) == evaluated.model_dump(exclude=own)


def test_only_machines_of_earlier_fronts_are_stale(tmp_path: Path) -> None:
    text = "machine: archon\nnetwork: {name: fusionet-s}\nfields:\n  machine.pe.adders: [5, 8]\n"
    space = parse_space(f"{text}objectives: [area_mm2]\nsampler: grid\n", "space.yaml")
    result = SearchResult.of(space, (Row(7, {"machine.pe.adders": 5}, Outcome({"area_mm2": 1.0})),), {}, "version", 1)
    for name in ("archon-7.yaml", "archon-3.yaml", "archon-space.yaml", "archon-1.7.yaml", "archon-tiny-3.yaml"):
        (tmp_path / name).touch()
    assert stale_machine_files(result, tmp_path) == [tmp_path / "archon-3.yaml"]
