"""Which point comes next, and what became of those before: an Optuna study in memory and its journal on disk.

The journal gets a line for every finished point, in the order of their numbers. Points are asked for in batches, each
with all earlier batches finished, by a sampler whose seed depends on the number of the point. So a search depends on
its file alone: neither the number of workers nor a kill in the middle changes it.
"""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from random import Random
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from predfuse.errors import InputError
from predfuse.explore.evaluation import Outcome
from predfuse.explore.moves import key, moved, outside
from predfuse.explore.refine import Costs, proposals
from predfuse.explore.space import MORE_IS_BETTER, Space, Value
from predfuse.hardware.area import total_area_mm2

BATCH = {"grid": 1, "random": 1, "tpe": 10, "nsga2": 20}
"""Points asked for before any of them is told; of ``nsga2`` the population."""
INDEPENDENT = ("grid", "random")
"""Samplers whose next point depends on no outcome."""
STARTUP = 20
"""Random points before the estimator of ``tpe`` takes over."""
REFINED = "refined_after"
"""Where the journal keeps after how many evaluations the refinement began."""
FRUITLESS = 1000
"""Points in a row that break a limit beforehand, after which nothing is taken to meet it."""


@dataclass
class Asked:
    """A point to be evaluated.

    Attributes:
        number: Its place in the search, from 0.
        point: A value for every field.
        refining: Whether the refinement asked for it, which measures points that break the limit on the area too.
    """

    number: int
    point: dict[str, Value]
    refining: bool = False


