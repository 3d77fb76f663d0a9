"""A machine as a commented YAML file: what every field is, and which fields hang together."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

import yaml

from predfuse.hardware.field_types import Part
from predfuse.hardware.spec import PRICES, AcceleratorSpec

WIDTH = 100
"""Characters of a line of comment."""

TOGETHER = {
    "array": "On an Archon rows * columns is design.tile_rows * design.tile_columns * design.parallel_lists.",
    "global_buffer": "More banks are more accesses in a cycle; fewer and larger ones are smaller and dearer to access. "
    "depth is the capacity of all banks together.",
    "design.tile_rows": "tile_rows * tile_columns is at most 64, and with parallel_lists gives the PEs of array.",
    "design.parallel_lists": "More than 1 only with gates: registers.",
    "design.gates": "private goes with predictor_order: layer, registers with predictor_order: tile and with "
    "structures; pe.mask_sram_depth is 0 then.",
    "design.predictor": "dedicated only with predictor_order: tile.",
    "design.largest_predictor_weight": "More than 1 only with predictor: dedicated; a network prepared with larger "
    "weights does not run here.",
    "design.structures": "Needed by gates: registers, by nothing else.",
}
"""What to change with a field, by its dotted name."""

FOLLOW = (
    "Areas and energies are not stated: they follow from the sizes above, by rules that all machines share. "
    "predfuse accelerators show FILE prints them."
)


def commented_yaml(spec: AcceleratorSpec, name: str) -> str:
    """A file that :func:`predfuse.hardware.spec.load_spec` reads back as the same machine under another name.

    Prices are left out, so that they follow from the sizes, also where ``spec`` has published ones.

    Args:
        spec: The machine.
        name: Of the new one.
    """
    left_out = {*PRICES, *(["price_rules"] if spec.price_rules == type(spec.price_rules)() else [])}
    lines = [
        f"# A machine that begins as {spec.name}. Check it: predfuse accelerators show FILE",
        "# Run on it: predfuse compare -a archon -a FILE",
        "",
        *_fields(spec.model_copy(update={"name": name}), left_out),
        "",
        *_comment(FOLLOW, ""),
    ]
    return "\n".join(lines) + "\n"


def _fields(part: Part, left_out: set[str], prefix: str = "", indent: str = "") -> Iterator[str]:
    """Every field below its comment, nested parts further in."""
    for name, field in type(part).model_fields.items():
        value, dotted = getattr(part, name), prefix + name
        if dotted in left_out:
            continue
        yield from _comment(" ".join((field.description or "").replace("``", "").split()), indent)
        if dotted in TOGETHER:
            yield from _comment(f"Together: {TOGETHER[dotted]}", indent)
        if isinstance(value, Part):
            yield f"{indent}{name}:"
            yield from _fields(value, left_out, f"{dotted}.", f"{indent}  ")
        else:
            yield indent + yaml.safe_dump({name: value}, width=10_000, allow_unicode=True).rstrip("\n")


def _comment(text: str, indent: str) -> list[str]:
    mark = f"{indent}# "
    return textwrap.wrap(text, WIDTH, initial_indent=mark, subsequent_indent=mark, break_on_hyphens=False)
