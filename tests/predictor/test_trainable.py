"""The trainable predictor: float simulation equals the integers, gradients are the straight-through ones."""

from __future__ import annotations

import dataclasses
from typing import Any

import float_reference as reference
import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st
from strategies import PREDICTOR_FORMATS

from predfuse import models
from predfuse.errors import InputError
from predfuse.fusion import masks
from predfuse.graph.nodes import Bottleneck
from predfuse.models.layers import BottleneckUnit
from predfuse.predictor.errors import predictor_errors
from predfuse.predictor.format import PredictorFormat
from predfuse.predictor.initialise import (
    _width,
    filter_step,
    initial_predictor,
    input_exponent,
    insert_predictors,
)
from predfuse.predictor.layerwise import layerwise_loss
from predfuse.predictor.trainable import TrainablePredictor, _quantise, whole_weights


@st.composite
def units(draw: st.DrawFn) -> tuple[BottleneckUnit, torch.Tensor]:
    groups = draw(st.sampled_from((1, 2, 4)))
    into, middle, out = (groups * draw(st.integers(1, 4)) for _ in range(3))
    kernel, stride = draw(st.sampled_from((1, 3, 5))), draw(st.sampled_from((1, 2)))
    unit = BottleneckUnit(into, middle, out, kernel, stride, groups).eval()
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    for parameter in unit.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator)
    x = 3 * torch.randn(2, into, draw(st.integers(1, 7)), draw(st.integers(1, 7)), generator=generator)
    unit.predictor = initial_predictor(unit, x, draw(PREDICTOR_FORMATS))
    for latent in unit.predictor.parameters():
        latent.data += 0.7 * torch.randn(latent.shape, generator=generator)
    return unit, x


