"""Compile and simulate as the package offers them: models, networks and programs."""

from __future__ import annotations

import copy
import dataclasses
import doctest
import inspect
import pkgutil
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch
from export_cases import predicted
from torch import nn

import predfuse
from predfuse import models
from predfuse.errors import InputError
from predfuse.fusion.results import ExecutionResult
from predfuse.graph.io import load_network, save_network
from predfuse.graph.nodes import Network
from predfuse.hardware import ArchonSpec, load_spec
from predfuse.hardware.cycle.archon.machine import prepare, run_archon
from predfuse.hardware.workload import workload
from predfuse.integer import MachineResult, reference
from predfuse.integer.options import CompileOptions
from predfuse.integer.program_io import is_program, load_program, save_program
from predfuse.integer.run import to_integers


def network() -> Network:
    """Two blocks with predictors."""
    options = {"stage_blocks": (1, 1), "stage_middle": (32, 48), "stage_channels": (8, 8), "input_shape": (1, 14, 14)}
    plain = models.network("fusionet-s", options=options)
    return plain.replace_nodes(**{block.name: predicted(block, offset=1) for block in plain.bottlenecks()})


def pixels(count: int = 8) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (count, 1, 14, 14), np.uint8)


def small_model() -> nn.Module:
    torch.manual_seed(0)
    block = [nn.Conv2d(4, 12, 1), nn.ReLU(), nn.Conv2d(12, 12, 3, 1, 1, groups=12), nn.ReLU6(), nn.Conv2d(12, 4, 1)]
    return nn.Sequential(nn.Conv2d(1, 4, 3, 2, 1), *block, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3))


def test_pixels_and_the_floats_they_stand_for_give_one_program() -> None:
    mean, std = (0.3,), (0.25,)
    floats = torch.from_numpy((pixels() / 255 - 0.3) / 0.25).float()
    programs = []
    for calibration in (pixels(), floats):
        model = small_model()
        predfuse.prepare(model, predfuse.PrepareConfig(steps=0), floats)
        options = CompileOptions(weight_bits=12)
        programs.append(
            predfuse.compile(model, calibration, options, name="small", mean=mean, std=std, labels=("a", "b", "c"))
        )
    assert {program.name for program in programs} == {"small"} and programs[0].labels == ("a", "b", "c")
    scores = [predfuse.run(program, pixels()).scores.astype(int) for program in programs]
    # float32 images differ from the pixels' float64 by rounding, and with them the scales' last bits.
    assert np.abs(scores[0] - scores[1]).max() <= 2 < np.abs(scores[0]).max()
    with pytest.raises(InputError, match="calibration: is uint8 pixels without mean and std"):
        predfuse.compile(small_model(), pixels())


def test_words_of_8_bits() -> None:
    """The width reaches the program, which a machine of that width runs and others refuse."""
    model, images = small_model(), torch.from_numpy(pixels() / 255).float()
    predfuse.prepare(model, predfuse.PrepareConfig(steps=0), images)
    program = predfuse.compile(model, images, bits=8)
    scores = predfuse.run(program, images).scores
    assert program.bits == 8 and np.abs(scores).max() <= 128
    machine = predfuse.hardware.load_spec("archon")
    with pytest.raises(InputError, match="has words of 8 bits, the machine archon has 16"):
        predfuse.simulate(program, machine, fidelity="cycle", images=images)
    narrow = predfuse.hardware.with_fields(machine, {"bits": 8})
    assert predfuse.simulate(program, narrow, fidelity="cycle", images=images).total_cycles > 0
    with pytest.raises(InputError, match="bits: is 8 beside options of 16"):
        predfuse.compile(model, images, CompileOptions(), bits=8)


def test_programs_and_networks_cost_the_same_where_no_weight_rounds_to_zero() -> None:
    graph = network()
    program = predfuse.compile(graph, np.random.default_rng(0).normal(size=(4, *graph.input_shape)))
    for name in ("eyeriss-dense", "archon-ics21"):
        of_program, of_network = predfuse.simulate(program, name), predfuse.simulate(graph, load_spec(name))
        assert of_program.layer_cycles() == of_network.layer_cycles()
        assert of_program.total_cycles > 0
    fused = [entry.node for entry in predfuse.simulate(program).ledger if entry.status == "fused"]
    assert fused == ["b1", "b2"]


