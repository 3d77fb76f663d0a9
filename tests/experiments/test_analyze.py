"""What fusion would buy: the formulas, the advice, the command."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, strategies as st
from typer.testing import CliRunner

from predfuse import models
from predfuse.cli import app
from predfuse.errors import InputError
from predfuse.experiments.analyze import BlockShape, advise, analyze
from predfuse.fusion.counts import count_network
from predfuse.fusion.weights import too_large
from predfuse.graph.from_torch import UnsupportedError
from predfuse.graph.nodes import Network
from predfuse.hardware import load_spec, prune_blocks
from predfuse.hardware.cycle.simulate import simulate_cycles
from predfuse.predictor.network import prepare_network
from predfuse.predictor.prepare import PrepareConfig
from predfuse.report.analyze import at_cycle_fidelity, page, summary
from predfuse.report.page import render


@pytest.fixture(scope="module")
def network() -> Network:
    return models.network("mobilenetv2-s")


@st.composite
def shapes(draw: st.DrawFn) -> BlockShape:
    groups = draw(st.integers(1, 4))
    channels, middle, outputs = (groups * draw(st.integers(1, 64)) for _ in range(3))
    stride = draw(st.integers(1, 2))
    side = draw(st.integers(1, 28))
    kernel = draw(st.sampled_from((1, 3, 5, 7)))
    return BlockShape(channels, middle, outputs, kernel, stride, groups, (side * stride) ** 2, side**2)


def test_break_even_of_a_published_block() -> None:
    """MobileNetV2's 32 to 192 to 32 channels: 32*32*9 fused; 192*(32+9+32) unfused, so even at 126.2 channels."""
    shape = BlockShape(32, 192, 32, 3, 1, 1, 64, 64)
    assert shape.fused_multiplications() == 32 * 32 * 9 * 64
    assert shape.break_even_middle() == pytest.approx(32 * 32 * 9 / (32 + 9 + 32))
    assert shape.break_even_expansion() == pytest.approx(3.945, abs=1e-3)
    assert shape.break_even_expansion(0.2, 0.3) == pytest.approx(9216 / (0.4 * 32 + 2.7) / 32)
    assert shape.gains() and advise(shape) is None


def test_break_even_charges_the_expansion_at_the_input_size() -> None:
    """With a stride of 2 the expansion runs on four input pixels per output pixel, so fusion pays earlier."""
    near, far = (BlockShape(16, 64, 24, 3, stride, 1, 400 * stride**2, 400) for stride in (1, 2))
    assert far.break_even_middle() == pytest.approx(24 * 16 * 9 / (4 * 16 + 9 + 24))
    assert far.break_even_middle() < near.break_even_middle()


@given(shapes())
def test_advice_makes_a_block_gain_and_no_less_would(shape: BlockShape) -> None:
    advice = advise(shape)
    if advice is None:
        assert shape.gains()
        return
    assert not shape.gains()
    assert dataclasses.replace(shape, middle=advice.middle).gains()
    assert advice.middle % shape.groups == 0
    assert not dataclasses.replace(shape, middle=advice.middle - shape.groups).gains()
    common = math.gcd(shape.channels, shape.middle, shape.outputs)
    enough = [
        groups
        for groups in range(shape.groups + 1, common + 1)
        if common % groups == 0 and dataclasses.replace(shape, groups=groups).gains()
    ]
    assert advice.groups == min(enough, default=None)
    if advice.ends is not None:
        channels, outputs = advice.ends
        assert channels % shape.groups == outputs % shape.groups == 0
        assert dataclasses.replace(shape, channels=channels, outputs=outputs).gains()


