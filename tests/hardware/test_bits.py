"""Words of 8 bits: what half as wide words change on every kind of machine, in its counts, prices and refusals."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hardware.test_every_field import network

from predfuse.errors import InputError
from predfuse.hardware import simulate
from predfuse.hardware.area import area_items, total_area_mm2
from predfuse.hardware.cycle.archon.gateware import Machine
from predfuse.hardware.cycle.archon.group_plan import factor_bits
from predfuse.hardware.cycle.simulate import run_with_masks
from predfuse.hardware.energy import Actions, prices_pj
from predfuse.hardware.price_rules import EnergyRules
from predfuse.hardware.spec import PRICES, AcceleratorSpec, ArchonSpec, load_spec, spec_from
from predfuse.hardware.vary import with_fields
from predfuse.hardware.workload import workload
from predfuse.integer.compile import compile_network
from predfuse.integer.options import CompileOptions
from predfuse.rtl.limits import require_fit

DRAM = ("dram_read_bits", "dram_written_bits")


def machine(name: str, **changes: Any) -> AcceleratorSpec:
    """A shipped machine with other fields, a part of them in dictionaries of their own."""
    document = load_spec(name).model_dump(mode="json", exclude=set(PRICES))
    for field, value in changes.items():
        document[field] = {**document[field], **value} if isinstance(value, dict) else value
    return spec_from(document, name)


def halves(name: str, **changes: Any) -> tuple[AcceleratorSpec, AcceleratorSpec]:
    """Two machines that hold and move equally many words: of 16 bits, and of 8 in a buffer and sums half as wide."""
    sparse = "sparse" in name
    narrow = {"bits": 8, "global_buffer": {"width_bits": 64}, "pe": {"psum_bits": 16}, "dram_bits_per_cycle": None}
    wide = {"bits": 16, "global_buffer": {"width_bits": 128}, "pe": {"psum_bits": 32}, "dram_bits_per_cycle": None}
    index = ({"weight_index_bits": 8}, {"weight_index_bits": 4}) if sparse else ({}, {})
    # Energy of multiplications alone, so that both choose the same mappings and bands.
    free = dict.fromkeys(EnergyRules.model_fields, 0.0) | {"multiply_accumulate": 1.0}
    changes["price_rules"] = {"energy_pj": free}
    return machine(name, **wide, **index[0], **changes), machine(name, **narrow, **index[1], **changes)


def require_halved(wide: Actions, narrow: Actions, layer: str) -> None:
    """As many accesses and operations of words, half of the bits from and to the DRAM."""
    for action, count in wide.as_dict().items():
        share = 2 if action in DRAM else 1
        assert narrow.as_dict()[action] * share == pytest.approx(count, rel=1e-9), (layer, action)


@pytest.mark.parametrize("name", ["eyeriss-dense", "eyeriss-sparse", "sparse-depth-first-2.5"])
def test_half_as_wide_words_are_half_the_traffic(name: str) -> None:
    """Where memories hold equally many words, counts and cycles are those of 16 bits, and DRAM traffic is half."""
    wide, narrow = halves(name)
    assert wide.buffer_words == narrow.buffer_words and wide.access_words == narrow.access_words
    made, _ = network()
    before, after = run_with_masks(made, wide, ())[0].result, run_with_masks(made, narrow, ())[0].result
    assert before.total_cycles == after.total_cycles
    for one, other in zip(before.rows, after.rows, strict=True):
        require_halved(one.actions, other.actions, one.layer)
    before, after = simulate(made, wide), simulate(made, narrow)  # the published closed forms
    for one, other in zip(before.rows, after.rows, strict=True):
        require_halved(one.actions, other.actions, one.layer)


def test_a_fused_block_stores_words_of_its_machine() -> None:
    """Factors are a word each and biases eight bits more; the lists and what they cost in cycles stay."""
    made, masks = network()
    wide, narrow = halves("archon")
    assert isinstance(wide, ArchonSpec) and isinstance(narrow, ArchonSpec)
    for item in workload(made).items:
        if item.block is not None:
            work = item.block
            biases = int(((work.expand_bias + work.depthwise_bias) & work.live_channels).sum())
            for group in range(work.groups):
                bits = [factor_bits(work, group, spec) for spec in (wide, narrow)]
                words = (bits[0] - bits[1]) // 8
                assert bits[0] - 16 * words - bits[1] + 8 * words == 0 and words > biases // work.groups
    runs = [run_with_masks(made, spec, [masks])[0].result for spec in (wide, narrow)]
    before, after = (sum((row.actions for row in run.rows), Actions()).as_dict() for run in runs)
    for same in (
        "multiplications",
        "additions",
        "ternary_additions",
        "gates",
        "factor_multiplications",
        "project_rows",
    ):
        assert before[same] == after[same], same
    assert before["dram_written_bits"] == 2 * after["dram_written_bits"]
    # Offsets of the predictor, load codes and places have widths of their own.
    assert 1.3 < before["dram_read_bits"] / after["dram_read_bits"] < 2


@pytest.mark.parametrize("prices", ["published", "synthesised"])
@pytest.mark.parametrize("name", ["archon", "archon-1.7", "dense-1.7", "sparse-1.7"])
def test_narrow_words_are_cheaper_by_the_rules(name: str, prices: str) -> None:
    # Words of memories that bring several records at once are wider then, and fewer.
    changes: dict[str, Any] = {"design.structures.port_records": 1} if name.startswith("archon") else {}
    own: dict[str, Any] = {} if name.startswith("archon") or prices == "synthesised" else {"finishing_units": None}
    wide, narrow = (with_fields(machine(name, prices=prices, bits=bits, **own), changes) for bits in (16, 8))
    assert 0.4 * total_area_mm2(wide) < total_area_mm2(narrow) < total_area_mm2(wide)
    before = {item.component: item for item in area_items(wide)}
    for item in area_items(narrow):
        if prices == "synthesised" and item.component in ("channel records", "control", "command unit"):
            continue  # two choose a record out of a word, which holds twice as many then; commands name more pixels
        assert item.area_um2 <= before[item.component].area_um2, item.component
    # A buffer of as many bits costs what it did.
    assert narrow.area_um2.global_buffer == wide.area_um2.global_buffer
    energies = prices_pj(wide)
    for action, price in prices_pj(narrow).items():
        assert price <= energies[action], action
    for action in ("ifmap_regfile_reads", "ifmap_regfile_writes"):
        assert prices_pj(narrow)[action] == pytest.approx(energies[action] / 2)
    # Partial products: of a weight times an activation a quarter; an Archon's sums of lists keep four bits over a word.
    rules = wide.price_rules.energy_pj
    share = 12 * 8 / (20 * 16) if isinstance(wide, ArchonSpec) else 0.25
    bits = {spec.bits: 2 * spec.bits + 8 if prices == "synthesised" else 16 for spec in (wide, narrow)}
    wider = (bits[8] - 4) * rules.add / 20
    assert prices_pj(narrow)["multiplications"] == pytest.approx(rules.multiply_accumulate * share + wider)


def test_a_program_of_another_width_is_refused() -> None:
    made, masks = network()
    images = np.random.default_rng(0).normal(size=(2, *made.input_shape))
    options = CompileOptions(accumulator_bits=63)
    wide, narrow = (
        compile_network(made, images, replace(options, bits=bits, weight_bits=0, sum_bits=0)) for bits in (16, 8)
    )
    for name in ("archon", "eyeriss-dense", "eyeriss-sparse"):
        for program, other in ((wide, machine(name, bits=8)), (narrow, machine(name))):
            message = f"program small: has words of {program.bits} bits, the machine {name} has {24 - program.bits}"
            with pytest.raises(InputError, match=message):
                run_with_masks(program, other, [masks])
            with pytest.raises(InputError, match=message):
                simulate(program, other)
        run_with_masks(narrow, machine(name, bits=8), [masks])


def test_gateware_has_words_of_16_bits() -> None:
    spec = machine("archon", bits=8)
    assert isinstance(spec, ArchonSpec)
    with pytest.raises(InputError, match="archon: has no gateware for words of 8 bits"):
        Machine.of(spec)
    made, _ = network()
    images = np.random.default_rng(0).normal(size=(1, *made.input_shape))
    node = compile_network(made, images, CompileOptions(bits=8, accumulator_bits=63)).fused_blocks()[0]
    work = next(item.block for item in workload(made).items if item.node == node.name)
    assert work is not None
    with pytest.raises(InputError, match="has words of 8 bits, those of the gateware have 16"):
        require_fit(node, work, Machine())


def test_other_widths_are_refused() -> None:
    for bits in (4, 12, 32):
        with pytest.raises(InputError, match=f"bits: is {bits}"):
            machine("archon", bits=bits)
    assert machine("dense-1.7", bits=8, array_words_per_access=8).access_words == 8
    with pytest.raises(InputError, match="array_words_per_access: is 9"):
        machine("dense-1.7", bits=8, array_words_per_access=9)
