"""``predfuse simulate``: a network or program on an accelerator."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from predfuse.arrays import ImageArray
from predfuse.cli.options import SOURCE_HELP, Accelerator, AllowUnsupported, Count, Images, Split
from predfuse.cli.output import Outputs, write
from predfuse.data.dataset import Part
from predfuse.errors import InputError
from predfuse.graph.nodes import Network
from predfuse.hardware import Simulation, load_spec, prune_blocks
from predfuse.hardware.closed_form.simulate import simulate as simulate_network
from predfuse.hardware.cycle.simulate import simulate_cycles
from predfuse.hardware.cycle.trace import chrome_trace
from predfuse.integer.calibration_images import images_for
from predfuse.integer.program import Program
from predfuse.integer.program_io import is_program, load_program
from predfuse.report.stages import stage_table
from predfuse.report.table import Table
from predfuse.sources import ModuleOptions, load_source


def simulate(
    source: Annotated[str, typer.Argument(help=f"{SOURCE_HELP} Or a compiled program.", metavar="SOURCE")],
    accelerator: Accelerator,
    fidelity: Annotated[
        str, typer.Option(help="paper: the published closed forms. cycle: real weights, real masks, stalls.")
    ] = "paper",
    images: Images = None,
    index: Annotated[int, typer.Option("--index", help="The first of the images to use, from 0.")] = 0,
    count: Count = 1,
    split: Split = "test",
    prune: Annotated[
        bool,
        typer.Option("--prune", help="First prune blocks by magnitude: 20 % of 1x1, 30 % of depthwise weights stay."),
    ] = False,
    allow_unsupported: AllowUnsupported = False,
    trace: Annotated[
        Path | None, typer.Option("--trace", help="Also write when everything happens, for ui.perfetto.dev.")
    ] = None,
    *,
    module: ModuleOptions,
    outputs: Outputs,
) -> None:
    """Cycles, utilisation and energy of one image, per layer and stage, with a ledger of every node.

    At cycle fidelity fused blocks take the masks of the images. The rows are those of the first image; of more than
    one, mean and range are given too.
    """
    outputs = replace(outputs, text=trace)
    for option, given in (("--trace", trace), ("--images", images)):
        if given is not None and fidelity != "cycle":
            raise InputError(option, f"needs cycle fidelity, not {fidelity}", "add --fidelity cycle")
    if index < 0:
        raise InputError("--index", f"is {index}", "use 0 or more")
    spec = load_spec(accelerator)
    what: Network | Program
    if is_program(source):
        what = load_program(Path(source))
    else:
        what = load_source(source, module, allow_unsupported=allow_unsupported)
    if prune:
        if not isinstance(what, Network):
            raise InputError("--prune", "a program is compiled already", "prune the network before compiling")
        what = prune_blocks(what)
    if fidelity == "cycle":
        pixels = None if images is None else _pixels(what, images, index, count, split)
        runs = simulate_cycles(what, spec, pixels, allow_unsupported=allow_unsupported)
        result = Simulation(tuple(run.result for run in runs))
        if trace is not None:
            write(trace, json.dumps(chrome_trace(runs[0])) + "\n")
    else:
        result = Simulation((simulate_network(what, spec, fidelity, allow_unsupported=allow_unsupported),))
    figures = result.as_json()
    title = f"{result.network} on {result.accelerator}"
    outputs.emit(title, figures, figures["rows"], list(_parts(result)))


def _pixels(what: Network | Program, images: str, index: int, count: int, split: Part) -> ImageArray:
    """``count`` of the images, from ``index`` on."""
    found = images_for(what, images, index + count, split=split)
    if len(found.images) <= index:
        raise InputError("--index", f"is {index}, {images} holds {len(found.images)} images", "use a smaller one")
    return found.images[index : index + count]


def _parts(simulation: Simulation) -> Iterator[str | Table]:
    """What the command shows."""
    result = simulation.first
    yield stage_table(result, f"{result.network} on {result.accelerator}, {result.fidelity} fidelity, one image")
    mappings = [[row.layer, row.stage, str(row.pes), row.mapping] for row in result.rows]
    headings = ["layer", "stage", "PEs", "which dimension lies where"]
    yield Table(headings, mappings, "Mapping", text_columns=frozenset((0, 1, 3)))
    whole = sum(result.energy_pj.values()) or 1.0
    energy = [[name, f"{pj * 1e-6:,.2f}", f"{pj / whole:.1%}"] for name, pj in result.energy_pj.items() if pj]
    yield Table(["component", "uJ", "share"], energy, "Energy by component")
    entries = [[entry.node, entry.status, entry.reason] for entry in result.ledger]
    yield Table(["node", "status", "why"], entries, "Ledger", text_columns=frozenset(range(3)))
    yield f"{result.total_cycles:,} cycles, {result.milliseconds:.3f} ms at {result.clock_mhz:g} MHz"
    if simulation.images > 1:
        span = f"{simulation.fastest_cycles:,} to {simulation.slowest_cycles:,}"
        yield (
            f"{simulation.images} images: {simulation.total_cycles:,} cycles in the mean ({span}), "
            f"{simulation.total_energy_uj:,.2f} uJ"
        )
    yield from (f"Note: {note}" for note in result.notes)
