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


EVALUATED = Table(
    ("model", "network", "stage", "data", "images", "accuracy"),
    [["runs/a/predicted-joint.safetensors", "fusionet-s", "predicted-joint", "folder:/data/pictures", "2", "50.00%"]],
    text_columns=frozenset(range(4)),
)


@pytest.mark.parametrize("width", [20, 40, 60, 80, 100])
@pytest.mark.parametrize("table", [TABLE, EVALUATED, Table(["depthwise on"] * 7, [["45.9%"] * 7] * 2, "Gates")])
def test_no_cell_is_cut_however_narrow_the_terminal(table: Table, width: int) -> None:
    console = Console(width=width)
    with console.capture() as captured:
        show(table, console)
    shown = captured.get()
    assert "\u2026" not in shown
    cells = "".join("".join(row) for row in table.rows)
    assert [shown.count(sign) for sign in ":/.%"] == [cells.count(sign) for sign in ":/.%"]  # text may be folded
    numbers = [cell for row in table.rows for at, cell in enumerate(row) if at not in table.text_columns]
    assert all(number in shown.split() for number in numbers)


def test_where_columns_do_not_fit_rows_are_lines() -> None:
    console = Console(width=40)
    with console.capture() as captured:
        show(EVALUATED, console)
    assert "network   fusionet-s\nstage     predicted-joint\n" in captured.get()


def test_markdown_aligns_text_and_numbers() -> None:
    assert TABLE.markdown() == "| block | count |\n| --- | ---: |\n| b1 [0, 1] | 12 |\n| total | 34 |\n"
