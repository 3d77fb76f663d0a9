"""An analysis as terminal tables and as an HTML page; wording and layout only."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterator, Mapping

from predfuse import __version__
from predfuse.experiments.analyze import MACHINES, SURVIVORS, Analysis, BlockAnalysis
from predfuse.graph.from_torch.ledger import Ledger, short_source
from predfuse.hardware import SimulationResult
from predfuse.report import charts
from predfuse.report.page import Chart, Page, Section, Tile, Tiles
from predfuse.report.table import Table, count

BLOCK_CAPTION = (
    "channels: input-inside-output; window: depthwise kernel/stride; exp.: channels inside per input channel; needs: "
    "the break-even expansion, above which fusion saves multiplications of the unpruned block; pruned: the same "
    "against the pruned block; gains: unpruned multiplications per fused one"
)
WHOLE = "whole network"
_FORMS = {"dense": "as it is", "sparse": "pruned", "fused": "pruned and fused"}


def shape_table(analysis: Analysis) -> Table:
    """What decides whether each block gains."""
    rows = []
    for block in analysis.blocks:
        shape = block.shape
        window = f"{shape.kernel}x{shape.kernel}" + (f"/{shape.stride}" if shape.stride > 1 else "")
        rows.append(
            [
                block.name,
                f"{shape.channels}-{shape.middle}-{shape.outputs}",
                f"{block.in_shape[1]}x{block.in_shape[2]}",
                window,
                str(shape.groups),
                f"{shape.expansion:.2f}",
                f"{block.break_even_expansion:.2f}",
                f"{block.break_even_expansion_pruned:.1f}",
                verdict(block),
            ]
        )
    headings = ("block", "channels", "image", "window", "groups", "exp.", "needs", "pruned", "gains")
    return Table(headings, rows, "Blocks", text_columns=frozenset((0, 1, 2, 3, 8)))


def verdict(block: BlockAnalysis) -> str:
    """Whether fusion saves multiplications, and how many of the unpruned block there are per fused one."""
    return f"{'yes' if block.gains else 'no'} {block.counts.multiplication_reduction:.2f}x"


def operation_table(analysis: Analysis) -> Table:
    """Multiplications and additions of every block, and of the network."""
    layers = [block.counts for block in analysis.blocks]
    rows = []
    for layer in (*layers, dataclasses.replace(analysis.counts.total, name=WHOLE)):
        forms = (layer.dense, layer.pruned, layer.fused)
        rows.append(
            [
                layer.name,
                *(count(operations.multiplications) for operations in forms),
                *(count(operations.all_additions) for operations in forms),
            ]
        )
    headings = ("block", *(f"{kind} {form}" for kind in ("mult.", "add.") for form in ("dense", "pruned", "fused")))
    return Table(headings, rows, "Multiplications and additions per image", frozenset((len(layers),)))


def closed_form_table(analysis: Analysis) -> Table:
    """Cycles of every block, and of the network, on the three machines, in closed forms."""
    rows = [_cycles(block.name, block.cycles, "" if block.archon == "fused" else " plain") for block in analysis.blocks]
    return _cycle_table(rows, analysis.results, "Cycles per image in closed forms")


def cycle_table(analysis: Analysis) -> Table:
    """Cycles of every block, and of the network, at cycle fidelity."""
    results = analysis.cycle.results
    layers = {form: result.layer_cycles() for form, result in results.items()}
    rows = [
        _cycles(block.name, {form: layers[form].get(block.name, 0) for form in results}) for block in analysis.blocks
    ]
    title = "Cycles per image at cycle fidelity: dense as it is, sparse pruned, archon pruned and fused"
    return _cycle_table(rows, results, title)


def _cycle_table(rows: list[list[str]], results: Mapping[str, SimulationResult], caption: str) -> Table:
    whole = _cycles(WHOLE, {form: result.total_cycles for form, result in results.items()})
    headings = ("block", "dense", "sparse", "Archon", "of dense", "of sparse")
    return Table(headings, [*rows, whole], caption, frozenset((len(rows),)))


def _cycles(name: str, cycles: Mapping[str, int], suffix: str = "") -> list[str]:
    dense, sparse, fused = (cycles[form] for form in MACHINES)
    speedups = [f"{other / fused:.2f}x" if fused else "-" for other in (dense, sparse)]
    return [name, f"{dense:,}", f"{sparse:,}", f"{fused:,}{suffix}", *speedups]


def machine_table(analysis: Analysis) -> Table:
    """Every machine."""
    rows = [
        [
            result.accelerator,
            _FORMS[form],
            f"{result.total_cycles:,}",
            f"{result.milliseconds:.2f}",
            f"{result.total_energy_uj:,.0f}",
        ]
        for form, result in analysis.results.items()
    ]
    return Table(("machine", "network", "cycles", "ms", "uJ"), rows, "Machines", text_columns=frozenset((0, 1)))


def summary(analysis: Analysis) -> str:
    """The verdict in a few sentences."""
    blocks, gaining = len(analysis.blocks), len(analysis.gaining)
    total = analysis.counts.total
    if not blocks:
        return "No expand-depthwise-project block: fusion has nothing to work on here."
    dense = total.dense.multiplications
    every = f"Fusing all of them takes {count(total.fused.multiplications)} multiplications per image"
    best = f"fusing just those that gain takes {count(analysis.best_multiplications)}"
    return (
        f"Counting multiplications alone, {gaining} of {blocks} blocks gain from fusion. {every}, {best}, fusing none "
        f"{count(dense)} ({count(total.pruned.multiplications)} with pruned blocks)."
    )


def at_cycle_fidelity(analysis: Analysis) -> str:
    """The lead: what the network takes once it is pruned, fused or not, with everything that is real."""
    results = analysis.cycle.results
    if not analysis.blocks or not results:
        return ""
    fused = results["fused"].total_cycles
    sparse, own = results["sparse"].layer_cycles(), results["fused"].layer_cycles()
    faster = sum(own.get(block.name, 0) < sparse.get(block.name, 0) for block in analysis.blocks)
    parts = []
    for form, network in (("sparse", "pruned and unfused"), ("dense", "as it is")):
        factor = results[form].total_cycles / fused
        word = f"{factor:.2f} times faster than" if factor >= 1 else f"{1 / factor:.2f} times slower than"
        parts.append(f"{word} {network} on {results[form].accelerator}")
    return (
        f"Cycle by cycle, pruned by magnitude and fused on {results['fused'].accelerator}, an image takes {fused:,} "
        f"cycles: {' and '.join(parts)}. {faster} of {len(analysis.blocks)} blocks are faster fused."
    )


def remedy_table(analysis: Analysis) -> Table:
    """What to change in each block, as a table."""
    rows = [[name, remedy] for name, remedy in analysis.cycle.remedies.items()]
    return Table(("block", "what to change"), rows, "What to change", text_columns=frozenset((0, 1)))


def notes(analysis: Analysis) -> list[str]:
    """What the figures assume."""
    result = [
        f"Pruned: every block keeps its largest weights, {analysis.pointwise:.0%} of the 1x1 and "
        f"{analysis.depthwise:.0%} of the depthwise ones (untrained: this says nothing about accuracy).",
        f"Fused additions assume that {SURVIVORS.expand:.0%} of the gates of either stage are open; they "
        "include biases and the predictor's additions of few bits.",
        "Fused multiplications depend neither on pruning nor on the channels inside.",
        "Cycle fidelity: real lists, edges and stalls of a copy pruned by magnitude, with stand-in predictors where "
        "there are none; which gates are open is drawn.",
        "Cycles of the closed forms (fidelity paper) know no stalls, no list lengths and no halos.",
        *analysis.cycle.notes,
    ]
    if any(
        "relu6" in (block.expand_activation, block.depthwise_activation) for block in analysis.network.bottlenecks()
    ):
        result.append("On Archon a predicted ReLU6 is a gate like a ReLU: nothing is clamped at 6.")
    reasons: dict[str, list[str]] = {}
    for block in analysis.blocks:
        if block.archon != "fused":
            reasons.setdefault(block.archon, []).append(block.name)
    result += [f"Plain on Archon: {', '.join(names)} ({reason})." for reason, names in reasons.items()]
    if analysis.unsupported:
        result.append(f"Not counted, because unsupported: {', '.join(analysis.unsupported)}.")
    return result


def advice_table(analysis: Analysis) -> Table:
    """What would make each losing block gain, each change by itself: channels inside, groups, channels at the ends."""
    rows = []
    for block in analysis.blocks:
        shape, advice = block.shape, block.advice
        if advice is None:
            continue
        ends = "-" if advice.ends is None else f"{shape.channels}-{shape.outputs} to {advice.ends[0]}-{advice.ends[1]}"
        groups = "-" if advice.groups is None else f"{shape.groups} to {advice.groups}"
        rows.append([block.name, f"{shape.middle} to {advice.middle}", groups, ends])
    caption = "What would make a losing block gain, each change by itself"
    return Table(("block", "wider inside", "more groups", "narrower ends"), rows, caption)


def ledger_summary(ledger: Ledger) -> str:
    """How many nodes of a ledger have each status, in one line."""
    counts = Counter(entry.status for entry in ledger)
    return ", ".join(f"{counts[status]} {status}" for status in ("fused", "plain", "unsupported") if counts[status])


def terminal(analysis: Analysis) -> list[str | Table]:
    """Everything for the terminal."""
    lead = " ".join(filter(None, (at_cycle_fidelity(analysis), summary(analysis))))
    parts: list[str | Table] = [f"{analysis.network.name}: {lead}", ""]
    if analysis.blocks:
        parts += [cycle_table(analysis)] if analysis.cycle.results else []
        parts += [remedy_table(analysis)] if analysis.cycle.remedies else []
        parts += [shape_table(analysis), BLOCK_CAPTION, "", operation_table(analysis), closed_form_table(analysis)]
    parts.append(machine_table(analysis))
    advice = advice_table(analysis)
    parts += [advice] if advice.rows else []
    if analysis.ledger is not None:
        parts += [*ledger_lines(analysis.ledger, everything=False), ""]
    return [*parts, *notes(analysis)]


def ledger_lines(ledger: Ledger, everything: bool = True) -> Iterator[str]:
    """The ledger for the terminal; without ``everything`` only the nodes with a reason."""
    yield f"Ledger: {ledger_summary(ledger)}."
    for entry in ledger:
        if everything or entry.reason:
            facts = ", ".join(filter(None, (entry.kind, entry.status, short_source(entry.source))))
            yield f"  {entry.name} ({facts})" + (f": {entry.reason}" if entry.reason else "")


def page(analysis: Analysis) -> Page:
    """The HTML report."""
    return Page(
        title=f"What fusion buys on {analysis.network.name}",
        lead=(
            "An expand-depthwise-project block whose ReLUs are predicted collapses into one convolution: its "
            "multiplications then no longer depend on how wide it is inside. That pays where a block expands far "
            "enough; this page says where it does, and what to change where it does not."
        ),
        sections=list(_sections(analysis)),
        facts=[
            ("predfuse", __version__),
            ("input", "x".join(map(str, analysis.network.input_shape))),
            *((f"note {number}", note) for number, note in enumerate(notes(analysis), start=1)),
        ],
    )


def _sections(analysis: Analysis) -> Iterator[Section]:
    lead = at_cycle_fidelity(analysis)
    yield Section("At a glance", [*([lead] if lead else []), _tiles(analysis), summary(analysis)])
    if lead:
        yield Section("Cycles at cycle fidelity", [cycle_table(analysis)])
    if analysis.cycle.remedies:
        yield Section("What to change in each block", [remedy_table(analysis)])
    if analysis.blocks:
        yield Section("Blocks", [Chart(*_gain_chart(analysis)), shape_table(analysis), BLOCK_CAPTION])
        yield Section("Operations", [operation_table(analysis)])
        yield Section("Cycles in closed forms", [Chart(_cost_chart(analysis)), closed_form_table(analysis)])
    yield Section("Machines", [machine_table(analysis)])
    advice = advice_table(analysis)
    if advice.rows:
        yield Section("What to change", [advice])
    if analysis.ledger is not None:
        rows = [
            [entry.name, entry.kind, entry.status, entry.reason, short_source(entry.source)]
            for entry in analysis.ledger
        ]
        entries = Table(("node", "kind", "status", "why", "source"), rows, text_columns=frozenset(range(5)))
        yield Section("Ledger", [f"Every node of the network: {ledger_summary(analysis.ledger)}.", entries])


def _tiles(analysis: Analysis) -> Tiles:
    total = analysis.counts.total
    tiles = [
        Tile(f"{len(analysis.gaining)} of {len(analysis.blocks)}", "blocks gain from fusion"),
        Tile(count(total.dense.multiplications), "multiplications", "per image, unfused"),
        Tile(count(analysis.best_multiplications), "with the gaining blocks fused", "multiplications per image"),
    ]
    results = analysis.cycle.results
    if results:
        speedup = results["sparse"].total_cycles / max(results["fused"].total_cycles, 1)
        machines = f"{results['fused'].accelerator} against {results['sparse'].accelerator}"
        tiles.append(Tile(f"{speedup:.1f}x", machines, "cycle fidelity, pruned, fused"))
    return Tiles(tiles)


def _gain_chart(analysis: Analysis) -> tuple[object, str]:
    """Chart and caption."""
    labels = [block.name for block in analysis.blocks]
    ratios = [block.counts.multiplication_reduction for block in analysis.blocks]
    colours = ["green" if block.gains else "red" for block in analysis.blocks]
    chart = charts.ratio_bars(labels, ratios, colours, "multiplications unfused per fused one")
    return chart, "Blocks beyond the dotted line gain from fusion, blocks before it lose."


def _cost_chart(analysis: Analysis) -> object:
    blocks = analysis.blocks
    series = {
        "dense machine": ([block.cycles["dense"] for block in blocks], "grey"),
        "sparse machine, pruned": ([block.cycles["sparse"] for block in blocks], "blue"),
        "Archon, pruned and fused": ([block.cycles["fused"] for block in blocks], "green"),
    }
    return charts.grouped_bars([block.name for block in blocks], series, "cycles per image")
