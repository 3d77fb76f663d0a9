"""Runs images of the global buffer on the gateware under Verilator and measures what it does."""

from __future__ import annotations

import struct
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np

from predfuse.arrays import Int64Array
from predfuse.errors import PredfuseError
from predfuse.hardware.cycle.archon.gateware import Machine
from predfuse.hardware.cycle.archon.sequence.schedule import Clock
from predfuse.rtl.build import SOURCES, build
from predfuse.rtl.image import Image
from predfuse.rtl.starts import Measured


@dataclass(frozen=True, eq=False)
class Ran:
    """One image, run.

    Attributes:
        starts: Of the core.
        clock: Where the cycles went.
        pixels: Lines of outputs, one after the other.
    """

    starts: tuple[Measured, ...]
    clock: Clock
    pixels: Int64Array


class Simulator:
    """A machine built for simulation.

    Args:
        machine: Its sizes.
        folder: Where its sources are.
        waves: Form of the waveforms it can write: vcd, fst, or nothing.
        arguments: Plus arguments of every run, for sources that ask for them.

    Raises:
        InputError: A tool is missing.
        PredfuseError: It does not build.
    """

    def __init__(
        self, machine: Machine, folder: Path = SOURCES, waves: str = "", arguments: Sequence[str] = ()
    ) -> None:
        self.machine = machine
        self.arguments = tuple(arguments)
        self._program = build(machine, folder, waves)

    def run(self, images: Sequence[Image], waves: Path | None = None) -> list[Ran]:
        """Images in order, from reset on.

        Raises:
            PredfuseError: The machine hangs.
        """
        with tempfile.TemporaryDirectory() as name:
            told, results = Path(name) / "images", Path(name) / "results"
            told.write_bytes(encode(images))
            command = [str(self._program), str(told), str(results)] + ([] if waves is None else [str(waves)])
            command += self.arguments
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                raise PredfuseError(f"the gateware failed: {done.stderr.strip() or f'status {done.returncode}'}")
            return _decode(np.fromfile(results, np.int64))


def _decode(raw: Int64Array) -> list[Ran]:
    ran, at = [], 0
    while at < len(raw):
        starts = []
        count, at = int(raw[at]), at + 1
        for _ in range(count):
            before, at = _clock(raw, at), at + CLOCK_WORDS
            lists, predictions, passes = (int(one) for one in raw[at : at + 3])
            at += 3 + passes
            starts.append(Measured(lists, predictions, tuple(int(cycle) for cycle in raw[at - passes : at]), before))
        clock, at = _clock(raw, at), at + CLOCK_WORDS + 1
        pixels = raw[at : at + int(raw[at - 1])]
        at += len(pixels)
        ran.append(Ran(tuple(starts), clock, pixels))
    return ran


def _clock(raw: Int64Array, at: int) -> Clock:
    return Clock(*(int(one) for one in raw[at : at + CLOCK_WORDS]))


CLOCK_WORDS = len(fields(Clock))
"""The bench writes for it."""


def encode(images: Sequence[Image]) -> bytes:
    """Images as the bench reads them."""
    parts = []
    for one in images:
        parts.append(struct.pack("<4i", one.start_row, len(one.lines), one.read_row, one.read_rows))
        parts.append(one.lines.astype("<i2").tobytes())
    return b"".join(parts)
