"""Malformed files to every reader, in little memory: no traceback, no hang, nothing left behind."""

from __future__ import annotations

import re
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from predfuse.errors import InputError
from predfuse.readers.arrays import read_npy
from predfuse.readers.boundary import read_bytes

TOOL = Path(__file__).resolve().parents[2] / "tools" / "fuzz_readers.py"


def test_every_reader_survives_malformed_files() -> None:
    done = subprocess.run(
        [sys.executable, str(TOOL), "--count", "20", "--seed", "7"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(re.findall(r"    20 inputs: .* 0 faults", done.stdout)) == 16, done.stdout


def test_a_small_file_takes_little_memory(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"few")
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    mapped = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (mapped + 256 * 1024**2, hard))
    try:
        assert read_bytes(tmp_path / "x") == b"few"
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def test_files_that_promise_more_than_they_hold(tmp_path: Path) -> None:
    path = tmp_path / "x.npy"
    np.savez(path.open("wb"), a=np.zeros(3))
    with pytest.raises(InputError, match=r"is an archive \(\.npz\), not one array"):
        read_npy(path)
    with path.open("wb") as file:
        header = {"descr": "|u1", "fortran_order": False, "shape": (10**9, 3, 32, 32)}
        np.lib.format.write_array_header_1_0(file, header)
    with pytest.raises(InputError, match="promises 1000000000x3x32x32 of uint8, which is not what it holds"):
        read_npy(path)


def test_names_cannot_break_the_line() -> None:
    told = str(InputError("a\nb\x1b[31m\u202e", "is wrong", "mend it"))
    assert told == "a\\nb\\x1b[31m\\u202e: is wrong; mend it"
    assert len(str(InputError("x" * 100_000, "is wrong", "mend it"))) < 1100
