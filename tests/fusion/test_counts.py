"""Operation counts: formulas against enumeration, against executions, and against the published figures."""

from __future__ import annotations

import csv
import dataclasses
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from strategies import BlockCase, bottlenecks, network_images, networks

from predfuse import models
from predfuse.errors import InputError
from predfuse.fusion.counts import (
    PUBLISHED_DENSITIES,
    Densities,
    Survivors,
    count_network,
    multiplication_reductions,
)
from predfuse.fusion.execute import run_network
from predfuse.fusion.weights import fuse
from predfuse.graph.nodes import Add, Bottleneck, Conv, Linear, Network, Pool

PUBLISHED = Path(__file__).parents[3] / "shared" / "reference" / "ics21" / "fusionet_cifar10.csv"


@given(st.data())
def test_columns_are_ordered_and_add_up(data: st.DataObject) -> None:
    network = data.draw(networks())
    images = data.draw(network_images(network))
    counts = count_network(network, run_network(network, images, "predicted"))
    for layer in (*counts.layers, counts.total):
        assert layer.nonzero is not None
        assert layer.nonzero.multiplications <= layer.pruned.multiplications <= layer.dense.multiplications
        assert layer.nonzero.weights == layer.pruned.weights <= layer.dense.weights
    for column in ("dense", "pruned", "nonzero", "fused"):
        for field in dataclasses.fields(getattr(counts.total, column)):
            parts = [getattr(getattr(layer, column), field.name) for layer in counts.layers]
            assert getattr(getattr(counts.total, column), field.name) == pytest.approx(sum(parts))
    assert [layer.name for layer in counts.layers] == [node.name for node in network.nodes]


@given(bottlenecks(activations=st.just("linear"), with_predictor=False))
def test_estimate_with_open_gates_equals_an_execution_with_open_gates(case: BlockCase) -> None:
    network = Network("one", case.x.shape, (case.block,))
    fused = count_network(network).layers[0].fused
    measured = count_network(network, run_network(network, case.x[None], "fused_true")).layers[0].fused
    assert (fused.additions, fused.bias_additions) == (measured.additions, measured.bias_additions)
    lists = fuse(case.block)
    assert fused.weights == len(lists.weights)
    assert fused.biases == lists.entries - len(lists.weights) + case.block.out_channels


@settings(max_examples=25)
@given(bottlenecks(with_predictor=True))
def test_formulas_of_a_block_by_enumeration(case: BlockCase) -> None:
    block = case.block
    network = Network("one", case.x.shape, (block,))
    layer = count_network(network).layers[0]
    _, height, width = case.x.shape
    outputs, rows, columns = network.shapes()["b1"]
    assert block.predictor is not None
    dense = pruned = fused = predictor = 0
    for weights, ternary, pixels in (
        (block.expand_weight, block.predictor.expand, height * width),
        (block.depthwise_weight, block.predictor.depthwise, rows * columns),
        (block.project_weight, None, rows * columns),
    ):
        for _ in range(pixels):
            dense += weights.size
            pruned += int((weights != 0).sum())
            predictor += int((ternary != 0).sum()) if ternary is not None else 0
    for _ in range(rows * columns):
        fused += outputs * block.group_channels * block.kernel * block.kernel
    residual = outputs * rows * columns if block.residual else 0
    assert (layer.dense.multiplications, layer.dense.additions) == (dense, dense + residual)
    assert (layer.pruned.multiplications, layer.pruned.additions) == (pruned, pruned + residual)
    assert layer.fused.multiplications == fused
    assert layer.fused.predictor_additions == predictor


def test_plain_layers_count_as_known() -> None:
    weight = np.ones((4, 1, 3, 3))
    weight[0] = 0
    nodes = (
        Conv("conv1", ("input",), weight, np.zeros(4), stride=2, padding=(1, 1, 1, 1), groups=2),
        Pool("pool", ("conv1",)),
        Add("add", ("pool", "pool", "pool")),
        Pool("window", ("conv1",), "average", 2, 2),
        Pool("max", ("conv1",), "max", 2, 2),
        Linear("FC1", ("add",), np.ones((5, 4)), np.zeros(5)),
    )
    conv, pool, add, window, largest, fc = count_network(Network("plain", (2, 8, 8), nodes)).layers
    assert (conv.dense.multiplications, conv.dense.additions) == (4 * 9 * 16, 4 * 9 * 16)
    assert (conv.pruned.multiplications, conv.pruned.weights, conv.dense.weights) == (3 * 9 * 16, 27, 36)
    assert conv.fused == conv.dense and conv.nonzero is None
    assert (pool.dense.multiplications, pool.dense.additions) == (0, 4 * 16)
    assert (add.dense.multiplications, add.dense.additions, add.fused.additions) == (0, 2 * 4, 2 * 4)
    assert (window.dense.additions, largest.dense.additions) == (4 * 4 * 4, 0)
    assert pool.multiplication_reduction == 1.0
    assert (fc.dense.multiplications, fc.dense.biases) == (20, 5)


