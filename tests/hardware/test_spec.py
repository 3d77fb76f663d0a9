"""Specifications: shipped ones, their areas, and what happens to bad ones."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

import pytest
from pydantic import BaseModel

from predfuse.errors import InputError
from predfuse.hardware.area import area_items, total_area_um2
from predfuse.hardware.spec import ArchonSpec, EyerissSpec, load_spec, names, parse_spec

SHIPPED = ("archon-ics21", "eyeriss-dense", "eyeriss-sparse")


def text_of(name: str) -> str:
    return (resources.files("predfuse.hardware") / "specs" / f"{name}.yaml").read_text(encoding="utf-8")


def test_the_machines_of_the_paper_are_shipped() -> None:
    assert set(SHIPPED) <= set(names())
    for name in names():
        assert load_spec(name).name == name


def test_shipped_machines_have_the_published_size() -> None:
    dense, sparse, archon = (load_spec(name) for name in ("eyeriss-dense", "eyeriss-sparse", "archon-ics21"))
    assert isinstance(dense, EyerissSpec) and isinstance(sparse, EyerissSpec) and isinstance(archon, ArchonSpec)
    assert (dense.array.pes, sparse.array.pes, archon.array.pes) == (72, 72, 64)
    assert archon.pe.predictor_lanes == 24
    assert dense.global_buffer.words == 55_296 and archon.global_buffer.words == 51_200


@pytest.mark.parametrize(("name", "um2"), [("eyeriss-dense", 1_438_131), ("archon-ics21", 1_531_227)])
def test_areas_are_the_published_totals(name: str, um2: int) -> None:
    assert round(total_area_um2(load_spec(name))) == um2


def test_archon_area_with_its_mask_buffer() -> None:
    spec = load_spec("archon-ics21")
    assert round(total_area_um2(spec, with_mask_buffer=True)) == 1_695_941
    assert sum(item.area_um2 for item in area_items(spec)) == pytest.approx(1_695_941)
    parts = {item.component: item.area_um2 for item in area_items(spec)}
    assert parts["index decoders"] == 9676.8 and parts["adders"] == pytest.approx(64 * 6 * 111.9)


def fields(part: type[BaseModel], prefix: str = "") -> list[tuple[str, str]]:
    found = []
    for name, field in part.model_fields.items():
        annotation = field.annotation
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            found += fields(annotation, f"{prefix}{name}.")
        found.append((prefix + name, field.description or ""))
    return found


@pytest.mark.parametrize("spec", [EyerissSpec, ArchonSpec])
def test_every_field_says_what_it_is_and_numbers_say_their_unit(spec: type[BaseModel]) -> None:
    units = ("(count", "bits)", "(um2", "(pJ", "(MHz)", "16-bit words)", "(pJ each)", "(um2 each)", "cycle", "words)")
    textual = {"name", "description", "source", "technology", "kind"}
    for name, description in fields(spec):
        assert description, name
        leaf = name.rpartition(".")[2]
        if leaf not in textual and ("energy_pj." in name or "area_um2." in name or name.startswith(("pe.", "array."))):
            assert any(unit in description for unit in units), f"{name}: {description}"


BAD = [
    ("array: {rows: 8, columns: 8}", "array: {rows: -8, columns: 8}", "array.rows", "-8", "above 0"),
    ("clock_mhz: 200", "clock_mhz: 0", "clock_mhz", "0", "above 0"),
    ("clock_mhz: 200", "clock_mhz: .nan", "clock_mhz", "nan", "finite"),
    ("clock_mhz: 200", "clock_mhz: fast", "clock_mhz", "'fast'", "number"),
    ("gate: 0.018", "gat: 0.018", "energy_pj.gat", "0.018", "remove or correct"),
    ("gate: 0.018", "gate: -1", "energy_pj.gate", "-1", "0 or more"),
    ("  adders: 6\n", "", "pe.adders", "missing", "add it"),
    ("adders: 6", "adders: 6.5", "pe.adders", "6.5", "whole number"),
    ("adders: 6", "adders: true", "pe.adders", "True", "whole number"),
    (
        "depth: 12800, width_bits: 64",
        "depth: 12800, width_bits: 63",
        "global_buffer.width_bits",
        "63",
        "multiple of 16",
    ),
    ("kind: archon", "kind: gpu", "kind", "'gpu'", "dense, sparse, archon"),
    ("kind: archon\n", "", "kind", "missing", "dense, sparse, archon"),
    ("adders: 6\n", "adders: 6\n  adders: 7\n", "adders", "twice", "correct the syntax"),
    ("adders: 6\n", "adders: [\n", "not valid YAML", "line", "correct the syntax"),
]


@pytest.mark.parametrize(("old", "new", "field", "value", "mend"), BAD)
def test_a_bad_specification_is_one_line_naming_file_field_value_and_mend(
    tmp_path: Path, old: str, new: str, field: str, value: str, mend: str
) -> None:
    text = text_of("archon-ics21")
    assert old in text
    path = tmp_path / "mine.yaml"
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(InputError) as caught:
        load_spec(path)
    message = str(caught.value)
    assert "\n" not in message
    for part in (str(path), field, value, mend):
        assert part in message, message


@pytest.mark.parametrize("text", ["", "- 1\n- 2\n", "just words"])
def test_a_file_without_fields_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="fields"):
        parse_spec(text, "odd.yaml")


def test_an_unknown_name_lists_the_shipped_ones() -> None:
    with pytest.raises(InputError, match=r"archon-ics21, archon-shift, eyeriss-dense"):
        load_spec("eyeriss")


def test_a_specification_of_ones_own_is_read_from_its_file(tmp_path: Path) -> None:
    path = tmp_path / "bigger.yaml"
    path.write_text(text_of("eyeriss-dense").replace("rows: 9", "rows: 18"), encoding="utf-8")
    spec = load_spec(str(path))
    assert spec.array.pes == 144 and spec.file == str(path)
    assert spec.milliseconds(200_000) == pytest.approx(1.0)