class History:
    """Asks for points and keeps what became of them.

    Args:
        space: The search.
        journal: File of the journal; made if it is not there.

    Raises:
        InputError: The journal belongs to another search or is damaged.
    """

    def __init__(self, space: Space, journal: Path) -> None:
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self._space = space
        self._distributions = {field: _distribution(values) for field, values in space.values.items()}
        self._refined = {field: _distribution(values) for field, values in space.refined_values.items()}
        self.memory = self._study(None)
        self._disk = self._study(journal)
        described = json.dumps(space.as_json(), sort_keys=True)
        if self._disk.user_attrs.setdefault("space", described) != described:
            raise InputError(str(journal.parent), "holds another search", "name another folder, or its own file")
        self._disk.set_user_attr("space", described)
        kept = self._disk.get_trials(deepcopy=False)
        self._on_disk = len(kept)
        trusted = self._whole_batches(kept)
        self.memory.add_trials(kept[:trusted])
        self._waiting: dict[int, FrozenTrial] = {}
        self._next_written = trusted
        self._grid = itertools.islice(_grid(space.values), trusted, None)
        self.counted = sum(bool(trial.user_attrs["evaluated"]) for trial in kept[:trusted])
        refined = self._disk.user_attrs.get(REFINED, space.evaluations)
        if refined != space.evaluations:
            what = f"was refined after {refined} evaluations"
            raise InputError(str(journal.parent), what, "ask for as many or name another folder")
        self._seen = {key(_point(trial)) for trial in kept[:trusted]}

    def _study(self, journal: Path | None) -> optuna.Study:
        storage: Any = None
        if journal is not None:
            # The folder is ours alone (see search.py): a lock that is left is that of a run that was killed.
            lock = JournalFileOpenLock(str(journal))
            journal.with_name(f"{journal.name}.lock").unlink(missing_ok=True)
            storage = optuna.storages.JournalStorage(JournalFileBackend(str(journal), lock_obj=lock))
        directions = [_direction(name) for name in self._space.objectives]
        return optuna.create_study(storage=storage, directions=directions, study_name="explore", load_if_exists=True)

    def _whole_batches(self, kept: list[FrozenTrial]) -> int:
        """How many points of the journal came before a batch that was cut short; that one is asked for again."""
        size = BATCH[self._space.sampler]
        if size == 1:
            return len(kept)
        whole = counted = 0
        for number, trial in enumerate(kept, start=1):
            counted += bool(trial.user_attrs["evaluated"])
            ended = counted % size == 0 or counted >= self._space.evaluations
            if trial.user_attrs["evaluated"] and ended:
                whole = number
        return whole

    def refinements(self) -> list[dict[str, Value]]:
        """Points of the refinement that can be evaluated now that all earlier ones are told; none at its end."""
        if REFINED not in self._disk.user_attrs:
            self._disk.set_user_attr(REFINED, self._space.evaluations)
        objective = self._space.objectives[0]
        sign = -1 if objective in MORE_IS_BETTER else 1
        costs: dict[tuple[Value, ...], float] = {}
        met: dict[tuple[Value, ...], dict[str, Value]] = {}
        first: dict[tuple[Value, ...], float] = {}
        counted = 0
        for asked, outcome in self.finished():
            name = key(asked.point)
            value = outcome.metrics.get(objective, math.inf) if outcome.state in ("met", "broken") else math.inf
            costs[name] = value**sign if value > 0 else math.inf
            if outcome.state == "met":
                met[name] = asked.point
            if counted < self._space.evaluations:
                first[name] = costs[name]
            counted += outcome.evaluated
        excess = lru_cache(maxsize=None)(partial(self._excess, *self._areas))

        def best_of(some: Costs) -> dict[str, Value] | None:
            return min((met[name] for name in some if name in met), key=lambda point: some[key(point)], default=None)

        return proposals(costs, first, self._space.refined_values, lambda point: excess(key(point)) == 0, best_of)

    def ask_for(self, point: dict[str, Value]) -> Asked:
        """Ask for a point of the refinement."""
        return Asked(self._enqueued(point, self._refined), point, refining=True)

    def _enqueued(self, point: dict[str, Value], distributions: Mapping[str, BaseDistribution]) -> int:
        """The number of a trial that is told which point it has."""
        self.memory.enqueue_trial({field: self._coded(field, value) for field, value in point.items()})
        self._seen.add(key(point))
        return self.memory.ask(dict(distributions)).number

    def _first(self, point: dict[str, Value]) -> Asked:
        """A point to begin with; where it lies beyond what the sampler chooses from, that field tells it less."""
        known = {
            field: (self._distributions if value in self._space.values[field] else self._refined)[field]
            for field, value in point.items()
        }
        return Asked(self._enqueued(point, known), point)

    def ask(self) -> Asked | None:
        """The next point of the sampler; None where a grid is at its end."""
        number = len(self.memory.get_trials(deepcopy=False))
        if self._space.sampler == "grid":
            point = next(self._grid, None)
            if point is None:
                return None
            self.memory.enqueue_trial(point)
        if number < len(self._space.begin):
            return self._first(self._within(self._space.begin[number], number, self._space.refined_values))
        self.memory.sampler = _sampler(self._space, number)
        trial = self.memory.ask(self._distributions)
        values = self._space.values
        decoded = {
            field: values[field][choice] if isinstance(self._distributions[field], IntDistribution) else choice
            for field, choice in trial.params.items()
        }
        point = self._moved({field: decoded[field] for field in values}, trial)
        self._seen.add(key(point))
        return Asked(trial.number, point)

    def _within(
        self, point: dict[str, Value], number: int, values: Mapping[str, tuple[Value, ...]]
    ) -> dict[str, Value]:
        """A point of these values moved to where limits on the area are met, if there are any and a way leads there."""
        least, most = self._areas
        if (least, most) == (-math.inf, math.inf):
            return point
        random = Random(f"{self._space.seed} {number}")
        excess = lru_cache(maxsize=None)(partial(self._excess, least, most))
        return moved(point, values, lambda one: excess(key(one)), self._seen, random) or point

    def _moved(self, point: dict[str, Value], trial: optuna.Trial) -> dict[str, Value]:
        """Where limits on the area are met, if the sampler is free to choose; the sampler is told."""
        if self._space.sampler == "grid":
            return point
        found = self._within(point, trial.number, self._space.values)
        if found is point:
            return point
        for field, distribution in self._distributions.items():
            inner = distribution.to_internal_repr(self._coded(field, found[field]))
            self.memory._storage.set_trial_param(trial._trial_id, field, inner, distribution)
        return found

    def _coded(self, field: str, value: Value) -> Any:
        """A value as the sampler has it: numbers by their place."""
        ordered = isinstance(self._distributions[field], IntDistribution)
        return self._space.refined_values[field].index(value) if ordered else value

    @property
    def _areas(self) -> tuple[float, float]:
        limits = self._space.limits
        return limits.at_least.get("area_mm2", -math.inf), limits.at_most.get("area_mm2", math.inf)

    def _excess(self, least: float, most: float, point: tuple[Value, ...]) -> float:
        try:
            spec, _ = self._space.split(dict(zip(self._space.values, point, strict=True)))
        except InputError:
            return math.inf
        return outside(total_area_mm2(spec), least, most)

    def tell(self, asked: Asked, outcome: Outcome) -> None:
        """Keep what became of a point; on disk in the order of the numbers."""
        trial = optuna.trial.Trial(self.memory, self.memory.get_trials(deepcopy=False)[asked.number]._trial_id)
        for name, value in {"point": asked.point, **outcome.as_json()}.items():
            trial.set_user_attr(name, value)
        trial.set_constraint("limits", 0.0 if outcome.state == "met" else 1.0)
        complete = all(name in outcome.metrics for name in self._space.objectives)
        values = [outcome.metrics[name] for name in self._space.objectives] if complete else None
        self.memory.tell(trial.number, values, state=TrialState.COMPLETE if complete else TrialState.FAIL)
        self.counted += outcome.evaluated
        self._waiting[asked.number] = self.memory.get_trials(deepcopy=False)[asked.number]
        while (finished := self._waiting.pop(self._next_written, None)) is not None:
            if self._next_written >= self._on_disk:
                self._disk.add_trial(finished)
            self._next_written += 1

    def finished(self) -> Iterator[tuple[Asked, Outcome]]:
        """All points told so far, in order."""
        for trial in self.memory.get_trials(deepcopy=False):
            facts = trial.user_attrs
            if trial.state.is_finished():
                outcome = Outcome(**{name: facts[name] for name in Outcome.__dataclass_fields__})
                yield Asked(trial.number, _point(trial)), outcome

    def importance(self) -> dict[str, dict[str, float]]:
        """By objective, what share of being among the best tenth every field explains (PED-ANOVA); empty if unknown."""
        found: dict[str, dict[str, float]] = {}
        evaluator = optuna.importance.PedAnovaImportanceEvaluator()
        done = [trial for trial in self.memory.get_trials(deepcopy=False) if trial.state is TrialState.COMPLETE]
        for place, name in enumerate(self._space.objectives):
            study = optuna.create_study(direction=_direction(name))
            for trial in done:
                study.add_trial(
                    optuna.create_trial(params=trial.params, distributions=self._refined, value=trial.values[place])
                )
            try:
                shares = optuna.importance.get_param_importances(study, evaluator=evaluator)
            except (ValueError, RuntimeError):  # too few points, or all alike
                continue
            if all(math.isfinite(share) for share in shares.values()):
                found[name] = {field: float(share) for field, share in shares.items()}
        return found


