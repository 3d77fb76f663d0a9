from __future__ import annotations

import pytest
from hypothesis import given, strategies as st
from rich.console import Console

from predfuse.report.table import Table, count, optional
from predfuse.report.terminal import show

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


def test_a_missing_number_shows_what_stands_for_it() -> None:
    assert optional(1234.5, ",.1f") == "1,234.5"
    assert optional(None, ",.1f", "-") == "-"


TABLE = Table(("block", "count"), [["b1 [0, 1]", "12"], ["total", "34"]], "Title", frozenset((1,)))


def test_the_terminal_shows_every_cell_and_reads_no_markup_in_it() -> None:
    console = Console(width=60)
    with console.capture() as captured:
        show(TABLE, console)
        show("a [bold]paragraph[/bold]", console)
    words = captured.get().split()
    assert [word for word in words if word.isalnum()] == ["Title", "block", "count", "b1", "12", "total", "34", "a"]
    assert "[0, 1]" in captured.get() and "[bold]paragraph[/bold]" in captured.get()


def test_a_wide_table_fits_eighty_columns() -> None:
    columns = [f"column {number}" for number in range(10)]
    console = Console(width=80)
    with console.capture() as captured:
        show(Table(columns, [["1,234"] * 10]), console)
    assert max(map(len, captured.get().splitlines())) <= 80 and captured.get().count("1,234") == 10


def test_markdown_aligns_text_and_numbers() -> None:
    assert TABLE.markdown() == "| block | count |\n| --- | ---: |\n| b1 [0, 1] | 12 |\n| total | 34 |\n"
