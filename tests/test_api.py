"""Compile and simulate as the package offers them: models, networks and programs."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from export_cases import predicted
from torch import nn

import predfuse
from predfuse import models
from predfuse.errors import InputError
from predfuse.graph.nodes import Network
from predfuse.hardware import load_spec
from predfuse.hardware.cycle.archon.machine import prepare, run_archon
from predfuse.integer import reference
from predfuse.integer.as_network import integer_network
from predfuse.integer.options import CompileOptions
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
        predfuse.prepare(model, predfuse.PrepareConfig(), floats)
        options = CompileOptions(weight_bits=12)
        programs.append(predfuse.compile(model, calibration, options, name="small", mean=mean, std=std, labels=("a",)))
    assert {program.name for program in programs} == {"small"} and programs[0].labels == ("a",)
    scores = [predfuse.run(program, pixels()).scores.astype(int) for program in programs]
    # float32 images differ from the pixels' float64 by rounding, and with them the scales' last bits.
    assert np.abs(scores[0] - scores[1]).max() <= 2 < np.abs(scores[0]).max()
    with pytest.raises(InputError, match="calibration: is uint8 pixels without mean and std"):
        predfuse.compile(small_model(), pixels())


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
    integers, _ = to_integers(program, images[:1])
    masks = reference.run_image(program, integers[0]).masks
    expected = run_archon(prepare(integer_network(program), spec, program), masks).result
    for given in (images, torch.from_numpy(images)):
        assert predfuse.simulate(program, spec, "cycle", given).as_json() == expected.as_json()
    assert expected.total_cycles == expected.compute_cycles + expected.stall_cycles > 0
    fused = [entry.node for entry in expected.ledger if entry.status == "fused"]
    assert fused == ["b1", "b2"]
    assert predfuse.simulate(program, "eyeriss-dense", "cycle").total_cycles > 0
    for what in (program, graph):
        with pytest.raises(InputError, match="give images"):
            predfuse.simulate(what, spec, "cycle")
        with pytest.raises(InputError, match=r"expects|shape"):
            predfuse.simulate(what, spec, "cycle", images[:, :, :-1])
    with pytest.raises(InputError, match="allow_unsupported does not apply"):
        predfuse.simulate(graph, spec, "cycle", images, allow_unsupported=True)


def test_a_programs_layers_keep_their_shapes_and_zeros() -> None:
    graph = network()
    block = next(graph.bottlenecks())
    weight = block.expand_weight.copy()
    weight[3:] = 0
    graph = graph.replace_nodes(b1=dataclasses.replace(block, expand_weight=weight))
    program = predfuse.compile(graph, np.random.default_rng(0).normal(size=(4, *graph.input_shape)))
    plain = integer_network(program)
    assert plain.shapes() == program.shapes()
    kept = next(plain.bottlenecks())
    assert not kept.expand_weight[3:].any() and kept.expand_weight[:3].any()


def test_facts_of_a_network_are_not_given_twice() -> None:
    with pytest.raises(InputError, match="compile: a network has its own name, mean, std and labels"):
        predfuse.compile(network(), pixels(), name="other")


def test_only_the_verbs_are_offered() -> None:
    assert callable(predfuse.prepare) and callable(predfuse.compile) and callable(predfuse.simulate)
    with pytest.raises(AttributeError, match="has no attribute 'fuse'"):
        predfuse.fuse  # noqa: B018 - the access is the test
