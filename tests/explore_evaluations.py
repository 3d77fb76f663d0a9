"""Evaluations for tests of the search, in a module that its workers can import."""

from __future__ import annotations

import os
import signal
from dataclasses import replace
from pathlib import Path

from predfuse.explore.evaluation import Outcome, Subject
from predfuse.hardware.area import total_area_mm2
from predfuse.hardware.spec import AcceleratorSpec


def cheap(spec: AcceleratorSpec, subject: Subject) -> Outcome:
    """Fewer cycles with more PEs, less energy with fewer banks."""
    cycles = 1e6 / spec.array.pes + 10 * spec.global_buffer.banks
    energy = 3.0 * spec.global_buffer.banks + spec.array.columns
    return Outcome({"total_cycles": cycles, "energy_uj": energy, "area_mm2": total_area_mm2(spec)})


def counted(spec: AcceleratorSpec, subject: Subject) -> Outcome:
    """As :func:`cheap`; writes a line for every call."""
    _note(f"{spec.array.rows} {spec.array.columns} {spec.global_buffer.banks}")
    return cheap(spec, subject)


def kills_its_worker_once(spec: AcceleratorSpec, subject: Subject) -> Outcome:
    """As :func:`counted`; at one point the worker dies, the first time."""
    mark = _folder() / "killed"
    if (spec.array.rows, spec.global_buffer.banks) == (4, 6) and not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return counted(spec, subject)


def raises_at_four_rows(spec: AcceleratorSpec, subject: Subject) -> Outcome:
    """As :func:`counted`, but for machines of four rows, which raise every time."""
    if spec.array.rows == 4:
        _note("raised")
        raise RuntimeError("four rows")
    return counted(spec, subject)


def unfit_at_four_rows(spec: AcceleratorSpec, subject: Subject) -> Outcome:
    """As :func:`cheap`, but machines of four rows cannot run the network."""
    found = cheap(spec, subject)
    return replace(found, metrics={}, state="unfit", reason="four rows") if spec.array.rows == 4 else found


def _folder() -> Path:
    return Path(os.environ["PREDFUSE_TEST_FOLDER"])


def _note(line: str) -> None:
    with (_folder() / f"calls-{os.getpid()}").open("a") as file:
        file.write(line + "\n")
