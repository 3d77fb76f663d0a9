"""Variants of an Archon: fields changed by name, sizes and prices made to fit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from predfuse.errors import InputError
from predfuse.hardware.prices import sized
from predfuse.hardware.spec import ArchonSpec, parse_spec

BANK_WORDS = 512
"""Words of 64 bits in a bank of the published global buffers."""


def variant(spec: ArchonSpec, changes: Mapping[str, Any], name: str | None = None) -> ArchonSpec:
    """The machine with some fields changed, e.g. ``{"pe.adders": 12, "design.structures.lane_registers": 5}``.

    The array follows from the tile and the lists in parallel, the depth of the global buffer from its banks, areas
    and energies from all sizes.

    Args:
        spec: A machine with ``design.structures``.
        changes: Values by dotted field.
        name: Of the variant.

    Raises:
        InputError: An unknown field, a value out of range, or choices that cannot go together.
    """
    if spec.design.structures is None:
        raise InputError(
            f"{spec.file}: design.structures", "is missing", "give it: its prices say what a variant costs"
        )
    document = spec.model_dump(mode="json")
    for field, value in changes.items():
        _set(document, field, value, spec)
    if "global_buffer.banks" in changes and "global_buffer.depth" not in changes:
        document["global_buffer"]["depth"] = BANK_WORDS * document["global_buffer"]["banks"]
    design = document["design"]
    document["array"] = {
        "rows": design["tile_rows"],
        "columns": design["tile_columns"] * design["parallel_lists"],
    }
    if name is not None:
        document["name"] = name
    return sized(checked(document, f"{spec.file} with {', '.join(changes) or 'no change'}"))


def checked(document: Mapping[str, Any], file: str) -> ArchonSpec:
    """An Archon from plain values; see :func:`predfuse.hardware.spec.parse_spec` for errors."""
    import yaml

    spec = parse_spec(yaml.safe_dump(dict(document)), file)
    assert isinstance(spec, ArchonSpec)
    return spec


def _set(document: dict[str, Any], field: str, value: Any, spec: BaseModel) -> None:
    *parents, last = field.split(".")
    place: Any = document
    for parent in parents:
        place = place.get(parent) if isinstance(place, dict) else None
    if not isinstance(place, dict) or last not in place:
        known = ", ".join(sorted(type(spec).model_fields))
        raise InputError(f"field {field!r}", "is not in the specification", f"begin with one of {known}")
    place[last] = value
