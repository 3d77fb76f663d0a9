"""The registered networks: published shapes, options, and a lowering that computes the same."""

from __future__ import annotations

from typing import Any

import float_reference as reference
import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st

from predfuse import models
from predfuse.errors import InputError
from predfuse.graph.nodes import Bottleneck, Conv, Network
from predfuse.models.norms import PartialNorm, ScaleNorm
from predfuse.predictor.initialise import insert_predictors

PUBLISHED = {  # name: (c, m, o, output pixels per side), ICS 2021 artifact, 32x32 inputs
    "fusionet": (
        [32] * 4 + [64] * 4 + [96] * 8,
        [2368] * 8 + [3456] * 8,
        [32] * 3 + [64] * 4 + [96] * 8 + [160],
        [32] * 3 + [16] * 4 + [8] * 9,
    ),
    "mobilenetv2": (
        [16] + [24] * 2 + [32] * 3 + [64] * 4 + [96] * 3 + [160] * 3,
        [96] + [144] * 2 + [192] * 3 + [384] * 4 + [576] * 3 + [960] * 3,
        [24] * 2 + [32] * 3 + [64] * 4 + [96] * 3 + [160] * 3 + [320],
        [32] * 5 + [16] * 7 + [8] * 4,
    ),
    "mobilenetv2-fused": (
        [16] + [24] * 3 + [32] * 4 + [40] * 6,
        [864] * 14,
        [24] * 3 + [32] * 4 + [40] * 6 + [80],
        [32] * 3 + [16] * 4 + [8] * 7,
    ),
    "mnasnet": (
        [16] + [24] * 2 + [40] * 3 + [80] * 4 + [112] * 2 + [160] * 3,
        [96, 144, 72, 120, 120] + [240] + [480] * 4 + [672] * 2 + [960] * 3,
        [24] * 2 + [40] * 3 + [80] * 4 + [112] * 2 + [160] * 3 + [320],
        [32] * 2 + [16] * 9 + [8] * 4,
    ),
    "mnasnet-fused": (
        [16] + [24] * 3 + [32] * 5 + [40] * 6,
        [960] * 15,
        [24] * 3 + [32] * 5 + [40] * 6 + [80],
        [32] * 2 + [16] * 6 + [8] * 7,
    ),
    "shufflenet-fused": (
        [24] + [18] * 2 + [24] * 4 + [42] * 8,
        [2574] * 7 + [2604] * 8,
        [18] * 2 + [24] * 4 + [42] * 8 + [84],
        [32] * 2 + [16] * 4 + [8] * 9,
    ),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_channel_lists(name: str) -> None:
    network = models.network(name)
    shapes = network.shapes()
    blocks = list(network.bottlenecks())
    c, m, o, pixels = PUBLISHED[name]
    assert [block.in_channels for block in blocks] == c
    assert [block.middle_channels for block in blocks] == m
    assert [block.out_channels for block in blocks] == o
    assert [shapes[block.name][1] for block in blocks] == pixels


def test_original_shufflenet_shuffles_inside_its_blocks() -> None:
    network = models.network("shufflenet")
    expands = [node for node in network.nodes if isinstance(node, Conv) and node.name.endswith(".expand")]
    projects = [node for node in network.nodes if isinstance(node, Conv) and node.name.endswith(".project")]
    assert [node.in_channels for node in expands] == [24] + [60] * 4 + [120] * 8 + [240] * 2
    assert [node.out_channels for node in expands] == [240] * 4 + [480] * 8 + [960] * 3
    assert [node.out_channels for node in projects] == [60] * 4 + [120] * 8 + [240] * 3
    assert not list(network.bottlenecks())
    shapes = network.shapes()
    assert [shapes[node.name][1] for node in projects] == [32] * 3 + [16] * 8 + [8] * 4


def test_fusionet_residuals() -> None:
    with_residual = [block.name for block in models.network("fusionet").bottlenecks() if block.residual]
    assert with_residual == [f"b{n}" for n in range(1, 17) if n not in (1, 4, 8, 16)]


def small(name: str) -> models.Cnn:
    if name == "fusionet":
        return models.build(name, width=0.25, middle_width=0.01, depth=0.5, input_shape=(3, 9, 11), stem_stride=2)
    if name == "mobilenetv2":
        options: dict[str, Any] = {"channels": (8, 8, 12), "strided": (2,), "tail_channels": 16, "stem_channels": 8}
        return models.build(name, input_shape=(2, 9, 9), num_classes=3, **options)
    return models.build(name, input_shape=(3, 8, 8))


def randomise_statistics(model: torch.nn.Module) -> None:
    """Batch norms as after training: nothing is 0 or 1 that could hide a mistake."""
    generator = torch.Generator().manual_seed(3)
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            assert module.running_mean is not None and module.running_var is not None
            for tensor, low, high in (
                (module.weight.data, -0.5, 1.5),
                (module.bias.data, -0.5, 0.5),
                (module.running_mean, -0.5, 0.5),
                (module.running_var, 0.5, 2.0),
            ):
                tensor.copy_(torch.rand(tensor.shape, generator=generator) * (high - low) + low)


@pytest.mark.parametrize("name", ["fusionet", "mobilenetv2", "shufflenet"])
def test_lowering_computes_the_same(name: str) -> None:
    model = small(name).double().eval()
    randomise_statistics(model)
    images = np.random.default_rng(0).normal(size=(2, *model.input_shape))
    network = models.to_network(model)
    expected = model(torch.from_numpy(images)).detach().numpy()
    got = np.stack([scores(network, image) for image in images])
    np.testing.assert_allclose(got, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("linear", [None, "expand_activation", "depthwise_activation"])
def test_lowering_of_a_predicted_network_computes_the_same(linear: str | None) -> None:
    model = small("fusionet").double().eval()
    randomise_statistics(model)
    if linear is not None:
        for _, block in model.bottlenecks():
            setattr(block, linear, "linear")
    images = np.random.default_rng(0).normal(size=(4, *model.input_shape))
    insert_predictors(model, torch.from_numpy(images))
    model.double()
    network = models.to_network(model)
    assert all(isinstance(node.predictor, object) for node in network.nodes if isinstance(node, Bottleneck))
    expected = model(torch.from_numpy(images)).detach().numpy()
    with torch.no_grad():
        np.testing.assert_allclose(model(torch.from_numpy(images)).numpy(), expected, rtol=1e-9, atol=1e-9)
    got = np.stack([scores(network, image) for image in images])
    np.testing.assert_allclose(got, expected, rtol=1e-9, atol=1e-9)


def test_a_stem_of_one_convolution() -> None:
    """The first block reads what the first convolution makes; the network is traced, and runs, as any other."""
    model = models.build("fusionet-s", input_shape=(3, 8, 8), stage_middle=(32, 64), stem_pointwise=False)
    assert [name for name, _ in model.layers.named_children()][:2] == ["conv1", "b1"]
    model.double().eval()
    x = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    got = np.stack([scores(models.to_network(model), image) for image in x.numpy()])
    np.testing.assert_allclose(got, model(x).detach().numpy(), rtol=1e-9, atol=1e-9)
    with pytest.raises(InputError, match="has a stem_depthwise_stride of 2 without that convolution"):
        models.build("fusionet-s", stem_pointwise=False, stem_depthwise_stride=2)


def test_without_shifts_there_are_no_bias_sums() -> None:
    model = models.build("fusionet-s", input_shape=(3, 8, 8), stage_middle=(32, 64), shifts=False)
    x = torch.randn(16, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    model.train()
    block = next(block for _, block in model.bottlenecks())
    expected = x[:, :1].expand(16, 32, 8, 8) / (x[:, :1].square().mean() + 1e-5).sqrt()
    torch.testing.assert_close(block.expand_norm(x[:, :1].expand(16, 32, 8, 8)), expected)
    for _ in range(3):
        model(x).square().mean().backward()
    assert block.expand_norm.weight.grad is not None and block.depthwise_norm.weight.grad is not None
    model.double().eval()
    insert_predictors(model, x.double())
    network = models.to_network(model.double())
    assert all(not b.expand_bias.any() and not b.depthwise_bias.any() for b in network.bottlenecks())
    got = np.stack([scores(network, image) for image in x[:2].double().numpy()])
    np.testing.assert_allclose(got, model(x[:2].double()).detach().numpy(), rtol=1e-9, atol=1e-9)


@settings(max_examples=25)
@given(
    st.integers(0, 2**32 - 1),
    st.lists(st.booleans(), min_size=3, max_size=3).map(lambda kept: torch.tensor(kept, dtype=torch.float64)),
)
def test_partial_norm_shifts_the_channels_it_is_told_to(seed: int, mask: torch.Tensor) -> None:
    """With its mask on a channel is that of a batch norm, off that of a norm without shift."""
    generator = torch.Generator().manual_seed(seed)
    norms = (PartialNorm(3).double(), torch.nn.BatchNorm2d(3, eps=1e-5).double(), ScaleNorm(3).double())
    partial, whole, scale = norms
    partial.shift_mask.copy_(mask)
    weight, bias = (torch.randn(3, generator=generator, dtype=torch.float64) for _ in range(2))
    for norm in norms:
        norm.weight.data.copy_(weight)
        if norm is not scale:
            norm.bias.data.copy_(bias)
    assert partial.running_mean is not None and partial.running_var is not None
    assert whole.running_mean is not None and whole.running_var is not None
    keep = mask.view(1, -1, 1, 1)
    for step in range(4):
        if step == 3:
            whole.running_var.copy_(partial.running_var)  # torch's is that of a sample, ours that of the batch
            for norm in norms:
                norm.eval()
        x = 3 * torch.randn(4, 3, 5, 5, generator=generator, dtype=torch.float64) + 1
        torch.testing.assert_close(partial(x), keep * whole(x) + (1 - keep) * scale(x))
    torch.testing.assert_close(partial.running_mean, mask * whole.running_mean)


@settings(max_examples=25)
@given(st.integers(0, 2**32 - 1))
def test_channels_that_lose_their_shift_are_normalised_by_their_mean_square(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    norm = PartialNorm(4, momentum=1.0).double()
    norm.bias.data.copy_(torch.randn(4, generator=generator, dtype=torch.float64))
    x = torch.randn(8, 4, 6, 6, generator=generator, dtype=torch.float64) + torch.arange(4.0).view(1, -1, 1, 1)
    norm(x)
    norm.eval()
    before, zero = norm(x), torch.zeros(1, 4, 1, 1, dtype=torch.float64)
    torch.testing.assert_close(norm.shifts().view(1, -1, 1, 1), norm(zero))
    norm.keep_shifts(torch.tensor([1.0, 0.0, 1.0, 0.0], dtype=torch.float64))
    after = norm(x)
    assert torch.equal(after[:, ::2], before[:, ::2]) and torch.equal(norm(zero)[:, 1::2], zero[:, 1::2])
    torch.testing.assert_close(after[:, 1::2].square().mean((0, 2, 3)), torch.ones(2).double(), rtol=1e-4, atol=0)


def scores(network: Network, image: np.ndarray) -> np.ndarray:
    values = {"input": image}
    for node in network.nodes:
        inputs = [values[source] for source in node.inputs]
        if isinstance(node, Bottleneck) and node.predictor is not None:
            values[node.name] = reference.masked_block(node, inputs[0], *reference.predict_masks(node, inputs[0]))
        else:
            values[node.name] = reference.run_node(node, inputs)
    return values[network.output].reshape(-1)


def test_building_is_deterministic_and_leaves_the_global_state_alone() -> None:
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first, second, other = (models.build("fusionet-s", seed=seed).state_dict() for seed in (5, 5, 6))
    assert torch.equal(before, torch.get_rng_state())
    assert all(torch.equal(first[key], second[key]) for key in first)
    assert not torch.equal(first["layers.conv1.conv.weight"], other["layers.conv1.conv.weight"])


@pytest.mark.parametrize(
    ("name", "options", "place"),
    [
        ("fusionnet", {}, "not registered"),
        ("fusionet", {"widht": 2}, "no option 'widht'"),
        ("fusionet", {"groups": 5}, "not divisible"),
        ("fusionet", {"depth": 0}, "not positive"),
        ("fusionet", {"depth": 1000.0}, "make 16,000 blocks, more than 1,000"),
        ("fusionet", {"stage_blocks": [1, 2]}, "differ in length"),
        ("fusionet", {"width": "wide"}, "cannot use these options"),
    ],
)
def test_bad_options_are_named(name: str, options: dict[str, Any], place: str) -> None:
    with pytest.raises(InputError, match=place) as caught:
        models.build(name, **options)
    assert "\n" not in str(caught.value)
