"""The schedule of steps against a slow one that walks through every cycle."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given, strategies as st

from predfuse.errors import InputError
from predfuse.hardware.cycle.memory.run_ahead import run_ahead
from predfuse.hardware.cycle.memory.schedule import layer_times, schedule
from predfuse.hardware.cycle.memory.steps import Step, Steps


@dataclass
class SlowMachine:
    """Steps that move on when a look at every cycle says they may."""

    steps: list[Step]
    bits: int | None
    transfers: list[tuple[str, int, int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        stored = -1
        for index, step in enumerate(self.steps):
            while stored < index - (1 if step.reads_stores else max(2, step.load_lag)):
                stored += 1
                self._queue("store", stored, self.steps[stored].store_bits)
            self._queue("load", index, step.load_bits)
            self._queue("late", index, step.late_bits)
        for index in range(stored + 1, len(self.steps)):
            self._queue("store", index, self.steps[index].store_bits)

    def _queue(self, kind: str, index: int, bits: int) -> None:
        if bits and self.bits is not None:
            self.transfers.append((kind, index, -(-bits // self.bits)))

    def run(self) -> tuple[list[int], int]:
        """When every step's main work is done, and when all is."""
        steps = self.steps
        left = {(kind, index): cycles for kind, index, cycles in self.transfers}
        predicting = [step.predict_cycles for step in steps]
        working = [step.main_cycles for step in steps]
        filling = [step.fill_cycles for step in steps]
        done: list[int | None] = [None] * len(steps)
        predicted: list[int | None] = [None] * len(steps)
        started: list[int | None] = [None] * len(steps)
        clock = 0
        while True:
            moved = True
            while moved:  # what takes no time happens at once
                moved = False
                for index in range(len(steps)):
                    if (
                        predicted[index] is None
                        and predicting[index] == 0
                        and self._may_predict(index, left, done, predicted)
                        and self._places_are_free(index, clock, started)
                    ):
                        predicted[index], moved = clock, True
                    before = index == 0 or done[index - 1] is not None
                    ready = before and predicted[index] is not None and filling[index] == 0
                    if ready and started[index] is None:
                        started[index], moved = clock, True
                    if done[index] is None and ready and working[index] == 0:
                        done[index], moved = clock, True
            if all(end is not None for end in done) and not left:
                return [end for end in done if end is not None], clock
            # One cycle of everything that may run.
            transfer = next(iter(left), None)
            may = transfer is not None and self._may_transfer(*transfer, done)
            active_predict = [
                i
                for i in range(len(steps))
                if predicted[i] is None and predicting[i] and self._may_predict(i, left, done, predicted)
            ]
            active_work = [i for i in range(len(steps)) if done[i] is None and started[i] is not None and working[i]]
            active_fill = [i for i in range(len(steps)) if filling[i] and self._may_fill(i, left, started)]
            clock += 1
            if may and transfer is not None:
                left[transfer] -= 1
                if left[transfer] == 0:
                    del left[transfer]
            for index in active_predict[:1]:
                predicting[index] -= 1
                if predicting[index] == 0 and self._places_are_free(index, clock, started):
                    predicted[index] = clock
            for index in active_fill:
                filling[index] -= 1
            for index in active_work[:1]:
                working[index] -= 1
                if working[index] == 0:
                    done[index] = clock

    def _places_are_free(self, index: int, clock: int, started: list[int | None]) -> bool:
        step = self.steps[index]
        if not step.predict_behind or step.waits or index == 0:
            return True
        begun = started[index - 1]
        return begun is not None and clock >= begun + step.predict_behind

    def _may_transfer(self, kind: str, index: int, done: list[int | None]) -> bool:
        if kind == "store":
            return done[index] is not None
        lag = self.steps[index].load_lag if kind == "load" else 1
        return index < lag or done[index - lag] is not None

    def _may_fill(self, index: int, left: dict[tuple[str, int], int], started: list[int | None]) -> bool:
        before = index - self.steps[index].fill_lag
        loaded = ("load", index) not in left and ("late", index) not in left
        return loaded and (before < 0 or started[before] is not None)

    def _may_predict(
        self, index: int, left: dict[tuple[str, int], int], done: list[int | None], predicted: list[int | None]
    ) -> bool:
        step = self.steps[index]
        if ("load", index) in left or ("late", index) in left:
            return False
        if index == 0:
            return True
        if step.predict_lag > 1 and not step.waits:
            before = index - step.predict_lag
            return predicted[index - 1] is not None and (before < 0 or done[before] is not None)
        return done[index - 1] is not None


STEPS = st.lists(
    st.builds(
        Step,
        layer=st.just("b1"),
        load_bits=st.integers(0, 9),
        late_bits=st.sampled_from((0, 0, 5)),
        store_bits=st.integers(0, 9),
        predict_cycles=st.integers(0, 4),
        main_cycles=st.integers(0, 6),
        fill_cycles=st.sampled_from((0, 0, 3)),
        fill_lag=st.integers(1, 3),
        load_lag=st.integers(1, 4),
        predict_lag=st.integers(1, 4),
        predict_behind=st.integers(0, 8),
        waits=st.booleans(),
        reads_stores=st.booleans(),
    ),
    min_size=1,
    max_size=8,
)


