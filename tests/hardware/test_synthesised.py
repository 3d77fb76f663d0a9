"""Prices of synthesis: held against the documented figures of the gateware in cells, and alike for all machines."""

from __future__ import annotations

from pathlib import Path

import pytest

from predfuse.errors import InputError
from predfuse.hardware.area import area_items, total_area_mm2
from predfuse.hardware.price_rules import PriceRules
from predfuse.hardware.prices import memory_um2, sized, sum_bits
from predfuse.hardware.spec import ArchonSpec, EyerissSpec, load_spec, names
from predfuse.hardware.synthesised import index_bits, rival_control_um2
from predfuse.hardware.vary import with_fields
from predfuse.rtl.area import AROUND, STRUCTURES

PAGE = Path(__file__).parents[2] / "docs" / "explanation" / "hardware.md"
SEARCHED = [name for name in names() if {"1.7", "2.5", "3.2"} & set(name.split("-"))]


def rows(heading: str) -> dict[str, list[str]]:
    """Cells of the documented table whose first heading is this, by its first column."""
    table = PAGE.read_text().split(f"| {heading} |")[1].split("\n\n")[0].splitlines()[2:]
    cells = [[cell.strip(" `") for cell in line.strip("| ").split("|")] for line in table if line.startswith("|")]
    return {first: rest for first, *rest in cells}


def test_the_documented_structures_are_the_models_and_within_a_quarter_of_the_synthesised() -> None:
    found = rows("structure")
    model = {item.component: item.area_um2 for item in area_items(load_spec("archon"))}
    assert list(found) == [one.name for one in (*STRUCTURES, *AROUND)]
    for one in (*STRUCTURES, *AROUND):
        priced = sum(model.get(name, 0.0) for name in one.model)
        said, synthesised, ratio, *_ = found[one.name]
        um2 = float(synthesised.replace(",", ""))
        assert said == f"{priced:,.0f}" and 0.75 < um2 / priced < 1.25 and ratio == f"{um2 / priced:.2f}", one.name


def test_the_documented_pes_of_rivals_are_the_models_and_within_a_tenth_of_the_synthesised() -> None:
    found = rows("PE with weights, inputs, sums")
    assert {name.split(",")[0] for name in found} == {"sparse", "dense"}
    for name, (own, own_cells, led, led_cells, bits, indices) in found.items():
        kind, *sizes = name.split(", ")
        words = ("pe.weight_sram_words", "pe.ifmap_regfile_words", "pe.psum_regfile_words")
        spec = with_fields(load_spec(f"{kind}-1.7"), dict(zip(words, map(int, sizes), strict=True)))
        assert isinstance(spec, EyerissSpec)
        control = {part: um2 for part, (_, um2) in rival_control_um2(spec).items()}
        assert own == f"{control['PE control']:.1f}" and led == f"{control['control of PEs in step']:.0f}"
        assert float(own_cells) == pytest.approx(control["PE control"], rel=0.1)
        assert float(led_cells) == pytest.approx(control["control of PEs in step"], rel=0.1)
        assert int(bits) == index_bits(spec)
        assert indices == ("shared" if kind == "dense" else f"{control['weight indices']:.0f}")


def test_the_documented_sums_between_pes_are_the_models_and_within_a_tenth_of_the_synthesised() -> None:
    fields = ("array.rows", "pe.weight_sram_words", "pe.ifmap_regfile_words", "pe.psum_regfile_words")
    for name, (said, cells) in rows("column of rows, PEs with weights, inputs, sums").items():
        kind, *sizes = name.split(" (")[0].split(", ")
        told = {"array.columns": 70} | dict(zip(fields, map(int, sizes), strict=True))
        spec = with_fields(load_spec(f"{kind}-1.7"), told)
        assert isinstance(spec, EyerissSpec)
        count, um2 = rival_control_um2(spec)["sums between PEs"]
        assert count == 70 and said == f"{um2:,.0f}"
        assert float(cells.replace(",", "")) == pytest.approx(um2, rel=0.1)


def test_the_documented_turns_are_the_models_and_within_a_tenth_of_the_synthesised() -> None:
    for columns, (said, cells) in rows("columns").items():
        spec = with_fields(load_spec("sparse-1.7"), {"array.columns": int(columns)})
        assert isinstance(spec, EyerissSpec)
        count, um2 = rival_control_um2(spec)["words to columns"]
        assert count == 1 and said == f"{um2:,.0f}"
        assert float(cells.replace(",", "")) == pytest.approx(um2, rel=0.1)


