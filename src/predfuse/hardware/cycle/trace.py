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
    for index, step in enumerate(run.steps):
        number = numbers[step.layer, step.stage] = numbers.get((step.layer, step.stage), -1) + 1
        spans = (timeline.load[index], timeline.store[index], timeline.predict[index], timeline.main[index])
        bits = (step.load_bits + step.late_bits, step.store_bits, 0, 0)
        for track, ((start, end), moved) in enumerate(zip(spans, bits, strict=True)):
            if end > start:
                events.append(
                    {
                        "name": f"{step.layer} {step.stage}",
                        "cat": step.stage,
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
