"""Every configuration in ``configs`` trains, all its stages, on a few tiny pictures."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import yaml

from predfuse.training.checkpoint import load_checkpoint, read_tensors
from predfuse.training.config import TrainConfig, load_config
from predfuse.training.pruning import prunable_layers
from predfuse.training.run import Run

CONFIGS = sorted(
    path for path in Path("configs").glob("*.yaml") if {"network", "vanilla"} <= yaml.safe_load(path.read_text()).keys()
)
pytestmark = pytest.mark.usefixtures("without_loops")
RIVALS = [path for path in CONFIGS if path.name.startswith("cifar10-mobilenetv2")]


def few(pictures: Path, config: TrainConfig) -> list[str]:
    """Overrides for one step a stage."""
    found = [f"data.name='folder:{pictures}'", "data.limit=16", "batch_size=16", "vanilla.epochs=1", "prune.epochs=1"]
    if "fusionet" in config.network.name:
        found += ["network.options.middle_width=0.05"]  # all else as it is
    if config.predict is not None:
        found += ["predict.epochs=1", "predict.layerwise_steps=1", "predict.calibration_images=8"]
    return found


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_trains(path: Path, pictures: Path, tmp_path: Path) -> None:
    config = load_config(path)
    paths = Run(load_config(path, few(pictures, config)), tmp_path).train()
    stages = ("vanilla", "pruned") if config.predict is None else ("vanilla", "pruned", "layerwise", "predicted-joint")
    assert tuple(paths) == stages
    facts = read_tensors(paths["pruned"])[1]
    assert facts["pointwise_sparsity"] == pytest.approx(0.8, abs=0.01) and "outside_sparsity" not in facts


def test_there_are_rivals_of_four_widths_by_the_same_recipe() -> None:
    ours = load_config(Path("configs/cifar10-fusionet-m.yaml"))
    assert [load_config(path).network.options.get("width", 1) for path in RIVALS] == [0.5, 1.25, 1.5, 1]
    for config in map(load_config, RIVALS):
        assert config.vanilla == ours.vanilla and config.prune is not None and ours.prune is not None
        assert config.prune == ours.prune.model_copy(update={"shift_sparsity": 0})
        assert (config.data, config.batch_size) == (ours.data, ours.batch_size)


def test_stem_and_tail_are_pruned_where_asked_and_stay_so(pictures: Path, tmp_path: Path) -> None:
    path = Path("configs/cifar10-fusionet-n.yaml")
    overrides = [*few(pictures, load_config(path)), "prune.outside_sparsity=0.75", "prune.window_sparsity=0.5"]
    paths = Run(load_config(path, overrides), tmp_path).train()
    for stage in ("pruned", "predicted-joint"):
        model, facts = load_checkpoint(paths[stage])
        for kind, share, layers in (("outside", 0.75, {"PW1", "GPW1"}), ("window", 0.5, {"conv1", "DW1"})):
            assert facts[f"{kind}_sparsity"] == pytest.approx(share, abs=0.01)
            found = {name: conv for name, (conv, own) in prunable_layers(model).items() if own == kind}
            assert set(found) == layers
            for conv in found.values():
                assert torch.count_nonzero(conv.weight) == round(conv.weight.numel() * (1 - share))
