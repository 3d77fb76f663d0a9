"""Outputs of the dense and sparse machines: bias, rounding, activation and saturation, against plain integers."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest
from hypothesis import given, strategies as st
from rtl.bench import Bench, Component, build_library
from rtl.machines import require_tools

from predfuse.rtl.build import SOURCES

FAULTS = {
    "": ("", ""),
    "half down": ("(BITS + 1)'(moved[0])", "(BITS + 1)'(moved[0] & (sign == 0))"),
    "no bias": ("(WIDE - 1)'(held) + (WIDE - 1)'(bias)", "(WIDE - 1)'(held) + (WIDE - 1)'(bias >>> 6)"),
    "no saturation": ("beyond ||", "(beyond & shift[0]) ||"),
    "no activation": ("relu & sign ?", "relu & sign & shift[0] ?"),
}
SUMS = st.one_of(st.integers(-(2**39), 2**39 - 1), st.integers(-70000, 70000))


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    tools, folder = require_tools(), tmp_path_factory.mktemp("outputs")
    source = (SOURCES / "eyeriss" / "output_unit.sv").read_text()
    ports = {"sum": 40, "bias": 40, "shift": 6, "relu": 1}
    components = []
    for number, (old, new) in enumerate(FAULTS.values()):
        assert not old or source.count(old) == 1, old
        changed = source.replace(old, new) if old else source
        name = f"output_unit{number}"
        (folder / f"{name}.sv").write_text(changed.replace("module output_unit", f"module {name}"))
        components.append(Component(name, {}, ports, {"y": 16}))
    return Bench(components, build_library(components, tools, folder))


def expected(total: int, shift: int, relu: bool) -> int:
    """Rounded half up, then the nearest value that 16 bits hold."""
    rounded = math.floor(Fraction(total, 2**shift) + Fraction(1, 2))
    return max(0 if relu else -32768, min(32767, rounded))


@given(SUMS, SUMS, st.integers(0, 40), st.booleans())
def test_every_output_is_that_of_the_integers(bench: Bench, total: int, bias: int, shift: int, relu: bool) -> None:
    bench.put("output_unit0", {"sum": total, "bias": bias, "shift": shift, "relu": relu})
    bench.step()
    bench.put("output_unit0", {"sum": ~total})
    assert bench.get("output_unit0", "y") == expected(total + bias, shift, relu) & 0xFFFF


@pytest.mark.parametrize("number", range(1, len(FAULTS)), ids=list(FAULTS)[1:])
def test_faults_show(bench: Bench, number: int) -> None:
    name, found = f"output_unit{number}", set()
    for total, bias, shift, relu in ((-3, 0, 1, 0), (5, 900, 0, 0), (1 << 30, 0, 2, 0), (-7, 0, 0, 1)):
        bench.put(name, {"sum": total, "bias": bias, "shift": shift, "relu": relu})
        bench.step()
        found.add(bench.get(name, "y") == expected(total + bias, shift, bool(relu)) & 0xFFFF)
    assert found == {True, False}