def test_cycles_of_a_program_come_from_the_masks_of_the_integer_machine() -> None:
    graph = network()
    program = predfuse.compile(graph, np.random.default_rng(0).normal(size=(4, *graph.input_shape)))
    images = np.random.default_rng(1).normal(size=(2, *graph.input_shape)).astype(np.float32)
    spec = load_spec("archon-ics21")
    assert isinstance(spec, ArchonSpec)
    integers, _ = to_integers(program, images[:1])
    masks = reference.run_image(program, integers[0]).masks
    expected = run_archon(prepare(program, spec), masks).result
    for given in (images, torch.from_numpy(images)):
        found = predfuse.simulate(program, spec, "cycle", given[:1]).first.as_json()
        assert [note for note in found.pop("notes") if "not pruned" not in note] == list(expected.notes)
        assert found == {key: value for key, value in expected.as_json().items() if key != "notes"}
    assert expected.total_cycles == expected.compute_cycles + expected.stall_cycles > 0
    fused = [entry.node for entry in expected.ledger if entry.status == "fused"]
    assert fused == ["b1", "b2"]
    assert predfuse.simulate(program, "eyeriss-dense", "cycle").total_cycles > 0
    for what in (program, graph):
        with pytest.raises(InputError, match="give images"):
            predfuse.simulate(what, spec, "cycle")
        with pytest.raises(InputError, match=r"expects|shape"):
            predfuse.simulate(what, spec, "cycle", images[:, :, :-1])


def test_a_programs_layers_keep_their_shapes_and_zeros() -> None:
    graph = network()
    block = next(graph.bottlenecks())
    weight = block.expand_weight.copy()
    weight[3:] = 0
    graph = graph.replace_nodes(b1=dataclasses.replace(block, expand_weight=weight))
    program = predfuse.compile(graph, np.random.default_rng(0).normal(size=(4, *graph.input_shape)))
    of_program, of_network = workload(program), workload(graph)
    assert [item.shape for item in of_program.items] == [item.shape for item in of_network.items]
    kept = next(item.block for item in of_program.items if item.node == block.name)
    assert kept is not None and not kept.expand[3:].any() and kept.expand[:3].any()


def test_facts_of_a_network_are_not_given_twice() -> None:
    with pytest.raises(InputError, match="compile: a network has its own name, mean, std and labels"):
        predfuse.compile(network(), pixels(), name="other")


def test_a_simulation_is_the_mean_of_its_images() -> None:
    graph = network()
    images = np.random.default_rng(1).normal(size=(3, *graph.input_shape)).astype(np.float32)
    every = [predfuse.simulate(graph, "archon", "cycle", image[None]) for image in images]
    together = predfuse.simulate(graph, "archon", "cycle", torch.from_numpy(images))
    cycles = [one.total_cycles for one in every]
    assert together.images == 3 and together.total_cycles == round(sum(cycles) / 3)
    assert (together.fastest_cycles, together.slowest_cycles) == (min(cycles), max(cycles))
    assert together.total_energy_uj == pytest.approx(sum(one.total_energy_uj for one in every) / 3)
    assert len({one.total_energy_uj for one in every}) > 1, "the images must differ for this to show anything"
    assert together.rows == every[0].rows and together.as_json()["images"]["count"] == 3
    closed = predfuse.simulate(graph, "archon", images=images)
    assert closed.images == 1 and closed.total_cycles == predfuse.simulate(graph, "archon").total_cycles


@pytest.mark.parametrize("fidelity", ["paper", "cycle"])
def test_layers_no_machine_can_run_are_named_or_listed(fidelity: Literal["paper", "cycle"]) -> None:
    model = nn.Sequential(small_model(), nn.Unflatten(1, (3, 1, 1)), nn.Sigmoid(), nn.Conv2d(3, 2, 1))
    graph = predfuse.trace(model, torch.zeros(1, 1, 14, 14), allow_unsupported=True).network
    with pytest.raises(InputError, match="allow_unsupported"):
        predfuse.simulate(graph, "eyeriss-sparse", fidelity)
    listed = predfuse.simulate(graph, "eyeriss-sparse", fidelity, allow_unsupported=True)
    assert "unsupported" in {entry.status for entry in listed.ledger}


