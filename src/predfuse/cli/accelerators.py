"""``predfuse accelerators``: the machines that ship, and one in full."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from pydantic import BaseModel

from predfuse.cli.output import STDOUT, Outputs, write
from predfuse.errors import InputError
from predfuse.hardware.area import area_items, area_without_mask_buffer_um2, total_area_um2
from predfuse.hardware.spec import load_spec, names
from predfuse.hardware.template import commented_yaml
from predfuse.report.table import Table

commands = typer.Typer()


@commands.callback(invoke_without_command=True)
def list_accelerators(context: typer.Context, *, outputs: Outputs) -> None:
    """List the accelerators, or show one; areas include the mask buffer."""
    if context.invoked_subcommand is not None:
        return
    figures, rows = [], []
    for name in names():
        spec = load_spec(name)
        pes, area = spec.array.pes, total_area_um2(spec)
        figures.append(
            {
                "name": name,
                "kind": spec.kind,
                "pes": pes,
                "clock_mhz": spec.clock_mhz,
                "area_um2": area,
                "prices": spec.prices,
                "description": spec.description,
            }
        )
        rows.append(
            [name, spec.kind, str(pes), f"{spec.clock_mhz:g}", f"{area * 1e-6:.3f}", spec.prices, spec.description]
        )
    headings = ["name", "kind", "PEs", "MHz", "mm2", "prices", "description"]
    hints = (
        "predfuse accelerators show NAME              # all fields; a YAML file works wherever NAME does",
        "predfuse accelerators new --from NAME -o my.yaml  # a commented file to begin with",
    )
    shown = Table(headings, rows, "Accelerators", text_columns=frozenset((0, 1, 5, 6)))
    outputs.emit("Accelerators", figures, figures, [shown, hints])


@commands.command("show")
def show_accelerator(
    name: Annotated[str, typer.Argument(help="A shipped accelerator or a YAML file.", metavar="NAME")],
    *,
    outputs: Outputs,
) -> None:
    """Print every field of an accelerator with its unit, and its area by component."""
    spec = load_spec(name)
    fields = list(_fields(spec))
    items = area_items(spec)
    published, whole = area_without_mask_buffer_um2(spec), total_area_um2(spec)
    rows = [
        [
            item.component + ("" if item.in_published_total else " (not in the total)"),
            f"{item.count:,}",
            f"{item.each_um2:,.2f}",
            f"{item.area_um2:,.1f}",
        ]
        for item in items
    ]
    rows.append(["total", "", "", f"{published:,.1f}"])
    if whole != published:
        rows.append(["total with mask buffer", "", "", f"{whole:,.1f}"])
    figures = {
        "specification": spec.model_dump(mode="json"),
        "area": [{**asdict(item), "area_um2": item.area_um2} for item in items],
        "area_um2": whole,
        "area_without_mask_buffer_um2": published,
    }
    tables = [
        Table(["field", "value", "what it is"], fields, spec.name, text_columns=frozenset((0, 2))),
        Table(["component", "count", "um2 each", "um2"], rows, "Area", frozenset(range(len(items), len(rows)))),
    ]
    table_rows = [dict(zip(("field", "value", "what_it_is"), row, strict=True)) for row in fields]
    outputs.emit(spec.name, figures, table_rows, tables)


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


def _fields(part: BaseModel, prefix: str = "") -> Iterator[list[str]]:
    """Dotted name, value and documentation of every field, nested parts expanded."""
    for name, field in type(part).model_fields.items():
        value = getattr(part, name)
        if isinstance(value, BaseModel):
            yield from _fields(value, f"{prefix}{name}.")
        else:
            text = f"{value:,}" if isinstance(value, int) else str(value)
            yield [prefix + name, text, " ".join((field.description or "").split())]
