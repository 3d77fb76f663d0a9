"""``predfuse accelerators``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from pydantic import BaseModel

_commands = typer.Typer(help="List the accelerators, or show one with its area by component.")


def register(app: typer.Typer) -> None:
    """Add the command group."""
    app.add_typer(_commands, name="accelerators")


@_commands.callback(invoke_without_command=True)
def list_accelerators(context: typer.Context) -> None:
    """List the accelerators, or show one with its area by component."""
    if context.invoked_subcommand is not None:
        return
    from rich.console import Console

    from predfuse.hardware.area import total_area_um2
    from predfuse.hardware.spec import load_spec, names
    from predfuse.report.terminal import table, text_columns

    rows = []
    for name in names():
        spec = load_spec(name)
        area_mm2 = total_area_um2(spec) * 1e-6
        rows.append([name, spec.kind, str(spec.array.pes), f"{spec.clock_mhz:g}", f"{area_mm2:.3f}", spec.description])
    console = Console()
    headings = ["name", "kind", "PEs", "MHz", "mm2", "description"]
    console.print(text_columns(table("Accelerators", headings, rows), 1, 5))
    console.print(
        "predfuse accelerators show NAME prints all fields; a YAML file of the same form works wherever NAME does."
    )


@_commands.command("show")
def show(
    name: Annotated[str, typer.Argument(help="A shipped accelerator or a YAML file.", metavar="NAME")],
) -> None:
    """Print every field of an accelerator with its unit, and its area by component."""
    from rich.console import Console

    from predfuse.hardware.area import area_items, total_area_um2
    from predfuse.hardware.spec import load_spec
    from predfuse.report.terminal import table, text_columns

    spec = load_spec(name)
    console = Console()
    console.print(text_columns(table(spec.name, ["field", "value", "what it is"], _fields(spec)), 2))
    rows = [
        [
            item.component + ("" if item.in_total else " (not in the total)"),
            f"{item.count:,}",
            f"{item.each_um2:,.2f}",
            f"{item.area_um2:,.1f}",
        ]
        for item in area_items(spec)
    ]
    rows.append(["total", "", "", f"{total_area_um2(spec):,.1f}"])
    if total_area_um2(spec, with_mask_buffer=True) != total_area_um2(spec):
        rows.append(["total with mask buffer", "", "", f"{total_area_um2(spec, with_mask_buffer=True):,.1f}"])
    strong = [place for place, row in enumerate(rows) if row[0].startswith("total")]
    console.print(table("Area", ["component", "count", "um2 each", "um2"], rows, strong))


def _fields(part: BaseModel, prefix: str = "") -> list[list[str]]:
    """Dotted name, value and documentation of every field, nested parts expanded."""
    from pydantic import BaseModel

    rows = []
    for name, field in type(part).model_fields.items():
        value = getattr(part, name)
        if isinstance(value, BaseModel):
            rows += _fields(value, f"{prefix}{name}.")
        else:
            rows.append(
                [prefix + name, f"{value:,}" if isinstance(value, int) else str(value), _sentence(field.description)]
            )
    return rows


def _sentence(text: str | None) -> str:
    return " ".join((text or "").split())
