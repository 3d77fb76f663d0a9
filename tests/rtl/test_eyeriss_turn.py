"""Words of a line on their way to the columns of the dense and sparse machines, against lists cut and joined."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st
from rtl.bench import Bench, Component, build_library
from rtl.machines import require_tools

from predfuse.rtl.build import SOURCES

COLUMNS = (8, 11, 56)
FAULTS = {
    "the other way": (
        "{now[2**k*BITS-1:0], now[COLUMNS*BITS-1:2**k*BITS]}",
        "{now[(COLUMNS-2**k)*BITS-1:0], now[COLUMNS*BITS-1:(COLUMNS-2**k)*BITS]}",
    ),
    "one stage too few": ("k] ? {now", "k] & k != 2 ? {now"),
    "words that do not come around": ("{now[2**k*BITS-1:0],", "{now[2**k*BITS-1:0] & {2**k*BITS{~by[0]}},"),
}


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    tools, folder = require_tools(), tmp_path_factory.mktemp("turn")
    source = (SOURCES / "eyeriss" / "turn.sv").read_text()
    components = []
    variants = [(f"turn_{columns}", columns, ("", "")) for columns in COLUMNS]
    variants += [(f"turn_wrong_{number}", 11, fault) for number, fault in enumerate(FAULTS.values())]
    for name, columns, (old, new) in variants:
        assert not old or source.count(old) == 1, old
        changed = source.replace(old, new) if old else source
        (folder / f"{name}.sv").write_text(changed.replace("module turn", f"module {name}"))
        ports = {"by": (columns - 1).bit_length(), "words": 16 * columns}
        components.append(Component(name, {"COLUMNS": columns}, ports, {"turned": 16 * columns}, False))
    return Bench(components, build_library(components, tools, folder))


def _is_turned(bench: Bench, name: str, words: list[int], by: int) -> bool:
    line = sum(word << 16 * place for place, word in enumerate(words))
    bench.put(name, {"by": by, "words": line})
    turned = bench.get(name, "turned")
    return [turned >> 16 * place & 0xFFFF for place in range(len(words))] == words[by:] + words[:by]


@given(st.data())
def test_every_column_gets_its_word(bench: Bench, data: st.DataObject) -> None:
    columns = data.draw(st.sampled_from(COLUMNS))
    words = data.draw(st.lists(st.integers(0, 0xFFFF), min_size=columns, max_size=columns))
    assert _is_turned(bench, f"turn_{columns}", words, data.draw(st.integers(0, columns - 1)))


@pytest.mark.parametrize("number", range(len(FAULTS)), ids=[*FAULTS])
def test_every_fault_is_found(bench: Bench, number: int) -> None:
    assert not all(_is_turned(bench, f"turn_wrong_{number}", [*range(1, 12)], by) for by in range(11))
