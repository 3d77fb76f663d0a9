"""Specifications: shipped ones, their areas, and what happens to bad ones."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

import pytest
from pydantic import BaseModel

from predfuse.errors import InputError
from predfuse.hardware.area import area_items, area_without_mask_buffer_um2, total_area_um2
from predfuse.hardware.spec import ArchonSpec, EyerissSpec, load_spec, names, parse_spec
from predfuse.hardware.vary import with_fields

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
    assert dense.buffer_words == 55_296 and archon.buffer_words == 51_200


@pytest.mark.parametrize(("name", "um2"), [("eyeriss-dense", 1_438_131), ("archon-ics21", 1_531_227)])
def test_areas_are_the_published_totals(name: str, um2: int) -> None:
    assert round(area_without_mask_buffer_um2(load_spec(name))) == um2


def test_archon_area_with_its_mask_buffer() -> None:
    spec = load_spec("archon-ics21")
    assert round(total_area_um2(spec)) == 1_695_941
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
    ("activation_bits: 4", "activation_bits: 9", "activation_bits", "9", "8 or less"),
    ("activation_bits: 4", "activation_bits: 1", "activation_bits", "1", "2 or more"),
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
    with pytest.raises(InputError, match=r"archon-ics21, archon-nano, .*eyeriss-dense"):
        load_spec("eyeriss")


def test_a_specification_of_ones_own_is_read_from_its_file(tmp_path: Path) -> None:
    path = tmp_path / "bigger.yaml"
    path.write_text("extends: eyeriss-dense\narray: {rows: 18}\n", encoding="utf-8")
    spec = load_spec(str(path))
    assert spec.array.pes == 144 and spec.file == str(path)
    assert spec.milliseconds(200_000) == pytest.approx(1.0)


def test_a_machine_builds_on_another_and_states_only_what_differs(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("extends: archon\nname: mine\npe: {adders: 12}\n", encoding="utf-8")
    (tmp_path / "other.yaml").write_text("extends: mine.yaml\nname: other\nclock_mhz: 100\n", encoding="utf-8")
    other, shipped = load_spec(tmp_path / "other.yaml"), load_spec("archon")
    assert other.model_dump() == with_fields(shipped, {"pe.adders": 12, "clock_mhz": 100}, name="other").model_dump()


def test_stated_prices_stay_with_the_sizes_they_belong_to(tmp_path: Path) -> None:
    published, path = load_spec("eyeriss-dense"), tmp_path / "mine.yaml"
    path.write_text("extends: eyeriss-dense\ndram_bits_per_cycle: 64\n", encoding="utf-8")
    assert load_spec(path).area_um2 == published.area_um2
    path.write_text("extends: eyeriss-dense\npe: {psum_regfile_words: 48}\n", encoding="utf-8")
    assert load_spec(path).area_um2 == with_fields(published, {"pe.psum_regfile_words": 48}).area_um2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("extends: nothing\n", "extends: is 'nothing', neither shipped nor a file"),
        ("extends: [archon]\n", r"extends: is \['archon'\]"),
        ("extends: a.yaml\n", "extends: goes round in a circle through a.yaml"),
        ("extends: b.yaml\n", "extends: goes round in a circle through a.yaml"),
        ("extends: archon\npe: 3\n", "pe: is 3"),
        ("extends: archon\nwheels: 4\n", "wheels: is an unknown key"),
    ],
)
def test_bad_bases_are_refused_in_one_line(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "a.yaml").write_text(text, encoding="utf-8")
    (tmp_path / "b.yaml").write_text("extends: a.yaml\n", encoding="utf-8")
    with pytest.raises(InputError, match=message) as caught:
        load_spec(tmp_path / "a.yaml")
    assert "\n" not in str(caught.value)
