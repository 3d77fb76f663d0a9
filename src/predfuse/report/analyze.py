"""An analysis as terminal tables and as an HTML page; wording and layout only."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterator

from rich.console import Group, RenderableType
from rich.text import Text

from predfuse import __version__
from predfuse.experiments.analyze import MACHINES, SURVIVORS, Analysis, BlockAnalysis
from predfuse.fusion.counts import Operations
from predfuse.graph.from_torch.ledger import Ledger, short_source
from predfuse.report import charts
from predfuse.report.page import Chart, Page, Part, Section, Table, Tile, Tiles
from predfuse.report.terminal import count, narrow, percent, ratio, table, text_columns

SHAPE_HEADINGS = ("block", "channels", "image", "window", "groups", "exp.", "needs", "pruned", "gains")
OPERATION_HEADINGS = ("block", "dense", "pruned", "fused", "dense", "pruned", "fused")
CYCLE_HEADINGS = ("block", "dense", "sparse", "Archon", "of dense", "of sparse")
CYCLE_TITLE = "Cycles per image at cycle fidelity: dense as it is, sparse pruned, archon pruned and fused"
REMEDY_HEADINGS = ("block", "what to change")
MACHINE_HEADINGS = ("machine", "network", "cycles", "ms", "uJ")
ADVICE_HEADINGS = ("block", "wider inside", "more groups", "narrower ends")
LEDGER_HEADINGS = ("node", "kind", "status", "why", "source")
BLOCK_CAPTION = (
    "channels: input-inside-output; window: depthwise kernel/stride; exp.: channels inside per input channel; needs: "
    "the break-even expansion, above which fusion saves multiplications of the unpruned block; pruned: the same "
    "against the pruned block; gains: unpruned multiplications per fused one"
)
WHOLE = "whole network"
_FORMS = {"dense": "as it is", "sparse": "pruned", "fused": "pruned and fused"}


def all_additions(operations: Operations) -> float:
    """Additions of any width: of sums, biases and predictor."""
    return operations.additions + operations.bias_additions + operations.predictor_additions


def shape_rows(analysis: Analysis) -> list[list[str]]:
    """What decides whether each block gains."""
    rows = []
    for block in analysis.blocks:
        shape = block.shape
        window = f"{shape.kernel}x{shape.kernel}" + (f"/{shape.stride}" if shape.stride > 1 else "")
        rows.append(
            [
                block.name,
                f"{shape.channels}-{shape.middle}-{shape.outputs}",
                _image(block.in_shape),
                window,
                str(shape.groups),
                f"{shape.expansion:.2f}",
                f"{block.break_even_expansion:.2f}",
                f"{block.break_even_expansion_pruned:.1f}",
                verdict(block),
            ]
        )
    return rows


def _image(shape: tuple[int, int, int]) -> str:
    return f"{shape[1]}x{shape[2]}"


def verdict(block: BlockAnalysis) -> str:
    """Whether fusion saves multiplications, and how many of the unpruned block there are per fused one."""
    return f"{'yes' if block.gains else 'no'} {block.counts.multiplication_reduction:.2f}x"


def operation_rows(analysis: Analysis) -> list[list[str]]:
    """Multiplications and additions of every block, and of the network."""
    layers = [block.counts for block in analysis.blocks]
    total = dataclasses.replace(analysis.counts.total, name=WHOLE)
    return [[layer.name, *_operations(layer.dense, layer.pruned, layer.fused)] for layer in (*layers, total)]


def _operations(*forms: Operations) -> list[str]:
    multiplications = [count(operations.multiplications) for operations in forms]
    return multiplications + [count(all_additions(operations)) for operations in forms]


def block_cycle_rows(analysis: Analysis) -> list[list[str]]:
    """Cycles of every block, and of the network, on the three machines."""
    rows = [_cycles(block.name, block.cycles, "" if block.archon == "fused" else " plain") for block in analysis.blocks]
    return [*rows, _cycles(WHOLE, {form: result.total_cycles for form, result in analysis.results.items()}, "")]


def _cycles(name: str, cycles: dict[str, int], suffix: str) -> list[str]:
    dense, sparse, fused = (cycles[form] for form in MACHINES)
    speedups = [f"{other / fused:.2f}x" if fused else "-" for other in (dense, sparse)]
    return [name, f"{dense:,}", f"{sparse:,}", f"{fused:,}{suffix}", *speedups]


def machine_rows(analysis: Analysis) -> list[list[str]]:
    """Every machine."""
    return [
        [
            result.accelerator,
            _FORMS[form],
            f"{result.total_cycles:,}",
            f"{result.milliseconds:.2f}",
            f"{result.total_energy_uj:,.0f}",
        ]
        for form, result in analysis.results.items()
    ]


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


def cycle_rows(analysis: Analysis) -> list[list[str]]:
    """Cycles of every block, and of the network, at cycle fidelity."""
    results = analysis.cycle.results
    layers = {form: result.layer_cycles() for form, result in results.items()}
    rows = [
        _cycles(block.name, {form: layers[form].get(block.name, 0) for form in results}, "")
        for block in analysis.blocks
    ]
    return [*rows, _cycles(WHOLE, {form: result.total_cycles for form, result in results.items()}, "")]


def remedy_rows(analysis: Analysis) -> list[list[str]]:
    """What to change, by block."""
    return [[name, remedy] for name, remedy in analysis.cycle.remedies.items()]


def notes(analysis: Analysis) -> list[str]:
    """What the figures assume."""
    result = [
        f"Pruned: every block keeps its largest weights, {percent(analysis.pointwise, 0)} of the 1x1 and "
        f"{percent(analysis.depthwise, 0)} of the depthwise ones (untrained: this says nothing about accuracy).",
        f"Fused additions assume that {percent(SURVIVORS.expand, 0)} of the gates of either stage are open; they "
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


def advice_rows(analysis: Analysis) -> list[list[str]]:
    """What would make each losing block gain, each change by itself: channels inside, groups, channels at the ends."""
    rows = []
    for block in analysis.blocks:
        shape, advice = block.shape, block.advice
        if advice is None:
            continue
        ends = "-" if advice.ends is None else f"{shape.channels}-{shape.outputs} to {advice.ends[0]}-{advice.ends[1]}"
        groups = "-" if advice.groups is None else f"{shape.groups} to {advice.groups}"
        rows.append([block.name, f"{shape.middle} to {advice.middle}", groups, ends])
    return rows


def ledger_rows(ledger: Ledger, everything: bool = True) -> list[list[str]]:
    """Node, what it is, status, reason, source; without ``everything`` only those with a reason."""
    return [
        [entry.name, entry.kind, entry.status, entry.reason, short_source(entry.source)]
        for entry in ledger
        if everything or entry.reason
    ]


def ledger_summary(ledger: Ledger) -> str:
    """How many nodes are what."""
    counts = Counter(entry.status for entry in ledger)
    return ", ".join(f"{counts[status]} {status}" for status in ("fused", "plain", "unsupported") if counts[status])


def terminal(analysis: Analysis) -> Group:
    """Everything for the terminal."""
    lead = " ".join(filter(None, (at_cycle_fidelity(analysis), summary(analysis))))
    parts: list[RenderableType] = [Text(f"{analysis.network.name}: {lead}"), Text("")]
    if analysis.blocks:
        last = (len(analysis.blocks),)
        if analysis.cycle.results:
            parts.append(table(CYCLE_TITLE, CYCLE_HEADINGS, cycle_rows(analysis), last))
        if analysis.cycle.remedies:
            parts.append(text_columns(table("What to change", REMEDY_HEADINGS, remedy_rows(analysis)), 1, 1))
        parts += [
            narrow(table("Blocks", SHAPE_HEADINGS, shape_rows(analysis))),
            Text(BLOCK_CAPTION, style="dim"),
            Text(""),
            table(
                "Multiplications (left) and additions (right) per image",
                OPERATION_HEADINGS,
                operation_rows(analysis),
                strong_rows=last,
            ),
            table("Cycles per image in closed forms", CYCLE_HEADINGS, block_cycle_rows(analysis), last),
        ]
    parts.append(table("Machines", MACHINE_HEADINGS, machine_rows(analysis)))
    advice = advice_rows(analysis)
    if advice:
        parts.append(table("What would make a losing block gain, each change by itself", ADVICE_HEADINGS, advice))
    if analysis.ledger is not None:
        parts += ledger_lines(analysis.ledger, everything=False)
        parts.append(Text(""))
    parts += [Text(note, style="dim") for note in notes(analysis)]
    return Group(*parts)


def ledger_lines(ledger: Ledger, everything: bool = True) -> Iterator[Text]:
    """The ledger for the terminal; without ``everything`` only the nodes with a reason."""
    yield Text(f"Ledger: {ledger_summary(ledger)}.", style="bold")
    for name, kind, status, reason, source in ledger_rows(ledger, everything):
        facts = ", ".join(filter(None, (kind, status, source)))
        yield Text(f"  {name} ({facts})" + (f": {reason}" if reason else ""))


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
        last = frozenset((len(analysis.blocks),))
        yield Section(
            "Cycles at cycle fidelity", [Table(CYCLE_HEADINGS, cycle_rows(analysis), CYCLE_TITLE, strong_rows=last)]
        )
    if analysis.cycle.remedies:
        remedies = Table(REMEDY_HEADINGS, remedy_rows(analysis), text_columns=frozenset((0, 1)))
        yield Section("What to change in each block", [remedies])
    if analysis.blocks:
        yield Section("Blocks", _block_parts(analysis))
        last = frozenset((len(analysis.blocks),))
        headings = [f"{kind} {form}" for kind in ("mult.", "add.") for form in OPERATION_HEADINGS[1:4]]
        operations = Table(("block", *headings), operation_rows(analysis), "Per image.", strong_rows=last)
        yield Section("Operations", [operations])
        cycles = Table(CYCLE_HEADINGS, block_cycle_rows(analysis), "Per image, and Archon's speedup.", strong_rows=last)
        yield Section("Cycles in closed forms", [Chart(_cost_chart(analysis)), cycles])
    machines = Table(MACHINE_HEADINGS, machine_rows(analysis), text_columns=frozenset((0, 1)))
    yield Section("Machines", [machines])
    advice = advice_rows(analysis)
    if advice:
        text = "Each change by itself, everything else left as it is, makes the block gain."
        yield Section("What to change", [text, Table(ADVICE_HEADINGS, advice)])
    if analysis.ledger is not None:
        entries = Table(LEDGER_HEADINGS, ledger_rows(analysis.ledger), text_columns=frozenset(range(5)))
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
        tiles.append(Tile(ratio(speedup), machines, "cycle fidelity, pruned, fused"))
    return Tiles(tiles)


def _block_parts(analysis: Analysis) -> list[Part]:
    labels = [block.name for block in analysis.blocks]
    ratios = [block.counts.multiplication_reduction for block in analysis.blocks]
    colours = ["green" if block.gains else "red" for block in analysis.blocks]
    chart = charts.ratio_bars(labels, ratios, colours, "multiplications unfused per fused one")
    text_columns = frozenset((0, 1, 2, 3, 8))
    return [
        Chart(chart, "Blocks beyond the dotted line gain from fusion, blocks before it lose."),
        Table(
            SHAPE_HEADINGS,
            shape_rows(analysis),
            BLOCK_CAPTION,
            text_columns=text_columns,
        ),
    ]


def _cost_chart(analysis: Analysis) -> object:
    blocks = analysis.blocks
    series = {
        "dense machine": ([block.cycles["dense"] for block in blocks], "grey"),
        "sparse machine, pruned": ([block.cycles["sparse"] for block in blocks], "blue"),
        "Archon, pruned and fused": ([block.cycles["fused"] for block in blocks], "green"),
    }
    return charts.grouped_bars([block.name for block in blocks], series, "cycles per image")
