"""Which weights pruning keeps."""

from __future__ import annotations

import torch
from torch import Tensor

from predfuse.models.fusionet import fusionet
from predfuse.models.layers import Cnn
from predfuse.training.pruning import INNER_NORMS, Pruner, make_shifts_prunable, prunable_layers, prunable_shifts


def _pruned(even_groups: bool) -> Cnn:
    torch.manual_seed(0)
    model = fusionet(stage_channels=(8,), stage_middle=(96,), stage_blocks=(2,), last_channels=8, tail_channels=8)
    make_shifts_prunable(model)
    for norm in prunable_shifts(model):
        torch.nn.init.normal_(norm.bias)
    Pruner(model, even_groups).prune(0.8, 0.7, 0.5, outside_sparsity=0.5)
    return model


def _counts(model: Cnn) -> list[list[int]]:
    """Weights and shifts that every group keeps, layer by layer."""
    kept: list[tuple[Tensor, int]] = []
    for _, block in model.bottlenecks():
        kept += [(conv.weight, block.expand.groups) for conv in (block.expand, block.depthwise, block.project)]
    groups = [block.expand.groups for _, block in model.bottlenecks() for _ in INNER_NORMS]
    kept += [(norm.shift_mask, count) for norm, count in zip(prunable_shifts(model), groups, strict=True)]
    return [[int(torch.count_nonzero(part)) for part in values.chunk(groups)] for values, groups in kept]


def test_every_group_keeps_as_many_weights_and_shifts_where_asked() -> None:
    freely, evenly = _counts(_pruned(False)), _counts(_pruned(True))
    for free, even in zip(freely, evenly, strict=True):
        assert len(set(even)) == 1 and abs(sum(even) - sum(free)) <= len(even) / 2
    assert any(len(set(free)) > 1 for free in freely)


def test_layers_outside_the_blocks_are_pruned_alike() -> None:
    free, even = (prunable_layers(_pruned(which))["PW1"][0].weight for which in (False, True))
    assert torch.equal(free, even) and torch.count_nonzero(even) == even.numel() // 2