def _distribution(values: tuple[Value, ...]) -> BaseDistribution:
    """Numbers, and lists of them, in their order, from which an estimator can learn; anything else without one."""
    choices = [value for value in values if not isinstance(value, tuple)]
    numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in choices)
    if numbers or len(choices) < len(values):
        return IntDistribution(0, len(values) - 1)
    return CategoricalDistribution(choices)


def _point(trial: FrozenTrial) -> dict[str, Value]:
    """The point of a trial; the journal has lists for tuples."""
    point = trial.user_attrs["point"]
    return {field: tuple(value) if isinstance(value, list) else value for field, value in point.items()}


def _grid(values: Mapping[str, tuple[Value, ...]]) -> Iterator[dict[str, Any]]:
    """Every point, the last field changing fastest, numbers by their place."""
    coded = [
        range(len(of_field)) if isinstance(_distribution(of_field), IntDistribution) else of_field
        for of_field in values.values()
    ]
    for choices in itertools.product(*coded):
        yield dict(zip(values, choices, strict=True))


def _sampler(space: Space, number: int) -> optuna.samplers.BaseSampler:
    seed = (space.seed * 1_000_003 + number) % (1 << 32)
    if space.sampler == "tpe":
        return optuna.samplers.TPESampler(seed=seed, n_startup_trials=STARTUP, multivariate=True)
    if space.sampler == "nsga2":
        return optuna.samplers.NSGAIISampler(seed=seed, population_size=BATCH["nsga2"])
    return optuna.samplers.RandomSampler(seed=seed)


def _direction(metric: str) -> StudyDirection:
    return StudyDirection.MAXIMIZE if metric in MORE_IS_BETTER else StudyDirection.MINIMIZE
