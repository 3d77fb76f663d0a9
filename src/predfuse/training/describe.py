"""The training configuration in words: a commented template, a JSON schema and tables of all its fields."""

from __future__ import annotations

import json
import types
import typing
from collections.abc import Iterator
from typing import Any, Literal

import yaml
from annotated_types import Ge, Gt, Le, Lt
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from predfuse.training.config import TrainConfig


def template() -> str:
    """A configuration with every field at its default, each after a comment that says what it is. It trains."""
    lines = [
        "# A training run: predfuse train THIS_FILE -o FOLDER. Every field is here, at its default; any may be left out"
    ]
    lines += ["# but the names of network and data. A stage set to null is left out, and all after it."]
    for name, field in TrainConfig.model_fields.items():
        inner = section(field)
        lines.append("")
        if inner is None:
            lines += [*_comment(field, ""), f"{name}: {_yaml(_value(field))}"]
            continue
        lines += [*(f"# {line}" for line in _first_line(inner)), f"{name}:"]
        for key, below in inner.model_fields.items():
            lines += [*_comment(below, "  "), f"  {key}: {_yaml(_value(below))}"]
    return "\n".join(lines) + "\n"


def schema() -> str:
    """The JSON schema of a configuration, for editors that check YAML."""
    return json.dumps(TrainConfig.model_json_schema(), indent=2) + "\n"


def fields_page() -> str:
    """All fields as Markdown tables, one of the whole run and one for every section: the site's page of them."""
    tables = [_table("The run", {k: f for k, f in TrainConfig.model_fields.items() if section(f) is None})]
    for name, field in TrainConfig.model_fields.items():
        inner = section(field)
        if inner is not None:
            tables.append(_table(f"`{name}`: {' '.join(_first_line(inner))}", inner.model_fields))
    return "\n\n".join(tables) + "\n"


def section(field: FieldInfo) -> type[BaseModel] | None:
    """The model of a section; None for a plain field."""
    kinds = [field.annotation, *typing.get_args(field.annotation)]
    return next((kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)), None)


def _table(title: str, fields: dict[str, FieldInfo]) -> str:
    lines = [f"## {title}", "", "| field | default | values | meaning |", "| --- | --- | --- | --- |"]
    for name, field in fields.items():
        default = "required" if field.is_required() else f"`{_yaml(_value(field))}`"
        lines.append(f"| `{name}` | {default} | {_values(field)} | {field.description} |")
    return "\n".join(lines)


def _first_line(model: type[BaseModel]) -> list[str]:
    return [(model.__doc__ or "").strip().splitlines()[0]]


def _value(field: FieldInfo) -> Any:
    if field.is_required():
        return (field.examples or [None])[0]
    value = field.get_default(call_default_factory=True)
    return list(value) if isinstance(value, tuple) else value


def _yaml(value: Any) -> str:
    """A value as YAML on one line."""
    return yaml.safe_dump(value, default_flow_style=True).removesuffix("\n...\n").strip()


def _comment(field: FieldInfo, indent: str) -> Iterator[str]:
    words, line = f"{field.description} ({_values(field)})".split(), f"{indent}#"
    for word in words:
        if len(line) + 1 + len(word) > 118:
            yield line
            line = f"{indent}#"
        line += f" {word}"
    yield line


def _values(field: FieldInfo) -> str:
    """What a field may be, in words."""
    kind = _kind(field.annotation)
    bounds = []
    for bound in field.metadata:
        for test, word in ((Gt, "above"), (Ge, "at least"), (Lt, "below"), (Le, "at most")):
            if isinstance(bound, test):
                limit = getattr(bound, test.__name__.lower())
                bounds.append(f"{word} {f'2^{limit.bit_length() - 1}' if limit > 1 << 40 else f'{limit:g}'}")
    return f"{kind}, {' and '.join(bounds)}" if bounds else kind


def _kind(annotation: Any) -> str:
    origin, inner = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is Literal:
        return ", ".join(str(value) for value in inner)
    if origin in (types.UnionType, typing.Union):
        return " or ".join("null" if kind is types.NoneType else _kind(kind) for kind in inner)
    if origin is tuple:
        return f"list of {_kind(inner[0])}"
    if origin is dict:
        return "mapping"
    names = {int: "whole number", float: "number", bool: "true or false", str: "text"}
    return names.get(annotation, "path")
