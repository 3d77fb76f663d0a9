"""The demonstration's figures as rows of text, and its terminal output."""

from __future__ import annotations

from dataclasses import replace

from predfuse.data import CATALOGUE
from predfuse.experiments.demo import DemoResult, Variant, VariantName
from predfuse.fusion.counts import Operations
from predfuse.report.compare import headlines, terminal_tables
from predfuse.report.table import Table, count

HOW: dict[VariantName, str] = {
    "vanilla": "plain, every weight",
    "pruned": "plain, most weights zero",
    "predicted": "ReLUs replaced by predicted masks, layer by layer",
    "fused": "the same, each block as one convolution",
}


def accuracy_table(result: DemoResult) -> Table:
    """Network, share right, interval, whole test set, how it ran."""
    rows = []
    for name, variants in ((result.network_name, result.variants), (result.rival_name, result.rival_variants)):
        for variant in variants.values():
            low, high = variant.interval
            interval, whole = f"{low:.1%} to {high:.1%}", _whole_test_set(variant)
            rows.append([f"{name} {variant.name}", f"{variant.accuracy:.1%}", interval, whole, HOW[variant.name]])
    caption = f"Accuracy on {len(result.dataset):,} test images of {data_title(result)}"
    headings = ("network", "right", "95 % interval", "whole test set, in training", "how it ran")
    return Table(headings, rows, caption, text_columns=frozenset((0, 4)))


def _whole_test_set(variant: Variant) -> str:
    """What training measured; the fused form is not run in training."""
    accuracy, images = (variant.checkpoint.metadata.get(key) for key in ("test_accuracy", "test_images"))
    if variant.name == "fused" or accuracy is None or images is None:
        return "-"
    return f"{float(accuracy):.2%} of {images:,}"


def operation_entries(result: DemoResult) -> list[tuple[str, str, Operations]]:
    """Network, way of executing it, operations per image."""
    total, rival = result.counts.total, result.rival_counts.total
    assert total.nonzero is not None and rival.nonzero is not None
    name, other = result.network_name, result.rival_name
    return [
        (name, "dense", total.dense),
        (name, "pruned", total.pruned),
        (name, "pruned, zeros skipped", total.nonzero),
        (name, "fused", total.fused),
        (other, "dense", rival.dense),
        (other, "pruned", rival.pruned),
        (other, "pruned, zeros skipped", rival.nonzero),
    ]


def operation_table(result: DemoResult) -> Table:
    """Operations of every way of executing every network."""
    total = result.counts.total
    entries = operation_entries(result)
    rows = [
        [
            f"{name} {way}",
            count(operations.multiplications),
            f"{total.dense.multiplications / operations.multiplications:.1f}x",
            count(operations.additions),
            count(operations.bias_additions),
            count(operations.predictor_additions),
            count(operations.weights),
        ]
        for name, way, operations in entries
    ]
    headings = ("per image", "mult.", "fewer", "adds", "bias", "pred.", "weights")
    caption = (
        f"Operations per image; fewer: multiplications of {result.network_name} dense per one; bias, pred.: additions"
    )
    strong = frozenset(place for place, entry in enumerate(entries) if entry[2] is total.fused)
    return Table(headings, rows, caption, strong)


def block_table(result: DemoResult) -> Table:
    """Multiplications of every block, and its gates."""
    rows = []
    for block, counts in result.blocks:
        both = block.expand + block.depthwise
        rows.append(
            [
                block.name,
                *(count(form.multiplications) for form in (counts.dense, counts.pruned, counts.fused)),
                f"{counts.multiplication_reduction:.1f}x",
                f"{block.expand.survivors:.1%}",
                f"{block.depthwise.survivors:.1%}",
                f"{both.false_on_share:.1%}",
                f"{both.false_off_share:.1%}",
            ]
        )
    headings = ("block", "dense", "pruned", "fused", "fewer", "on expand", "on depthw.", "false on", "false off")
    return Table(headings, rows, "Blocks: multiplications per image; gates on, and wrongly on or off, of all gates")


def difference(result: DemoResult) -> str:
    return f"{result.fused_max_abs_difference:.1e}"


def pruned_comparison(result: DemoResult) -> str:
    """One sentence on fused against pruned multiplications, whichever way it turned out."""
    total = result.counts.total
    factor = total.pruned.multiplications / total.fused.multiplications
    if factor >= 1:
        return f"Against its own pruned weights, unfused, the fused network multiplies {factor:.2f} times less often."
    return (
        f"Against its own pruned weights, unfused, the fused network multiplies {1 / factor:.2f} times as often: fusion"
        " pays where blocks are wide inside, and these are not wide enough to beat pruning by this count."
    )


MACHINE_NOTE = (
    "Speed-up: of the fused network over this row, machines as published; per mm2: as if cycles fell with area."
    " Closed-form model of the paper: it leaves out list lengths, idle lanes, halos, bias sums and memory stalls,"
    " which all count against fusion."
)


def machine_table(result: DemoResult) -> Table:
    """Network, machine, cycles per image, how much faster the fused network is, the same per area, energy."""
    forms = result.closed_forms
    rows = []
    for state, machine in {"dense": forms.dense, "pruned": forms.sparse, "fused": forms.best}.items():
        at_equal_area = 1.0 if machine is forms.best else result.speedup_at_equal_area(machine)
        rows.append(
            [
                f"{machine.contender.network.name} {state}",
                machine.spec.name,
                f"{machine.costs.total_cycles:,}",
                f"{forms.speedup(forms.best, machine):.2f}x",
                f"{at_equal_area:.2f}x",
                f"{machine.costs.total_energy_uj:,.0f}",
            ]
        )
    headings = ("network", "machine", "cycles", "speed-up", "per mm2", "uJ")
    return Table(headings, rows, "Accelerators, paper fidelity, per image", text_columns=frozenset((0, 1)))


def terminal(result: DemoResult) -> list[str | Table]:
    """What the command prints."""
    accuracies = accuracy_table(result)
    short = replace(accuracies, headings=accuracies.headings[:-1], rows=[row[:-1] for row in accuracies.rows])
    return [
        short,
        operation_table(result),
        block_table(result),
        machine_table(result),
        MACHINE_NOTE,
        *terminal_tables(result.comparison),
        *headlines(result.comparison),
        *result.comparison.notes,
        f"Fused against layer by layer: largest difference of any output {difference(result)} (float64).",
        str(result.gateware),
        pruned_comparison(result),
        "Published FusioNet, multiplications dense / fused by block: "
        + ", ".join(f"{name} {value:.2f}" for name, value in result.published_reductions.items()),
    ]


def data_title(result: DemoResult) -> str:
    name = result.dataset.name
    if name == "fashion-mnist-1000":
        return "Fashion-MNIST"
    return CATALOGUE[name].title if name in CATALOGUE else name
