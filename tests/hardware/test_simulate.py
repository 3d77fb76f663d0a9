"""Whole networks: ledger, totals, energy by component, names, comparison."""

from __future__ import annotations

import json
from dataclasses import fields, replace

import numpy as np
import pytest
from hypothesis import given, settings
from strategies import networks

from predfuse.errors import InputError
from predfuse.graph.nodes import Bottleneck, Conv, Linear, Network
from predfuse.hardware import load_spec, prune_blocks
from predfuse.hardware.closed_form.simulate import simulate
from predfuse.hardware.energy import COMPONENT_OF, COMPONENTS, Actions, energy_by_component_pj, prices_pj
from predfuse.hardware.pruning import keep_largest
from predfuse.models import network

MACHINES = ("eyeriss-dense", "eyeriss-sparse", "archon-ics21")


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("name", ["shufflenet", "fusionet-s", "mobilenetv2-s"])
def test_every_node_is_in_the_ledger_and_every_stage_adds_up(name: str, machine: str) -> None:
    net, spec = prune_blocks(network(name)), load_spec(machine)
    result = simulate(net, spec)
    assert [entry.node for entry in result.ledger] == [node.name for node in net.nodes]
    assert result.total_cycles == result.compute_cycles + result.stall_cycles == sum(result.layer_cycles().values())
    assert len({(row.layer, row.stage) for row in result.rows}) == len(result.rows)
    for row in result.rows:
        assert set(row.energy_pj) == set(COMPONENTS)
        assert row.energy_pj == energy_by_component_pj(row.actions, spec)
        assert 0.0 <= row.utilisation <= 1.0 and row.total_cycles == row.compute_cycles + row.stall_cycles
    assert result.total_energy_uj == pytest.approx(sum(result.energy_pj.values()) * 1e-6)
    assert result.milliseconds == pytest.approx(result.total_cycles / 200e3)


@settings(max_examples=30)
@given(networks())
def test_any_network_runs_and_nothing_with_weights_is_free(net: Network) -> None:
    for machine in MACHINES:
        result = simulate(net, load_spec(machine), allow_unsupported=True)
        charged = {row.layer for row in result.rows if row.total_energy_uj > 0}
        for node, entry in zip(net.nodes, result.ledger, strict=True):
            if isinstance(node, (Conv, Linear, Bottleneck)):
                assert node.name.split(".")[0] in charged or entry.status == "unsupported"
            else:
                assert "not in the published model" in entry.reason


def test_names_are_those_of_the_network() -> None:
    result = simulate(network("shufflenet"), load_spec("eyeriss-dense"))
    stages = [(row.layer, row.stage) for row in result.rows if row.layer == "b3"]
    assert stages == [("b3", "expand_or_layer"), ("b3", "depthwise"), ("b3", "project")]


def test_fused_blocks_have_their_four_stages() -> None:
    result = simulate(network("fusionet-s"), load_spec("archon-ics21"))
    stages = [row.stage for row in result.rows if row.layer == "b2"]
    assert stages == ["predict_expand", "predict_depthwise", "main", "fusion_overhead"]
    assert {entry.status for entry in result.ledger if entry.node.startswith("b")} == {"fused"}


def test_a_layer_the_machine_cannot_run_is_an_error_unless_allowed() -> None:
    weight = np.ones((4, 3, 17, 17))
    wide = Network("wide", (3, 32, 32), (Conv("big", ("input",), weight, np.zeros(4), padding=(8, 8, 8, 8)),))
    with pytest.raises(InputError, match="ifmap_regfile_words"):
        simulate(wide, load_spec("eyeriss-dense"))
    result = simulate(wide, load_spec("eyeriss-dense"), allow_unsupported=True)
    assert result.rows == () and result.total_cycles == 0
    assert result.ledger[0].status == "unsupported" and "ifmap_regfile_words" in result.ledger[0].reason


def test_an_unknown_fidelity_is_refused() -> None:
    with pytest.raises(InputError, match="fidelity"):
        simulate(network("fusionet-s"), load_spec("archon-ics21"), "guess")


