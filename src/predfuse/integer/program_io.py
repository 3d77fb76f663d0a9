"""Programs as files: one safetensors file, the layers as JSON in its metadata, one tensor per array.

Tensor ``b1.project`` is the field ``project`` of layer ``b1``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from predfuse.arrays import Array
from predfuse.errors import InputError
from predfuse.graph.io import decode_graph, encode_fields
from predfuse.integer.program import NODE_TYPES, Program, ProgramNode
from predfuse.readers.boundary import as_path, located, reading
from predfuse.tensor_file import load_tensor_file, save_tensor_file, stored_format

FORMAT = "predfuse-program"
VERSION = 1

_INPUT_TABLE = "input.table"
_BITS = 16
"""Of words where a file does not say."""


def save_program(program: Program, path: str | Path) -> None:
    """Write ``program`` into one file, all of it or nothing; the same program gives the same bytes.

    Raises:
        InputError: The path cannot be written or the program's metadata is not plain JSON.

    Source: docs/reference/program.md, The file.
    """
    tensors: dict[str, Array] = {_INPUT_TABLE: program.input_table}
    document = {
        "name": program.name,
        "input_shape": list(program.input_shape),
        "input_fraction_bits": program.input_fraction_bits,
        "input_gain": list(program.input_gain),
        "labels": list(program.labels),
        "metadata": program.metadata,
        "nodes": [_encode_node(node, tensors) for node in program.nodes],
        **({} if program.bits == _BITS else {"bits": program.bits}),
    }
    save_tensor_file(as_path(path), FORMAT, VERSION, document, tensors)


def is_program(path: str | Path) -> bool:
    """Whether a file says that it holds a program; it may still be damaged.

    Source: docs/reference/program.md, The file.
    """
    return stored_format(as_path(path)) == FORMAT


def load_program(path: str | Path) -> Program:
    """Read a program written by :func:`save_program`.

    Raises:
        InputError: The file is missing, truncated, corrupt, of another format or version, lacks or has surplus fields
            or tensors, or describes an impossible program.

    Source: docs/reference/program.md, The file.
    """
    file = load_tensor_file(as_path(path), FORMAT, VERSION)
    with reading(str(path), "describes something impossible"), located(path):
        return _decode(file.document, dict(file.tensors))


def _decode(document: dict[str, Any], tensors: dict[str, Array]) -> Program:
    hints = {
        "name": str,
        "input_shape": tuple[int, int, int],
        "input_fraction_bits": int,
        "input_gain": tuple[float, ...],
        "labels": tuple[str, ...],
        "metadata": dict,
        "nodes": list,
        "bits": int,
    }
    document = {"bits": _BITS, **document}
    document.pop("layout", None)  # of files of version 0.2, where nothing reads it either
    if _INPUT_TABLE not in tensors:
        raise InputError("program", f"tensor {_INPUT_TABLE} is missing", "compile the network again")
    table = tensors.pop(_INPUT_TABLE)
    return Program(input_table=table, **decode_graph("program", document, tensors, hints, NODE_TYPES, ("bits",)))


def _encode_node(node: ProgramNode, tensors: dict[str, Array]) -> dict[str, Any]:
    """A layer without its width, which is that of the program."""
    encoded = encode_fields(node, node.name, tensors)
    del encoded["bits"]
    return encoded
