"""Compiles the block loops by the system's C++ compiler where they are first used, and keeps the library in a cache."""

from __future__ import annotations

import ctypes
import hashlib
import logging
import os
import shutil
import subprocess
import tempfile
import time
from functools import cache
from pathlib import Path
from typing import Any

from torch import Tensor

from predfuse.errors import PredfuseError
from predfuse.files import user_cache

log = logging.getLogger(__name__)

SOURCES = [Path(__file__).with_name(name) for name in ("block_loops.cpp", "block_channel.h", "weighted_sums.h")]
COMPILERS = ("c++", "g++", "clang++")
OPTIONS = ("-std=c++17", "-O3", "-march=native", "-ffp-contract=fast", "-fno-math-errno", "-fno-trapping-math")


@cache
def block_loops() -> ctypes.CDLL | None:
    """The library of ``block_loops.cpp`` for this processor; None, with a warning, where it cannot be compiled.

    It is named after its source, the options, the compiler and the processor's instructions, so that what is loaded is
    always what would be compiled: an interrupted training goes on to the same bits.
    """
    compiler = next((found for name in COMPILERS if (found := shutil.which(name))), None)
    if compiler is None:
        log.warning("no C++ compiler: layers of PyTorch train the blocks, to the same values but several times slower")
        return None
    try:
        return ctypes.CDLL(str(_library(compiler)))
    except (OSError, subprocess.CalledProcessError) as error:
        reason = error.stderr if isinstance(error, subprocess.CalledProcessError) else str(error)
        log.warning("%s cannot compile the block loops, layers of PyTorch train the blocks: %s", compiler, reason)
        return None


def call(loop: str, *arguments: Any) -> None:
    """One of the loops, on this thread; others run meanwhile."""
    library = block_loops()
    if library is None:
        raise PredfuseError("the block loops need a C++ compiler")
    getattr(library, loop)(*arguments)


def pointer(value: Any) -> Any:
    """The address of a tensor, which the caller keeps alive; what is none as it is."""
    return ctypes.c_void_p(value.data_ptr()) if isinstance(value, Tensor) else value


def _library(compiler: str) -> Path:
    source = b"".join(each.read_bytes() for each in SOURCES)
    target = _run(compiler, *OPTIONS, "-dM", "-E", "-x", "c++", os.devnull)  # its version and what it compiles for
    key = hashlib.sha256(source + "\0".join((compiler, *OPTIONS, target)).encode()).hexdigest()
    folder = user_cache() / "loops"
    library = folder / f"{key[:32]}.so"
    if not library.exists():
        started = time.monotonic()
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as place:  # renamed when whole: others may compile it too
            made = Path(place) / "made"
            _run(compiler, *OPTIONS, "-shared", "-fPIC", "-w", "-o", str(made), str(SOURCES[0]))
            made.replace(library)
        log.info("block loops compiled in %.0f s", time.monotonic() - started)
    return library


def _run(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout
