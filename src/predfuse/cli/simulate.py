"""``predfuse simulate``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from predfuse.cli.network_options import SOURCE_HELP, Input, Mean, Std, Weights, module_options

if TYPE_CHECKING:
    from rich.console import Console

    from predfuse.graph.nodes import Network
    from predfuse.hardware import AcceleratorSpec, SimulationResult
    from predfuse.hardware.cycle.run import CycleRun
    from predfuse.integer.program import Program


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("simulate")(simulate)


def simulate(
    source: Annotated[str, typer.Argument(help=f"{SOURCE_HELP} Or a compiled program.", metavar="MODEL")],
    accelerator: Annotated[
        str, typer.Option("--accelerator", "-a", help="Shipped accelerator (see predfuse accelerators) or YAML file.")
    ],
    fidelity: Annotated[
        str, typer.Option(help="paper: the published closed forms. cycle: real weights, real masks, stalls.")
    ] = "paper",
    images: Annotated[
        str | None,
        typer.Option(help="Images whose masks fused blocks take, at cycle fidelity: data set, folder or file."),
    ] = None,
    index: Annotated[int, typer.Option("--index", help="Which of the images, from 0.")] = 0,
    prune: Annotated[
        bool,
        typer.Option("--prune", help="First prune blocks by magnitude: 20 % of 1x1, 30 % of depthwise weights stay."),
    ] = False,
    allow_unsupported: Annotated[
        bool, typer.Option("--allow-unsupported", help="List layers the machine cannot run instead of failing.")
    ] = False,
    weights: Weights = None,
    input_shape: Input = None,
    mean: Mean = "",
    std: Std = "",
    json_path: Annotated[
        Path | None, typer.Option("--json", help="Also write the result as JSON; - writes JSON alone.")
    ] = None,
    trace: Annotated[
        Path | None, typer.Option("--trace", help="Also write when everything happens, for ui.perfetto.dev.")
    ] = None,
) -> None:
    """Cycles, utilisation and energy of one image, per layer and stage, with a ledger of every node."""
    import json

    from rich.console import Console

    from predfuse.errors import InputError
    from predfuse.files import require_writable, write_text_atomically
    from predfuse.graph.nodes import Network
    from predfuse.hardware import load_spec, prune_blocks
    from predfuse.hardware.closed_form.simulate import simulate as simulate_network
    from predfuse.integer.as_network import integer_network
    from predfuse.integer.program_io import is_program, load_program
    from predfuse.sources import load_source

    to_stdout = json_path == Path("-")
    for path in (None if to_stdout else json_path, trace):
        if path is not None:
            require_writable(path)
    if trace is not None and fidelity != "cycle":
        raise InputError("--trace", f"needs cycle fidelity, not {fidelity}", "add --fidelity cycle")
    spec = load_spec(accelerator)
    what: Network | Program
    if is_program(source):
        what = load_program(Path(source))
    else:
        options = module_options(weights, input_shape, mean, std)
        what = load_source(source, options, allow_unsupported=allow_unsupported)
    if prune:
        if not isinstance(what, Network):
            raise InputError("--prune", "a program is compiled already", "prune the network before compiling")
        what = prune_blocks(what)
    if fidelity == "cycle":
        run = _run_cycles(what, spec, images, index)
        result = run.result
        if trace is not None:
            from predfuse.hardware.cycle.trace import chrome_trace

            write_text_atomically(trace, json.dumps(chrome_trace(run)) + "\n")
    else:
        network = what if isinstance(what, Network) else integer_network(what)
        result = simulate_network(network, spec, fidelity, allow_unsupported=allow_unsupported)
    text = json.dumps(result.as_json(), indent=2) + "\n"
    if to_stdout:
        typer.echo(text, nl=False)
        return
    _print(result, Console())
    if json_path is not None:
        write_text_atomically(json_path, text)
    for path in (json_path, trace):
        if path is not None:
            typer.echo(f"wrote {path}")


def _run_cycles(what: Network | Program, spec: AcceleratorSpec, images: str | None, index: int) -> CycleRun:
    """Cycle fidelity for one of the images."""
    from predfuse.data.image_sources import load_images
    from predfuse.errors import InputError
    from predfuse.hardware.cycle.simulate import simulate_cycles, simulate_program
    from predfuse.integer.calibrate import normalise
    from predfuse.integer.program import Program

    pixels = None
    if images is not None:
        if index < 0:
            raise InputError("--index", f"is {index}", "use 0 or more")
        found = load_images(images, what.input_shape, index + 1)
        if len(found.images) <= index:
            raise InputError("--index", f"is {index}, {images} holds {len(found.images)} images", "use a smaller one")
        pixels = found.images[index : index + 1]
    if isinstance(what, Program):
        return simulate_program(what, spec, pixels)[0]
    return simulate_cycles(what, spec, None if pixels is None else normalise(what, pixels))[0]


def _print(result: SimulationResult, console: Console) -> None:
    from predfuse.report.terminal import narrow, table, text_columns

    rows = [
        [
            row.layer,
            row.stage,
            f"{row.compute_cycles:,}",
            f"{row.stall_cycles:,}",
            f"{row.utilisation:.1%}",
            f"{row.total_energy_uj:,.2f}",
        ]
        for row in result.rows
    ]
    rows.append(
        [
            "total",
            "",
            f"{result.compute_cycles:,}",
            f"{result.stall_cycles:,}",
            "",
            f"{result.total_energy_uj:,.2f}",
            "",
        ]
    )
    title = f"{result.network} on {result.accelerator}, {result.fidelity} fidelity, one image"
    headings = ["layer", "stage", "compute cycles", "stall cycles", "utilisation", "uJ"]
    console.print(narrow(text_columns(table(title, headings, rows, [len(rows) - 1]), 1)))
    mappings = [[row.layer, row.stage, str(row.pes), row.mapping] for row in result.rows]
    console.print(
        text_columns(table("Mapping", ["layer", "stage", "PEs", "which dimension lies where"], mappings), 1, 3)
    )
    energy = result.energy_pj
    whole = sum(energy.values()) or 1.0
    parts = [[name, f"{pj * 1e-6:,.2f}", f"{pj / whole:.1%}"] for name, pj in energy.items() if pj]
    console.print(table("Energy by component", ["component", "uJ", "share"], parts))
    entries = [[entry.node, entry.status, entry.reason] for entry in result.ledger]
    console.print(text_columns(table("Ledger", ["node", "status", "why"], entries), 1, 2))
    console.print(f"{result.total_cycles:,} cycles, {result.milliseconds:.3f} ms at {result.clock_mhz:g} MHz")
    for note in result.notes:
        console.print(f"Note: {note}", highlight=False)
