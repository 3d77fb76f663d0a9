"""Prices of synthesis: held against the documented figures of the gateware in cells, and alike for all machines."""

from __future__ import annotations

from pathlib import Path

import pytest

from predfuse.errors import InputError
from predfuse.hardware.area import area_items, synthesised_area_mm2, total_area_mm2
from predfuse.hardware.prices import memory_um2, sum_bits
from predfuse.hardware.spec import ArchonSpec, EyerissSpec, load_spec, names
from predfuse.hardware.synthesised import at_synthesis
from predfuse.hardware.vary import with_fields
from predfuse.rtl.area import STRUCTURES

PAGE = Path(__file__).parents[2] / "docs" / "explanation" / "hardware.md"
SEARCHED = [name for name in names() if {"0.6", "1.0", "1.7", "2.5"} & set(name.split("-"))]


def archon(name: str = "archon") -> ArchonSpec:
    spec = at_synthesis(load_spec(name))
    assert isinstance(spec, ArchonSpec)
    return spec


def rows(heading: str) -> dict[str, list[str]]:
    """Cells of the documented table whose first heading is this, by its first column."""
    table = PAGE.read_text().split(f"| {heading} |")[1].split("\n\n")[0].splitlines()[2:]
    cells = [[cell.strip(" `") for cell in line.strip("| ").split("|")] for line in table if line.startswith("|")]
    return {first: rest for first, *rest in cells}


def test_the_documented_structures_are_the_models_and_within_a_quarter_of_the_synthesised() -> None:
    found = rows("structure")
    model, priced = ({i.component: i.area_um2 for i in area_items(s)} for s in (load_spec("archon"), archon()))
    assert list(found) == [one.name for one in STRUCTURES]
    for one in STRUCTURES:
        before, after = (sum(areas.get(name, 0.0) for name in one.model) for areas in (model, priced))
        said, synthesised, ratio, price, *_ = found[one.name]
        assert said == f"{before:,.0f}" and price == f"{after:,.0f}", one.name
        if synthesised != "-":
            um2 = float(synthesised.replace(",", ""))
            assert 0.75 < um2 / after < 1.25, one.name
            assert ratio == (f"{um2 / before:.2f}" if before else "new"), one.name


def test_the_documented_machines_are_the_shipped_ones() -> None:
    found = rows("machine")
    assert set(SEARCHED) <= set(found)
    for name, (published, synthesised, *_) in found.items():
        spec = load_spec(name)
        assert published == f"{total_area_mm2(spec):.3f}" and synthesised == f"{synthesised_area_mm2(spec):.3f}", name


def test_a_file_may_ask_for_them(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    for name in ("archon-1.7", "sparse-1.7"):
        path.write_text(f"extends: {name}\nprices: synthesised\n")
        own, priced = load_spec(path), at_synthesis(load_spec(name))
        assert priced is not None and own.model_dump() == priced.model_dump() != load_spec(name).model_dump()
    path.write_text("extends: archon-ics21\nprices: synthesised\n")
    with pytest.raises(InputError, match="prices: is 'synthesised' where no gateware is"):
        load_spec(path)
    assert synthesised_area_mm2(load_spec("archon-ics21")) is None


def test_all_machines_pay_for_wide_sums_alike() -> None:
    for name in SEARCHED:
        spec = load_spec(name)
        priced = at_synthesis(spec)
        assert priced is not None
        assert sum_bits(priced) == 40
        wider = 40 / spec.pe.psum_bits
        energies = spec.energy_pj, priced.energy_pj
        assert energies[1].psum_regfile_read == pytest.approx(wider * energies[0].psum_regfile_read)
        assert energies[1].multiply_accumulate > energies[0].multiply_accumulate
        latches = memory_um2(spec.pe.psum_regfile_words, 40, spec.price_rules, 1 + isinstance(spec, ArchonSpec))
        assert priced.area_um2.psum_regfile == latches
        assert total_area_mm2(priced) > total_area_mm2(spec)


def test_every_size_costs_area() -> None:
    spec, structures = archon(), "design.structures"
    for field, value in (
        ("pe.adders", 12), ("pe.psum_regfile_words", 24), ("design.parallel_lists", 3),
        (f"{structures}.lane_registers", 8), (f"{structures}.channel_loads", 3),
        (f"{structures}.project_row_words", 8), (f"{structures}.project_memory_words", 7488),
        (f"{structures}.tap_memory_words", 3072), (f"{structures}.map_bits", 20480),
        (f"{structures}.gate_queue_words", 16), (f"{structures}.predictor_units", 128),
        (f"{structures}.predictor_inputs", 32), (f"{structures}.input_plane_pixels", 289),
    ):  # fmt: skip
        other = with_fields(spec, {field: value})
        assert other.prices == "synthesised"
        assert (total_area_mm2(other) > total_area_mm2(spec)) == ("channel_loads" not in field), field
    searched = at_synthesis(load_spec("sparse-1.7"))
    assert isinstance(searched, EyerissSpec)
    rival = with_fields(searched, {"pe.weight_sram_words": 128})  # fewer than 32 words are latches, which cost more
    for field in ("array_words_per_access", "pe.ifmap_regfile_words", "pe.weight_sram_words", "pe.psum_regfile_words"):
        part, _, size = field.rpartition(".")
        held = getattr(getattr(rival, part) if part else rival, size)
        assert total_area_mm2(with_fields(rival, {field: held // 2})) < total_area_mm2(rival), field
