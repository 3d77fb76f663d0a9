"""Machines with some fields changed by name, their areas and energies made to fit the new sizes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from predfuse.errors import InputError
from predfuse.hardware.spec import PRICES, ArchonSpec, EyerissSpec, spec_from

BANK_WORDS = 512
"""Words of 64 bits in a bank of the published global buffers."""

Spec = TypeVar("Spec", bound=ArchonSpec | EyerissSpec)


def with_fields(spec: Spec, changes: Mapping[str, Any], name: str | None = None) -> Spec:
    """A machine of any kind with some fields changed, e.g. ``{"pe.adders": 12, "global_buffer.banks": 16}``.

    What hangs together follows: the array of an Archon from its tile and its lists in parallel, the depth of the
    global buffer from its banks (512 words each, unless the depth is given too), all areas and energies from the sizes
    by the rules of ``predfuse.hardware.prices``, which are the same for every kind of machine. So
    ``with_fields(spec, {})`` is the machine at the common prices, also where its file states measured ones.

    The function is pure: equal arguments give equal machines, and ``spec`` stays as it is.

    Args:
        spec: The machine to begin with.
        changes: Values by dotted field, of the types the YAML file has.
        name: Of the new machine; by default that of ``spec``.

    Raises:
        InputError: An unknown field, a value out of range, or choices that cannot go together.

    Source: docs/explanation/accelerators.md.
    """
    document = spec.model_dump(mode="json", exclude=set(PRICES))
    for field, value in changes.items():
        _set(document, field, value)
    if "global_buffer.banks" in changes and "global_buffer.depth" not in changes:
        document["global_buffer"]["depth"] = BANK_WORDS * document["global_buffer"]["banks"]
    if isinstance(spec, ArchonSpec):
        design = document["design"]
        if isinstance(design, dict):
            document["array"] = {
                "rows": design["tile_rows"],
                "columns": design["tile_columns"] * design["parallel_lists"],
            }
    if name is not None:
        document["name"] = name
    changed = spec_from(document, f"{spec.file} with {', '.join(changes) or 'no change'}")
    if not isinstance(changed, type(spec)):
        raise InputError(f"{spec.file}: kind", f"is changed to {changed.kind!r}", "begin with a machine of that kind")
    return changed


def _set(document: dict[str, Any], field: str, value: Any) -> None:
    *parents, last = field.split(".")
    place: Any = document
    for parent in parents:
        place = place.get(parent) if isinstance(place, dict) else None
    if not isinstance(place, dict) or last not in place:
        known = ", ".join(sorted(place if isinstance(place, dict) else document))
        raise InputError(f"field {field!r}", "is not in the specification", f"use one of {known}")
    place[last] = value
