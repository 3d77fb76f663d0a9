from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from predfuse.report.terminal import count, percent, ratio, table

FACTORS = {"k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12}


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (7, "7"),
        (0.5, "0.50"),
        (999, "999"),
        (999.6, "1.00 k"),
        (1000, "1.00 k"),
        (12_345, "12.3 k"),
        (999_499, "999 k"),
        (999_500, "1.00 M"),
        (4_132_672, "4.13 M"),
        (25.69, "25.7"),
    ],
)
def test_counts_read_well(value: float, text: str) -> None:
    assert count(value) == text


@given(st.floats(1, 1e14))
def test_counts_are_right_to_three_digits(value: float) -> None:
    number, _, prefix = count(value).partition(" ")
    assert float(number) * FACTORS.get(prefix, 1) == pytest.approx(value, rel=0.0051)
    assert float(number) < 1000 or prefix == "T"


def test_shares_and_factors() -> None:
    assert percent(0.12345) == "12.3%"
    assert percent(0.12345, 2) == "12.35%"
    assert ratio(9.4999) == "9.5x"


def test_table_shows_every_cell() -> None:
    console = Console(width=60)
    with console.capture() as captured:
        console.print(table("Title", ("block", "count"), [["b1", "12"], ["total", "34"]], strong_rows=(1,)))
    words = captured.get().split()
    assert [word for word in words if word.isalnum()] == ["Title", "block", "count", "b1", "12", "total", "34"]
