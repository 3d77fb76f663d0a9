"""What a compilation says about its integers: small errors per block, and a warning with the block to blame."""

from __future__ import annotations

import dataclasses
import logging

import numpy as np
import pytest

from predfuse import models
from predfuse.arrays import Array
from predfuse.graph.nodes import Network
from predfuse.integer.agreement import Agreement, compare, compile_and_compare
from predfuse.integer.compile import compile_layers
from predfuse.predictor.network import prepare_network
from predfuse.predictor.prepare import PrepareConfig


@pytest.fixture(scope="module")
def prepared() -> tuple[Network, Array]:
    """A small network with predictors, and images."""
    images = np.random.default_rng(0).normal(size=(8, 1, 14, 14))
    network = models.network("fusionet-s", options={"input_shape": [1, 14, 14]})
    return prepare_network(network, images, PrepareConfig(steps=0)), images


def test_blocks_are_judged_by_their_own_input(prepared: tuple[Network, Array]) -> None:
    network, images = prepared
    checked = compile_and_compare(network, images)
    program, agreement = checked.program, checked.agreement
    assert set(agreement.blocks) == {block.name for block in program.fused_blocks()} == set(agreement.drift)
    assert max(agreement.blocks.values()) < 5e-3  # 16-bit weights, and masks that are exactly the model's
    assert program.metadata["agreement"] == agreement.facts()
    assert agreement.images == len(images)


def test_a_damaged_block_is_found_by_its_own_error(prepared: tuple[Network, Array]) -> None:
    network, images = prepared
    compiled = compile_layers(network, images)
    block = compiled.program.fused_blocks()[1]
    damaged = dataclasses.replace(block, output_bias=block.output_bias + (3000 << block.shift.astype(np.int64)))
    nodes = tuple(damaged if node is block else node for node in compiled.program.nodes)
    program = dataclasses.replace(compiled.program, nodes=nodes)
    agreement, _ = compare(dataclasses.replace(compiled, program=program), network, images)
    assert max(agreement.blocks, key=lambda name: agreement.blocks[name]) == block.name
    assert agreement.blocks[block.name] > 0.05


def test_a_poor_agreement_is_a_warning_that_names_a_block(
    prepared: tuple[Network, Array], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    poor = Agreement(20, {"a": 1e-4, "b": 1e-3}, {"a": 1e-4, "b": 0.3}, 0.4, 0.5)
    assert poor.warning is not None and "50.0% of 20" in poor.warning and "block b" in poor.warning
    assert dataclasses.replace(poor, classes_agree=0.95).warning is None
    monkeypatch.setattr("predfuse.integer.agreement.compare", lambda *arguments: (poor, {}))
    with caplog.at_level(logging.WARNING):
        checked = compile_and_compare(*prepared)
    assert checked.warning is not None and checked.warning in caplog.text
    advice = (
        "; for about half of it: predfuse prepare --bits 8 --largest-weight 4, for an Archon with activation_bits: 8"
    )
    assert checked.warning.startswith(poor.warning + advice)
    network, images = prepared
    wide = prepare_network(network, images, PrepareConfig(8, largest_weight=4, steps=0))
    assert compile_and_compare(wide, images).warning == poor.warning