def test_counts_are_those_of_the_network_as_it_is_and_pruned(network: Network) -> None:
    analysis = analyze(network)
    plain = count_network(network)
    assert analysis.counts.total.dense == plain.total.dense
    assert analysis.counts.total.fused.multiplications == plain.total.fused.multiplications
    for block in analysis.blocks:
        layer = next(layer for layer in plain.layers if layer.name == block.name)
        dense, pruned = layer.dense.multiplications, block.counts.pruned.multiplications
        assert 0.19 * dense < pruned < 0.31 * dense
        assert block.shape.fused_multiplications() == layer.fused.multiplications
        assert block.gains == (layer.multiplication_reduction > 1)
        reduction = block.shape.expansion / block.break_even_expansion
        assert layer.multiplication_reduction == pytest.approx(reduction)
    gaining = {block.name for block in analysis.gaining}
    expected = sum((layer.fused if layer.name in gaining else layer.dense).multiplications for layer in plain.layers)
    assert analysis.best_multiplications == expected


def test_cycles_are_those_of_three_machines(network: Network) -> None:
    analysis = analyze(network)
    assert set(analysis.results) == {"dense", "sparse", "fused"}
    for form, result in analysis.results.items():
        assert sum(block.cycles[form] for block in analysis.blocks) < result.total_cycles
        assert all(block.cycles[form] > 0 for block in analysis.blocks)
    assert {block.archon for block in analysis.blocks} == {"fused"}
    sparse, dense = analysis.results["sparse"], analysis.results["dense"]
    assert sparse.total_cycles < dense.total_cycles


def test_it_leads_with_cycle_fidelity_of_a_pruned_copy_and_says_what_to_change(network: Network) -> None:
    analysis = analyze(network)
    results = analysis.cycle.results
    pruned = prune_blocks(network, 0.2, 0.3, 0.2)
    for form, machine, what in (("dense", "eyeriss-dense", network), ("sparse", "eyeriss-sparse", pruned)):
        alone = simulate_cycles(what, load_spec(machine))[0].result
        assert results[form].layer_cycles() == alone.layer_cycles()
    fused_nodes = {entry.node for entry in results["fused"].ledger if entry.status == "fused"}
    assert fused_nodes == {block.name for block in network.bottlenecks()}
    assert f"{results['fused'].total_cycles:,} cycles" in at_cycle_fidelity(analysis)
    sparse, fused = results["sparse"].layer_cycles(), results["fused"].layer_cycles()
    for block in network.bottlenecks():
        remedy = analysis.cycle.remedies[block.name]
        assert remedy.startswith("prune it")
        assert ("fused it is slower" in remedy) == (fused[block.name] > sparse[block.name])
    again = analyze(pruned)
    assert not any(remedy.startswith("prune it") for remedy in again.cycle.remedies.values())
    assert again.cycle.results["fused"].total_cycles == results["fused"].total_cycles