def test_densities_estimate_what_pruning_gives() -> None:
    """A block pruned to exact densities, every channel alike, against the estimate for the unpruned block."""
    rng = np.random.default_rng(0)
    block = Bottleneck(
        "b1",
        ("input",),
        rng.normal(size=(8, 4)),
        rng.normal(size=8),
        rng.normal(size=(8, 3, 3)),
        rng.normal(size=8),
        rng.normal(size=(6, 8)),
        rng.normal(size=6),
    )
    expand, depthwise, project = (
        getattr(block, f"{name}_weight").copy() for name in ("expand", "depthwise", "project")
    )
    expand[:, 1:] = 0
    depthwise[:, 0] = 0
    project[:3] = 0
    pruned = dataclasses.replace(block, expand_weight=expand, depthwise_weight=depthwise, project_weight=project)
    shape = (4, 5, 5)
    got = count_network(Network("a", shape, (block,)), densities=Densities(0.25, 2 / 3, 0.5)).layers[0]
    want = count_network(Network("b", shape, (pruned,))).layers[0]
    assert got.pruned.multiplications == pytest.approx(want.pruned.multiplications)
    assert got.fused.weights == pytest.approx(want.fused.weights)
    assert got.fused.biases == pytest.approx(want.fused.biases)


def test_survivors_scale_the_estimate() -> None:
    network = models.network("fusionet-s")
    full = count_network(network).layers
    some = count_network(network, survivors=Survivors(0.5, 0.4)).layers
    for one, other in zip(full, some, strict=True):
        if one.kind == "Bottleneck":
            residual = one.dense.additions - one.dense.multiplications
            assert other.fused.additions - residual == pytest.approx((one.fused.additions - residual) * 0.2)
        else:
            assert one.fused == other.fused


def test_published_reductions() -> None:
    """ICS 2021: blocks of FusioNet need 9.5x to 25.7x fewer multiplications than unfused."""
    network = models.network("fusionet")
    reductions = multiplication_reductions(network)
    steady = [reductions[b.name] for b in network.bottlenecks() if b.stride == 1 and b.in_channels == b.out_channels]
    assert min(steady) == 9.5
    assert max(steady) == pytest.approx(25.694, abs=5e-4)
    assert (
        round(reductions["b4"], 1) == 29.3 and round(reductions["b8"], 1) == 16.6 and round(reductions["b16"], 1) == 7.3
    )


@pytest.mark.skipif(not PUBLISHED.exists(), reason="published tables are not beside this checkout")
def test_published_cycles_are_the_counts_divided_by_the_machine() -> None:
    """64 PEs, 24 predictor additions each and cycle; GPW1 was entered with one of its four groups, FC1 uses 48 PEs."""
    counts = {layer.name: layer for layer in count_network(models.network("fusionet")).layers}
    blocks = {block.name: block for block in models.network("fusionet").bottlenecks()}
    shapes = models.network("fusionet").shapes()
    with PUBLISHED.open() as file:
        rows = [row for row in csv.DictReader(file) if row["cycles"] and row["layer"] in counts]
    assert len(rows) > 50
    for row in rows:
        layer, cycles = counts[row["layer"]], int(row["cycles"])
        if row["stage"] == "main":
            entered = 4 if row["layer"] == "GPW1" else 1
            used = 48 if row["layer"] == "FC1" else 64
            assert layer.fused.multiplications // used == cycles * entered, row
        else:
            block = blocks[row["layer"]]
            into, out = shapes[block.inputs[0]], shapes[block.name]
            expand = block.expand_weight.size * into[1] * into[2] // 64 // 24
            depthwise = block.depthwise_weight.size * out[1] * out[2] // 64 // 24
            assert cycles == {"predict_expand": expand, "predict_depthwise": depthwise}[row["stage"]], row
            total = layer.fused.predictor_additions // 64 // 24
            assert total in (expand + depthwise, expand + depthwise + 1)


def test_counts_are_plain_json() -> None:
    document = count_network(models.network("fusionet-s"), densities=PUBLISHED_DENSITIES).as_json()
    assert document["network"] == "fusionet-s"
    assert document["total"]["dense"]["multiplications"] == sum(
        layer["dense"]["multiplications"] for layer in document["layers"]
    )
    assert document["total"]["nonzero"] is None
    reductions = {layer["name"]: layer["multiplication_reduction"] for layer in document["layers"]}
    assert reductions["FC1"] == 1 < reductions["b1"]


def test_executions_that_do_not_fit_are_refused() -> None:
    nodes = (Linear("FC1", ("input",), np.ones((2, 4)), np.zeros(2)),)
    network = Network("tiny", (1, 2, 2), nodes)
    images = np.ones((1, 1, 2, 2))
    with pytest.raises(InputError, match="execution of tiny"):
        count_network(dataclasses.replace(network, name="other"), run_network(network, images))
    with pytest.raises(InputError, match="without statistics"):
        count_network(network, run_network(network, images, statistics=False))
    with pytest.raises(InputError, match="both"):
        count_network(network, run_network(network, images), survivors=Survivors(0.5, 0.5))
