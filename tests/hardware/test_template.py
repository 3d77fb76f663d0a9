"""A machine as a commented file: it reads back as the same machine, and what it says hangs together does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from predfuse.cli import app
from predfuse.errors import InputError
from predfuse.hardware.field_types import Part
from predfuse.hardware.spec import PRICES, load_spec, names, parse_spec, spec_from
from predfuse.hardware.template import FOLLOW, TOGETHER, WIDTH, commented_yaml
from predfuse.hardware.vary import with_fields


@pytest.mark.parametrize("name", names())
def test_it_reads_back_as_the_same_machine(name: str) -> None:
    spec = load_spec(name)
    text = commented_yaml(spec, "mine")
    assert parse_spec(text, "mine.yaml").model_dump() == with_fields(spec, {}, "mine").model_dump()
    assert max(map(len, text.splitlines())) <= max(WIDTH, len(f"description: {spec.description}"), len(spec.source) + 9)


def test_every_field_is_explained() -> None:
    text = commented_yaml(load_spec("archon"), "mine")
    lines = text.splitlines()
    for place, line in enumerate(lines):
        if line and not line.lstrip().startswith("#"):
            assert lines[place - 1].lstrip().startswith("#"), line


def test_prices_follow_from_the_sizes(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    text = commented_yaml(load_spec("archon"), "a")
    assert FOLLOW.split()[0] in text
    banks = load_spec("archon").global_buffer.banks
    path.write_text(text.replace(f"banks: {banks}", f"banks: {2 * banks}", 1))
    assert load_spec(path).area_um2.global_buffer > load_spec("archon").area_um2.global_buffer


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("array", {"rows": 8, "columns": 15}),
        ("design.tile_rows", 16),
        ("design.parallel_lists", 1),
        ("design.gates", "private"),
        ("design.predictor", "shared"),
        ("design.structures", None),
    ],
)
def test_what_hangs_together_cannot_be_changed_alone(field: str, value: Any) -> None:
    assert field in TOGETHER
    document = load_spec("archon").model_dump(mode="json", exclude=set(PRICES))
    *parents, last = field.split(".")
    place = document
    for parent in parents:
        place = place[parent]
    place[last] = value
    with pytest.raises(InputError):
        spec_from(document, "mine.yaml")


def test_notes_belong_to_fields() -> None:
    for field in TOGETHER:
        part: Any = load_spec("archon")
        for step in field.split("."):
            assert isinstance(part, Part) and step in type(part).model_fields, field
            part = getattr(part, step)


def test_command(tmp_path: Path) -> None:
    path = tmp_path / "my.yaml"
    arguments = ["accelerators", "new", "--from", "eyeriss-sparse", "-o", str(path)]
    assert CliRunner().invoke(app, arguments).exit_code == 0
    assert load_spec(path).name == "my" and load_spec(path).kind == "sparse"
    again = CliRunner().invoke(app, arguments)
    assert isinstance(again.exception, InputError) and "exists" in str(again.exception)
    shown = CliRunner().invoke(app, ["accelerators", "new", "-o", "-"])
    assert parse_spec(shown.stdout, "-").kind == "archon"
