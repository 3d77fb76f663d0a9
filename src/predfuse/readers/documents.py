"""Reading YAML and JSON: the only place that parses either, strict about what plain parsers pass over in silence.

Doubled keys, numbers that are not finite, whole numbers of more than 64 bits, aliases that refer to themselves or
multiply, and endless nesting are refused.
"""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from predfuse.errors import InputError, printable
from predfuse.readers.boundary import AGAIN, DOCUMENT_BYTES, JSON_BYTES, read_bytes, read_text, reading

MAX_NODES = 100_000
"""Most values a YAML document may hold, with every alias written out."""
MAX_WHOLE = 2**64
MAX_DEPTH = 100
"""Deepest nesting of a YAML document."""
_MERGE = "tag:yaml.org,2002:merge"
_NUMBERS = ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")
_MISREAD = re.compile(r"[-+]?0[0-9_]+|.*:.*")
_CORRECT = "correct the file"
_MENDS = {
    "greater_than": "use a value above {gt}",
    "greater_than_equal": "use {ge} or more",
    "less_than": "use a value below {lt}",
    "less_than_equal": "use {le} or less",
    "multiple_of": "use a multiple of {multiple_of}",
    "int_from_float": "use a whole number",
    "int_type": "use a whole number",
    "int_parsing": "use a whole number",
    "float_type": "use a number",
    "float_parsing": "use a number",
    "finite_number": "use a finite number",
    "string_type": "write text",
    "model_type": "write its fields, one per line",
    "model_attributes_type": "write its fields, one per line",
}
"""What to do about a value, by pydantic's name of what is wrong with it."""
Model = TypeVar("Model", bound=BaseModel)


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader, refusing a key given twice (plain YAML would keep the last and drop the first).

    Nesting is limited while the text is scanned, which takes time that grows with the square of the depth.
    """

    def fetch_flow_collection_start(self, TokenClass: Any) -> None:  # noqa: N803 - PyYAML's name
        _require_shallow(self.flow_level)
        super().fetch_flow_collection_start(TokenClass)

    def add_indent(self, column: int) -> bool:
        _require_shallow(len(self.indents))
        return bool(super().add_indent(column))

    def construct_scalar(self, node: yaml.ScalarNode | yaml.MappingNode) -> Any:
        """Numbers that YAML reads as others than people do, ``010`` as 8 and ``1:30`` as 90, are refused."""
        value = super().construct_scalar(node)
        if node.tag in _NUMBERS and _MISREAD.fullmatch(value):
            raise yaml.YAMLError(f"{value} is a number of another base, line {node.start_mark.line + 1}")
        return value

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node: yaml.MappingNode = super().compose_mapping_node(anchor)
        seen = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise yaml.YAMLError(f"a key that is no plain word, line {key.start_mark.line + 1}")
            plain = key.value if key.tag == _MERGE else self.construct_object(key)
            if plain in seen:
                raise yaml.YAMLError(f"the key {key.value!r} is given twice, line {key.start_mark.line + 1}")
            seen.add(plain)
        return node


def parse_yaml(where: str, text: str) -> Any:
    """The plain values of a YAML document; None of an empty one.

    Args:
        where: The file, for messages.
        text: Its text.

    Raises:
        InputError: It is no YAML, too large, or holds anything this module refuses.
    """
    if len(text.encode(errors="replace")) > DOCUMENT_BYTES:
        raise InputError(where, f"holds more than {DOCUMENT_BYTES:,} bytes", "give a smaller file")
    with reading(where, "is not valid YAML", "correct the syntax"):
        loader = _Loader(text)
        try:
            node = loader.get_single_node()
            if node is None:
                return None
            _require_small(where, node)
            value = loader.construct_document(node)
        finally:
            loader.dispose()
        _require_plain(where, value, ())
    return value


def read_yaml(path: Path) -> Any:
    """The plain values of a YAML file.

    Raises:
        InputError: As :func:`parse_yaml`, or the file cannot be read.
    """
    return parse_yaml(str(path), read_text(path, mend=_CORRECT))


def read_mapping(path: Path) -> dict[str, Any]:
    """The fields of a YAML file.

    Raises:
        InputError: As :func:`read_yaml`, or it holds something else than fields.
    """
    return require_mapping(str(path), read_yaml(path))


def require_mapping(where: str, value: Any) -> dict[str, Any]:
    """``value`` as fields.

    Raises:
        InputError: It is none, or a key is no text.
    """
    if not isinstance(value, dict):
        raise InputError(where, f"holds a {type(value).__name__}, not fields", "write `field: value` lines")
    for key in value:
        if not isinstance(key, str):
            raise InputError(where, f"has the key {key!r}, which is no text", "quote or correct it")
    return value


def put(document: dict[str, Any], field: str, value: Any, where: str) -> None:
    """Set a dotted field of a document, making the sections it lies in.

    Raises:
        InputError: A section is something else.
    """
    *parents, last = field.split(".")
    for parent in parents:
        if document.get(parent) is None:
            document[parent] = {}
        document = document[parent]
        if not isinstance(document, dict):
            raise InputError(where, f"{parent} is no section", "name a field of a section")
    document[last] = value


def _require_shallow(depth: int) -> None:
    if depth >= MAX_DEPTH:
        raise yaml.YAMLError("nested too deeply")


def _require_small(where: str, root: yaml.Node) -> None:
    """Refuse aliases that refer to themselves, or make more than :data:`MAX_NODES` values of a small file."""
    sizes: dict[int, int | None] = {}

    def size(node: yaml.Node) -> int:
        known = sizes.get(id(node), 0)
        if known is None:
            raise InputError(where, "has an alias that refers to itself", _CORRECT)
        if known:
            return known
        sizes[id(node)] = None
        children = node.value if isinstance(node, yaml.CollectionNode) else ()
        parts = (part for child in children for part in (child if isinstance(child, tuple) else (child,)))
        total = 1 + sum(size(part) for part in parts)
        if total > MAX_NODES:
            raise InputError(where, f"has more than {MAX_NODES:,} values, aliases written out", "write less")
        sizes[id(node)] = total
        return total

    size(root)


def _require_plain(where: str, value: Any, place: tuple[Any, ...]) -> None:
    if isinstance(value, dict):
        for key, item in value.items():
            _require_plain(where, key, place)
            _require_plain(where, item, (*place, key))
    elif isinstance(value, (list, tuple, set)):
        for index, item in enumerate(value):
            _require_plain(where, item, (*place, index))
    elif (isinstance(value, float) and not math.isfinite(value)) or (isinstance(value, int) and abs(value) > MAX_WHOLE):
        what = (
            "a whole number of more than 64 bits" if isinstance(value, int) else f"{value}, which is no finite number"
        )
        raise InputError(f"{where}: {'.'.join(map(str, place))}" if place else where, f"holds {what}", _CORRECT)


def parse_json(where: str, text: str | bytes, what: str = "is no intact JSON", mend: str = AGAIN) -> Any:
    """The plain values of a JSON document.

    Args:
        where: The file, for messages.
        text: Its text.
        what: What is said of a malformed one.
        mend: What the user can do.

    Raises:
        InputError: It is no JSON, or holds anything this module refuses.
    """
    with reading(where, what, mend):
        return json.loads(text, object_pairs_hook=_unique, parse_constant=_refuse, parse_float=_finite)


def read_json(path: Path, what: str = "is no intact JSON", mend: str = AGAIN) -> Any:
    """The plain values of a JSON file.

    Raises:
        InputError: As :func:`parse_json`, or the file cannot be read.
    """
    return parse_json(str(path), read_bytes(path, JSON_BYTES, mend), what, mend)


def read_json_lines(
    path: Path, what: str = "is no JSON-lines log", mend: str = AGAIN, *, whole: bool = True
) -> list[dict[str, Any]]:
    """The objects of a file that holds one a line; blank lines are passed over.

    Args:
        path: The file.
        what: What is said of a malformed one.
        mend: What the user can do.
        whole: Whether the last line must be; else one that breaks off, being written still, is left out.

    Raises:
        InputError: As :func:`read_json`, or a line holds something else than an object.
    """
    lines = read_text(path, JSON_BYTES, mend).splitlines()
    if not whole and lines and not lines[-1].endswith("}"):
        lines.pop()
    found = [parse_json(str(path), line, what, mend) for line in lines if line.strip()]
    if not all(isinstance(entry, dict) for entry in found):
        raise InputError(str(path), what, mend)
    return found


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key is given twice")
    return found


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        _refuse(text[:20])
    return value


def _refuse(name: str) -> NoReturn:
    raise ValueError(f"{name} is no finite number")


def validated(model: type[Model], raw: Any, where: str, mend: str = "") -> Model:
    """Plain values as a checked object; the first complaint becomes one line.

    Args:
        model: What is checked, and how.
        raw: The values.
        where: The file, for messages.
        mend: What the user can do about a value that is no number out of range; by default what is wrong with it.

    Raises:
        InputError: An unknown key, a missing one, or a value that does not fit.
    """
    with reading(where, "holds values that cannot be checked", _CORRECT):
        try:
            found = model.model_validate(raw)
        except ValidationError as error:
            raise _complaint(where, error, mend) from error
    if not model.model_config.get("strict"):  # strict ones convert nothing
        _require_own_kind(where, raw, found, ())
    return found


def _complaint(where: str, error: ValidationError, mend: str) -> InputError:
    """The first complaint as file, field, value and mend."""
    errors = error.errors()
    # A misspelt key is both missing and unknown: the unknown one shows what was written.
    first = next((item for item in errors if item["type"] == "extra_forbidden"), errors[0])
    field = ".".join(printable(str(step)[:60]) for step in first["loc"]) or "document"
    value, more = printable(repr(first["input"])[:60]), f" ({len(errors) - 1} more)" if len(errors) > 1 else ""
    if first["type"] == "missing":
        return InputError(f"{where}: {field}", f"is missing{more}", "add it")
    if first["type"] == "extra_forbidden":
        return InputError(f"{where}: {field}", f"is an unknown key (value {value}){more}", "remove or correct it")
    known = _MENDS.get(first["type"])
    mend = known.format(**first.get("ctx", {})) if known else mend or first["msg"].lower()
    return InputError(f"{where}: {field}", f"is {value}{more}", mend)


def _require_own_kind(where: str, raw: Any, found: Any, place: tuple[Any, ...]) -> None:
    """Refuse text or truth that was taken for a number, and a number or text for a truth: pydantic converts them."""
    if isinstance(raw, str | int | float) and isinstance(found, int | float):
        text, truth = isinstance(raw, str), isinstance(raw, bool)
        if text or truth != isinstance(found, bool):
            said = f"the text {raw[:40]!r}" if isinstance(raw, str) else ("yes" if raw else "no") if truth else str(raw)
            wanted = "true or false" if isinstance(found, bool) else "a number"
            raise InputError(where, f"{'.'.join(map(str, place))} is {said}, not {wanted}", "write it without quotes")
    if isinstance(raw, dict):
        for key, value in raw.items():
            inner = found.get(key) if isinstance(found, dict) else getattr(found, str(key), None)
            _require_own_kind(where, value, inner, (*place, key))
    elif isinstance(raw, list) and isinstance(found, list | tuple) and len(raw) == len(found):
        for index, pair in enumerate(zip(raw, found, strict=True)):
            _require_own_kind(where, *pair, (*place, index))
