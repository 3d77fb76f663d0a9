"""``predfuse prune``: the smallest weights of a network's blocks removed."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any

import numpy as np
import typer

from predfuse.cli.options import Output, Source
from predfuse.cli.output import Outputs
from predfuse.errors import InputError
from predfuse.graph.io import save_network
from predfuse.graph.nodes import Bottleneck
from predfuse.hardware.pruning import prune_blocks
from predfuse.report.table import Table
from predfuse.sources import ModuleOptions, load_source


def prune(
    source: Source,
    output: Output,
    pointwise: Annotated[float, typer.Option(help="Share of the blocks' 1x1 weights to remove.")] = 0.8,
    depthwise: Annotated[float, typer.Option(help="Share of their depthwise weights to remove.")] = 0.7,
    shifts: Annotated[float, typer.Option(help="Share of their biases after expand and depthwise to remove.")] = 0.8,
    *,
    module: ModuleOptions,
    outputs: Outputs,
) -> None:
    """Remove the smallest weights of every block, layer by layer, by magnitude.

    The network computes something else then: train it on. A training loop of your own holds the zeros with
    predfuse.prune in Python, which also prunes gradually.
    """
    outputs = replace(outputs, file=output)
    for option, share in (("--pointwise", pointwise), ("--depthwise", depthwise), ("--shifts", shifts)):
        if not 0 <= share <= 1:
            raise InputError(option, f"is {share}", "give the share to remove, 0 to 1")
    network = load_source(source, module)
    if not list(network.bottlenecks()):
        raise InputError(network.name, "has no expand-depthwise-project block", "see why: predfuse analyze")
    pruned = prune_blocks(network, 1 - pointwise, 1 - depthwise, 1 - shifts)
    save_network(pruned, output)
    rows = [describe(block) for block in pruned.bottlenecks()]
    figures = {"network": network.name, "file": str(output), "blocks": rows}

    cells = [[str(row["name"]), *(f"{row[name]:.1%}" for name in list(row)[1:])] for row in rows]
    headings = ["block", "expand", "depthwise", "project", "expand biases", "depthwise biases"]
    table = Table(headings, cells, f"{network.name}: share of zeros")
    outputs.emit(f"{network.name}, pruned", figures, rows, [table, (f"{output}: train it on before it is used",)])


def describe(block: Bottleneck) -> dict[str, Any]:
    """Share of zeros by layer, 0..1."""
    fields = ("expand_weight", "depthwise_weight", "project_weight", "expand_bias", "depthwise_bias")
    return {"name": block.name, **{f"{field}_zeros": float(np.mean(getattr(block, field) == 0)) for field in fields}}