def test_the_documented_rows_at_once_are_the_models_and_close_to_the_synthesised() -> None:
    found = rows("rows at once")
    assert list(found) == ["1", "2", "4"]
    for count, (finishing, cells, store, store_cells) in found.items():
        fields = {"global_buffer.banks": 22, "global_buffer.depth": 3072, "design.structures.finished_rows": int(count)}
        priced = {item.component: item.area_um2 for item in area_items(with_fields(load_spec("archon"), fields))}
        assert finishing == f"{priced['finishing']:,.0f}" and store == f"{priced['output store']:,.0f}"
        assert float(cells.replace(",", "")) == pytest.approx(priced["finishing"], rel=0.16)
        assert float(store_cells.replace(",", "")) == pytest.approx(priced["output store"], rel=0.1)


def test_a_file_may_ask_for_either(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    for name in ("archon-1.7", "sparse-1.7"):
        units = "" if name.startswith("archon") else "finishing_units: null\n"
        path.write_text(f"extends: {name}\nprices: published\n{units}")
        assert total_area_mm2(load_spec(path)) < total_area_mm2(load_spec(name))
    path.write_text("extends: eyeriss-dense\nprices: synthesised\n")
    assert total_area_mm2(load_spec(path)) > total_area_mm2(load_spec("eyeriss-dense"))
    path.write_text("extends: archon-ics21\nprices: synthesised\n")
    with pytest.raises(InputError, match="prices: is 'synthesised' where no gateware is"):
        load_spec(path)


def test_all_machines_pay_for_wide_sums_alike() -> None:
    for name in SEARCHED:
        priced = load_spec(name)
        spec = sized(priced.model_copy(update={"prices": "published"}))
        assert sum_bits(priced) == 40
        wider = 40 / spec.pe.psum_bits
        energies = spec.energy_pj, priced.energy_pj
        assert energies[1].psum_regfile_read == pytest.approx(wider * energies[0].psum_regfile_read)
        assert energies[1].multiply_accumulate > energies[0].multiply_accumulate
        words, ports = priced.pe.psum_regfile_words, 1 + isinstance(spec, ArchonSpec)
        assert priced.area_um2.psum_regfile == memory_um2(words, 40, spec.price_rules, ports)
        assert total_area_mm2(priced) > total_area_mm2(spec)


def test_every_size_costs_area() -> None:
    spec, structures = load_spec("archon"), "design.structures"
    for field, value in (
        ("pe.adders", 12), ("pe.psum_regfile_words", 24), ("design.parallel_lists", 3),
        (f"{structures}.lane_registers", 8), (f"{structures}.channel_loads", 3),
        (f"{structures}.project_row_words", 8), (f"{structures}.project_memory_words", 7488),
        (f"{structures}.tap_memory_words", 3072), (f"{structures}.bank_channels", 96),
        (f"{structures}.bank_expand_words", 1024), (f"{structures}.port_records", 4),
        (f"{structures}.access_rows", 4), (f"{structures}.gate_queue_words", 16), (f"{structures}.finished_rows", 2),
        (f"{structures}.predictor_units", 128), (f"{structures}.predictor_inputs", 32),
        (f"{structures}.input_plane_pixels", 289),
    ):  # fmt: skip
        other = with_fields(spec, {field: value})
        assert other.prices == "synthesised"
        smaller = field.endswith(("channel_loads", "port_records"))
        assert (total_area_mm2(other) < total_area_mm2(spec)) == smaller, field
    searched = load_spec("sparse-1.7")
    assert isinstance(searched, EyerissSpec)
    rival = with_fields(searched, {"pe.weight_sram_words": 128})  # fewer than 32 words are latches, which cost more
    for field in ("array_words_per_access", "pe.ifmap_regfile_words", "pe.weight_sram_words", "pe.psum_regfile_words"):
        part, _, size = field.rpartition(".")
        held = getattr(getattr(rival, part) if part else rival, size)
        assert total_area_mm2(with_fields(rival, {field: held // 2})) < total_area_mm2(rival), field


def test_memories_never_cost_less_for_being_larger() -> None:
    for bits, reads in ((16, 1), (40, 1), (40, 2)):
        areas = [memory_um2(words, bits, PriceRules(), reads) for words in range(2, 128)]
        assert areas == sorted(areas), (bits, reads)
