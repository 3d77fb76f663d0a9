"""One file for arrays and facts: safetensors whose metadata is one JSON document, with format, version and checksum.

Used for every file the project stores arrays in. The bytes depend on the content only, the writing is atomic, and a
file that is missing, cut short, altered or of another kind is refused with one line.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import save_file

from predfuse.arrays import Array
from predfuse.errors import InputError
from predfuse.files import write_atomically
from predfuse.readers.arrays import read_metadata, read_safetensors
from predfuse.readers.boundary import reading
from predfuse.readers.documents import parse_json

METADATA_KEY = "predfuse"
"""The only safetensors metadata key (several would be written in random order)."""

_MENDS = {"predfuse-program": "make a program of it with predfuse compile"}
"""What to do when a file of another kind is given, by the kind wanted."""

_OLDER = {"predfuse-checkpoint": "convert an older one with tools/convert_checkpoints.py"}
_CORRUPT, _AGAIN = "its metadata is corrupt", "make or fetch it again"

_STORABLE = frozenset(
    (
        "bool",
        "float16",
        "float32",
        "float64",
        *(f"{kind}{bits}" for kind in ("int", "uint") for bits in (8, 16, 32, 64)),
    )
)


@dataclass(frozen=True, eq=False)
class TensorFile:
    """What a file holds.

    Attributes:
        document: The JSON facts.
        tensors: The arrays by name, in the types they were saved with.
    """

    document: dict[str, Any]
    tensors: dict[str, Array]


def save_tensor_file(
    path: Path, format_name: str, version: int, document: Mapping[str, Any], tensors: Mapping[str, Array]
) -> None:
    """Write arrays and facts into one file, all of it or nothing; the same content gives the same bytes.

    Raises:
        InputError: The document is not plain JSON, an array has a type that cannot be stored, or the path cannot be
            written.
    """
    arrays = {}
    for name in sorted(tensors):
        array = np.asarray(tensors[name])
        if array.dtype.name not in _STORABLE:
            raise InputError(str(path), f"tensor {name} has type {array.dtype}", "store plain numbers")
        arrays[name] = np.array(array, dtype=array.dtype.newbyteorder("="), order="C")
    header = {"format": format_name, "version": version, "document": document}
    try:
        canonical = _canonical(header)
        if json.loads(canonical)["document"] != document:
            raise ValueError("a key is not text, or a value changes its type")
    except (TypeError, ValueError) as error:
        raise InputError(str(path), f"facts cannot be stored as JSON ({error})", "use plain values only") from error
    metadata = {METADATA_KEY: _canonical({**header, "sha256": _digest(canonical, arrays)})}
    write_atomically(path, lambda temporary: _save(arrays, temporary, metadata))


def _save(arrays: Mapping[str, Array], path: Path, metadata: dict[str, str]) -> None:
    try:
        save_file(dict(arrays), path, metadata)
    except SafetensorError as error:  # what it makes of a full disk
        raise OSError(f"{error}") from error


def load_tensor_file(path: Path, format_name: str, version: int) -> TensorFile:
    """Read a file written by :func:`save_tensor_file`.

    Raises:
        InputError: The file is missing, unreadable, truncated, altered, or of another format or version.
    """
    where = str(path)
    metadata, arrays = read_safetensors(path)
    kind = _format(metadata)
    if kind is None and METADATA_KEY not in metadata:
        raise InputError(where, f"is no {format_name} file", f"give a file with format {format_name}")
    if kind is not None and kind != format_name:
        mend = _MENDS.get(format_name, "give a file of the right kind")
        raise InputError(where, f"holds format {kind!r}, not {format_name!r}", mend)
    header = parse_json(where, metadata[METADATA_KEY], _CORRUPT, _AGAIN)
    if not isinstance(header, dict) or not isinstance(header.get("version"), (int, str)):
        raise InputError(where, _CORRUPT, _AGAIN)
    if header["version"] != version:
        found = repr(header["version"])[:20]
        what = f"has version {found} of {format_name}, this program reads {version}"
        raise InputError(where, what, _OLDER.get(format_name, "make it again with this version of predfuse"))
    digest, document = header.pop("sha256", None), header.get("document")
    if digest is None or not isinstance(document, dict) or set(header) != {"format", "version", "document"}:
        raise InputError(where, _CORRUPT, _AGAIN)
    with reading(where, _CORRUPT):
        intact = digest == _digest(_canonical(header), arrays)
    if not intact:
        raise InputError(where, "its content does not match its checksum (corrupt)", _AGAIN)
    return TensorFile(document, arrays)


def stored_format(path: Path) -> str | None:
    """Format name in the metadata of a safetensors file; None where there is none or the file is no such file."""
    try:
        return _format(read_metadata(path))
    except InputError:
        return None


def _format(metadata: Mapping[str, str]) -> str | None:
    try:
        header = parse_json("metadata", metadata.get(METADATA_KEY, "null"))
    except InputError:
        return None
    name = header.get("format") if isinstance(header, dict) else None
    return name if isinstance(name, str) else None


def _canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=True, allow_nan=False, separators=(",", ":"))


def _digest(canonical: str, arrays: Mapping[str, Array]) -> str:
    digest = hashlib.sha256(canonical.encode())
    for name in sorted(arrays):
        array = arrays[name]
        digest.update(f"\n{name} {array.dtype.name} {array.shape}\n".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()
