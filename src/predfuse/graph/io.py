"""Networks as files: one safetensors file, the graph as JSON in its metadata, one tensor per array.

Tensor ``b1.expand_weight`` is the field ``expand_weight`` of node ``b1``, ``b1.predictor.shift`` that of its
predictor. Every field of every node is written, none may be missing or unknown when reading, and types are kept.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from predfuse.arrays import Array
from predfuse.errors import InputError
from predfuse.graph.nodes import NODE_TYPES, Network, Node, Predictor
from predfuse.readers.boundary import as_path, located, reading
from predfuse.tensor_file import load_tensor_file, save_tensor_file

FORMAT = "predfuse-network"
VERSION = 1


def save_network(network: Network, path: str | Path) -> None:
    """Write ``network`` into one file, all of it or nothing; the same network gives the same bytes.

    Raises:
        InputError: The path cannot be written or the network's metadata is not plain JSON.

    Source: docs/reference/files.md, Networks.
    """
    document, tensors = encode_network(network)
    save_tensor_file(as_path(path), FORMAT, VERSION, document, tensors)


def encode_network(network: Network) -> tuple[dict[str, Any], dict[str, Array]]:
    """A network as JSON values, and its arrays, each of any shape, by name (docs/reference/files.md).

    Source: docs/reference/files.md, Networks.
    """
    tensors: dict[str, Array] = {}
    document = {
        "name": network.name,
        "input_shape": [int(size) for size in network.input_shape],
        "mean": [float(value) for value in network.mean],
        "std": [float(value) for value in network.std],
        "labels": list(network.labels),
        "metadata": network.metadata,
        "nodes": [encode_fields(node, node.name, tensors) for node in network.nodes],
    }
    return document, tensors


def load_network(path: str | Path, name: str | None = None) -> Network:
    """Read a network written by :func:`save_network`.

    Args:
        path: The file.
        name: The network it must hold, if given.

    Raises:
        InputError: The file is missing, truncated, corrupt, of another format or version, holds another network than
            ``name``, lacks or has surplus fields or tensors, or describes an impossible network (NaN weights, shapes
            that do not fit).

    Source: docs/reference/files.md, Networks.
    """
    file = load_tensor_file(as_path(path), FORMAT, VERSION)
    with reading(str(path), "describes something impossible"), located(path):
        network = decode_network(file.document, dict(file.tensors))
    if name is not None and network.name != name:
        raise InputError(str(path), f"holds network {network.name!r}, not {name!r}", f"give a file of {name}")
    return network


def encode_fields(value: Any, prefix: str, tensors: dict[str, Array]) -> dict[str, Any]:
    """A node or predictor as JSON: its fields, and the type of a node; arrays, of any shape, go to ``tensors``.

    Source: docs/reference/files.md, Networks.
    """
    encoded: dict[str, Any] = {"type": type(value).__name__} if isinstance(value, Node) else {}
    for field in dataclasses.fields(value):
        content = getattr(value, field.name)
        if isinstance(content, np.ndarray):
            tensors[f"{prefix}.{field.name}"] = content
        elif isinstance(content, Predictor):
            encoded[field.name] = encode_fields(content, f"{prefix}.{field.name}", tensors)
        elif isinstance(content, tuple):
            encoded[field.name] = [int(item) if isinstance(item, np.integer) else item for item in content]
        else:
            encoded[field.name] = int(content) if isinstance(content, np.integer) else content
    return encoded


def decode_network(document: dict[str, Any], tensors: dict[str, Array]) -> Network:
    """The network of :func:`encode_network`; every tensor (any shape) must be used, and is taken out.

    Raises:
        InputError: Missing, surplus or impossible fields or tensors.

    Source: docs/reference/files.md, Networks.
    """
    hints = {
        "name": str,
        "input_shape": tuple[int, int, int],
        "mean": tuple[float, ...],
        "std": tuple[float, ...],
        "labels": tuple[str, ...],
        "metadata": dict,
        "nodes": list,
    }
    return Network(**decode_graph("network", document, tensors, hints, NODE_TYPES))


def decode_graph(
    kind: str,
    document: dict[str, Any],
    tensors: dict[str, Array],
    hints: Mapping[str, Any],
    node_types: Iterable[type[Node]],
    shared: tuple[str, ...] = (),
) -> dict[str, Any]:
    """Constructor arguments of a network or program: fields by their annotations, nodes, all ``tensors`` (any shape).

    Args:
        kind: What it is, for messages.
        document: The JSON facts.
        tensors: The arrays by name; they are taken out, and none may be left.
        hints: Annotations by field, ``nodes`` among them.
        node_types: That nodes may be of.
        shared: Fields of the graph that all its nodes have too, stated once.

    Raises:
        InputError: Missing, surplus or impossible fields or tensors.

    Source: docs/reference/files.md, Networks.
    """
    require_fields(kind, document, set(hints))
    values = {field: typed(f"{kind} field {field}", document[field], hint) for field, hint in hints.items()}
    types_by_name = {cls.__name__: cls for cls in node_types}
    common = {field: values[field] for field in shared}
    values["nodes"] = tuple(_decode_node(kind, node, tensors, types_by_name, common) for node in values["nodes"])
    if tensors:
        raise InputError(kind, f"unknown tensor {min(tensors)}", "make the file again")
    return values


def _decode_node(
    kind: str, encoded: Any, tensors: dict[str, Array], types_by_name: Mapping[str, type[Node]], common: dict[str, Any]
) -> Node:
    if not isinstance(encoded, dict) or not isinstance(encoded.get("name"), str):
        raise InputError(kind, "holds a layer without a name", "make the file again")
    where, cls = f"layer {encoded['name']}", types_by_name.get(str(encoded.get("type")))
    if cls is None:
        what = f"unknown layer type {encoded.get('type')!r}"
        raise InputError(where, what, f"use one of {', '.join(types_by_name)}")
    for field in common.keys() & encoded.keys():
        raise InputError(where, f"unknown field {field}", f"state it once, for the {kind}")
    fields = common | {key: value for key, value in encoded.items() if key != "type"}
    return cls(**decode_fields(cls, fields, where, encoded["name"], tensors))


def decode_fields(
    cls: type, encoded: dict[str, Any], where: str, prefix: str, tensors: dict[str, Array]
) -> dict[str, Any]:
    """Constructor arguments of ``cls``: JSON fields checked against their annotations, arrays (any shape) from tensors.

    Raises:
        InputError: A field or tensor is missing, unknown, or of another type.

    Source: docs/reference/files.md, Networks.
    """
    hints = _hints(cls)
    arrays = {name for name, hint in hints.items() if typing.get_origin(hint) is np.ndarray}
    require_fields(where, encoded, set(hints) - arrays)
    values: dict[str, Any] = {}
    for name, hint in hints.items():
        key = f"{prefix}.{name}"
        if name in arrays:
            if key not in tensors:
                raise InputError(where, f"tensor {key} is missing", "make the file again")
            values[name] = tensors.pop(key)
        elif hint is Predictor or (hint == (Predictor | None) and encoded[name] is not None):
            nested = typed(f"{where} field {name}", encoded[name], dict)
            values[name] = Predictor(**decode_fields(Predictor, nested, f"{where} {name}", key, tensors))
        else:
            values[name] = typed(f"{where} field {name}", encoded[name], hint)
    return values


@cache
def _hints(cls: type) -> dict[str, Any]:
    return {field.name: typing.get_type_hints(cls)[field.name] for field in dataclasses.fields(cls)}


def require_fields(where: str, encoded: dict[str, Any], wanted: set[str]) -> None:
    """Check that a JSON object has exactly the fields ``wanted``.

    Raises:
        InputError: One is missing or unknown.

    Source: docs/reference/files.md, Networks.
    """
    missing, unknown = sorted(wanted - encoded.keys()), sorted(encoded.keys() - wanted)
    if missing:
        raise InputError(where, f"field {missing[0]} is missing", "make the file again")
    if unknown:
        raise InputError(where, f"unknown field {unknown[0]}", "remove it or update predfuse")


def typed(where: str, value: Any, hint: Any) -> Any:
    """``value`` as the annotated type: JSON lists become tuples, whole numbers may stand for floats.

    Raises:
        InputError: It is of another type.

    Source: docs/reference/files.md, Networks.
    """
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is tuple and isinstance(value, list):
        if arguments[-1] is Ellipsis:
            return tuple(typed(where, item, arguments[0]) for item in value)
        if len(arguments) == len(value):
            return tuple(typed(where, item, part) for item, part in zip(value, arguments, strict=True))
    elif origin is typing.Literal:
        if isinstance(value, str) and value in arguments:
            return value
    elif origin is types.UnionType or origin is typing.Union:
        if value is None and types.NoneType in arguments:
            return value
    elif hint is float and type(value) is int:
        return float(value)
    elif isinstance(hint, type) and type(value) is hint:
        return value
    raise InputError(where, f"holds {value!r}, which does not fit", "make the file again")