def as_block(unit: BottleneckUnit) -> Bottleneck:
    """The block as the graph holds it; only what the predictor reads matters here."""
    middle, group = unit.expand.weight.shape[:2]
    out = unit.project.out_channels
    kernel = unit.depthwise.kernel_size[0]
    assert unit.predictor is not None
    return Bottleneck(
        name="b1",
        inputs=("input",),
        expand_weight=np.zeros((middle, group)),
        expand_bias=np.zeros(middle),
        depthwise_weight=np.zeros((middle, kernel, kernel)),
        depthwise_bias=np.zeros(middle),
        project_weight=np.zeros((out, middle // unit.groups)),
        project_bias=np.zeros(out),
        stride=unit.depthwise.stride[0],
        padding=(kernel // 2,) * 4,
        groups=unit.groups,
        predictor=unit.predictor.to_integers(),
    )


@given(units())
def test_float_simulation_equals_the_integers(case: tuple[BottleneckUnit, torch.Tensor]) -> None:
    unit, x = case
    assert unit.predictor is not None
    z1, z2 = unit.predictor(x)
    block = as_block(unit)
    for image, score1, score2 in zip(x, z1, z2, strict=True):
        slow = reference.predict_masks(block, image.double().numpy())
        fast = masks.predictor_scores(block, image.double().numpy())
        np.testing.assert_array_equal(score1.detach().numpy() > 0, slow[0] == 1)
        np.testing.assert_array_equal(score2.detach().numpy() > 0, slow[1] == 1)
        np.testing.assert_array_equal(score1.detach().numpy(), fast[0])
        np.testing.assert_array_equal(score2.detach().numpy(), fast[1])


@given(units())
def test_training_and_evaluation_let_the_same_through(case: tuple[BottleneckUnit, torch.Tensor]) -> None:
    unit, x = case
    with torch.no_grad():
        without_gradient = unit(x)
    assert torch.equal(unit(x), without_gradient)


def test_ternary_weights_follow_the_published_threshold() -> None:
    weight = torch.tensor([[1.0, -0.2, 0.6, 0.6], [0.0, 0.0, 0.0, 0.0]], requires_grad=True)
    values = whole_weights(weight, 1)
    assert values.tolist() == [[1, 0, 1, 1], [0, 0, 0, 0]]  # threshold 0.7 * 0.6 = 0.42 in the first filter
    values.mul(torch.arange(8.0).view(2, 4)).sum().backward()
    assert weight.grad is not None and weight.grad.flatten().tolist() == list(range(8))


@given(st.lists(st.floats(-9, 9, width=32), min_size=1, max_size=20), st.sampled_from((2, 4)))
def test_larger_weights_are_the_nearest_powers_of_two(latents: list[float], largest: int) -> None:
    weight = torch.tensor([latents], requires_grad=True)
    values = whole_weights(weight, largest)
    known = sorted({sign * power for power in (0, 1, 2, 4) if power <= largest for sign in (-1, 1)})
    for latent, value in zip(latents, values[0].tolist(), strict=True):
        assert abs(value - latent) == min(abs(each - latent) for each in known)
    values.mul(torch.arange(float(len(latents)))).sum().backward()
    assert weight.grad is not None and weight.grad[0].tolist() == list(range(len(latents)))


@given(st.integers(1, 9), st.sampled_from((2, 4)), st.sampled_from((0.3, 1.0)), st.integers(0, 2**31))
def test_no_step_of_a_filter_leaves_a_smaller_error(size: int, largest: int, density: float, seed: int) -> None:
    """Against a thousand steps of every filter, each a little off the next."""
    random = torch.Generator().manual_seed(seed)
    weight = torch.randn(4, size, generator=random, dtype=torch.float64)
    weight *= torch.rand(weight.shape, generator=random) < density

    def error(step: torch.Tensor) -> torch.Tensor:
        return (whole_weights(weight / step.clamp(min=1e-12), largest) * step - weight).square().sum(1)

    found = error(filter_step(weight, largest))
    for factor in torch.logspace(-2, 0.3, 1000, dtype=torch.float64):
        assert (found <= error(factor * weight.abs().amax(1, keepdim=True)) + 1e-12).all()


def test_larger_weights_follow_the_block_closer() -> None:
    """What is left of the error of ternary weights: less than half of it with a shift, less still with two."""
    model = models.build("fusionet-s", input_shape=(3, 12, 12), stage_middle=(64, 128)).eval()
    images = torch.randn(16, 3, 12, 12, generator=torch.Generator().manual_seed(0))
    errors = [
        sum(block.weights for block in predictor_errors(model, images, PredictorFormat(largest_weight=largest)))
        for largest in (1, 2, 4)
    ]
    assert errors[1] < 0.5 * errors[0] and errors[2] < errors[1]


def test_the_sign_loss_of_larger_weights_is_as_wide_as_their_error() -> None:
    """Its logistic function is then the share of right signs, at every score."""
    random = torch.Generator().manual_seed(0)
    target = torch.randn(400, 1, 20, 20, generator=random)
    score = 50 * (target + 0.1 * torch.randn(target.shape, generator=random))
    width = _width(score, target, 4)
    assert float(width) < 0.3 * float(_width(score, target, 1)) == pytest.approx(0.3 * float(score.std()), rel=1e-3)
    for low in range(-12, 12, 4):
        inside = (score > low) & (score <= low + 4)
        claimed = torch.sigmoid(4 * score[inside] / float(width)).mean()
        assert float((target[inside] > 0).float().mean()) == pytest.approx(float(claimed), abs=0.02)
    assert float(_width(0.001 * score, target, 4)) == 2  # in steps of the score


@pytest.mark.parametrize("facts", [{"bits": 1}, {"bits": 9}, {"largest_weight": 3}, {"largest_weight": True}])
def test_impossible_formats(facts: dict[str, int]) -> None:
    with pytest.raises(InputError, match="use"):
        PredictorFormat(**facts)  # type: ignore[arg-type]


@given(
    st.lists(st.floats(-20, 20, width=32), min_size=1, max_size=40),
    st.integers(-2, 3),
    st.sampled_from([(-8, 7), (0, 15), (0, 3)]),
)
def test_quantiser_is_the_obvious_one(values: list[float], exponent: int, bounds: tuple[int, int]) -> None:
    low, high = bounds
    x = torch.tensor([*values, *(code * 2.0**-exponent for code in (low - 1, low, high, high + 1))], requires_grad=True)
    scale = torch.tensor(2.0**exponent)
    y = _quantise(x, scale, low, high)
    scaled = x.detach() * scale
    torch.testing.assert_close(y, scaled.floor().clamp(low, high), rtol=0, atol=0)
    gradient = torch.linspace(-1, 1, len(x))
    y.backward(gradient)
    torch.testing.assert_close(x.grad, gradient * ((scaled >= low) & (scaled < high + 1)) * scale, rtol=0, atol=0)


@given(st.lists(st.tuples(st.floats(-9, 9, width=32), st.integers(-6, 6)), min_size=1, max_size=40), st.floats(0.5, 5))
def test_gate_is_the_obvious_one(pairs: list[tuple[float, int]], half_width: float) -> None:
    a, score = torch.tensor(pairs).T.clone().view(2, -1, 1, 1)
    a, score, width = a.clone().requires_grad_(), score.clone().requires_grad_(), torch.tensor(half_width)
    result = TrainablePredictor.gate(a, score, width)
    on = (score > 0).float()
    torch.testing.assert_close(result, (a * on).detach() + 0.0, rtol=0, atol=0)
    gradient = torch.linspace(-1, 1, len(a)).view_as(a)
    result.backward(gradient)
    torch.testing.assert_close(a.grad, gradient * on)
    torch.testing.assert_close(
        score.grad, gradient * a.detach() * (1 - score.detach().abs() / width).clamp(min=0) / width
    )


def test_gate_gradients() -> None:
    a = torch.tensor([2.0, 2.0, 3.0], requires_grad=True)
    score = torch.tensor([1.0, -1.0, 9.0], requires_grad=True)
    result = TrainablePredictor.gate(a, score, torch.tensor(4.0))
    assert result.tolist() == [2, 0, 3]
    result.sum().backward()
    assert a.grad is not None and a.grad.tolist() == [1, 0, 1]
    assert score.grad is not None
    assert score.grad.tolist() == pytest.approx([2 * (1 - 1 / 4) / 4, 2 * (1 - 1 / 4) / 4, 0])


@pytest.mark.parametrize("scale", [1e-3, 1.0, 40.0])
def test_input_exponent_follows_the_scale(scale: float) -> None:
    x = torch.randn(4000, generator=torch.Generator().manual_seed(0))
    step = 2.0 ** input_exponent(scale * x, -8, 7) / scale
    assert 0.2 < step < 0.8  # the best 16-level uniform step for a normal distribution is 0.335


def test_an_initial_predictor_knows_most_signs_and_layerwise_training_improves_it() -> None:
    model = models.build("fusionet", width=0.25, middle_width=0.02, depth=0.5, input_shape=(3, 12, 12)).eval()
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(16, 3, 12, 12, generator=generator)
    insert_predictors(model, images)
    predictors = [block.predictor for _, block in model.bottlenecks()]
    assert all(isinstance(predictor, TrainablePredictor) for predictor in predictors)
    (_, block), *_ = model.bottlenecks()
    layers: Any = model.layers
    x = layers.DW1(layers.PW1(layers.conv1(images)))
    a, _ = block.pre_activations(x)
    assert block.predictor is not None
    agreement = ((block.predictor(x)[0] > 0) == (a > 0)).float().mean()
    assert agreement > 0.85
    latents = [p for name, p in model.named_parameters() if name.endswith(("expand_weight", "depthwise_weight"))]
    offsets = [p for name, p in model.named_parameters() if name.endswith("_offset")]
    optimizer = torch.optim.Adam([{"params": offsets, "lr": 0.1}, {"params": latents, "lr": 0.005}])
    with torch.no_grad():
        for offset in offsets:
            offset.add_(3 * torch.randn(offset.shape, generator=generator))
    first = float(layerwise_loss(model, images).detach())
    for _ in range(30):
        optimizer.zero_grad()
        layerwise_loss(model, images).backward()
        optimizer.step()
    assert float(layerwise_loss(model, images).detach()) < 0.9 * first
    assert all(p.grad is None for name, p in model.named_parameters() if ".predictor." not in name)


def test_channels_without_weights_are_predicted_constant() -> None:
    unit = BottleneckUnit(2, 2, 2).eval()
    unit.expand.weight.data.zero_()
    unit.expand_norm.bias.data.copy_(torch.tensor([0.01, -0.01]))
    x = torch.randn(1, 2, 5, 5, generator=torch.Generator().manual_seed(0))
    predictor = initial_predictor(unit, x)
    on = predictor(x)[0] > 0
    assert bool(on[:, 0].all()) and not bool(on[:, 1].any())


def test_predictors_are_data() -> None:
    unit = BottleneckUnit(4, 8, 4, groups=2).eval()
    predictor = initial_predictor(unit, torch.randn(2, 4, 5, 5)).to_integers()
    assert {
        field.name: getattr(predictor, field.name).dtype.name
        for field in dataclasses.fields(predictor)
        if isinstance(getattr(predictor, field.name), np.ndarray)
    } == {
        "expand": "int8",
        "expand_offset": "int32",
        "shift": "int8",
        "depthwise": "int8",
        "depthwise_offset": "int32",
    }


def test_float_scales_fit_closer_and_have_no_integers() -> None:
    x = torch.randn(64, 4, 5, 5, generator=torch.Generator().manual_seed(2))

    def error(fractions: int) -> float:
        step = 2.0 ** input_exponent(x, -8, 7, fractions)
        return float((((x / step).floor().clamp(-8, 7) + 0.5) * step - x).square().mean())

    assert error(8) < error(1)
    unit = BottleneckUnit(4, 8, 4).eval()
    predictor = initial_predictor(unit, x, PredictorFormat(scales="float"))
    assert predictor.shift.is_floating_point() and predictor.input_exponent.is_floating_point()
    z1, z2 = predictor(x)
    masks = predictor.masks(x)
    assert torch.equal(masks[0], (z1 > 0).float()) and torch.equal(masks[1], (z2 > 0).float())
    with pytest.raises(InputError, match="no powers of two"):
        predictor.to_integers()
