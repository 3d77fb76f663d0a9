"""``predfuse rtl``: fused blocks of a program on the gateware of a machine."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, replace
from itertools import groupby
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import Progress, TimeRemainingColumn

from predfuse.arrays import ImageArray
from predfuse.cli.options import IMAGES_HELP, Count
from predfuse.cli.output import Outputs
from predfuse.errors import InputError
from predfuse.files import require_new_folder
from predfuse.hardware.cycle.archon.gateware import Machine
from predfuse.hardware.spec import AcceleratorSpec, ArchonSpec, EyerissSpec, load_spec
from predfuse.integer.calibration_images import images_for
from predfuse.integer.program import Program
from predfuse.integer.program_io import load_program
from predfuse.report.table import Table, optional
from predfuse.report.terminal import console
from predfuse.rtl.area import GatewareArea, gateware_area
from predfuse.rtl.cells import Cells, load_cells
from predfuse.rtl.generate import generate as write_folder
from predfuse.rtl.place import Device, Placed, place as place_and_route
from predfuse.rtl.rivals import rival_area
from predfuse.rtl.run import BlockResult, run_on_gateware
from predfuse.rtl.simulator import Simulator
from predfuse.rtl.sizes import GROUP_SIZES, with_sizes
from predfuse.rtl.sta import opensta
from predfuse.rtl.timing import ACCESS_NS, MachinePath, MachineTiming, time_machine

commands = typer.Typer(no_args_is_help=True, help="Run or write the gateware of a machine for a program.")

ProgramPath = Annotated[Path, typer.Argument(help="Program written by predfuse compile.", metavar="PROGRAM")]
ImagesSource = Annotated[str, typer.Argument(help=IMAGES_HELP, metavar="IMAGES")]
Gateware = Annotated[
    str, typer.Option("--accelerator", "-a", help="Archon with lane registers: shipped accelerator or YAML file.")
]
Priced = Annotated[str, typer.Option("--accelerator", "-a", help="Shipped accelerator or YAML file.")]
Liberty = Annotated[Path | None, typer.Option("--liberty", help="Standard cells; default: a small library of 45 nm.")]
Sizes = Annotated[
    list[str] | None,
    typer.Option("--words", metavar="NAME=WORDS", help=f"Another size of a memory: {', '.join(GROUP_SIZES)}."),
]


@commands.command()
def run(
    program_path: ProgramPath,
    images: ImagesSource,
    accelerator: Gateware = "archon",
    sizes: Sizes = None,
    count: Count = 1,
    trace: Annotated[
        Path | None, typer.Option("--trace", help="Waveforms of the first chain of blocks, a .fst or .vcd file.")
    ] = None,
    *,
    outputs: Outputs,
) -> None:
    """Run the fused blocks on simulated gateware; exit code 1 if an output or a cycle is not as planned.

    Every block is fed what the integer machine feeds it; the other layers run on the host.
    """
    if trace is not None and trace.suffix not in (".fst", ".vcd"):
        raise InputError("--trace", f"is {trace}", "name a .fst or a .vcd file")
    outputs = replace(outputs, file=trace)
    program, spec, machine, pixels, found = _load(program_path, images, accelerator, sizes, count)
    with _progress() as progress:
        task = progress.add_task("build (minutes the first time)", total=None)
        simulator = Simulator(machine, waves="" if trace is None else trace.suffix[1:])
        progress.update(task, description="run")
        results = run_on_gateware(
            program,
            pixels,
            simulator,
            spec,
            lambda done, total: progress.update(task, completed=done, total=total),
            trace,
        )
    rows = [
        {
            "layer": one.layer,
            "list_cycles": one.list_cycles,
            "planned_list_cycles": sum(step.planned_list_cycles for step in one.steps),
            "predict_cycles": one.predict_cycles,
            "planned_predict_cycles": sum(step.planned_predict_cycles for step in one.steps),
            "cycles": one.clock.total,
            "planned_cycles": one.planned.total,
            "model_cycles": one.modelled,
            "core_cycles": one.clock.core,
            "fill_cycles": one.clock.fill,
            "fill_cycles_beside": one.clock.both,
            "waiting_cycles": one.clock.commands_wait + one.clock.fill_waits,
            "wrong_passes": sum(step.wrong_passes for step in one.steps),
            "wrong_pixels": sum(step.wrong_pixels for step in one.steps),
        }
        for one in results
    ]
    differences = [{"layer": one.layer, **asdict(step)} for one in results for step in one.differences]
    figures = {
        "program": str(program_path),
        "images": found,
        "count": count,
        "machine": accelerator,
        "blocks": rows,
        "differences": differences,
    }
    outputs.emit(f"{program.name} on the gateware", figures, rows, list(_parts(results)))
    if not all(one.exact for one in results):
        raise typer.Exit(1)


@commands.command()
def generate(
    program_path: ProgramPath,
    images: ImagesSource,
    output: Annotated[Path, typer.Option("--output", "-o", help="New folder.")],
    accelerator: Gateware = "archon",
    sizes: Sizes = None,
    count: Count = 1,
) -> None:
    """Write SystemVerilog, the words of a program, and a test bench: make there needs Verilator only."""
    require_new_folder(output)
    program, spec, machine, pixels, _ = _load(program_path, images, accelerator, sizes, count)
    write_folder(program, pixels, machine, output, spec)
    typer.echo(f"wrote {output}: {len(program.fused_blocks())} fused blocks; run make there", err=True)


@commands.command()
def area(
    accelerator: Priced = "archon",
    liberty: Liberty = None,
    *,
    outputs: Outputs,
) -> None:
    """Synthesise every component of the gateware with Yosys: area beside the model's, and the longest path.

    Of a dense or sparse machine that is a PE without its memories, and what leads the PEs.
    """
    spec, cells = load_spec(accelerator), load_cells(liberty)
    with _progress() as progress:
        task = progress.add_task("elaborate", total=None)

        def told(what: str, done: int, total: int) -> None:
            progress.update(task, description=what, completed=done, total=total or None)

        if isinstance(spec, EyerissSpec):
            found = rival_area(spec, cells, told)
        else:
            found = gateware_area(spec, cells, told)
    shares = ("synthesised_um2", "ratio")
    rows, around = (
        [{**asdict(one), **{name: getattr(one, name) for name in shares}} for one in some]
        for some in (found.structures, found.around)
    )
    figures = {
        "machine": spec.name,
        "cells": cells.name,
        "um2_per_unit": cells.um2,
        "structures": rows,
        "around": around,
        "components": [asdict(one) for one in found.components],
        "not_gateware_um2": found.not_gateware,
    }
    outputs.emit(f"{spec.name} in gates", figures, [*rows, *around], list(_areas(spec, cells, found)))


@commands.command()
def timing(
    accelerator: Gateware = "archon",
    sizes: Sizes = None,
    liberty: Liberty = None,
    access_ns: Annotated[
        float, typer.Option("--access-ns", min=0, help="From an address to what a memory says (ns).")
    ] = ACCESS_NS,
    *,
    outputs: Outputs,
) -> None:
    """The longest paths of a whole machine through all its components, by OpenSTA; wires are left out.

    At the size of archon: up to an hour for components that were not synthesised before, then five to ten minutes.
    What is done is kept, so that a run that was stopped goes on where it was.
    """
    spec, cells = _spec(accelerator), load_cells(liberty)
    machine, clock_ns = with_sizes(Machine.of(spec), sizes or ()), 1e3 / spec.clock_mhz
    with _progress() as progress:
        task = progress.add_task("elaborate", total=None)

        def told(what: str, done: int, total: int) -> None:
            nonlocal task
            if not total:  # it is not known how long: no time is left to be shown
                progress.remove_task(task)
                task = progress.add_task(what, total=None)
            progress.update(task, description=what, completed=done, total=total or None)

        found = time_machine(machine, cells, clock_ns, access_ns, told)
    rows = [asdict(path) for path in found.paths]
    figures = {"machine": spec.name, "sizes": asdict(machine), "library": cells.name, "access_ns": access_ns}
    figures |= {"clock_ns": clock_ns, "cells": found.cells, "added_cells": found.added, "paths": rows}
    outputs.emit(f"{spec.name}, all components", figures, rows, list(_timed(found, clock_ns, access_ns)))


@commands.command()
def place(
    accelerator: Gateware = "archon-nano",
    sizes: Sizes = None,
    fpga: Annotated[Device, typer.Option("--fpga", help="Size of the ECP5.")] = "85k",
    *,
    outputs: Outputs,
) -> None:
    """Place and route the gateware on an ECP5 FPGA: what it takes of it, its clock and its longest path."""
    spec = _spec(accelerator)
    machine = with_sizes(Machine.of(spec), sizes or ())
    with _progress() as progress:
        task = progress.add_task("start", total=None)
        found = place_and_route(machine, fpga, lambda what: progress.update(task, description=what))
    rows = [asdict(one) for one in found.resources]
    figures = {"machine": spec.name, "sizes": asdict(machine), **asdict(found)}
    outputs.emit(f"{spec.name} on an ECP5-{fpga}", figures, rows, list(_placed(found)))


def _timed(found: MachineTiming, clock_ns: float, access_ns: float) -> Iterator[str | Table]:
    """What the command shows."""
    rows = [[path.ends_in, f"{path.ns:.2f}", f"{clock_ns - path.ns:.2f}", _through(path)] for path in found.paths]
    yield Table(("ends in", "ns", "left", "through"), rows, "The longest path into every component")
    longest = found.paths[0]
    steps = [[step.instance, "access" if step.access else step.net, f"{step.ns:.2f}"] for step in longest.steps]
    steps.append(["", "set-up", f"{longest.setup_ns:.2f}"])
    yield Table(("in", "to", "ns"), steps, "The longest of all")
    told = "" if longest.ns <= clock_ns else f", more than the {clock_ns:g} ns of the specification"
    yield f"{longest.ns:.2f} ns, {1e3 / longest.ns:,.0f} MHz{told}: wires left out, a memory's access {access_ns:g} ns"
    yield f"{found.cells:,} cells, {found.added:,} of them buffers between components and what stands for memories"


def _through(path: MachinePath) -> str:
    """The components of a path, accesses of their memories with a star."""
    names = (f"{step.component}{'*' * step.access}" for step in path.steps)
    return ", ".join(name for name, _ in groupby(names))


def _placed(found: Placed) -> Iterator[str | Table]:
    """What the command shows."""
    rows = [
        [one.name, f"{one.used:,}", f"{one.available:,}", f"{one.used / one.available:.0%}"] for one in found.resources
    ]
    yield Table(("resource", "used", "of", "share"), rows, f"On an ECP5-{found.device}, placed and routed")
    yield f"{found.megahertz:.1f} MHz: {found.logic_ns:.2f} ns in cells and {found.routing_ns:.2f} ns between them"
    yield f"longest path: {len(found.path)} nets from {found.path[0]} to {found.path[-1]}"


def _areas(spec: AcceleratorSpec, cells: Cells, found: GatewareArea) -> Iterator[str | Table]:
    """What the command shows."""
    rows, around = (
        [
            [
                one.structure,
                f"{one.model_um2:,.0f}",
                f"{one.synthesised_um2:,.0f}",
                optional(one.ratio, ".2f", "new"),
                f"{one.register_bits:,}",
                f"{one.macro_bits:,}",
                f"{one.path_ns:.2f}",
            ]
            for one in some
        ]
        for some in (found.structures, found.around)
    )
    model, own = (sum(getattr(one, name) for one in found.structures) for name in ("model_um2", "synthesised_um2"))
    rows.append(
        ["the core" if around else "all of these", f"{model:,.0f}", f"{own:,.0f}", f"{own / model:.2f}", "", "", ""]
    )
    headings = ("structure", "model um2", "synthesised", "ratio", "registers", "macro bits", "ns")
    yield Table(headings, rows, f"{spec.name} in {cells.name}", frozenset((len(rows) - 1,)))
    if around:
        yield Table(headings, around, "Around the core")
    yield f"areas in 45 nm: cells times {cells.um2:.4g} (by their NAND2); model: by prices: {spec.prices}"
    left = sum(one.buffer_bits for one in found.structures)
    if left:
        yield f"{left:,} bits of memory stand for the global buffer, and are not counted"
    rest = ", ".join(f"{name} {area:,.0f}" for name, area in found.not_gateware.items())
    yield f"without gateware: {rest} um2"
    slowest = max(found.structures, key=lambda one: one.path_ns)
    yield f"slowest: {slowest.structure}, {1e3 / slowest.path_ns:,.0f} MHz on its own, wires left out"
    yield f"paths are by {'OpenSTA' if opensta() else 'ABC: OpenSTA (sta, package opensta of Debian) is not installed'}"


def _progress() -> Progress:
    """Progress and the time left, on standard error."""
    return Progress(*Progress.get_default_columns()[:-1], TimeRemainingColumn(), console=console(True))


def _spec(accelerator: str) -> ArchonSpec:
    """A machine with gateware."""
    spec = load_spec(accelerator)
    if not isinstance(spec, ArchonSpec):
        raise InputError(accelerator, "has no gateware", "use archon or a machine with its structures")
    return spec


def _load(
    path: Path, images: str, accelerator: str, sizes: list[str] | None, count: int
) -> tuple[Program, ArchonSpec, Machine, ImageArray, str]:
    """Program, machine, its gateware, ``[N, C, H, W]`` images and what they are called."""
    spec = _spec(accelerator)
    machine = with_sizes(Machine.of(spec), sizes or ())
    program = load_program(path)
    found = images_for(program, images, count)
    return program, spec, machine, found.images, found.name


def _parts(results: list[BlockResult]) -> Iterator[str | Table]:
    """What the command shows."""
    rows = [
        [one.layer, *(f"{n:,}" for n in (one.list_cycles, one.predict_cycles, len(one.steps), len(one.differences)))]
        for one in results
    ]
    yield Table(("block", "cycles of lists", "of predictions", "steps", "differ"), rows, "Fused blocks")
    names = ("core", "fill", "both", "commands_wait", "fill_waits")
    clocks = [
        [
            one.layer,
            optional(one.modelled, ",", "estimated"),
            *(f"{total:,}" for total in (one.planned.total, one.clock.total)),
            *(f"{getattr(one.clock, name):,}" for name in names),
        ]
        for one in results
    ]
    head = ("block", "model", "planned", "cycles", "core at work", "filling", "both at once", "commands wait")
    yield Table((*head, "fills wait"), clocks, "From the start of the command lists to their end")
    wrong = [f"{one.layer}, {step}" for one in results for step in one.differences]
    wrong += [f"{one.layer}: {one.clock}, planned {one.planned}" for one in results if one.clock != one.planned]
    for one in results:
        if one.modelled not in (None, one.clock.total):
            wrong.append(f"{one.layer}: {one.clock.total:,} cycles, simulated are {one.modelled:,}")
    yield from wrong[:10]
    if not wrong:
        whose = "the schedule" if results[0].modelled is None else "the schedule and of predfuse simulate"
        yield f"every output bit is that of the integer machine, every cycle that of {whose}"
