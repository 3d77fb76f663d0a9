"""The search itself: ask for points, have them evaluated once, keep what comes back."""

from __future__ import annotations

import contextlib
import fcntl
import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from distributed import Future, as_completed
from distributed.client import FutureCancelledError

from predfuse.errors import InputError, PredfuseError
from predfuse.explore.cluster import HELD_NETWORKS, Evaluate, Workers, connected
from predfuse.explore.evaluation import Cache, Outcome, Subject, evaluate, model_version
from predfuse.explore.history import BATCH, FRUITLESS, INDEPENDENT, Asked, History
from predfuse.explore.networks import NetworkChoice, make_subject
from predfuse.explore.result import Row, SearchResult
from predfuse.explore.space import Space, Value
from predfuse.hardware.area import total_area_mm2
from predfuse.hardware.spec import AcceleratorSpec

log = logging.getLogger(__name__)
JOURNAL = "journal.log"


@dataclass(frozen=True)
class Progress:
    """How far a search is.

    Attributes:
        done: Points evaluated, of this and earlier runs.
        total: Points to be evaluated at most.
        computed: Of them computed in this run, the others were known.
        failed: Points that failed.
        seconds_left: At the pace of this run; None before the first result.
        dashboard: Address of Dask's dashboard.
    """

    done: int
    total: int
    computed: int
    failed: int
    seconds_left: float | None
    dashboard: str