def test_the_json_form_is_complete_and_plain() -> None:
    result = simulate(network("fusionet-s"), load_spec("archon-ics21"))
    document = json.loads(json.dumps(result.as_json()))
    assert document["totals"]["total_cycles"] == result.total_cycles
    assert sum(row["cycles"] for row in document["rows"]) == result.total_cycles
    assert [entry["node"] for entry in document["ledger"]] == [entry.node for entry in result.ledger]
    assert document["fidelity"] == "paper"


def test_every_action_has_a_component_and_every_price_an_action() -> None:
    names = {f.name for f in fields(Actions)}
    assert set(COMPONENT_OF) == names and set(COMPONENT_OF.values()) <= set(COMPONENTS)
    for machine in MACHINES:
        assert set(prices_pj(load_spec(machine))) <= names


def test_actions_add_up() -> None:
    one, two = Actions(multiplications=1, gates=2), Actions(multiplications=10)
    assert (one + two).multiplications == 11 and (one + two).gates == 2
    assert one.scaled(3) == Actions(multiplications=3, gates=6)
    with pytest.raises(KeyError):
        energy_by_component_pj(one, load_spec("eyeriss-dense"))  # the dense machine has no gates


def test_energy_of_known_actions() -> None:
    actions = Actions(multiplications=10, global_buffer_reads=2, dram_read_bits=64, ternary_additions=4)
    energy = energy_by_component_pj(actions, load_spec("archon-ics21"))
    assert energy["multipliers"] == pytest.approx(22.0)
    assert energy["global_buffer"] == pytest.approx(68.0)
    assert energy["dram"] == pytest.approx(512.0)
    assert energy["adders"] == pytest.approx(0.054)


def test_keep_largest_keeps_the_right_ones_and_the_first_of_equals() -> None:
    weight = np.array([[3.0, -1.0, 2.0], [-3.0, 0.5, 1.0]])
    assert np.array_equal(keep_largest(weight, 0.5), [[3.0, 0.0, 2.0], [-3.0, 0.0, 0.0]])
    assert np.array_equal(keep_largest(np.ones(4), 0.5), [1.0, 1.0, 0.0, 0.0])
    assert not keep_largest(weight, 0.0).any()
    assert np.array_equal(keep_largest(weight, 1.0), weight)


def test_pruning_leaves_stem_tail_and_classifier_alone() -> None:
    for name, block in (("mobilenetv2-s", "b2"), ("shufflenet", "b2.project")):
        net = network(name)
        before = {node.name: node for node in net.nodes}
        after = {node.name: node for node in prune_blocks(net).nodes}
        for plain in ("conv1", "FC1"):
            assert np.array_equal(before[plain].weight, after[plain].weight)  # type: ignore[attr-defined]
        weight = after[block].project_weight if name != "shufflenet" else after[block].weight  # type: ignore[attr-defined]
        assert np.count_nonzero(weight) == round(0.2 * weight.size)
    with pytest.raises(InputError, match="pointwise density"):
        prune_blocks(network("mobilenetv2-s"), pointwise_density=1.5)


def test_results_do_not_depend_on_how_a_block_is_encoded() -> None:
    """A bottleneck and its three convolutions cost the same on the dense and sparse machines."""
    net = prune_blocks(network("mobilenetv2-s"))
    block = next(node for node in net.nodes if isinstance(node, Bottleneck))
    expand = Conv("b1.expand", block.inputs, block.expand_weight[:, :, None, None], block.expand_bias)
    depthwise = Conv(
        "b1.depthwise",
        ("b1.expand",),
        block.depthwise_weight[:, None],
        block.depthwise_bias,
        stride=block.stride,
        padding=block.padding,
        groups=block.middle_channels,
    )
    project = Conv("b1.project", ("b1.depthwise",), block.project_weight[:, :, None, None], block.project_bias)
    place = net.nodes.index(block)
    rest = (
        replace(node, inputs=tuple("b1.project" if source == "b1" else source for source in node.inputs))
        for node in net.nodes[place + 1 :]
    )
    unrolled = replace(net, nodes=(*net.nodes[:place], expand, depthwise, project, *rest))
    for machine in MACHINES[:2]:
        assert simulate(net, load_spec(machine)).rows == simulate(unrolled, load_spec(machine)).rows
