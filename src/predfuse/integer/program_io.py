"""Programs as files: one safetensors file, the layers as JSON in its metadata, one tensor per array.

Tensor ``b1.project`` is the field ``project`` of layer ``b1``.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, cast

from predfuse.arrays import Array
from predfuse.errors import InputError
from predfuse.graph.io import decode_fields, encode_fields, require_fields, typed
from predfuse.integer.program import NODE_TYPES, IntegerNode, Layout, Program, ProgramNode
from predfuse.readers.boundary import as_path, located, reading
from predfuse.tensor_file import load_tensor_file, save_tensor_file, stored_format

FORMAT = "predfuse-program"
VERSION = 1

_TYPES_BY_NAME: dict[str, type[IntegerNode]] = {cls.__name__: cls for cls in NODE_TYPES}
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
        "layout": dataclasses.asdict(program.layout),
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
        "layout": dict,
        "labels": tuple[str, ...],
        "metadata": dict,
        "nodes": list,
        "bits": int,
    }
    document = {"bits": _BITS, **document}
    require_fields("program", document, set(hints))
    values = {field: typed(f"program field {field}", document[field], hint) for field, hint in hints.items()}
    require_fields("program layout", values["layout"], {field.name for field in dataclasses.fields(Layout)})
    values["layout"] = Layout(**values["layout"])
    if _INPUT_TABLE not in tensors:
        raise InputError("program", f"tensor {_INPUT_TABLE} is missing", "compile the network again")
    values["input_table"] = tensors.pop(_INPUT_TABLE)
    values["nodes"] = tuple(_decode_node(node, tensors, values["bits"]) for node in values["nodes"])
    if tensors:
        raise InputError("program", f"unknown tensor {min(tensors)}", "compile the network again")
    return Program(**values)


def _encode_node(node: ProgramNode, tensors: dict[str, Array]) -> dict[str, Any]:
    """A layer without its width, which is that of the program."""
    encoded = encode_fields(node, node.name, tensors)
    del encoded["bits"]
    return encoded


def _decode_node(encoded: Any, tensors: dict[str, Array], bits: int) -> ProgramNode:
    if not isinstance(encoded, dict) or not isinstance(encoded.get("name"), str):
        raise InputError("program", "holds a layer without a name", "compile the network again")
    where = f"layer {encoded['name']}"
    cls = _TYPES_BY_NAME.get(str(encoded.get("type")))
    if cls is None:
        what = f"unknown layer type {encoded.get('type')!r}"
        raise InputError(where, what, f"use one of {', '.join(_TYPES_BY_NAME)}")
    if "bits" in encoded:
        raise InputError(where, "unknown field bits", "state it once, for the program")
    fields = {"bits": bits} | {key: value for key, value in encoded.items() if key != "type"}
    return cast(ProgramNode, cls(**decode_fields(cls, fields, where, encoded["name"], tensors)))
