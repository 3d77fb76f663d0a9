"""The comparison as tables and as one HTML page: equal terms first, then the published pairs."""

from __future__ import annotations

from predfuse import __version__
from predfuse.experiments.compare import CompareResult, Machine, stage_cycles
from predfuse.hardware.area import area_items
from predfuse.report import equal_terms
from predfuse.report.charts import grouped_bars, ratio_bars, stacked_bars
from predfuse.report.page import Chart, Page, Section, Tile, Tiles, render
from predfuse.report.stages import stage_table
from predfuse.report.table import Table

STAGES = {
    "main": "main work",
    "expand_or_layer": "main work",
    "depthwise": "main work",
    "project": "main work",
    "predict_expand": "waiting for predictions",
    "predict_depthwise": "waiting for predictions",
    "stall": "waiting for the DRAM",
}
"""What the cycles of a stage are shown as."""
KIND_COLOURS = {"main work": "blue", "waiting for predictions": "orange", "waiting for the DRAM": "red"}
COMPONENT_COLOURS = {
    "dram": "red",
    "global_buffer": "orange",
    "mask_buffer": "purple",
    "register_files": "green",
    "multipliers": "blue",
    "adders": "sky",
    "control": "grey",
}
ROLE_COLOURS = {"dense": "grey", "sparse": "orange", "fused": "blue"}


def _label(machine: Machine) -> str:
    return f"{machine.contender.label} on {machine.spec.name}"


def machine_table(result: CompareResult) -> Table:
    """A row per machine: what runs on it and what that costs."""
    trained = any(machine.contender.accuracy is not None for machine in result.machines)
    headings = ["network", "machine", *(["accuracy"] if trained else []), "cycles", "stalled", "ms", "uJ", "mm2"]
    headings += ["dense", "sparse"]
    rows = []
    for machine in result.machines:
        costs, accuracy = machine.costs, machine.contender.accuracy
        rows.append(
            [
                machine.contender.label,
                machine.spec.name,
                *([f"{accuracy:.1%}" if accuracy is not None else ""] if trained else []),
                f"{costs.total_cycles:,}",
                f"{costs.stall_cycles / costs.total_cycles:.1%}",
                f"{machine.spec.milliseconds(costs.total_cycles):.2f}",
                f"{costs.total_energy_uj:,.0f}" if costs.total_energy_uj >= 100 else f"{costs.total_energy_uj:.1f}",
                f"{machine.area_um2 * 1e-6:.2f}",
                f"{result.speedup(machine, result.dense):.2f}x",
                f"{result.speedup(machine, result.sparse):.2f}x",
            ]
        )
    caption = f"One image, {result.fidelity} fidelity; the last columns are speed-ups over dense and sparse"
    return Table(headings, rows, caption, _best(result), frozenset((0, 1)))


def who_table(result: CompareResult) -> Table:
    """A numbered row per machine: what runs on it. With :func:`cost_table` the narrow form of :func:`machine_table`."""
    rows = [
        [str(number), machine.contender.label, machine.spec.name, machine.scale]
        for number, machine in enumerate(result.machines, start=1)
    ]
    return Table(["", "network", "machine", "size"], rows, "The published pairs", _best(result), frozenset((1, 2, 3)))


def cost_table(result: CompareResult) -> Table:
    """Costs of the machines of :func:`who_table`, by their numbers."""
    full = machine_table(result)
    rows = [[str(number), *row[2:]] for number, row in enumerate(full.rows, start=1)]
    return Table(["", *full.headings[2:]], rows, full.caption, full.strong_rows, frozenset())


def terminal_tables(result: CompareResult) -> list[Table]:
    """What the command prints: equal terms, then the published pairs."""
    equal = [] if result.equal is None else equal_terms.tables(result.equal)
    return [*equal, who_table(result), cost_table(result)]


def headlines(result: CompareResult) -> list[str]:
    """The worst ratio on equal terms, then what holds beside the machines as published."""
    equal = [] if result.equal is None else [equal_terms.worst_sentence(result.equal)]
    return [*equal, headline(result)]


def headline(result: CompareResult) -> str:
    """What the fused network gains over the machines as published; no claim on equal terms."""
    best = result.best
    ratio = best.costs.total_energy_uj / result.dense.costs.total_energy_uj
    return (
        f"{_label(best)}: {result.speedup(best, result.dense):.2f}x the speed of dense, "
        f"{result.speedup(best, result.sparse):.2f}x of sparse, {ratio:.2f} of dense's energy; both as published"
    )


