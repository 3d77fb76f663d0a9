"""``predfuse rtl``: fused blocks of a program on the gateware of a machine."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import Progress, TimeRemainingColumn

from predfuse.cli.options import IMAGES_HELP, Count
from predfuse.cli.output import Outputs
from predfuse.data.image_sources import load_images
from predfuse.errors import InputError
from predfuse.files import require_new_folder
from predfuse.graph.nodes import Array
from predfuse.hardware.spec import ArchonSpec, load_spec
from predfuse.integer.program import Program
from predfuse.integer.program_io import load_program
from predfuse.report.table import Table
from predfuse.report.terminal import console
from predfuse.rtl.generate import generate as write_folder
from predfuse.rtl.machine import Machine
from predfuse.rtl.run import BlockResult, run_on_gateware
from predfuse.rtl.simulator import Simulator

commands = typer.Typer(no_args_is_help=True, help="Run or write the gateware of a machine for a program.")

ProgramPath = Annotated[Path, typer.Argument(help="Program written by predfuse compile.", metavar="PROGRAM")]
ImagesSource = Annotated[str, typer.Argument(help=IMAGES_HELP, metavar="IMAGES")]
Gateware = Annotated[
    str, typer.Option("--accelerator", "-a", help="Archon with lane registers: shipped accelerator or YAML file.")
]


@commands.command()
def run(
    program_path: ProgramPath,
    images: ImagesSource,
    accelerator: Gateware = "archon",
    count: Count = 1,
    trace: Annotated[Path | None, typer.Option("--trace", help="Waveforms of the first block, a .vcd file.")] = None,
    *,
    outputs: Outputs,
) -> None:
    """Run the fused blocks on simulated gateware; exit code 1 if an output or a cycle is not as planned.

    Every block is fed what the integer machine feeds it; the other layers run on the host.
    """
    if trace is not None and trace.suffix != ".vcd":
        raise InputError("--trace", f"is {trace}", "name a .vcd file")
    outputs = replace(outputs, file=trace)
    program, machine, pixels, found = _load(program_path, images, accelerator, count)
    with Progress(*Progress.get_default_columns()[:-1], TimeRemainingColumn(), console=console(True)) as progress:
        task = progress.add_task("build (minutes the first time)", total=None)
        simulator = Simulator(machine, traces=trace is not None)
        progress.update(task, description="run")
        results = run_on_gateware(
            program,
            pixels,
            simulator,
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
    if differences:
        raise typer.Exit(1)


@commands.command()
def generate(
    program_path: ProgramPath,
    images: ImagesSource,
    output: Annotated[Path, typer.Option("--output", "-o", help="New folder.")],
    accelerator: Gateware = "archon",
    count: Count = 1,
) -> None:
    """Write SystemVerilog, the words of a program, and a test bench: make there needs Verilator only."""
    require_new_folder(output)
    program, machine, pixels, _ = _load(program_path, images, accelerator, count)
    blocks = write_folder(program, pixels, machine, output)
    typer.echo(f"wrote {output}: {len(blocks)} fused blocks; run make there", err=True)


def _load(path: Path, images: str, accelerator: str, count: int) -> tuple[Program, Machine, Array, str]:
    """Program, machine, ``[N, C, H, W]`` images and what they are called."""
    spec = load_spec(accelerator)
    if not isinstance(spec, ArchonSpec):
        raise InputError(accelerator, "has no gateware", "use archon or a machine with its structures")
    program = load_program(path)
    found = load_images(images, program.input_shape, count, False)
    return program, Machine.of(spec), found.images, found.name


def _parts(results: list[BlockResult]) -> Iterator[str | Table]:
    """What the command shows."""
    rows = [
        [one.layer, *(f"{n:,}" for n in (one.list_cycles, one.predict_cycles, len(one.steps), len(one.differences)))]
        for one in results
    ]
    yield Table(("block", "cycles of lists", "of predictions", "steps", "differ"), rows, "Fused blocks")
    wrong = [f"{one.layer}, {step}" for one in results for step in one.differences]
    yield from wrong[:10]
    if not wrong:
        yield "every output bit is that of the integer machine, every cycle that of the model"
