"""Equal terms: the same network fused and unfused, and different networks at equal accuracy, on machines of equal area.

Every machine is taken as it is given; those that ship under names like ``sparse-1.7`` were all searched alike for that
area in mm2. Ratios are told worst first.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from predfuse.arrays import ImageArray
from predfuse.errors import InputError
from predfuse.experiments.contenders import Contender, Lineup, Say
from predfuse.experiments.pairs import Cost, Pair
from predfuse.fusion.counts import count_network
from predfuse.fusion.execute import run_network
from predfuse.graph.nodes import Network
from predfuse.hardware.area import total_area_mm2
from predfuse.hardware.energy import prices_pj
from predfuse.hardware.result import Simulation
from predfuse.hardware.spec import AcceleratorSpec, ArchonSpec, EyerissSpec, load_spec, names
from predfuse.integer.calibrate import normalise

KINDS = ("dense", "sparse", "sparse-depth-first", "archon")
"""Of the machines that ship for several areas, as ``KIND-AREA``, or ``KIND-AREA-n`` and others where they were searched
for another network; every network runs on the one of its kind and area that suits it best."""
AREA_MM2, PUBLISHED_AREA_MM2 = 1.7, 3.2
"""Area of the machines that are taken where none are named and no curves are asked for; for the published networks,
whose blocks no gateware of the smaller area holds."""
BANDWIDTHS = (64, 128, 256, 512, 1024)
"""DRAM bits a cycle of the curves."""
IMAGES = 10
"""Images whose masks the cycles are the mean of; they hardly differ. Curves take one."""

BOUND = "bound"
BOUND_PE_SIZE = 2
"""Size of a PE that skips zero weights and activations, in PEs that skip neither."""
BOUND_USE = 0.8
"""Share of the cycles such a PE multiplies in."""

LESS_ACCURATE = "at least: others less accurate"
MORE_ACCURATE = "at most: others more accurate"
INTERPOLATED = "interpolated"


@dataclass(frozen=True, eq=False)
class EqualTerms:
    """What stands on equal terms, the worst ratio first.

    Attributes:
        same_network: A network fused on an Archon over itself, unfused and pruned, on every other machine.
        different_networks: Fused networks over others, at equal accuracy.
        bounds: As ``same_network``, over machines that skip zero weights and activations perfectly, which do not exist.
        bandwidths: As ``same_network``, for every bandwidth of the curves; empty where none are asked for.
        costs: Every network on every machine that these are made of.
        notes: What could not be run, and what the reader must know.
    """

    same_network: tuple[Pair, ...]
    different_networks: tuple[Pair, ...]
    bounds: tuple[Pair, ...]
    bandwidths: tuple[Pair, ...]
    costs: tuple[Cost, ...]
    notes: tuple[str, ...]

    @property
    def worst(self) -> Pair | None:
        """The pair with the smallest gain in cycles; None where no machines stand beside each other."""
        return min((*self.same_network, *self.different_networks), key=lambda pair: pair.speedup, default=None)

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "same_network": [pair.as_json() for pair in self.same_network],
            "different_networks": [pair.as_json() for pair in self.different_networks],
            "bounds": [pair.as_json() for pair in self.bounds],
            "bandwidths": [pair.as_json() for pair in self.bandwidths],
            "costs": [cost.as_json() for cost in self.costs],
        }


def machines(given: Sequence[str] = (), all_areas: bool = False, area_mm2: float = AREA_MM2) -> list[AcceleratorSpec]:
    """The machines to be compared: those named, else the searched ones that ship.

    Args:
        given: Names or files.
        all_areas: Whether the shipped ones come in all their areas.
        area_mm2: Area of the shipped ones otherwise (mm2).

    Raises:
        InputError: A name or file is no accelerator, or two have the same name.
    """
    if not given:
        areas = {name: searched_for_mm2(name) for name in names()}
        return [load_spec(name) for name, area in areas.items() if area and (all_areas or area == area_mm2)]
    specs = [load_spec(name) for name in given]
    seen = [spec.name for spec in specs]
    for name in seen:
        if seen.count(name) > 1:
            raise InputError("--accelerator", f"gives two machines called {name!r}", "give each a name of its own")
    return specs


def equal_terms(lineup: Lineup, specs: Sequence[AcceleratorSpec], curves: bool, say: Say) -> EqualTerms:
    """Run every network on every machine made for its kind, and pair those of equal area.

    Args:
        lineup: The networks.
        specs: The machines.
        curves: Whether to vary the DRAM bandwidth too.
        say: Told what is being done.
    """
    archons = [spec for spec in specs if isinstance(spec, ArchonSpec)]
    others = [spec for spec in specs if isinstance(spec, EyerissSpec)]
    notes: dict[str, None] = {}

    def run(contender: Contender, on: Iterable[AcceleratorSpec], images: int = IMAGES) -> list[Cost]:
        found = []
        refused: dict[str, InputError] = {}
        for spec in on:
            say(f"{contender.label} on {spec.name}")
            try:
                costs = Simulation(tuple(run.result for run in contender.runs_on(spec, images)))
            except InputError as error:
                refused[spec.name] = error
                continue
            area = total_area_mm2(spec)
            found.append(Cost(contender, spec, area, searched_for_mm2(spec.name) or area, costs))
        areas = {searched_for_mm2(cost.spec.name) for cost in found}
        for name, why in refused.items():
            if (area_mm2 := searched_for_mm2(name)) is None or area_mm2 not in areas:  # others were searched for it
                notes[f"{contender.label} does not run on {name}: {why}"] = None
        best = best_searched(found)
        for cost in best:
            if blocks := cost.estimated_blocks:
                what = f"the time of {', '.join(blocks)} is estimated, its gateware does not hold them"
                notes[f"{contender.label} on {cost.spec.name}: {what}"] = None
        return best

    fused = [run(contender, archons) for contender in lineup.fused]
    unfused = [run(contender, others) for contender in lineup.unfused]
    same = [pair for ours, rivals in zip(fused, unfused, strict=True) for pair in same_network(ours, rivals)]
    bounds = [
        pair
        for ours, rivals, contender in zip(fused, unfused, lineup.unfused, strict=True)
        for pair in bounded(ours, rivals, contender.network, lineup.few, say)
    ]
    skipping = [spec for spec in others if spec.kind != "dense"]
    plain = [spec for spec in others if spec.kind == "dense"]
    compact = [cost for contender in lineup.dense for cost in run(contender, plain)]
    compact += [cost for contender in lineup.sparse for cost in run(contender, skipping)]
    different = [pair for ours in fused for pair in different_networks(ours, compact)]
    if archons and others and not same:
        notes["no dense or sparse machine has about the area of an archon: nothing stands on equal terms"] = None
    by_bandwidth: list[Pair] = []
    for ours, rivals in zip(lineup.fused, lineup.unfused, strict=True) if curves else ():
        both = [run(contender, _at_bandwidths(on), 1) for contender, on in ((ours, archons), (rivals, others))]
        by_bandwidth += same_network(*both)
    costs = [*(cost for ours in fused for cost in ours), *compact]
    return EqualTerms(
        _worst_first(same),
        _worst_first(different),
        _worst_first(bounds),
        tuple(by_bandwidth),
        tuple(costs),
        tuple(notes),
    )


def searched_for_mm2(name: str) -> float | None:
    """The area that a shipped machine was searched for, from its name; None for any other."""
    found = re.fullmatch(rf"(?:{'|'.join(KINDS)})-([0-9]+\.[0-9]+)(?:-[a-z0-9-]+)?", name)
    return float(found[1]) if found and name in names() else None


def best_searched(costs: Iterable[Cost]) -> list[Cost]:
    """Keep, of shipped machines of a kind and area, that of least energy times delay, of those whose gateware holds the
    network if one does; all of one's own."""
    best: dict[tuple[object, ...], Cost] = {}
    for cost in costs:
        kind = _kind(cost)
        if kind not in best or cost.rank < best[kind].rank:
            best[kind] = cost
    return list(best.values())