def _best(result: CompareResult) -> frozenset[int]:
    return frozenset(place for place, machine in enumerate(result.machines) if machine is result.best)


def kind_cycles(machine: Machine) -> dict[str, int]:
    """Cycles of the first image by what they are spent on."""
    kinds = dict.fromkeys(KIND_COLOURS, 0)
    for stage, cycles in stage_cycles(machine.result).items():
        kinds[STAGES.get(stage, "main work")] += cycles
    return kinds


def breakdown_table(result: CompareResult) -> Table:
    """What the cycles of every machine are spent on."""
    rows = []
    for number, machine in enumerate(result.machines, start=1):
        kinds, total = kind_cycles(machine), machine.result.total_cycles
        shares = [f"{kinds[kind] / total:.1%}" for kind in kinds]
        rows.append([f"{number}", machine.spec.name, *shares])
    headings = ["", "machine", *KIND_COLOURS]
    return Table(headings, rows, "What the cycles are spent on", _best(result), frozenset((1,)))


def area_table(result: CompareResult) -> Table:
    """Area by component of the best machine and the published Archon."""
    specs = {machine.spec.name: machine.spec for machine in result.machines if machine.role == "fused"}
    names: list[str] = []
    areas: dict[str, dict[str, float]] = {}
    for name, spec in specs.items():
        areas[name] = {item.component: item.area_um2 for item in area_items(spec) if item.area_um2}
        names += [component for component in areas[name] if component not in names]
    rows = [[component, *(f"{areas[name].get(component, 0):,.0f}" for name in specs)] for component in names]
    rows.append(["total", *(f"{sum(areas[name].values()):,.0f}" for name in specs)])
    return Table(["component", *specs], rows, "Area (um2)", frozenset((len(rows) - 1,)))


def render_report(result: CompareResult) -> str:
    """The comparison as one HTML page."""
    best, machines = result.best, result.machines
    labels = [_label(machine) for machine in machines]
    energies = {
        name: ([machine.result.energy_pj[name] * 1e-6 for machine in machines], colour)
        for name, colour in COMPONENT_COLOURS.items()
    }
    cycles = {
        kind: ([float(kind_cycles(machine)[kind]) for machine in machines], colour)
        for kind, colour in KIND_COLOURS.items()
    }
    speedups = [result.speedup(machine, result.dense) for machine in machines]
    colours = [ROLE_COLOURS[machine.role] for machine in machines]
    tiles = [
        Tile(f"{result.speedup(best, result.dense):.2f}x", "the speed of the dense machine as published", _label(best)),
        Tile(f"{result.speedup(best, result.sparse):.2f}x", "the speed of the sparse machine as published"),
        Tile(f"{best.costs.total_energy_uj / result.dense.costs.total_energy_uj:.2f}", "of the dense machine's energy"),
        Tile(f"{best.area_um2 * 1e-6:.2f} mm2", "area", f"dense {result.dense.area_um2 * 1e-6:.2f} mm2"),
    ]
    sections = [
        *([] if result.equal is None else equal_terms.sections(result.equal)),
        Section("As published", [Tiles(tiles), machine_table(result), *result.notes]),
        Section(
            "Speed",
            [
                Chart(ratio_bars(labels, speedups, colours, "speed-up over the dense machine")),
                Chart(stacked_bars(labels, cycles, "cycles"), "What the cycles of one image are spent on."),
                breakdown_table(result),
            ],
        ),
        Section("Energy", [Chart(stacked_bars(labels, energies, "uJ"), "Energy of one image by component.")]),
        Section("Area", [area_table(result)]),
        Section("Layers", [stage_table(best.result, f"{_label(best)}, first image")]),
    ]
    if any(machine.contender.accuracy is not None for machine in machines):
        shown = {machine.contender.label: machine.contender.accuracy for machine in machines[:3]}
        bars = {"accuracy": ([100 * (value or 0.0) for value in shown.values()], "blue")}
        sections.append(Section("Accuracy", [Chart(grouped_bars(list(shown), bars, "% of images"))]))
    facts = [
        ("networks", result.networks),
        ("fidelity", result.fidelity),
        ("images", f"{result.images} ({result.source})"),
        ("predfuse", __version__),
    ]
    survivors = best.contender.survivors
    if survivors is not None:
        facts.append(("survivors", f"{survivors[0]:.1%} of the first, {survivors[1]:.1%} of the second activations"))
    lead = "The same task on three kinds of machine: a compact network dense, the same pruned, and a fused network."
    return render(Page("Dense, sparse, fused", lead, sections, facts))
