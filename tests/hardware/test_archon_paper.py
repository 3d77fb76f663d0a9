"""Archon at paper fidelity: closed forms, fused weights, limits of the machine."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hardware.operations import operation
from hypothesis import given
from strategies import BlockCase, bottlenecks

from predfuse.errors import InputError
from predfuse.graph.nodes import INPUT, Bottleneck, Network
from predfuse.hardware.closed_form.archon import fused_stages, fused_weights, plain_stage
from predfuse.hardware.closed_form.simulate import simulate
from predfuse.hardware.fusable import why_not_fused
from predfuse.hardware.pruning import prune_blocks
from predfuse.hardware.spec import ArchonSpec, load_spec
from predfuse.hardware.workload import WorkItem, workload
from predfuse.models import network


def spec() -> ArchonSpec:
    loaded = load_spec("archon-ics21")
    assert isinstance(loaded, ArchonSpec)
    return loaded


def block_of(name: str, layer: str) -> WorkItem:
    return next(item for item in workload(network(name)).items if item.node == layer)


def test_cycles_are_the_closed_forms_rounded_down() -> None:
    stages = {stage.stage: stage.total_cycles for stage in fused_stages(block_of("fusionet", "b5"), spec())}
    # M = 2368, C = O = 64 in 4 groups, 3x3, 16x16 pixels
    assert stages["predict_expand"] == 2368 * 16 * 256 // (64 * 24) == 6314
    assert stages["predict_depthwise"] == 2368 * 9 * 256 // (64 * 24) == 3552
    assert stages["main"] == 64 * 16 * 9 * 256 // 64 == 36_864
    assert stages["fusion_overhead"] == 0


def fused_one_by_one(block: Bottleneck) -> int:
    """Non-zero F[o, m, c, k] = W2[o,m] D[m,k] W1[m,c] within groups, counted entry by entry."""
    per_group_m, per_group_o = block.middle_channels // block.groups, block.out_channels // block.groups
    total = 0
    for o, m in np.ndindex(block.project_weight.shape):
        middle = o // per_group_o * per_group_m + m
        fused = block.project_weight[o, m] != 0
        for c, (row, column) in (
            (c, tap) for c in range(block.group_channels) for tap in np.ndindex(block.depthwise_weight.shape[1:])
        ):
            nonzero = block.expand_weight[middle, c] != 0 and block.depthwise_weight[middle, row, column] != 0
            total += int(fused and nonzero)
    return total


@given(bottlenecks())
def test_fused_weights_are_counted_as_if_listed_one_by_one(case: BlockCase) -> None:
    block = replace(case.block, expand_activation="relu", depthwise_activation="relu")
    sparse = Network("net", case.x.shape, (replace(block, inputs=(INPUT,)),))
    item = workload(prune_blocks(sparse, 0.5, 0.6)).items[0]
    pruned = prune_blocks(sparse, 0.5, 0.6).nodes[0]
    assert isinstance(pruned, Bottleneck)
    assert fused_weights(item) == fused_one_by_one(pruned)


def test_pruning_thins_fused_weights_by_the_product_of_the_densities() -> None:
    full = block_of("mobilenetv2-fused", "b2")
    pruned = next(item for item in workload(prune_blocks(network("mobilenetv2-fused"))).items if item.node == "b2")
    assert fused_weights(pruned) / fused_weights(full) == pytest.approx(0.2 * 0.3 * 0.2, rel=0.06)
    shapes_only = replace(full, operations=tuple(replace(op, weight=None) for op in full.operations))
    assert fused_weights(shapes_only) == fused_weights(full) == 24 * 24 * 9 * 864


def test_energy_of_fused_weights_grows_with_their_number_and_nothing_else_does() -> None:
    full = fused_stages(block_of("mobilenetv2-fused", "b9"), spec())
    pruned_item = next(item for item in workload(prune_blocks(network("mobilenetv2-fused"))).items if item.node == "b9")
    pruned = fused_stages(pruned_item, spec())
    for before, after in zip(full, pruned, strict=True):
        assert before.total_cycles == after.total_cycles
        if before.stage == "fusion_overhead":
            assert after.actions.additions < 0.02 * before.actions.additions
        else:
            assert after.actions == before.actions


def test_the_published_price_of_a_fused_weight() -> None:
    """Per output pixel and list the published overhead is 864 * 0.012 * 3.614 + 54 * 0.273 = 52.21 pJ."""
    item = next(item for item in workload(prune_blocks(network("mobilenetv2-fused"))).items if item.node == "b2")
    actions = fused_stages(item, spec())[3].actions
    pixels, lists = 1024, 24 * 24 * 9
    assert actions.additions == actions.fifo_pops == actions.gates == fused_weights(item) * pixels
    assert actions.mask_sram_reads == lists * 54 * pixels
    weight_bits = fused_weights(item) * 26 * 16
    assert actions.dram_read_bits == weight_bits + 864 * (38 * 38 + pixels)


def test_relu6_blocks_run_unfused() -> None:
    item = block_of("mobilenetv2", "b1")
    assert "relu6" in why_not_fused(item, spec())
    result = simulate(network("mobilenetv2"), spec())
    ledger = {entry.node: entry for entry in result.ledger}
    assert ledger["b1"].status == "plain" and "relu6" in ledger["b1"].reason
    assert {row.stage for row in result.rows if row.layer == "b1"} == {"expand_or_layer", "depthwise", "project"}


def test_blocks_wider_than_the_index_run_unfused() -> None:
    item = block_of("mobilenetv2-fused", "b1")
    assert why_not_fused(item, spec()) == ""
    narrow = spec().model_copy(update={"fused_index_bits": 9})
    assert "864 middle channels per group, fused_index_bits 9 allows 512" in why_not_fused(item, narrow)
    shallow = spec().model_copy(update={"pe": spec().pe.model_copy(update={"mask_sram_depth": 50})})
    assert "pe.mask_sram_depth 50 allows 800" in why_not_fused(item, shallow)


def test_the_classifier_and_stem_of_the_published_tables() -> None:
    assert plain_stage(operation(3, 32, 32, kernel=3), spec()).total_cycles == 13_824
    assert plain_stage(operation(1280, 10, 1), spec()).total_cycles == 200
    assert plain_stage(operation(32, 32, 32, kernel=3, groups=32), spec()).total_cycles == 4608


def test_inputs_that_do_not_fit_the_buffer_are_fetched_more_often() -> None:
    op = operation(16, 64, 32, kernel=3)
    roomy = plain_stage(op, spec())
    buffer = spec().global_buffer
    tight = spec().model_copy(update={"global_buffer": buffer.model_copy(update={"depth": 1000})})
    tightest = spec().model_copy(update={"global_buffer": buffer.model_copy(update={"depth": 50})})
    impossible = spec().model_copy(update={"global_buffer": buffer.model_copy(update={"depth": 20})})
    weights = op.weights * 16 * 16
    assert roomy.actions.dram_read_bits - weights == 16 * 32 * 32 * 16
    assert plain_stage(op, tight).actions.dram_read_bits - weights == 16 * 38 * 38 * 16
    assert plain_stage(op, tightest).actions.dram_read_bits - weights == 2 * 16 * 38 * 38 * 16
    with pytest.raises(InputError, match=r"global_buffer.depth: is 20: no tile of layer layer fits; use 25 or more"):
        plain_stage(op, impossible)
