"""The demonstration's HTML page: wording and layout only, every figure comes from the result."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from predfuse import __version__
from predfuse.arrays import UInt8Array
from predfuse.experiments.demo import DemoResult, VariantName
from predfuse.fusion.results import BlockStatistics, StageStatistics
from predfuse.report import charts, equal_terms
from predfuse.report.compare import ROLE_COLOURS, headline, machine_table as published_machines
from predfuse.report.demo_tables import (
    MACHINE_NOTE,
    accuracy_table,
    block_table,
    data_title,
    difference,
    machine_table,
    operation_entries,
    operation_table,
    pruned_comparison,
)
from predfuse.report.page import Chart, Gallery, Page, Part, Picture, Section, Tile, Tiles, Tone
from predfuse.report.table import Table, count

CHANNELS_SHOWN = 9


def page(result: DemoResult) -> Page:
    """The HTML report."""
    return Page(
        title=f"Predictive layer fusion: {result.network_name} on {data_title(result)}",
        lead=(
            "A predictor without multiplications says which ReLUs of a bottleneck block let their value through. Given"
            " that, the block's three layers are one linear map: the weights of the survivors are added up, and each"
            f" sum is multiplied once. Everything below was measured on {len(result.dataset):,} test images."
        ),
        sections=[
            _headline(result),
            _accuracy(result),
            _images(result),
            _operations(result),
            _blocks(result),
            _survivors(result),
            _machines(result),
            *([] if result.comparison.equal is None else equal_terms.sections(result.comparison.equal)),
            _simulated(result),
            _masks(result),
            _published(result),
            *_training(result),
        ],
        facts=_facts(result),
    )


def _headline(result: DemoResult) -> Section:
    total, rival = result.counts.total, result.rival_counts.total
    vanilla, fused = result.variants["vanilla"], result.variants["fused"]
    tiles = [
        Tile(f"{fused.accuracy:.1%}", "right, fused", f"{vanilla.accuracy:.1%} plain"),
        Tile(difference(result), "largest difference", "of any output, fused against layer by layer, float64"),
        Tile(
            f"{total.multiplication_reduction:.1f}x",
            "fewer multiplications",
            f"{count(total.fused.multiplications)} fused, {count(total.dense.multiplications)} dense, per image",
        ),
        Tile(
            f"{rival.dense.multiplications / total.fused.multiplications:.1f}x",
            f"fewer than {result.rival_name}",
            f"{rival.pruned.multiplications / total.fused.multiplications:.1f}x of its pruned multiplications",
        ),
    ]
    price = (
        f"The price is additions: {count(total.fused.all_additions)} fused, of which"
        f" {count(total.fused.predictor_additions)} are the predictor's 4-bit ones, against"
        f" {count(total.dense.all_additions)} dense."
    )
    return Section("At a glance", [Tiles(tiles), f"{price} {pruned_comparison(result)}"])


def _accuracy(result: DemoResult) -> Section:
    runs = ((result.network_name, result.variants, "green"), (result.rival_name, result.rival_variants, "grey"))
    points = {
        name: (
            list(variants),
            [variant.accuracy for variant in variants.values()],
            [variant.interval for variant in variants.values()],
            colour,
        )
        for name, variants, colour in runs
    }
    chart = charts.intervals(points, "share right")
    low, high = result.variants["fused"].interval
    text = (
        f"With {len(result.dataset):,} images the 95 % interval of the fused network is {100 * (high - low):.1f} points"
        " wide. The accuracies on the whole test set are those that training wrote into the checkpoints."
    )
    return Section("Accuracy", [text, Chart(chart, "Bars: 95 % intervals."), accuracy_table(result)])


def _images(result: DemoResult) -> Section:
    names: list[VariantName] = ["vanilla", "pruned", "fused"]
    pictures = []
    for position in result.examples:
        label = int(result.dataset.labels[position])
        lines: list[tuple[str, Tone]] = []
        for name in names:
            guess = int(result.variants[name].classes[position])
            lines.append((f"{name}: {result.dataset.classes[guess]}", "good" if guess == label else "bad"))
        pictures.append(Picture(_pixels(result, position), result.dataset.classes[label], lines))
    caption = "The first test image of every class, its label in bold, and what it was taken for."
    return Section("Images and answers", [Gallery(pictures, caption)])


def _pixels(result: DemoResult, position: int) -> UInt8Array:
    image = result.dataset.images[position]
    return np.asarray(image[0] if len(image) == 1 else image.transpose(1, 2, 0))


def _operations(result: DemoResult) -> Section:
    name, fused = result.network_name, result.counts.total.fused
    colours = {"dense": "grey", "pruned": "blue", "pruned, zeros skipped": "sky"}
    others = [entry for entry in operation_entries(result) if entry[2] is not fused]
    chart = charts.ratio_bars(
        [f"{network} {way}" for network, way, _ in others],
        [operations.multiplications / fused.multiplications for *_, operations in others],
        [colours[way] for _, way, _ in others],
        f"multiplications per fused multiplication of {name}",
    )
    caption = "Bars beyond the dotted line multiply more often than the fused network, bars before it less often."
    note = (
        "Counts per image. Pruned counts non-zero weights; zeros skipped also leaves out the zero activations of these"
        " images; additions of the fused network come from the predicted masks of these images. Operations are"
        " not time: what they mean in cycles and energy depends on the machine."
    )
    return Section(
        "Operations",
        [
            note,
            Chart(chart, caption),
            operation_table(result),
        ],
    )


def _blocks(result: DemoResult) -> Section:
    counts = [counts for _, counts in result.blocks]
    names = [layer.name for layer in counts]

    def bars(kind: str, value: Any) -> Any:
        series = {
            "dense": ([value(layer.dense) for layer in counts], "grey"),
            "pruned": ([value(layer.pruned) for layer in counts], "blue"),
            "fused": ([value(layer.fused) for layer in counts], "green"),
        }
        return charts.grouped_bars(names, series, f"{kind} per image", height_px=310)

    return Section(
        "Block by block",
        [
            Chart(bars("multiplications", lambda operations: operations.multiplications)),
            Chart(
                bars("additions", lambda operations: operations.all_additions),
                "All additions: of sums, of biases and, for the fused blocks, of the predictor.",
            ),
            block_table(result),
        ],
    )


def _survivors(result: DemoResult) -> Section:
    blocks = result.variants["fused"].result.blocks
    stages = {
        "after expand": [block.expand for block in blocks],
        "after depthwise": [block.depthwise for block in blocks],
    }
    panels = {title: _shares(stage) for title, stage in stages.items()}
    chart = charts.stacked_shares([block.name for block in blocks], panels, height_px=380)
    text = (
        "A gate is rightly on or off when the predictor agrees with the sign the ordinary block finds for the same"
        " input. False on lets a negative value pass, false off drops a positive one; the network was trained with its"
        " predicted gates, so neither need be a mistake of the network."
    )
    return Section("Survivors and prediction errors", [text, Chart(chart), _error_table(blocks)])


def _shares(stages: Sequence[StageStatistics]) -> dict[str, tuple[list[float], str]]:
    return {
        "rightly on": ([(stage.on - stage.false_on) / stage.gates for stage in stages], "green"),
        "false on": ([stage.false_on_share for stage in stages], "orange"),
        "false off": ([stage.false_off_share for stage in stages], "red"),
        "rightly off": ([(stage.gates - stage.on - stage.false_off) / stage.gates for stage in stages], "grey"),
    }


def _error_table(blocks: Sequence[BlockStatistics]) -> Table:
    rows = []
    for block in blocks:
        for title, stage in (("expand", block.expand), ("depthwise", block.depthwise)):
            rows.append(
                [
                    f"{block.name} {title}",
                    f"{stage.survivors:.1%}",
                    f"{stage.true_on / stage.gates:.1%}",
                    f"{stage.false_on_rate:.1%}",
                    f"{stage.false_off_rate:.1%}",
                ]
            )
    headings = ("stage", "on", "truly on", "false on, of the truly off", "false off, of the truly on")
    return Table(headings, rows)


def _machines(result: DemoResult) -> Section:
    forms = result.closed_forms
    labels, speedups = [], []
    for state, over in {"dense": forms.dense, "pruned": forms.sparse}.items():
        label = f"{result.network_name} on {forms.best.spec.name} over {result.rival_name} {state} on {over.spec.name}"
        labels += [label, f"{label}, per mm2"]
        speedups += [forms.speedup(forms.best, over), result.speedup_at_equal_area(over)]
    bars = charts.ratio_bars(labels, speedups, ["green", "grey", "blue", "grey"], "speed-up")
    return Section("Accelerators, paper fidelity", [MACHINE_NOTE, Chart(bars), machine_table(result)])


def _simulated(result: DemoResult) -> Section:
    comparison = result.comparison
    labels = [f"{machine.contender.label} on {machine.spec.name}" for machine in comparison.machines]
    speedups = [comparison.speedup(machine, comparison.dense) for machine in comparison.machines]
    colours = [ROLE_COLOURS[machine.role] for machine in comparison.machines]
    bars = charts.ratio_bars(labels, speedups, colours, "speed-up over the dense machine")
    images = f"Mean of {comparison.images} images."
    parts: list[Part] = [headline(comparison), images, Chart(bars), published_machines(comparison), *comparison.notes]
    parts.append(str(result.gateware))
    return Section("Accelerators as published, cycle fidelity", parts)


def _masks(result: DemoResult) -> Section:
    position = result.examples[-1]
    image = _pixels(result, position).astype(np.float64) / 255
    grey = image if image.ndim == 2 else image.mean(axis=2)
    first, (expand, _) = next(iter(result.masks.items()))
    lively = expand.std(axis=(1, 2)).argsort(kind="stable")[::-1][:CHANNELS_SHOWN]
    single = {f"channel {channel}": expand[channel].astype(np.float64) for channel in sorted(lively.tolist())}
    parts: list[Part] = [
        f"Which pixels the predictor of {first} lets through after the expand, for the {len(single)} middle channels"
        " whose masks vary most over the image (yellow: on). Where a mask is off, its entries are not added.",
        Chart(charts.heat_maps({"input": grey, **single}, columns=5, scale=(0.0, 1.0), scale_bar=False)),
        "The share of all middle channels of each block that is on, pixel by pixel.",
    ]
    for stage, title in enumerate(("after expand", "after depthwise")):
        shares = {f"{name} {title}": pair[stage].mean(axis=0) for name, pair in result.masks.items()}
        low, high = min(map(np.min, shares.values())), max(map(np.max, shares.values()))
        scale = (np.floor(low * 20) / 20, np.ceil(high * 20) / 20)
        parts.append(Chart(charts.heat_maps({"input": grey, **shares}, columns=4, scale=scale)))
    label = result.dataset.classes[int(result.dataset.labels[position])]
    return Section(f"Masks over an image: {label}", parts)


def _published(result: DemoResult) -> Section:
    names, values = list(result.published_reductions), list(result.published_reductions.values())
    chart = charts.ratio_bars(names, values, ["green"] * len(names), "dense multiplications per fused multiplication")
    text = (
        "The same count for the FusioNet of the paper (32x32 images, middle width 2,368 to 3,456). It follows from the"
        f" shapes alone: {min(values):.1f} to {max(values):.1f}; the extremes are blocks that change image size or"
        " channels."
    )
    return Section("The published FusioNet", [text, Chart(chart)])


def _training(result: DemoResult) -> list[Section]:
    """Test accuracy over the epochs of the log, where there is one."""
    if not result.history:
        return []
    colours = {
        "vanilla": "grey",
        "pruned": "blue",
        "layerwise": "purple",
        "predicted-joint": "orange",
    }
    series: dict[str, tuple[list[float], list[float], str]] = {}
    ends = {"predicted-frozen": "layerwise", "predicted-joint": "layerwise"}  # both tunings start from that stage
    before, last = 0.0, 0.0
    for line in result.history:
        stage = str(line.get("stage"))
        if stage not in series:
            start = ends.get(stage)
            before = series[start][0][-1] if start in series else last
            series[stage] = ([], [], colours.get(stage, "red"))
        x, y, _ = series[stage]
        x.append(before + float(line.get("epoch", len(x) + 1)))
        y.append(float(line["test_accuracy"]))
        last = x[-1]
    chart = charts.lines(series, "epochs since the start", "test accuracy")
    text = f"How {result.network_name} was trained, from the log of the run; every stage starts from the one before."
    return [Section("Training", [text, Chart(chart)])]


def _facts(result: DemoResult) -> list[tuple[str, str]]:
    checkpoints = [variant.checkpoint for variant in result.variants.values()]
    checkpoints += [variant.checkpoint for variant in result.rival_variants.values()]
    files = dict.fromkeys(f"{item.network.name}/{item.path.name}" for item in checkpoints)
    seconds = {name: f"{variant.seconds:.1f} s {name}" for name, variant in result.variants.items()}
    return [
        ("predfuse", __version__),
        ("Images", f"{len(result.dataset):,} of {result.dataset.name}"),
        ("Checkpoints", ", ".join(files)),
        ("Arithmetic", "float64; predictors in integers"),
        ("Time", ", ".join(seconds.values()) + " (fused includes counting)"),
    ]
