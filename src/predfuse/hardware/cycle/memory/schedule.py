"""Time of a sequence of steps that share one DRAM channel, one predictor and one array.

A step loads its data, predicts (fused blocks only), runs its main work and stores its results. Loads of a step run
beside the work of steps before it where the buffers hold both; predictions likewise. The channel serves transfers one
after the other: the loads in order, a store before the loads that have to wait for its step, but behind the load of
the very next step unless that reads back what was stored.

``compute_cycles`` is the time the same steps take with a channel of endless bandwidth, ``stall_cycles`` what the real
channel adds, so that ``compute_cycles + stall_cycles = total_cycles`` exactly, for every layer and for the whole.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit

from predfuse.arrays import Int64Array
from predfuse.errors import InputError


@dataclass(frozen=True)
class Step:
    """One unit of work.

    Attributes:
        layer: Name of the layer it belongs to.
        load_bits: Read from the DRAM before it.
        late_bits: Also read, but only once the step before is done (its place is still in use).
        store_bits: Written to the DRAM after it.
        predict_cycles: Of a predictor of its own, before the main work.
        main_cycles: Of the array.
        fill_cycles: To fill memories of the array before its main work, beside that of steps before: once it has
            loaded, and the main work ``fill_lag`` steps before has begun.
        load_lag: It may load once the main work so many steps before is done; 2 where two buffers take turns.
        predict_lag: It may predict once the main work so many steps before is done, and the prediction before.
        predict_behind: Its prediction ends at the earliest so many cycles after the main work of the step before begins
            (it takes up places that work frees one by one); 0 is no limit.
        waits: It needs the results of the step before (a new layer): nothing but loads may run ahead.
        reads_stores: Its loads read what earlier steps stored.
        stage: Of the layer.
    """

    layer: str
    load_bits: int = 0
    late_bits: int = 0
    store_bits: int = 0
    predict_cycles: int = 0
    main_cycles: int = 0
    fill_cycles: int = 0
    fill_lag: int = 1
    load_lag: int = 1
    predict_lag: int = 1
    predict_behind: int = 0
    waits: bool = False
    reads_stores: bool = False
    stage: str = "main"


@dataclass(frozen=True, eq=False)
class Timeline:
    """When everything happens (cycles from the start of the image).

    Attributes:
        load: ``[steps, 2]`` start and end of every load.
        predict: ``[steps, 2]`` of every prediction.
        main: ``[steps, 2]`` of the main work.
        store: ``[steps, 2]`` of every store.
    """

    load: Int64Array
    predict: Int64Array
    main: Int64Array
    store: Int64Array

    @property
    def end(self) -> int:
        """When the last step and the last store are done (cycles)."""
        if not len(self.main):
            return 0
        return int(max(self.main[-1, 1], self.store[:, 1].max()))


@dataclass(frozen=True)
class LayerTime:
    """Cycles of one stage of one layer.

    Attributes:
        layer: Name of the layer.
        stage: Of the layer.
        compute_cycles: With endless bandwidth.
        stall_cycles: What waiting for the DRAM adds.
    """

    layer: str
    stage: str
    compute_cycles: int
    stall_cycles: int


def schedule(steps: Sequence[Step], dram_bits_per_cycle: int | None) -> Timeline:
    """When every step loads, predicts, works and stores.

    Args:
        steps: In order.
        dram_bits_per_cycle: Of the channel; None is endless.

    Raises:
        InputError: No bandwidth.
    """
    if dram_bits_per_cycle is not None and dram_bits_per_cycle < 1:
        raise InputError("dram_bits_per_cycle", f"is {dram_bits_per_cycle}", "use 1 or more")
    amounts = np.array(
        [
            (s.load_bits, s.late_bits, s.store_bits, s.predict_cycles, s.main_cycles, s.predict_behind, s.fill_cycles)
            for s in steps
        ],
        np.int64,
    )
    rules = np.array([(s.load_lag, s.predict_lag, s.waits, s.reads_stores, s.fill_lag) for s in steps], np.int64)
    return timeline(amounts.reshape(len(steps), 7), rules.reshape(len(steps), 5), dram_bits_per_cycle)


def even_steps(
    early_bits: int, late_bits: int, store_bits: int, main_cycles: int, count: int, reads_stores: bool
) -> tuple[Int64Array, Int64Array]:
    """Amounts and rules, as :func:`timeline` takes them, of a layer in so many equal steps, two of which the buffers
    hold: what :func:`schedule` makes of as many :class:`Step`."""
    totals = np.array([early_bits, late_bits, store_bits, 0, main_cycles, 0, 0], np.int64)
    amounts = np.diff(np.arange(count + 1)[:, None] * totals // count, axis=0)
    rules = np.zeros((count, 5), np.int64)
    rules[:] = (2, 1, 0, 0, 1)
    rules[0, 2:4] = 1, reads_stores
    return amounts, rules


def timeline(amounts: Int64Array, rules: Int64Array, dram_bits_per_cycle: int | None) -> Timeline:
    """:func:`schedule` of steps as arrays.

    Args:
        amounts: ``[steps, 7]`` int64: load, late and store bits, cycles of prediction and main work, cycles
            that a prediction ends behind, cycles to fill; changed in place.
        rules: ``[steps, 5]`` int64: lags of loads and predictions, whether it waits and reads stores, lag of
            the fill.
        dram_bits_per_cycle: Of the channel; None is endless.
    """
    if dram_bits_per_cycle is None:
        amounts[:, :3] = 0
    else:
        amounts[:, :3] = -(-amounts[:, :3] // dram_bits_per_cycle)
    times = [np.zeros((len(amounts), 2), np.int64) for _ in range(4)]
    _schedule(amounts, rules, *times)
    return Timeline(*times)


def layer_times(steps: Sequence[Step], real: Timeline) -> list[LayerTime]:
    """Cycles of every stage of every layer, in order; its steps follow each other, and the first one ``waits``.

    A stage lasts from the end of the one before to the end of its last main work, the last one to its last store.
    """
    ideal = schedule(steps, None)
    keys = [(step.layer, step.stage) for step in steps]
    ends = [index for index, key in enumerate(keys) if index + 1 == len(keys) or keys[index + 1] != key]
    times = []
    before_ideal = before_real = 0
    for index in ends:
        last = index + 1 == len(steps)
        end_ideal = ideal.end if last else int(ideal.main[index, 1])
        end_real = real.end if last else int(real.main[index, 1])
        compute = end_ideal - before_ideal
        times.append(LayerTime(*keys[index], compute, end_real - before_real - compute))
        before_ideal, before_real = end_ideal, end_real
    return times


@njit(cache=True, nogil=True)
def _schedule(
    amounts: Int64Array, rules: Int64Array, load: Int64Array, predict: Int64Array, main: Int64Array, store: Int64Array
) -> None:
    channel = 0
    stored = -1  # last step whose store is on the channel
    steps = len(amounts)
    for step in range(steps):
        ahead, late, _, predict_cycles, main_cycles, behind, fill_cycles = amounts[step]
        load_lag, predict_lag, waits, reads_stores, fill_lag = rules[step]
        done = main[step - 1, 1] if step >= 1 else 0
        free = main[step - load_lag, 1] if step >= load_lag else 0
        while stored < step - (1 if reads_stores else max(load_lag, 2)):
            stored += 1
            channel = _transfer(store, stored, main[stored, 1], amounts[stored, 2], channel)
        channel = _transfer(load, step, free, ahead, channel)
        if late > 0:
            load[step, 1] = max(channel, done, load[step, 1]) + late
            channel = load[step, 1]
        # A step that loads nothing waits for no buffer.
        ready = loaded = load[step, 1] if ahead + late > 0 else 0
        if predict_lag == 1 or waits:
            ready = max(ready, done)
        elif step >= 1:
            ready = max(ready, predict[step - 1, 1], main[step - predict_lag, 1] if step >= predict_lag else 0)
        predict[step, 0] = ready
        predict[step, 1] = ready + predict_cycles
        if behind > 0 and step >= 1 and not waits:
            predict[step, 1] = max(predict[step, 1], main[step - 1, 0] + behind)
        main[step, 0] = max(predict[step, 1], done)
        if fill_cycles > 0:
            begun = main[step - fill_lag, 0] if step >= fill_lag else 0
            main[step, 0] = max(main[step, 0], max(loaded, begun) + fill_cycles)
        main[step, 1] = main[step, 0] + main_cycles
    while stored < steps - 1:
        stored += 1
        channel = _transfer(store, stored, main[stored, 1], amounts[stored, 2], channel)


@njit(cache=True, nogil=True)
def _transfer(times: Int64Array, step: int, earliest: Any, cycles: Any, channel: Any) -> Any:
    """Enter a transfer that begins when it may and the channel is free; when the channel is free again."""
    if cycles == 0:
        times[step] = earliest
        return channel
    times[step, 0] = max(channel, earliest)
    times[step, 1] = times[step, 0] + cycles
    return times[step, 1]
