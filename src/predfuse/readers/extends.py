"""Documents that build on another: ``extends: OTHER``, then only what differs."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

from predfuse.errors import InputError
from predfuse.readers.boundary import is_file, read_text
from predfuse.readers.documents import parse_yaml, require_mapping

Fields = dict[str, Any]


def merged(below: Fields, above: Fields) -> Fields:
    """Fields over others: mappings field by field, anything else (a list too) in place of what was there.

    Those of ``below`` keep their order, new ones follow.
    """
    result = dict(below)
    for key, value in above.items():
        old = result.get(key)
        result[key] = merged(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return result


def extended(
    text: str,
    file: str,
    shipped: Mapping[str, Traversable] | None = None,
    merge: Callable[[Fields, Fields], Fields] = merged,
) -> Fields:
    """The fields of a YAML document, over those of the one it ``extends``, and so on.

    Args:
        text: The document.
        file: Its file, for messages; bases are looked for beside it.
        shipped: Bases by name; they go before files.
        merge: Puts fields over those of their base.

    Raises:
        InputError: One of the documents cannot be read or is no mapping, a base does not exist, or they go in a circle.
    """
    return _extended(text, file, shipped or {}, merge, {Path(file).resolve()})


def _extended(
    text: str,
    file: str,
    shipped: Mapping[str, Traversable],
    merge: Callable[[Fields, Fields], Fields],
    seen: Collection[str | Path],
) -> Fields:
    own = require_mapping(file, parse_yaml(file, text))
    if "extends" not in own:
        return own
    base = own.pop("extends")
    where, kind = f"{file}: extends", "a shipped name or a YAML file" if shipped else "a YAML file"
    if not isinstance(base, str):
        raise InputError(where, f"is {base!r}", f"name {kind}")
    beside = Path(file).parent / base
    if base not in shipped and not is_file(beside):
        mend = f"use {', '.join([*sorted(shipped), f'a file beside {file}'])}"
        raise InputError(where, f"is {base!r}, {'neither shipped nor a file' if shipped else 'which is no file'}", mend)
    this = base if base in shipped else beside.resolve()
    if this in seen:
        raise InputError(where, f"goes round in a circle through {base}", "build on another file")
    if base in shipped:
        below = _extended(shipped[base].read_text(encoding="utf-8"), f"{base}.yaml", shipped, merge, {*seen, this})
    else:
        below = _extended(read_text(beside), str(beside), shipped, merge, {*seen, this})
    return merge(below, own)
