"""Every field of every shipped machine matters: changing it changes cycles, energy, area or time, or is refused."""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from functools import lru_cache
from typing import Any, get_args

import numpy as np
import pytest
from hardware.cycle.machines import random_masks, with_predictors

from predfuse.errors import InputError
from predfuse.graph.nodes import INPUT, Bottleneck, Conv, Linear, Network, Pool
from predfuse.hardware.design import ArchonDesign
from predfuse.hardware.evaluate import evaluate
from predfuse.hardware.field_types import Part
from predfuse.hardware.fields import CommonSpec, EyerissSpec
from predfuse.hardware.price_rules import PriceRules
from predfuse.hardware.spec import PRICES, AcceleratorSpec, ArchonSpec, load_spec, spec_from

TEXTS = {"name", "description", "source", "technology", "kind"}
"""What tables and `predfuse accelerators show` print; the kind decides which fields there are."""


@lru_cache(maxsize=1)
def network() -> tuple[Network, Any]:
    """Small, and yet with something for every structure of every machine to do."""
    rng = np.random.default_rng(0)

    def block(name: str, source: str, middle: int, groups: int) -> Bottleneck:
        def sparse(*shape: int) -> Any:
            return rng.normal(size=shape) * (rng.random(shape) < 0.4)

        return Bottleneck(
            name,
            (source,),
            sparse(middle, 10 // groups),
            sparse(middle),
            sparse(middle, 3, 3),
            sparse(middle),
            sparse(10, middle // groups),
            rng.normal(size=10),
            groups=groups,
        )

    nodes = (
        Conv("stem", (INPUT,), rng.normal(size=(10, 3, 3, 3)), rng.normal(size=10), 1, (1, 1, 1, 1)),
        block("b1", "stem", 96, 1),
        block("b2", "b1", 60, 2),
        Conv(
            "tail", ("b2",), rng.normal(size=(40, 10, 1, 1)) * (rng.random((40, 10, 1, 1)) < 0.3), rng.normal(size=40)
        ),
        Pool("pool", ("tail",), "average"),
        Linear("fc", ("pool",), rng.normal(size=(10, 40)), rng.normal(size=10)),
    )
    made = with_predictors(Network("small", (3, 20, 20), nodes))
    return made, random_masks(made, 0)


def costs(spec: AcceleratorSpec) -> tuple[Any, ...]:
    made, masks = network()
    found = evaluate(spec, made, [masks])
    return found, spec.milliseconds(found.cycles)


def leaves(document: dict[str, Any], part: type[Part], prefix: str = "") -> Iterator[tuple[str, list[Any]]]:
    """Dotted fields with other values: of a number twice and half of it, one more and one less; of a choice all."""
    for name, field in part.model_fields.items():
        value = document.get(name)
        if name in PRICES or prefix + name in {*TEXTS, "price_rules"}:
            continue
        inner = [kind for kind in (field.annotation, *get_args(field.annotation)) if isinstance(kind, type)]
        parts = [kind for kind in inner if issubclass(kind, Part)]
        if parts and isinstance(value, dict):
            yield from leaves(value, parts[0], f"{prefix}{name}.")
        elif parts:
            continue
        elif isinstance(value, str):
            yield prefix + name, [choice for choice in get_args(field.annotation) if choice != value]
        elif value is None:
            yield prefix + name, [1, 64]
        else:
            others = (2 * value, value + 1, max(1, value // 2), value - 1, 4 * value)
            yield prefix + name, [other for other in others if other != value]


def test_every_kind_of_field_is_walked() -> None:
    """The walk below finds the fields of nested parts, of choices and those that may be null."""
    spec = load_spec("archon")
    found = dict(leaves(spec.model_dump(mode="json"), ArchonSpec))
    assert {"design.structures.gate_writes", "design.lanes", "design.gates", "pe.psum_bits", "clock_mhz"} <= set(found)
    assert 8 in found["bits"]
    assert found["design.gates"] == ["private"] and len(found) >= len(ArchonDesign.model_fields)
    assert set(CommonSpec.model_fields) <= {name.split(".")[0] for name in found} | {*TEXTS, "price_rules"}


@pytest.mark.parametrize("name", ["archon", "archon-ics21", "eyeriss-dense", "eyeriss-sparse"])
def test_changing_a_field_changes_something_or_is_refused(name: str) -> None:
    spec = load_spec(name)
    # Many banks, so that no stage is so short of accesses that nothing else matters.
    buffer = spec.global_buffer.model_copy(update={"banks": 8 * spec.global_buffer.banks})
    spec = spec.model_copy(update={"global_buffer": buffer, "array_words_per_access": 4})
    bases = [spec.model_dump(mode="json", exclude=set(PRICES))]
    if isinstance(spec, ArchonSpec) and spec.design.streams == "gateware":
        # What a load and a channel are told by estimate matters only where it is not counted.
        bases.append({**bases[0], "design": {**bases[0]["design"], "streams": "estimated"}})
        # Gateware has room for all weights of predictors.
        bases.append({**bases[0], "prices": "published"})
    before = [costs(spec_from(base, name)) for base in bases]
    for field, values in leaves(bases[0], EyerissSpec if isinstance(spec, EyerissSpec) else ArchonSpec):
        refused = [_refused(base, field, values, known) for base, known in zip(bases, before, strict=True)]
        assert any(count in (None, len(values)) for count in refused), f"{name}: {field} changes nothing"


def _refused(base: dict[str, Any], field: str, values: list[Any], before: tuple[Any, ...]) -> int | None:
    """How many of the values are refused; None where one of them changes what the machine costs."""
    refused = 0
    for value in values:
        changed = deepcopy(base)
        *parents, last = field.split(".")
        place = changed
        for parent in parents:
            place = place[parent]
        place[last] = value
        try:
            if costs(spec_from(changed, "changed")) != before:
                return None
        except InputError:
            refused += 1
    return refused


def test_every_price_of_the_rules_belongs_to_a_machine() -> None:
    rules = PriceRules().model_dump()
    for table, prices in rules.items():
        for name, price in prices.items():
            changed = PriceRules.model_validate({**rules, table: {**prices, name: 2 * price + 1}})
            for machine in ("archon", "archon-1.7-n", "archon-ics21", "eyeriss-dense"):
                spec = load_spec(machine)
                document = {**spec.model_dump(mode="json", exclude=set(PRICES)), "price_rules": changed.model_dump()}
                other = spec_from(document, machine)
                base = spec_from(spec.model_dump(mode="json", exclude=set(PRICES)), machine)
                if (other.area_um2, other.energy_pj) != (base.area_um2, base.energy_pj) or costs(other) != costs(base):
                    break
            else:
                raise AssertionError(f"{table}.{name} changes nothing")


def test_sizes_of_a_file_of_ones_own_take_prices_along(tmp_path: Any) -> None:
    """More adders or wider sums are more area and energy, whatever else the file copies; stated prices are refused."""
    base = load_spec("archon-ics21")
    for field, value in (("adders", 12), ("psum_regfile_words", 64), ("psum_bits", 32)):
        path = tmp_path / "mine.yaml"
        path.write_text(f"extends: archon-ics21\nname: mine\npe: {{{field}: {value}}}\n", encoding="utf-8")
        mine = load_spec(path)
        assert sum(mine.area_um2.model_dump().values()) > 0
        assert costs(mine)[0].area_mm2 > costs(base)[0].area_mm2, field
    path.write_text("extends: archon-ics21\narea_um2: {adder: 1.0}\n", encoding="utf-8")
    with pytest.raises(InputError, match="area_um2: is stated beside sizes it would not follow"):
        load_spec(path)