def explore(
    space: Space,
    folder: Path,
    *,
    workers: int = 2,
    scheduler: str | None = None,
    keep_going: bool = False,
    cache: Path | None = None,
    root: Path | None = None,
    progress: Callable[[Progress], None] | None = None,
    evaluation: Evaluate = evaluate,
) -> SearchResult:
    """Search, going on where an earlier run in ``folder`` stopped.

    Args:
        space: What to search.
        folder: Journal and cache; made if it is not there.
        workers: Processes on this machine.
        scheduler: Address of a running Dask scheduler, in place of them.
        keep_going: Whether an evaluation that failed is recorded and skipped, instead of ending the search.
        cache: Folder of outcomes shared by searches; one in ``folder`` by default.
        root: Where data sets lie.
        progress: Told after every point.
        evaluation: What is run for every point: a pure function that workers can import.

    Raises:
        InputError: The folder holds another search or results of another version, no point meets the limits that are
            known beforehand, or the scheduler cannot be used.
        PredfuseError: An evaluation failed.

    Source: docs/how-to/explore.md, How it runs.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(str(folder), f"cannot be made ({error.strerror})", "name another folder") from error
    with _alone(folder):
        return _explore(space, folder, workers, scheduler, keep_going, cache, root, progress, evaluation)


def _explore(
    space: Space,
    folder: Path,
    workers: int,
    scheduler: str | None,
    keep_going: bool,
    cache: Path | None,
    root: Path | None,
    progress: Callable[[Progress], None] | None,
    evaluation: Evaluate,
) -> SearchResult:
    kept = Cache(cache or folder / "cache")
    history = History(space, folder / JOURNAL)
    subjects = _Subjects(root, "accuracy_percent" in space.wanted)
    run = _Run(space, history, kept, subjects, keep_going, progress)
    if run.wanted:
        with connected(workers, scheduler) as client:
            run.to_the_end(Workers(client, evaluation))
    rows = tuple(Row(asked.number, asked.point, outcome) for asked, outcome in history.finished())
    if not any(row.outcome.evaluated for row in rows):
        raise InputError("limits", f"no point meets them ({rows[-1].outcome.reason})", "widen them or the fields")
    return SearchResult.of(space, rows, history.importance(), model_version(), run.computed)


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Keep a second search out of the folder; a killed one lets go by itself."""
    with (folder / "search.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise InputError(str(folder), "is being searched already", "wait for it or name another folder") from error
        yield


class _Subjects:
    """Networks, each made once; the last few are held."""

    def __init__(self, root: Path | None, accuracy_wanted: bool) -> None:
        self._root, self._accuracy_wanted = root, accuracy_wanted
        self._held: dict[str, Subject] = {}

    def __call__(self, choice: NetworkChoice, bits: int) -> Subject:
        name = f"{choice.model_dump_json()} {bits}"
        subject = self._held.pop(name, None) or make_subject(choice, self._root, self._accuracy_wanted, bits)
        self._held[name] = subject
        while len(self._held) > HELD_NETWORKS:
            del self._held[next(iter(self._held))]
        return subject


class _Run:
    """One run of a search."""

    def __init__(
        self,
        space: Space,
        history: History,
        cache: Cache,
        subjects: _Subjects,
        keep_going: bool,
        progress: Callable[[Progress], None] | None,
    ) -> None:
        self._space, self._history, self._cache, self._subjects = space, history, cache, subjects
        self._keep_going, self._progress = keep_going, progress
        self._asked = history.counted
        self._fruitless = 0
        self._grid_ended = self._refined = False
        self.computed = self._failed = 0
        self._began = time.monotonic()
        self._dashboard = ""
        self._under_way: dict[str, list[tuple[Asked, str]]] = {}

    @property
    def wanted(self) -> bool:
        """Whether there is a point left to ask for."""
        total = self._space.evaluations + self._space.refine
        return self._asked < total and not (self._grid_ended or self._refined)

    @property
    def _refining(self) -> bool:
        """Whether the sampler has had its evaluations."""
        return self._asked >= self._space.evaluations

    def to_the_end(self, cluster: Workers) -> None:
        """Evaluate all that is wanted."""
        self._dashboard = cluster.dashboard
        results = as_completed([], raise_errors=False)
        while self.wanted or self._under_way:
            for point in self._room(cluster):
                future = self._begin(cluster, point) if self.wanted else None
                if future is not None:
                    results.add(future)
            if self._under_way:
                self._collect(next(results))

    def _room(self, cluster: Workers) -> list[dict[str, Value] | None]:
        """What can be asked for now: points of the refinement, or None for each that the sampler may choose."""
        sampler = self._space.sampler
        if sampler in INDEPENDENT and not self._refining:
            return [None] * min(cluster.window - len(self._under_way), self._space.evaluations - self._asked)
        # A batch is asked for as a whole, once the one before is told.
        if self._under_way or not self.wanted:
            return []
        if not self._refining:
            return [None] * min(BATCH[sampler] - self._asked % BATCH[sampler], self._space.evaluations - self._asked)
        found = self._history.refinements()
        self._refined = not found
        return list(found)

    def _begin(self, cluster: Workers, point: dict[str, Value] | None) -> Future[Outcome] | None:
        """Ask for a point, or one of the sampler that meets the limits; its future, or None if its outcome is known."""
        while (asked := self._history.ask() if point is None else self._history.ask_for(point)) is not None:
            found = self._before(asked)
            if isinstance(found, Outcome):
                self._history.tell(asked, found)
                if asked.refining:
                    return None
                self._fruitless += 1
                if self._fruitless >= FRUITLESS and self._space.sampler != "grid":
                    what = f"none of {FRUITLESS} points in a row meets them ({found.reason})"
                    raise InputError("limits", what, "widen them or the fields")
                continue
            self._fruitless = 0
            self._asked += 1
            spec, subject = found
            key = self._cache.key(spec, subject.digest)
            known = self._cache.get(key)
            if known is not None:
                self._finish(asked, known)
                return None
            if key in self._under_way:  # the same machine and network once more
                self._under_way[key].append((asked, key))
                return None
            self._under_way[key] = [(asked, key)]
            return cluster.submit(key, spec, subject)
        self._grid_ended = True
        return None

    def _before(self, asked: Asked) -> tuple[AcceleratorSpec, Subject] | Outcome:
        try:
            spec, choice = self._space.split(asked.point)
            area = total_area_mm2(spec)
            broken = self._space.limits.broken({"area_mm2": area})
            if broken and not asked.refining:
                return Outcome({"area_mm2": area}, "broken", broken, evaluated=False)
            return spec, self._subjects(choice, spec.bits)
        except InputError as error:
            return Outcome({}, "unfit", str(error), evaluated=False)

    def _collect(self, future: Future[Outcome]) -> None:
        key = str(future.key).removeprefix("evaluate-")
        try:
            error = future.exception()
        except FutureCancelledError as lost:
            raise PredfuseError(f"the scheduler was lost ({lost}); run the same command to go on") from lost
        waiting = self._under_way.pop(key)
        if error is None:
            outcome = future.result()
            self.computed += 1
            self._cache.put(key, outcome)
        else:
            outcome = Outcome({}, "failed", " ".join(f"{type(error).__name__}: {error}".split()))
            self._failed += len(waiting)
            if not self._keep_going:
                point = ", ".join(f"{field} {value}" for field, value in waiting[0][0].point.items())
                raise PredfuseError(f"evaluation failed: {outcome.reason} (at {point}); --keep-going skips it")
            log.warning("point %d failed and is skipped: %s", waiting[0][0].number, outcome.reason)
        future.release()
        for asked, _ in waiting:
            self._finish(asked, outcome)

    def _finish(self, asked: Asked, outcome: Outcome) -> None:
        if outcome.state == "met":
            broken = self._space.limits.broken(outcome.metrics)
            if broken:
                outcome = replace(outcome, state="broken", reason=broken)
        self._history.tell(asked, outcome)
        if self._progress is not None:
            pace = (time.monotonic() - self._began) / self.computed if self.computed else None
            left = self._space.evaluations + self._space.refine - self._history.counted
            self._progress(
                Progress(
                    self._history.counted,
                    self._space.evaluations + self._space.refine,
                    self.computed,
                    self._failed,
                    None if pace is None else pace * left,
                    self._dashboard,
                )
            )
