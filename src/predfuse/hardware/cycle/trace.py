"""The timeline of one image as a Chrome trace: open it in Perfetto (ui.perfetto.dev) or ``chrome://tracing``.

One track each for the DRAM, the predictor and the array; times are in cycles, shown as microseconds.
"""

from __future__ import annotations

from typing import Any

from predfuse.hardware.cycle.run import CycleRun

_TRACKS = ("DRAM loads", "DRAM stores", "predictor", "array")


def chrome_trace(run: CycleRun) -> dict[str, Any]:
    """The trace as plain values for a JSON file: one complete event per step and track, empty ones left out."""
    result, timeline = run.result, run.timeline
    events: list[dict[str, Any]] = [
        {
            "name": "process_name",
            "ph": "M",
            "pid": 1,
            "tid": 0,
            "args": {"name": f"{result.network} on {result.accelerator}"},
        }
    ]
    for track, name in enumerate(_TRACKS):
        events.append({"name": "thread_name", "ph": "M", "pid": 1, "tid": track, "args": {"name": name}})
    numbers: dict[tuple[str, str], int] = {}
    names = [(layer, stage) for layer, stage, count in run.steps.names for _ in range(count)]
    for index, (layer, stage) in enumerate(names):
        number = numbers[layer, stage] = numbers.get((layer, stage), -1) + 1
        spans = (timeline.load[index], timeline.store[index], timeline.predict[index], timeline.main[index])
        early, late, stored = run.steps.amounts[index, :3].tolist()
        bits = (early + late, stored, 0, 0)
        for track, ((start, end), moved) in enumerate(zip(spans, bits, strict=True)):
            if end > start:
                events.append(
                    {
                        "name": f"{layer} {stage}",
                        "cat": stage,
                        "ph": "X",
                        "pid": 1,
                        "tid": track,
                        "ts": int(start),
                        "dur": int(end - start),
                        "args": {"step": number, **({"bits": moved} if moved else {})},
                    }
                )
    return {
        "traceEvents": events,
        "displayTimeUnit": "ns",
        "otherData": {"unit": "1 us is 1 cycle", "clock_mhz": result.clock_mhz, "total_cycles": result.total_cycles},
    }
