"""Rules for areas and energies give the published figures back; changed machines price themselves."""

from __future__ import annotations

import pytest
from hardware.cycle.machines import archon as shipped_archon, eyeriss

from predfuse.errors import InputError
from predfuse.hardware.area import area_items, total_area_um2
from predfuse.hardware.prices import sized, structure_areas_um2
from predfuse.hardware.spec import ArchonSpec
from predfuse.hardware.vary import with_fields

PUBLISHED_WITH_MASKS_UM2 = 1_695_941


def archon(largest_weight: int = 1) -> ArchonSpec:
    """The shipped Archon at the published prices, its predictor ternary."""
    return with_fields(shipped_archon(), {"prices": "published", "design.largest_predictor_weight": largest_weight})


def test_rules_give_the_published_machine_back() -> None:
    published = shipped_archon("archon-ics21")
    ruled = sized(published)
    for name in type(published.area_um2).model_fields:
        if name != "published_difference":
            assert getattr(ruled.area_um2, name) == pytest.approx(getattr(published.area_um2, name), rel=2e-4), name
    for name in type(published.energy_pj).model_fields:
        assert getattr(ruled.energy_pj, name) == pytest.approx(getattr(published.energy_pj, name), rel=0.02), name
    assert total_area_um2(ruled) == pytest.approx(PUBLISHED_WITH_MASKS_UM2, rel=1e-4)


def test_rules_give_the_rivals_prices_back_within_four_parts_in_a_hundred() -> None:
    for name in ("eyeriss-dense", "eyeriss-sparse"):
        published = eyeriss(name)
        ruled = with_fields(published, {})
        for table in ("area_um2", "energy_pj"):
            for field, value in getattr(published, table):
                assert getattr(getattr(ruled, table), field) == pytest.approx(value, rel=0.04), (name, field)


def test_every_size_of_a_rival_costs_area() -> None:
    base = with_fields(eyeriss("eyeriss-sparse"), {})
    for field in ("array.rows", "array.columns", "pe.ifmap_regfile_words", "pe.weight_sram_words",
                  "pe.psum_regfile_words", "global_buffer.banks", "global_buffer.depth"):  # fmt: skip
        part, size = field.split(".")
        larger = with_fields(base, {field: 2 * getattr(getattr(base, part), size)})
        assert total_area_um2(larger) > total_area_um2(base), field


def test_shipped_archon_is_little_larger_than_the_published_one() -> None:
    assert with_fields(archon(), {}).model_dump() == archon().model_dump()
    assert total_area_um2(archon()) <= 1.07 * PUBLISHED_WITH_MASKS_UM2


def test_every_structure_has_an_area() -> None:
    areas = structure_areas_um2(archon())
    assert all(area > 0 for area in areas.values())
    shown = {item.component: item.area_um2 for item in area_items(archon())}
    assert areas.items() <= shown.items()
    # What is larger costs more.
    for field, value in (
        ("pe.adders", 20),
        ("design.parallel_lists", 3),
        ("design.structures.lane_registers", 8),
        ("design.structures.predictor_units", 128),
        ("design.structures.predictor_inputs", 48),
        ("design.largest_predictor_weight", 2),
        ("design.structures.project_memory_words", 9000),
        ("design.structures.tap_memory_words", 9000),
        ("design.structures.column_buffer_words", 300),
        ("design.structures.input_plane_pixels", 289),
        ("design.structures.hidden_plane_pixels", 500),
        ("design.structures.gate_writes", 12),
        ("mask_buffer.depth", 6000),
        ("mask_buffer.banks", 32),
        ("global_buffer.banks", 25),
    ):
        larger = with_fields(archon(), {field: value})
        assert total_area_um2(larger) > total_area_um2(archon()), field


def test_pes_of_a_pixel_with_input_planes_of_their_own_cost_them() -> None:
    shared = structure_areas_um2(archon())["input planes"]
    own = with_fields(archon(), {"design.plain_layers": "mapped_groups", "design.parallel_lists": 3})
    assert structure_areas_um2(own)["input planes"] == pytest.approx(3 * shared)


def test_larger_predictor_weights_cost_two_ways_and_bits_of_every_term() -> None:
    larger, ternary = archon(4), archon()
    terms = 100 * 16 + 64 * 9
    # For each of two shifts a bit of an adder, and a multiplexer input for four bits and a sign.
    more = 2 * terms * (5.595 + 5 * 2.52)
    assert total_area_um2(larger) - total_area_um2(ternary) == pytest.approx(more)
    assert total_area_um2(larger) <= 1.05 * total_area_um2(ternary)


def test_wider_predictors_cost_bits_of_every_adder_register_and_way() -> None:
    narrow, wide = archon(), with_fields(archon(), {"activation_bits": 8})
    before, after = structure_areas_um2(narrow), structure_areas_um2(wide)
    more = {name for name in before if after[name] > before[name]}
    assert more == {"predictor, first stage", "predictor, second stage", "hidden planes", "tap selectors"}
    # Of every term four bits of an adder, of a multiplexer and of a register; of every unit four of its offset's adder.
    first = 100 * (16 * 4 * (5.595 + 2.52 + 6.3) + 4 * 5.595)
    assert after["predictor, first stage"] - before["predictor, first stage"] == pytest.approx(first)


def test_the_array_follows_the_lists_in_parallel() -> None:
    assert with_fields(archon(), {"design.parallel_lists": 3}).array.pes == 192
    assert with_fields(archon(), {}, name="mine").name == "mine"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"design.wheels": 4}, r"field 'design.wheels': is not in the specification"),
        ({"pe": 3}, r"archon.yaml with .*pe: "),
        ({"pe.adders": 0}, r"pe.adders: is 0; use a value above 0"),
        ({"design.gates": "private"}, r"design.predictor_order: is 'tile' with private gates"),
        ({"design.gates": "private", "design.predictor_order": "layer"}, r"design.parallel_lists: is 2 with private"),
        ({"design.gates": "banked"}, r"design.gates: "),
        ({"design.tile_rows": 16}, r"design.tile_rows: gives tiles of 128 pixels"),
        ({"design.predictor_order": "layer"}, r"design.predictor_order: is 'layer' with registers gates"),
        ({"design.structures": None}, r"design.structures: is missing"),
        ({"design.largest_predictor_weight": 3}, r"design.largest_predictor_weight: "),
        ({"design.largest_predictor_weight": 2, "design.predictor": "shared"}, "the adders of a PE are too narrow"),
    ],
)
def test_impossible_variants_are_refused_in_one_line(changes: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        with_fields(archon(), changes)
    assert "\n" not in str(caught.value)


def test_a_machine_of_another_kind_is_refused() -> None:
    with pytest.raises(InputError, match=r"field .pe\.adders."):
        with_fields(eyeriss("eyeriss-dense"), {"pe.adders": 12})