def _kind(cost: Cost) -> tuple[object, ...]:
    """What shipped machines of one kind and area share, whatever network they were searched for; else the name.

    Machines of one's own have names of their own (:func:`machines`).
    """
    spec = cost.spec
    if searched_for_mm2(spec.name) is None:
        return (spec.name, spec.dram_bits_per_cycle)
    schedule = spec.schedule if isinstance(spec, EyerissSpec) else ""
    return (spec.kind, schedule, cost.budget_mm2, spec.dram_bits_per_cycle)


def same_network(fused: Iterable[Cost], unfused: Sequence[Cost]) -> Iterator[Pair]:
    """The pairs of equal area."""
    for ours in fused:
        for rival in unfused:
            if ours.stands_beside(rival):
                pair = _pair(ours, [rival], "same network")
                yield replace(pair, rival_cycles=rival.costs.total_cycles, rival_energy_uj=rival.costs.total_energy_uj)


def bounded(
    fused: Sequence[Cost], unfused: Sequence[Cost], network: Network, images: ImageArray, say: Say
) -> Iterator[Pair]:
    """A fused network over itself on machines that skip every zero, of weights and activations alike.

    No such machine exists: its PEs are :data:`BOUND_PE_SIZE` times those of the sparse machine of equal area, busy
    :data:`BOUND_USE` of the time, its energy is that of its multiplications and of fetching the weights that are not
    zero once, and maps never leave the chip.

    Args:
        fused: On Archons.
        unfused: On other machines; those that skip zero weights layer by layer give the PEs.
        network: The unfused one.
        images: ``[N, C, H, W]`` that give the activations.
        say: Told what is being done.
    """
    pairs = [
        (ours, rival, spec)
        for rival in unfused
        if isinstance(spec := rival.spec, EyerissSpec) and (spec.kind, spec.schedule) == ("sparse", "layers")
        for ours in fused
        if ours.stands_beside(rival)
    ]
    if not pairs:
        return
    say(f"zeros of {network.name}")
    total = count_network(network, run_network(network, normalise(network, images))).total.nonzero
    assert total is not None  # counted with an execution
    for ours, rival, spec in pairs:
        bits = total.weights * (spec.bits + spec.weight_index_bits)
        cycles = total.multiplications / (spec.array.pes / BOUND_PE_SIZE * BOUND_USE)
        prices = prices_pj(spec)
        energy = total.multiplications * prices["multiplications"] + bits * prices["dram_read_bits"]
        pair = replace(_pair(ours, [rival], BOUND), rival_machine=f"bound at {rival.budget_mm2:g} mm2")
        moved = bits / (spec.dram_bits_per_cycle or math.inf)
        yield replace(pair, rival_cycles=max(cycles, moved), rival_energy_uj=energy * 1e-6)