ROOMY = st.lists(
    st.builds(
        Step,
        layer=st.just("b1"),
        load_bits=st.integers(0, 9),
        late_bits=st.sampled_from((0, 0, 5)),
        store_bits=st.sampled_from((0, 0, 4)),
        main_cycles=st.integers(0, 6),
        load_lag=st.integers(1, 2),
        reads_stores=st.sampled_from((False, False, True)),
        room_bits=st.integers(0, 40),
        held_steps=st.integers(1, 4),
    ),
    min_size=1,
    max_size=10,
)


@given(STEPS, st.sampled_from((None, 1, 3, 100)))
def test_equals_the_slow_machine(steps: list[Step], bits: int | None) -> None:
    done, end = SlowMachine(steps, bits).run()
    timeline = schedule(Steps.of(steps), bits)
    assert timeline.main[:, 1].tolist() == done
    assert timeline.end == end


@given(st.lists(STEPS, min_size=1, max_size=4), st.integers(1, 8))
def test_compute_and_stall_make_up_every_layer(layers: list[list[Step]], bits: int) -> None:
    steps = [
        replace(step, layer=f"b{number}", waits=step.waits or index == 0)
        for number, layer in enumerate(layers)
        for index, step in enumerate(layer)
    ]
    timeline = schedule(Steps.of(steps), bits)
    times = layer_times(Steps.of(steps), timeline)
    assert [time.layer for time in times] == [f"b{number}" for number in range(len(layers))]
    assert sum(time.compute_cycles + time.stall_cycles for time in times) == timeline.end
    assert sum(time.compute_cycles for time in times) == schedule(Steps.of(steps), None).end
    assert all(time.compute_cycles >= 0 and time.stall_cycles >= 0 for time in times)
    assert schedule(Steps.of(steps), bits + 1).end <= timeline.end


def test_double_buffers_hide_the_shorter_of_load_and_work() -> None:
    steps = [Step("a", load_bits=10, main_cycles=7, load_lag=2) for _ in range(4)]
    assert schedule(Steps.of(steps), 1).end == 4 * 10 + 7
    assert schedule(Steps.of(steps), 2).end == 5 + 4 * 7
    alone = [replace(step, load_lag=1) for step in steps]
    assert schedule(Steps.of(alone), 2).end == 4 * (5 + 7)


def test_refuses_no_bandwidth() -> None:
    with pytest.raises(InputError, match="dram_bits_per_cycle: is 0"):
        schedule(Steps.of([Step("a")]), 0)


@given(ROOMY, st.sampled_from((None, 1, 3)))
def test_what_runs_ahead_fits_the_room(steps: list[Step], bits: int | None) -> None:
    longer = run_ahead(Steps.of(steps))
    timeline = schedule(longer, bits)
    lags = longer.rules[:, 0].tolist()
    for index, (step, lag) in enumerate(zip(steps, lags, strict=True)):
        assert lag >= step.load_lag and (lag == step.load_lag or not step.reads_stores)
        if lag == step.load_lag or not step.load_bits:
            continue
        # Walk through the cycles of the load: everything that may be in the buffer then, and every layer at work.
        begun = timeline.load[index, 0]
        held = step.load_bits + step.late_bits
        for other, before in enumerate(steps[:index]):
            done = timeline.main[min(other + before.held_steps, len(steps)) - 1, 1]
            held += (before.load_bits + before.late_bits) * bool(done > begun)
            held += before.store_bits * bool(timeline.main[other, 1] > begun)
        at_work = [one for one, end in zip(steps[: index + 1], timeline.main[:, 1], strict=False) if end > begun]
        assert held <= min(one.room_bits for one in at_work)


@given(ROOMY)
def test_loads_run_as_far_ahead_as_there_is_room(steps: list[Step]) -> None:
    for index, lag in enumerate(run_ahead(Steps.of(steps)).rules[:, 0].tolist()):
        step = steps[index]
        if step.reads_stores or not step.load_bits or lag > index:
            continue
        first = index - lag  # with this one not done, too much would be there
        held = sum(one.load_bits + one.late_bits for at, one in enumerate(steps[:index]) if at + one.held_steps > first)
        held += sum(one.store_bits for one in steps[first:index]) + step.load_bits + step.late_bits
        assert held > min(one.room_bits for one in steps[first : index + 1]) or lag < step.load_lag


def test_a_block_is_loaded_while_the_one_before_works() -> None:
    steps = [Step("a", main_cycles=100, room_bits=60), *(Step("b", 10, main_cycles=1, room_bits=60) for _ in range(6))]
    assert schedule(Steps.of(steps), 1).end > 130
    assert schedule(run_ahead(Steps.of(steps)), 1).end == 100 + 6
