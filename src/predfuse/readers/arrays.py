"""Reading arrays: ``.npy`` and safetensors files, their headers held against the file's size before allocation."""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt
from safetensors import safe_open

from predfuse.errors import InputError
from predfuse.readers.boundary import reading, require_size

HEADER_BYTES = 16 * 1024**2
"""Most the header of a safetensors file may hold, with all of its metadata."""
_MEND = "make or fetch it again"
_NPY, _ZIP = b"\x93NUMPY", b"PK\x03\x04"


def read_npy(path: Path) -> npt.NDArray[Any]:
    """An array of plain numbers as ``numpy.save`` writes it; no pickles.

    Raises:
        InputError: The file is missing, something else, cut short, or its header promises more than it holds.
    """
    where, size = str(path), require_size(path)
    with reading(where, "is no intact .npy file of numbers"), path.open("rb") as file:
        start = file.read(len(_NPY))
        if start[: len(_ZIP)] == _ZIP:
            raise InputError(where, "is an archive (.npz), not one array", "save the images alone with numpy.save")
        if start != _NPY:
            raise InputError(where, "is no intact .npy file of numbers (no such header)", _MEND)
        file.seek(0)
        shape, dtype = _npy_header(file)
        if dtype.kind not in "?iuf":
            raise InputError(where, f"is no intact .npy file of numbers (it holds {dtype})", "store plain numbers")
        if any(length < 0 for length in shape) or math.prod(shape) * dtype.itemsize != size - file.tell():
            promised = f"{'x'.join(map(str, shape))} of {dtype}"
            raise InputError(where, f"promises {promised}, which is not what it holds", _MEND)
        file.seek(0)
        return np.asarray(np.load(file, allow_pickle=False))


def _npy_header(file: IO[bytes]) -> tuple[tuple[int, ...], np.dtype[Any]]:
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = read(file)
    return shape, dtype


def read_safetensors(
    path: Path, names: Iterable[str] | None = None
) -> tuple[dict[str, str], dict[str, npt.NDArray[Any]]]:
    """Metadata and arrays of a safetensors file.

    Args:
        path: The file.
        names: Only these arrays, as far as it holds them; None reads all.

    Raises:
        InputError: The file is missing, cut short, corrupt, or has arrays NumPy has no type for.
    """
    require_header(path)
    with reading(str(path), "is no intact safetensors file"), safe_open(path, framework="numpy") as file:
        held = sorted(file.keys())
        wanted = held if names is None else [name for name in names if name in held]
        return file.metadata() or {}, {name: file.get_tensor(name) for name in wanted}


def read_metadata(path: Path) -> dict[str, str]:
    """Only the metadata of a safetensors file.

    Raises:
        InputError: As :func:`read_safetensors`.
    """
    return read_safetensors(path, ())[0]


def require_header(path: Path) -> None:
    """Hold the length in front of a safetensors file against the file's size and :data:`HEADER_BYTES`.

    Raises:
        InputError: The file is missing, or cannot be one.
    """
    where, size = str(path), require_size(path)
    with reading(where, "is no intact safetensors file"), path.open("rb") as file:
        start = file.read(8)
    header = int.from_bytes(start, "little")
    if len(start) < 8 or header > size - 8:
        raise InputError(where, "is no intact safetensors file (truncated or corrupt)", _MEND)
    if header > HEADER_BYTES:
        raise InputError(where, f"has a header of more than {HEADER_BYTES:,} bytes", "make it with fewer facts")
