"""What predictors err by: nothing but activations where a block's filters are ternary; damage is the gated block's."""

from __future__ import annotations

import pytest
import torch

from predfuse.models import build
from predfuse.models.layers import BottleneckUnit, Cnn
from predfuse.predictor.errors import predictor_errors
from predfuse.predictor.format import PredictorFormat
from predfuse.predictor.initialise import initial_predictor, insert_predictors
from predfuse.predictor.trainable import whole_weights


def fusible() -> Cnn:
    """A small network with some weights pruned and batch norms of all slopes."""
    model = build("fusionet", seed=3, input_shape=(1, 8, 8), num_classes=2, width=0.5, middle_width=0.05, depth=0.2)
    generator = torch.Generator().manual_seed(0)
    for _, block in model.bottlenecks():
        for layer in (block.expand, block.depthwise, block.project):
            layer.weight.data *= torch.rand(layer.weight.shape, generator=generator) < 0.4
        for norm in (block.expand_norm, block.depthwise_norm):
            torch.nn.init.uniform_(norm.weight, 0.5, 1.5, generator=generator)
            norm.weight.data[::3] *= -1
    return model.eval()


def make_ternary(model: Cnn) -> None:
    """Give all weights of a filter that are not zero their mean magnitude."""
    for _, block in model.bottlenecks():
        for layer in (block.expand, block.depthwise):
            for weights in layer.weight.data:
                kept = weights != 0
                if kept.any():
                    weights[kept] = weights[kept].abs().mean() * weights[kept].sign()


def test_predictors_have_the_weights_of_ternary_blocks() -> None:
    """All that is left between a predictor's scores and pre-activations are 4-bit activations and whole offsets."""
    model = fusible()
    make_ternary(model)
    x = torch.randn(4, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    for layer in model.layers:
        if isinstance(layer, BottleneckUnit):
            predictor = initial_predictor(layer, x)
            for weight, own, norm in (
                (predictor.expand_weight, layer.expand, layer.expand_norm),
                (predictor.depthwise_weight, layer.depthwise, layer.depthwise_norm),
            ):
                slope = norm.weight.sign().view(-1, 1, 1, 1)
                assert whole_weights(weight, 1).equal(own.weight.sign() * slope)
        x = layer(x).detach()
        if x.dim() < 4:
            break


def test_ternary_blocks_leave_only_errors_of_activations() -> None:
    model, x = fusible(), torch.randn(8, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    before = predictor_errors(model, x)
    assert [error.block for error in before] == [name for name, _ in model.bottlenecks()]
    assert max(error.weights for error in before) > 0.001
    assert all(error.activations > 0 and error.own is None for error in before)
    insert_predictors(model, x)
    for error, (_, block) in zip(predictor_errors(model, x), model.bottlenecks(), strict=True):
        assert error.own == pytest.approx(error.both) and block.predictor is not None
    make_ternary(model)
    for error in predictor_errors(model, x):
        assert error.weights < 1e-9 < error.activations
    finer = predictor_errors(model, x, PredictorFormat(bits=8))
    coarse = predictor_errors(model, x)
    assert sum(error.activations for error in finer) < sum(error.activations for error in coarse) / 4


def test_damage_is_that_of_the_gated_block() -> None:
    """Against the block as it runs with its predictor in evaluation mode, projected and normalised."""
    model, x = fusible(), torch.randn(8, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    insert_predictors(model, x)
    errors = {error.block: error.own for error in predictor_errors(model, x)}
    seen = 0
    with torch.no_grad():
        for name, layer in model.layers.named_children():
            if isinstance(layer, BottleneckUnit):
                layer.project_norm = torch.nn.Identity()  # type: ignore[assignment]
                layer.shuffle_groups, layer.residual = 1, False
                found, predictor = layer(x), layer.predictor
                layer.predictor = None
                wanted = layer(x)
                spread = (wanted - wanted.mean((0, 2, 3), keepdim=True)).square().mean()
                assert errors[name] == pytest.approx(float((found - wanted).square().mean() / spread), rel=1e-4)
                assert predictor is not None
                seen += 1
                break  # what the next block reads went through the norm
            x = layer(x)
    assert seen == 1
