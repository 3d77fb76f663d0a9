"""``predfuse accelerators``: the machines that ship, and one in full."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import BaseModel
from rich.console import Console

from predfuse.cli.options import Csv, Json, Report
from predfuse.cli.output import STDOUT, Outputs, write
from predfuse.errors import InputError
from predfuse.hardware.area import area_items, total_area_um2
from predfuse.hardware.spec import load_spec, names
from predfuse.hardware.template import commented_yaml
from predfuse.report.terminal import table, text_columns

commands = typer.Typer()


@commands.callback(invoke_without_command=True)
def list_accelerators(
    context: typer.Context, json_path: Json = None, csv_path: Csv = None, report: Report = None
) -> None:
    """List the accelerators, or show one; areas include the mask buffer."""
    if context.invoked_subcommand is not None:
        return
    outputs = Outputs(json_path, csv_path, report)
    figures: list[dict[str, Any]] = []
    for name in names():
        spec = load_spec(name)
        figures.append(
            {
                "name": name,
                "kind": spec.kind,
                "pes": spec.array.pes,
                "clock_mhz": spec.clock_mhz,
                "area_um2": total_area_um2(spec, with_mask_buffer=True),
                "description": spec.description,
            }
        )

    def show(console: Console) -> None:
        rows = [
            [
                row["name"],
                row["kind"],
                str(row["pes"]),
                f"{row['clock_mhz']:g}",
                f"{row['area_um2'] * 1e-6:.3f}",
                row["description"],
            ]
            for row in figures
        ]
        headings = ["name", "kind", "PEs", "MHz", "mm2", "description"]
        console.print(text_columns(table("Accelerators", headings, rows), 1, 5))
        console.print(
            "predfuse accelerators show NAME              # all fields; a YAML file works wherever NAME does\n"
            "predfuse accelerators new --from NAME -o my.yaml  # a commented file to begin with",
            soft_wrap=True,
        )

    outputs.emit("Accelerators", figures, figures, show)


@commands.command("show")
def show_accelerator(
    name: Annotated[str, typer.Argument(help="A shipped accelerator or a YAML file.", metavar="NAME")],
    json_path: Json = None,
    csv_path: Csv = None,
    report: Report = None,
) -> None:
    """Print every field of an accelerator with its unit, and its area by component."""
    outputs = Outputs(json_path, csv_path, report)
    spec = load_spec(name)
    fields = _fields(spec)
    items = area_items(spec)
    published, whole = total_area_um2(spec), total_area_um2(spec, with_mask_buffer=True)

    def show(console: Console) -> None:
        console.print(text_columns(table(spec.name, ["field", "value", "what it is"], fields), 2))
        rows = [
            [
                item.component + ("" if item.in_total else " (not in the total)"),
                f"{item.count:,}",
                f"{item.each_um2:,.2f}",
                f"{item.area_um2:,.1f}",
            ]
            for item in items
        ]
        rows.append(["total", "", "", f"{published:,.1f}"])
        if whole != published:
            rows.append(["total with mask buffer", "", "", f"{whole:,.1f}"])
        strong = [place for place, row in enumerate(rows) if row[0].startswith("total")]
        console.print(table("Area", ["component", "count", "um2 each", "um2"], rows, strong))

    figures = {
        "specification": spec.model_dump(mode="json"),
        "area": [{**asdict(item), "area_um2": item.area_um2} for item in items],
        "area_um2": whole,
        "area_without_mask_buffer_um2": published,
    }
    table_rows = [dict(zip(("field", "value", "what_it_is"), row, strict=True)) for row in fields]
    outputs.emit(spec.name, figures, table_rows, show)


@commands.command("new")
def new_accelerator(
    output: Annotated[Path, typer.Option("--output", "-o", help="YAML file to write; - is standard output.")],
    start: Annotated[str, typer.Option("--from", help="Shipped accelerator or YAML file to begin with.")] = "archon",
) -> None:
    """Write a machine of your own to begin with: every field with what it is, and which hang together."""
    if output != STDOUT and output.exists():
        raise InputError(str(output), "exists", "name another file, or remove it")
    outputs = Outputs(text=output)
    write(output, commented_yaml(load_spec(start), "mine" if outputs.to_stdout else output.stem))
    if not outputs.to_stdout:
        typer.echo(f"wrote {output}", err=True)


def _fields(part: BaseModel, prefix: str = "") -> list[list[str]]:
    """Dotted name, value and documentation of every field, nested parts expanded."""
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
