"""The demonstration's figures as rows of text, and its terminal output."""

from __future__ import annotations

from rich.console import Group
from rich.table import Table as RichTable
from rich.text import Text

from predfuse.data import CATALOGUE
from predfuse.experiments.demo import DemoResult, Variant, VariantName
from predfuse.fusion.counts import Operations
from predfuse.report.compare import cost_table, headline, terminal_table, who_table
from predfuse.report.terminal import count, percent, ratio, table, text_columns

HOW: dict[VariantName, str] = {
    "vanilla": "plain, every weight",
    "pruned": "plain, most weights zero",
    "predicted": "ReLUs replaced by predicted masks, layer by layer",
    "fused": "the same, each block as one convolution",
}


def all_additions(operations: Operations) -> float:
    """Additions of any width: of sums, biases and predictor."""
    return operations.additions + operations.bias_additions + operations.predictor_additions


def accuracy_rows(result: DemoResult) -> list[list[str]]:
    """Network, share right, interval, whole test set, how it ran."""
    rows = []
    for name, variants in (
        (result.network_name, result.variants),
        (result.rival_name, result.rival_variants),
    ):
        for variant in variants.values():
            low, high = variant.interval
            interval = f"{percent(low)} to {percent(high)}"
            row = [f"{name} {variant.name}", percent(variant.accuracy), interval, _whole_test_set(variant)]
            rows.append([*row, HOW[variant.name]])
    return rows


def _whole_test_set(variant: Variant) -> str:
    """What training measured; the fused form is not run in training."""
    accuracy, images = (variant.checkpoint.metadata.get(key) for key in ("test_accuracy", "test_images"))
    if variant.name == "fused" or accuracy is None or images is None:
        return "-"
    return f"{percent(float(accuracy), 2)} of {images:,}"


ACCURACY_HEADINGS = ("network", "right", "95 % interval", "whole test set, in training", "how it ran")


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


def _operation_cells(result: DemoResult, operations: Operations) -> list[str]:
    return [
        count(operations.multiplications),
        ratio(result.counts.total.dense.multiplications / operations.multiplications),
        count(operations.additions),
        count(operations.bias_additions),
        count(operations.predictor_additions),
        count(operations.weights),
    ]


def operation_rows(result: DemoResult) -> list[list[str]]:
    entries = operation_entries(result)
    return [[f"{name} {way}", *_operation_cells(result, operations)] for name, way, operations in entries]


def _terminal_operations(result: DemoResult) -> RichTable:
    """The same below one heading row per network, narrow enough for 80 columns."""
    rows: list[list[str]] = []
    strong = []
    heading = ""
    for name, way, operations in operation_entries(result):
        if name != heading:
            heading = name
            rows.append([name])
        if operations is result.counts.total.fused:
            strong.append(len(rows))
        rows.append([f"  {way}", *_operation_cells(result, operations)])
    headings = ("per image", "mult.", "fewer", "adds", "bias adds", "pred. adds", "weights")
    return table("Operations per image", headings, rows, strong)


def operation_headings(result: DemoResult) -> tuple[str, ...]:
    less = f"{result.network_name} dense / this"
    return ("per image", "multiplications", less, "additions", "of biases", "of predictor (4 bit)", "weights stored")


ERRORS = ("false on", "false off")
BLOCK_HEADINGS = (
    "block",
    "multiplications dense",
    "pruned",
    "fused",
    "dense / fused",
    "survivors expand",
    "survivors depthwise",
    *ERRORS,
)


def block_rows(result: DemoResult) -> list[list[str]]:
    rows = []
    for block, counts in result.blocks:
        both = block.expand + block.depthwise
        rows.append(
            [
                block.name,
                count(counts.dense.multiplications),
                count(counts.pruned.multiplications),
                count(counts.fused.multiplications),
                ratio(counts.multiplication_reduction),
                percent(block.expand.survivors),
                percent(block.depthwise.survivors),
                percent(both.false_on_share),
                percent(both.false_off_share),
            ]
        )
    return rows


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


MACHINE_HEADINGS = ("network", "machine", "cycles", "speed-up", "per mm2", "uJ")
MACHINE_NOTE = (
    "Speed-up: of the fused network over this row, machines as published; per mm2: as if cycles fell with area."
    " Closed-form model of the paper: it leaves out list lengths, idle lanes, halos, bias sums and memory stalls,"
    " which all count against fusion."
)


def machine_rows(result: DemoResult) -> list[list[str]]:
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
    return rows


def terminal(result: DemoResult) -> Group:
    """What the command prints."""
    images = f"{len(result.dataset):,} test images of {data_title(result)}"
    lines = [
        f"Fused against layer by layer: largest difference of any output {difference(result)} (float64).",
        pruned_comparison(result),
        "Published FusioNet, multiplications dense / fused by block: "
        + ", ".join(f"{name} {value:.2f}" for name, value in result.published_reductions.items()),
    ]
    accuracy = [row[:-1] for row in accuracy_rows(result)]
    short_blocks = ("block", "dense", "pruned", "fused", "fewer", "on expand", "on depthw.", *ERRORS)
    return Group(
        table(f"Accuracy on {images}", ACCURACY_HEADINGS[:-1], accuracy),
        _terminal_operations(result),
        table(
            "Blocks: multiplications per image; gates on, and wrongly on or off",
            short_blocks,
            block_rows(result),
        ),
        text_columns(table("Accelerators, paper fidelity, per image", MACHINE_HEADINGS, machine_rows(result)), 1),
        Text(MACHINE_NOTE),
        *(terminal_table(shown) for shown in (who_table(result.comparison), cost_table(result.comparison))),
        *(Text(line) for line in (headline(result.comparison), *result.comparison.notes, *lines)),
    )


def data_title(result: DemoResult) -> str:
    name = result.dataset.name
    if name == "fashion-mnist-1000":
        return "Fashion-MNIST"
    return CATALOGUE[name].title if name in CATALOGUE else name
