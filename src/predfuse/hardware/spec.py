"""Accelerator specifications: YAML files checked field by field; their fields are in ``fields`` and ``design``.

Shipped: ``archon``, ``archon-ics21``, ``eyeriss-dense``, ``eyeriss-sparse``. A specification of
one's own is a YAML file of the same form, or one that builds on another (``extends: archon``, then only what differs).
Unknown keys, missing keys and impossible values are one-line errors that name file, field, value and mend. Prices that
a file does not state (``area_um2``, ``energy_pj``) follow from its sizes by the rules of ``prices``; only the shipped
files of published machines state any, those that were measured.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

from predfuse.errors import InputError
from predfuse.hardware.design import first_conflict
from predfuse.hardware.field_types import Part
from predfuse.hardware.fields import (
    AcceleratorSpec,
    ArchonArea,
    ArchonEnergy,
    ArchonSpec,
    Buffer,
    EyerissArea,
    EyerissEnergy,
    EyerissSpec,
)
from predfuse.hardware.prices import sized
from predfuse.readers.boundary import is_file, read_text
from predfuse.readers.documents import read_mapping, validated
from predfuse.readers.extends import extended, merged

__all__ = [
    "AcceleratorSpec",
    "ArchonSpec",
    "Buffer",
    "EyerissSpec",
    "load_spec",
    "names",
    "parse_spec",
    "spec_from",
]

_KINDS = ("dense", "sparse", "archon")
PRICES = ("area_um2", "energy_pj")
"""Tables a file may state; otherwise they follow from the sizes."""
_SIZES = {"array", "pe", "global_buffer", "mask_buffer", "design", "activation_bits", "bits"}
_SIZES |= {"price_rules", "prices", "kind"}
"""Fields that prices depend on."""


def names() -> list[str]:
    """The shipped specifications. Source: docs/explanation/accelerators.md."""
    return sorted(_files())


def _files() -> dict[str, Traversable]:
    """The shipped specifications by name."""
    folder = resources.files(__package__) / "specs"
    return {file.name.removesuffix(".yaml"): file for file in folder.iterdir() if file.name.endswith(".yaml")}


def load_spec(source: str | Path) -> AcceleratorSpec:
    """A shipped specification by name, or one's own by the path of its YAML file.

    Raises:
        InputError: No such name or file, not YAML, unknown or missing keys, values out of range.

    Source: docs/explanation/accelerators.md.
    """
    if str(source) in _files():
        return _shipped(str(source))
    path = Path(source)
    if not is_file(path):
        mend = f"use one of {', '.join(names())} or the path of a YAML file"
        raise InputError(f"accelerator {str(source)!r}", "is neither shipped nor a file", mend)
    spec = parse_spec(read_text(path), str(path))
    if stated := set(PRICES) & read_mapping(path).keys():
        what = "is stated beside sizes it would not follow"
        raise InputError(f"{path}: {min(stated)}", what, "remove it; for another technology state price_rules")
    return spec


@lru_cache(maxsize=16)
def _shipped(name: str) -> AcceleratorSpec:
    return parse_spec(_files()[name].read_text(encoding="utf-8"), f"{name}.yaml")


def parse_spec(text: str, file: str) -> AcceleratorSpec:
    """Check the text of a specification; ``file`` is named in messages.

    Raises:
        InputError: As :func:`load_spec`.

    Source: docs/explanation/accelerators.md.
    """
    return spec_from(extended(text, file, _files(), _with_base), file)


def spec_from(document: Mapping[str, Any], file: str) -> AcceleratorSpec:
    """Check plain values, as a YAML file holds them without ``extends``; ``file`` is named in messages.

    Raises:
        InputError: As :func:`load_spec`.

    Source: docs/explanation/accelerators.md.
    """
    document, kind = dict(document), document.get("kind")
    if kind not in _KINDS:
        what = "is missing" if kind is None else f"is {kind!r}"
        raise InputError(f"{file}: kind", what, f"use one of {', '.join(_KINDS)}")
    unstated = [name for name in PRICES if name not in document]
    tables: tuple[type[Part], ...] = (ArchonArea, ArchonEnergy) if kind == "archon" else (EyerissArea, EyerissEnergy)
    for name, table in zip(PRICES, tables, strict=True):
        document.setdefault(name, dict.fromkeys(table.model_fields, 0.0))
    archon = kind == "archon"
    spec: AcceleratorSpec = validated(ArchonSpec, document, file) if archon else validated(EyerissSpec, document, file)
    if isinstance(spec, ArchonSpec):
        conflict = first_conflict(spec.design, spec.array.pes)
        if conflict is not None:
            raise InputError(f"{file}: design.{conflict[0]}", conflict[1], conflict[2])
    conflict = spec.conflict()
    if conflict is not None:
        raise InputError(f"{file}: {conflict[0]}", conflict[1], conflict[2])
    spec = sized(spec, unstated)
    spec._file = file
    return spec


def _with_base(below: dict[str, Any], own: dict[str, Any]) -> dict[str, Any]:
    """Stated prices of a base go with its sizes: where those change, prices follow from the new ones."""
    if _SIZES & own.keys():
        below = {key: value for key, value in below.items() if key not in PRICES}
    return merged(below, own)