def test_verbs_take_what_is_stored_as_text_or_path(tmp_path: Path) -> None:
    graph = network()
    saved, compiled = tmp_path / "network.safetensors", tmp_path / "program.safetensors"
    save_network(graph, saved)
    images = np.random.default_rng(0).normal(size=(2, *graph.input_shape)).astype(np.float32)
    program = predfuse.compile(str(saved), images)
    save_program(program, compiled)
    for where in (compiled, str(compiled)):
        ran = predfuse.run(where, torch.from_numpy(images))
        assert isinstance(ran, MachineResult) and np.array_equal(ran.scores, predfuse.run(program, images).scores)
        assert predfuse.simulate(where, "eyeriss-dense").total_cycles > 0
    for stored in (saved, str(saved)):
        assert predfuse.count(stored, images).as_json() == predfuse.count(graph, torch.from_numpy(images)).as_json()
        assert predfuse.analyze(stored).as_json() == predfuse.analyze(graph).as_json()
        executed = predfuse.run(stored, images)
        assert isinstance(executed, ExecutionResult)
        assert np.array_equal(executed.logits, predfuse.run(graph, images).logits)
    for verb in (predfuse.count, predfuse.analyze):
        with pytest.raises(InputError, match="takes a network, and this is a compiled program"):
            verb(compiled)
    with pytest.raises(InputError, match=r"simulate: got a Sequential; give a network \(predfuse.to_network\)"):
        predfuse.simulate(torch.nn.Sequential(), "archon")  # type: ignore[arg-type]
    halved = torch.from_numpy(images).bfloat16()
    assert np.array_equal(predfuse.run(program, halved).scores, predfuse.run(program, halved.float()).scores)
    holed = images.copy()
    holed[1, 0, 0, 0] = np.nan
    for refused in (
        lambda: predfuse.simulate(program, "eyeriss-dense", "cycle", holed),
        lambda: predfuse.simulate(graph, "eyeriss-dense", "cycle", holed),
        lambda: predfuse.export(graph, tmp_path / "x.onnx", images=holed),
    ):
        with pytest.raises(InputError, match="images: hold NaN or infinite values"):
            refused()
    with pytest.raises(InputError, match="mode: applies to networks"):
        predfuse.api.run(compiled, images, mode="true")  # type: ignore[call-overload]
    with pytest.raises(InputError, match="machine: applies to programs"):
        predfuse.api.run(graph, images, machine="reference")  # type: ignore[call-overload]


def test_the_examples_of_the_docstrings_run(tmp_path: Path) -> None:
    model, images = small_model(), torch.randn(16, 1, 14, 14, generator=torch.Generator().manual_seed(0))
    prepared = copy.deepcopy(model)
    predfuse.prepare(prepared, predfuse.PrepareConfig(steps=0), images)
    shown = {
        "predfuse": predfuse,
        "torch": torch,
        "model": model,
        "prepared": prepared,
        "images": images,
        "program": predfuse.compile(prepared, images),
        "pixels": np.zeros((2, 3, 32, 32), np.uint8),
        "folder": tmp_path,
    }
    finder, runner = doctest.DocTestFinder(recurse=False), doctest.DocTestRunner()
    for name in predfuse.__all__:
        verb = getattr(predfuse, name)
        if inspect.isfunction(verb):
            found = finder.find(verb, name, globs={**shown, "model": copy.deepcopy(model)})
            assert any(test.examples for test in found), f"{name} shows no example"
            for test in found:
                assert not any(doctest.SKIP in example.options for example in test.examples), (
                    f"{name} skips its example"
                )
                assert runner.run(test).failed == 0, f"the example of {name} fails"


def test_only_the_verbs_are_offered() -> None:
    for module in pkgutil.iter_modules(predfuse.__path__):
        assert module.name not in predfuse.__all__, f"the package {module.name} would hide the verb"
    with pytest.raises(AttributeError, match="has no attribute 'fuse'"):
        predfuse.fuse  # noqa: B018 - the access is the test


@pytest.mark.parametrize("source", [b"x", None, 3])
def test_a_source_that_is_no_name_is_refused(source: Any) -> None:
    with pytest.raises(InputError, match=r"source: is a \w+; give a path or a name"):
        predfuse.load(source)


@pytest.mark.parametrize("call", [load_network, load_program, is_program])
def test_paths_that_are_none_are_refused(call: Any) -> None:
    for path in (b"x", None, 3):
        with pytest.raises(InputError, match=r"path: is a \w+; give text or a pathlib.Path"):
            call(path)


@pytest.mark.parametrize(
    "images",
    [
        None,
        "x",
        3.0,
        [[1.0], [1.0, 2.0]],
        [object()],
        torch.zeros(2, 3, 8, 8).to_sparse(),
        torch.zeros(2, 3, 8, 8, device="meta"),
    ],
)
def test_images_that_are_no_array_are_refused(images: Any) -> None:
    network = models.network("fusionet-s")
    for call in (
        lambda: predfuse.run(network, images),
        lambda: predfuse.compile(network, images),
        lambda: predfuse.trace(torch.nn.Flatten(), images),
    ):
        with pytest.raises(InputError, match=r"images: are (no array \(|a tensor that is (sparse|on the meta device))"):
            call()
