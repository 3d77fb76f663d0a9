"""What stands on equal terms, as tables and charts: the worst ratio first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from predfuse.experiments.confidence import Accuracy
from predfuse.experiments.equal_terms import INTERPOLATED, EqualTerms
from predfuse.experiments.pairs import Cost, Pair
from predfuse.report.charts import lines, points
from predfuse.report.page import Chart, Part, Section
from predfuse.report.table import Table

COLOURS = ("blue", "orange", "green", "red", "purple", "sky", "grey")


def worst_sentence(equal: EqualTerms) -> str:
    """The headline: the worst ratio of all."""
    pair = equal.worst
    if pair is None:
        return "No two machines of equal area stand beside each other: nothing is claimed."
    return (
        f"Worst on equal terms: {pair.network} on {pair.machine} takes {1 / pair.speedup:.2f} of the cycles and "
        f"{pair.energy_ratio:.2f} of the energy of {pair.rival_network} on {pair.rival_machine} ({pair.terms})"
    )


def tables(equal: EqualTerms) -> list[Table]:
    """All tables: same network, different networks, what they reached, and bandwidths."""
    found = [_same_network(name, pairs) for name, pairs in _by_network(equal.same_network)]
    found += [_bounds(name, pairs) for name, pairs in _by_network(equal.bounds)]
    found += [_different_networks(name, pairs) for name, pairs in _by_network(equal.different_networks)]
    if equal.different_networks:
        found.append(_accuracies(equal.costs))
    found += [_bandwidths(name, pairs) for name, pairs in _by_network(equal.bandwidths)]
    return found


def sections(equal: EqualTerms) -> list[Section]:
    """The sections of the HTML report."""
    parts: list[Part] = [worst_sentence(equal), *tables(equal)]
    for of_area in (True, False):
        pairs = [*equal.same_network] if of_area else [*equal.bandwidths]
        for value, title in (("speedup", "cycles unfused / fused"), ("energy_ratio", "energy fused / unfused")):
            chart = _curve(pairs, value, title, of_area)
            parts += [Chart(chart)] if chart is not None else []
    found = [Section("On equal terms", parts)]
    trained = [cost for cost in equal.costs if cost.contender.tested is not None]
    if equal.different_networks:
        note = "Accuracy on the whole test set in training; bars: 95 % intervals of all seeds."
        charts = [_scatter(trained, name) for name in ("cycles", "uJ")]
        found.append(Section("Accuracy over cost", [note, *map(Chart, charts)]))
    return found


def _by_network(pairs: Sequence[Pair]) -> list[tuple[str, list[Pair]]]:
    names = dict.fromkeys(pair.network for pair in pairs)
    return [(name, [pair for pair in pairs if pair.network == name]) for name in names]


def _cells(pair: Pair) -> list[str]:
    """Both machines, their cycles, and what the first gains."""
    cycles = [f"{pair.cycles:,.0f}", f"{pair.rival_cycles:,.0f}"]
    return [pair.machine, pair.rival_machine, *cycles, f"{pair.speedup:.2f}x", f"{pair.energy_ratio:.2f}"]


def _same_network(name: str, pairs: Sequence[Pair]) -> Table:
    rows = [_cells(pair) for pair in pairs]
    headings = ["fused on", "over unfused on", "cycles", "unfused", "faster", "energy"]
    caption = f"Same network, {name}: fused over unfused and pruned, areas within a tenth"
    return Table(headings, rows, caption, frozenset((0,)), frozenset((0, 1)))


def _bounds(name: str, pairs: Sequence[Pair]) -> Table:
    rows = [_cells(pair) for pair in pairs]
    headings = ["fused on", "over", "cycles", "bound", "faster", "energy"]
    caption = f"{name} over itself if every zero weight and activation were skipped (no such machine exists)"
    return Table(headings, rows, caption, frozenset(), frozenset((0, 1)))


def _different_networks(name: str, pairs: Sequence[Pair]) -> Table:
    rows = [[*_cells(pair), "equal" if pair.terms == INTERPOLATED else pair.terms.partition(":")[0]] for pair in pairs]
    headings = ["on", "over others on", "cycles", "others", "faster", "energy", "accuracy"]
    caption = f"{name} over other networks at its accuracy (at most: all others are more accurate; at least: less)"
    return Table(headings, rows, caption, frozenset((0,)), frozenset((0, 1, 6)))


def _accuracies(costs: Sequence[Cost]) -> Table:
    known = {cost.contender.label: cost.contender.tested for cost in costs}
    rows = [
        [label, f"{tested.share:.2%}", interval(tested), str(tested.seeds)]
        for label, tested in known.items()
        if tested is not None
    ]
    headings = ["network", "right", "95 % interval", "seeds"]
    return Table(headings, rows, "Accuracy on the whole test set, in training")


def interval(tested: Accuracy) -> str:
    """Both ends of an interval in words."""
    return f"{tested.low:.2%} to {tested.high:.2%}"


def _bandwidths(name: str, pairs: Sequence[Pair]) -> Table:
    bits = list(dict.fromkeys(pair.dram_bits_per_cycle for pair in pairs))
    gains: dict[tuple[str, str], dict[int | None, float]] = {}
    for pair in pairs:
        gains.setdefault((pair.machine, pair.rival_machine), {})[pair.dram_bits_per_cycle] = pair.speedup
    # A pair of machines may be the best at some bandwidths alone.
    rows = [
        [*machines, *(f"{found[each]:.2f}x" if each in found else "-" for each in bits)]
        for machines, found in sorted(gains.items(), key=lambda item: min(item[1].values()))
    ]
    caption = f"{name}: times as fast fused, by DRAM bits a cycle"
    return Table(["fused on", "over unfused on", *map(str, bits)], rows, caption, frozenset(), frozenset((0, 1)))


def _curve(pairs: Sequence[Pair], value: str, title: str, of_area: bool) -> Any:
    """Gains over area, a line per kind of rival, or over bandwidth, a line per pair of machines; None for one point."""
    series: dict[str, dict[float, float]] = {}
    for pair in pairs:
        machine = pair.rival_machine.rsplit("-", 1)[0] if of_area else f"{pair.machine} over {pair.rival_machine}"
        x = pair.area_mm2 if of_area else float(pair.dram_bits_per_cycle or 0)
        series.setdefault(f"{pair.network}, {machine}", {})[x] = getattr(pair, value)
    if max((len(found) for found in series.values()), default=0) < 2:
        return None
    shown = {
        name: (sorted(found), [found[x] for x in sorted(found)], COLOURS[place % len(COLOURS)])
        for place, (name, found) in enumerate(series.items())
    }
    return lines(shown, "area (mm2)" if of_area else "DRAM bits a cycle", title, ".2f", logarithmic=not of_area)


def _scatter(costs: Sequence[Cost], unit: str) -> Any:
    """Accuracy over cycles or energy, one colour a machine."""
    series: dict[str, tuple[list[float], list[float], list[str], str]] = {}
    bounds: dict[str, list[tuple[float, float]]] = {}
    for cost in costs:
        tested, name = cost.contender.tested, cost.spec.name
        if tested is None:
            continue
        x, y, texts, _ = series.setdefault(name, ([], [], [], COLOURS[len(series) % len(COLOURS)]))
        x.append(cost.costs.total_cycles if unit == "cycles" else cost.costs.total_energy_uj)
        y.append(tested.share)
        texts.append(f"{cost.contender.label} on {name}")
        bounds.setdefault(name, []).append((tested.low, tested.high))
    return points(series, f"{unit} of one image", "accuracy", bounds)
