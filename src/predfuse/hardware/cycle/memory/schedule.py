"""Time of a sequence of steps that share one DRAM channel, one predictor and one array.

A step loads its data, predicts (fused blocks only), runs its main work and stores its results. Loads of a step run
beside the work of steps before it where the buffers hold both; predictions likewise. The channel serves transfers one
after the other: the loads in order, a store before the loads that have to wait for its step, but behind the load of
the very next step unless that reads back what was stored.

``compute_cycles`` is the time the same steps take with a channel of endless bandwidth, ``stall_cycles`` what the real
channel adds, so that ``compute_cycles + stall_cycles = total_cycles`` exactly, for every layer and for the whole.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit

from predfuse.arrays import Int64Array
from predfuse.errors import InputError
from predfuse.hardware.cycle.memory.steps import Steps


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


def schedule(steps: Steps, dram_bits_per_cycle: int | None) -> Timeline:
    """When every step loads, predicts, works and stores.

    Args:
        steps: In order.
        dram_bits_per_cycle: Of the channel; None is endless.

    Raises:
        InputError: No bandwidth.
    """
    if dram_bits_per_cycle is not None and dram_bits_per_cycle < 1:
        raise InputError("dram_bits_per_cycle", f"is {dram_bits_per_cycle}", "use 1 or more")
    times = np.zeros((4, len(steps), 2), np.int64)
    _schedule(steps.amounts, steps.rules, dram_bits_per_cycle or 0, *times)
    return Timeline(*times)


def layer_times(steps: Steps, real: Timeline) -> list[LayerTime]:
    """Cycles of every stage of every layer, in order; its steps follow each other, and the first one ``waits``.

    A stage lasts from the end of the one before to the end of its last main work, the last one to its last store.
    """
    ideal, ends = schedule(steps, None), list(steps.ends())
    times = []
    before_ideal = before_real = 0
    for layer, stage, end in ends:
        index, last = end - 1, end == len(steps)
        end_ideal = ideal.end if last else int(ideal.main[index, 1])
        end_real = real.end if last else int(real.main[index, 1])
        compute = end_ideal - before_ideal
        times.append(LayerTime(layer, stage, compute, end_real - before_real - compute))
        before_ideal, before_real = end_ideal, end_real
    return times


@njit(cache=True, nogil=True)
def _schedule(
    amounts: Int64Array,
    rules: Int64Array,
    bandwidth: int,
    load: Int64Array,
    predict: Int64Array,
    main: Int64Array,
    store: Int64Array,
) -> None:
    """Enter the times of steps, see :class:`~predfuse.hardware.cycle.memory.steps.Steps`; no bandwidth is endless."""
    channel = 0
    stored = -1  # last step whose store is on the channel
    steps = len(amounts)
    for step in range(steps):
        ahead, late, _, predict_cycles, main_cycles, behind, fill_cycles = amounts[step]
        ahead, late = _cycles(ahead, bandwidth), _cycles(late, bandwidth)
        load_lag, predict_lag, waits, reads_stores, fill_lag = rules[step]
        done = main[step - 1, 1] if step >= 1 else 0
        free = main[step - load_lag, 1] if step >= load_lag else 0
        while stored < step - (1 if reads_stores else max(load_lag, 2)):
            stored += 1
            channel = _transfer(store, stored, main[stored, 1], _cycles(amounts[stored, 2], bandwidth), channel)
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
        channel = _transfer(store, stored, main[stored, 1], _cycles(amounts[stored, 2], bandwidth), channel)


@njit(cache=True, nogil=True)
def _cycles(bits: int, bandwidth: int) -> int:
    """Of a transfer; of none and over an endless channel, no cycle."""
    return -(-bits // bandwidth) if bandwidth else 0


@njit(cache=True, nogil=True)
def _transfer(times: Int64Array, step: int, earliest: Any, cycles: Any, channel: Any) -> Any:
    """Enter a transfer that begins when it may and the channel is free; when the channel is free again."""
    if cycles == 0:
        times[step] = earliest
        return channel
    times[step, 0] = max(channel, earliest)
    times[step, 1] = times[step, 0] + cycles
    return times[step, 1]