def test_machines_of_ones_own_take_the_place_of_their_kind(network: Network, tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("name: mine\nextends: eyeriss-sparse\narray: {rows: 9, columns: 12}\n")
    usual, own = analyze(network).cycle.results, analyze(network, machines=[str(path)]).cycle.results
    assert own["sparse"].accelerator == "mine" and own["sparse"].total_cycles < usual["sparse"].total_cycles
    assert own["dense"].total_cycles == usual["dense"].total_cycles
    with pytest.raises(InputError, match="two machines of kind sparse, mine and eyeriss-sparse"):
        analyze(network, machines=[str(path), "eyeriss-sparse"])


def test_blocks_too_large_to_be_compiled_are_said_from_shapes(
    network: Network, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    block = next(network.bottlenecks())
    whole = block.out_channels * block.group_channels * block.kernel**2 * block.middle_channels // block.groups
    monkeypatch.setattr("predfuse.fusion.weights.MAX_ENTRIES", whole - 1)
    assert too_large(block).startswith(f"has {whole:,} fused weights, more than the {whole - 1:,} a program can hold")
    assert f"there would be {round(whole * 0.012):,}" in too_large(block)
    remedy = analyze(network).cycle.remedies[block.name]
    assert remedy.startswith("prune it before it is compiled: it has")
    images = np.zeros((1, *network.input_shape))
    prepare_network(network, images, PrepareConfig(blocks=(block.name,), steps=0))
    assert f"block {block.name} has {whole:,} fused weights" in caplog.text


def test_a_network_without_blocks_says_so() -> None:
    analysis = analyze(models.network("shufflenet"))
    assert not analysis.blocks
    assert summary(analysis).startswith("No expand-depthwise-project block")
    assert "No expand-depthwise-project block" in render(page(analysis))


def test_shares_outside_0_to_1_are_refused(network: Network) -> None:
    with pytest.raises(InputError, match="density"):
        analyze(network, pointwise=1.5)


def run(*arguments: str) -> tuple[str, str]:
    result = CliRunner().invoke(app, list(arguments), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout, result.stderr


def test_command_writes_table_json_and_page(tmp_path: Path) -> None:
    json_path, report = tmp_path / "a.json", tmp_path / "a.html"
    source = ("traced_modules:Shared", "--input", "1,3,16,16")
    stdout, _ = run("analyze", *source, "--json", str(json_path), "--report", str(report))
    assert ":Shared: Cycle by cycle, pruned by magnitude and fused on archon" in stdout
    assert "2 of 2 blocks gain" in " ".join(stdout.split())
    document = json.loads(json_path.read_text())
    assert [block["name"] for block in document["blocks"]] == ["block", "block@1"]
    block = document["blocks"][0]
    assert block["in_shape"] == [4, 16, 16]
    assert set(block["multiplications"]) == {"dense", "pruned", "fused"}
    assert set(block["cycles"]) == {"dense", "sparse", "fused"}
    assert block["break_even_expansion"] == pytest.approx(4 * 4 * 9 / (4 + 9 + 4) / 4)
    assert [entry["status"] for entry in document["ledger"]] == ["plain", "fused", "fused"]
    assert "traced_modules.py" in document["ledger"][1]["source"]
    html = report.read_text()
    assert "block@1" in html
    assert html.count("plotly.js v") <= 1
    assert 'src="http' not in html
    alone, _ = run("analyze", *source, "--json", "-")
    assert json.loads(alone) == document


def test_command_lists_unsupported_operations_and_can_go_on() -> None:
    source = ("traced_modules:SqueezeExciteBlock", "--input", "1,4,8,8")
    result = CliRunner().invoke(app, ["analyze", *source])
    assert isinstance(result.exception, UnsupportedError)
    assert result.exception.exit_code == 2
    stdout, _ = run("analyze", *source, "--allow-unsupported")
    assert "2 unsupported" in stdout
    assert "Not counted, because unsupported: excite.sigmoid, excite.mul." in " ".join(stdout.split())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("fusionet-s", "--keep", "half"), "--keep: is 'half'"),
        (("fusionet-s", "--report", "no/such/folder/a.html"), "does not exist"),
        (("traced_modules:Shared",), "needs an input shape"),
    ],
)
def test_wrong_options_are_refused_in_one_line(arguments: tuple[str, ...], message: str) -> None:
    result = CliRunner().invoke(app, ["analyze", *arguments])
    assert isinstance(result.exception, InputError)
    assert message in str(result.exception)


def test_traced_networks_are_saved_for_the_other_commands(tmp_path: Path) -> None:
    path = tmp_path / "own.safetensors"
    stdout, _ = run(
        "trace",
        "traced_modules:Shared",
        "--input",
        "1,3,8,8",
        "-o",
        str(path),
        "--mean",
        "0.5,0.5,0.5",
        "--std",
        "1,1,1",
    )
    assert "Ledger: 2 fused, 1 plain." in stdout
    from predfuse.graph.io import load_network

    assert load_network(path).mean == (0.5, 0.5, 0.5)
    stdout, _ = run("analyze", str(path))
    assert "of 2 blocks gain" in stdout