def different_networks(fused: Iterable[Cost], compact: Sequence[Cost]) -> Iterator[Pair]:
    """For every kind of machine of equal area, the costs of its networks brought to the accuracy of the fused one."""
    for ours in fused:
        if ours.contender.tested is None:
            continue
        for kind in dict.fromkeys(_kind(rival) for rival in compact if ours.stands_beside(rival)):
            rivals = [rival for rival in compact if _kind(rival) == kind and rival.contender.tested is not None]
            points = [(rival, rival.contender.tested.share) for rival in rivals if rival.contender.tested is not None]
            if not points:
                continue
            target = ours.contender.tested.share
            cycles, terms = at_accuracy(target, [(share, rival.costs.total_cycles) for rival, share in points])
            energy, _ = at_accuracy(target, [(share, rival.costs.total_energy_uj) for rival, share in points])
            yield replace(_pair(ours, rivals, terms), rival_cycles=cycles, rival_energy_uj=energy)


def at_accuracy(target: float, points: Sequence[tuple[float, float]]) -> tuple[float, str]:
    """What an accuracy costs at least between some networks: the logarithm of the cost is linear between any two.

    Beyond the most accurate network its own cost is taken, too little for that accuracy; below the least accurate one
    its own too, more than needed.

    Args:
        target: The accuracy.
        points: Accuracy and cost of every network, at least one.

    Returns:
        The cost and how it was found.
    """
    most = max(share for share, _ in points)
    if target > most:
        return min(cost for share, cost in points if share == most), LESS_ACCURATE
    enough = min(cost for share, cost in points if share >= target)
    below = [(share, cost) for share, cost in points if share < target and cost < enough]
    if not below:
        return enough, INTERPOLATED if (target, enough) in points else MORE_ACCURATE
    between = [
        math.exp(math.log(cheap) + (math.log(dear) - math.log(cheap)) * (target - low) / (high - low))
        for low, cheap in below
        for high, dear in points
        if high >= target
    ]
    return min(between), INTERPOLATED


def _pair(ours: Cost, rivals: Sequence[Cost], terms: str) -> Pair:
    """A pair whose rival's costs are still to be filled in."""
    return Pair(
        network=ours.contender.label,
        machine=ours.spec.name,
        area_mm2=ours.area_mm2,
        rival_network=" / ".join(rival.contender.label for rival in rivals),
        rival_machine=" / ".join(dict.fromkeys(rival.spec.name for rival in rivals)),
        rival_area_mm2=rivals[0].area_mm2,
        dram_bits_per_cycle=ours.spec.dram_bits_per_cycle,
        cycles=ours.costs.total_cycles,
        rival_cycles=0.0,
        energy_uj=ours.costs.total_energy_uj,
        rival_energy_uj=0.0,
        terms=terms,
        accuracy=ours.contender.tested,
        rival_accuracies=tuple(rival.contender.tested for rival in rivals if rival.contender.tested is not None),
    )


def _at_bandwidths(specs: Sequence[AcceleratorSpec]) -> Iterator[AcceleratorSpec]:
    for spec in specs:
        for bits in BANDWIDTHS:
            yield spec.model_copy(update={"dram_bits_per_cycle": bits})


def _worst_first(pairs: Iterable[Pair]) -> tuple[Pair, ...]:
    return tuple(sorted(pairs, key=lambda pair: pair.speedup))
