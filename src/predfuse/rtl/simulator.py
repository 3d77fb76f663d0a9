"""Runs words on the gateware under Verilator and measures what it does."""

from __future__ import annotations

import struct
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from predfuse.arrays import Int64Array
from predfuse.errors import PredfuseError
from predfuse.graph.nodes import Array
from predfuse.hardware.cycle.archon.gateware import Machine
from predfuse.rtl.build import SOURCES, build
from predfuse.rtl.words import Word

LISTS, PREDICT, BEHIND, FINISH = 1, 2, 4, 8
"""What a run starts; see ``bench.cpp``."""


@dataclass(frozen=True)
class Run:
    """Start something and wait for its end."""

    flags: int


@dataclass(frozen=True, eq=False)
class Measured:
    """What one run did.

    Attributes:
        list_cycles: Of all passes.
        predict_cycles: From the first input read to the last gate word written.
        begins: Cycle after the start in which each pass was handed to the lists.
        rows: ``[rows, 2 + tile columns]`` channel, row of the tile and pixels, as they came out.
    """

    list_cycles: int
    predict_cycles: int
    begins: tuple[int, ...]
    rows: Array

    def words(self) -> Int64Array:
        """``[words]`` int64, as the bench writes them."""
        head = [self.list_cycles, self.predict_cycles, len(self.begins), *self.begins, len(self.rows)]
        return np.concatenate((np.array(head, np.int64), self.rows.ravel().astype(np.int64)))


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

    def run(self, operations: Sequence[Word | Run], waves: Path | None = None) -> list[Measured]:
        """Everything in order, from reset on; one result for every :class:`Run`.

        Raises:
            PredfuseError: The machine hangs.
        """
        with tempfile.TemporaryDirectory() as name:
            words, results = Path(name) / "words", Path(name) / "results"
            words.write_bytes(encode(operations))
            command = [str(self._program), str(words), str(results)] + ([] if waves is None else [str(waves)])
            command += self.arguments
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                raise PredfuseError(f"the gateware failed: {done.stderr.strip() or f'status {done.returncode}'}")
            return self._decode(np.fromfile(results, np.int64))

    def _decode(self, raw: Array) -> list[Measured]:
        measured, at, width = [], 0, 2 + self.machine.tile_columns
        while at < len(raw):
            passes = int(raw[at + 2])
            rows_at = at + 3 + passes
            end = rows_at + 1 + int(raw[rows_at]) * width
            begins = tuple(int(cycle) for cycle in raw[at + 3 : rows_at])
            rows = raw[rows_at + 1 : end].reshape(-1, width)
            measured.append(Measured(int(raw[at]), int(raw[at + 1]), begins, rows))
            at = end
        return measured


def encode(operations: Sequence[Word | Run]) -> bytes:
    """Words and runs as the bench reads them."""
    parts = []
    for operation in operations:
        if isinstance(operation, Run):
            parts.append(struct.pack("<2i", 1, operation.flags))
            continue
        count = max(1, -(-operation.bits.bit_length() // 32))
        parts.append(struct.pack("<5i", 0, operation.region, operation.bank, operation.index, count))
        parts.append(operation.bits.to_bytes(4 * count, "little"))
    return b"".join(parts)
