"""A tiny image folder and a configuration that trains on it in seconds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from predfuse.training import run as running, stages


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes of 8x8 grey pictures, bright above or bright below, with noise."""
    root = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(0)
    for label, name in enumerate(("above", "below")):
        (root / name).mkdir()
        for number in range(40):
            picture = rng.integers(0, 100, (8, 8))
            picture[4 * label : 4 * label + 4] += 120
            Image.fromarray(picture.astype(np.uint8)).save(root / name / f"{number:02}.png")
    return root


@pytest.fixture
def without_loops(monkeypatch: pytest.MonkeyPatch) -> None:
    """Layer by layer: compiling the loops of blocks would take longer than all else."""
    for module in (running, stages):
        monkeypatch.setattr(module, "use_kernels", lambda *_, **__: False)


@pytest.fixture(scope="session")
def config_path(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All three stages of a tiny FusioNet, both tunings."""
    options = {"stage_channels": [8, 8], "stage_middle": [32, 32], "stage_blocks": [2, 1], "last_channels": 8}
    config = {
        "network": {"name": "fusionet", "options": {**options, "tail_channels": 16}},
        "data": {"name": f"folder:{pictures}", "crop_padding_pixels": 1, "flip": True},
        "batch_size": 16,
        "threads": 1,
        "checkpoint_seconds": 0,
        "vanilla": {"epochs": 9, "learning_rate": 0.1},
        "prune": {
            "epochs": 4,
            "update_every_steps": 2,
            "pointwise_sparsity": 0.5,
            "depthwise_sparsity": 0.4,
            "distillation_weight": 0.5,
        },
        "predict": {
            "epochs": 3,
            "tuning": ["joint", "frozen"],
            "layerwise_steps": 6,
            "calibration_images": 16,
            "feature_weight": 1.0,
        },
    }
    path = tmp_path_factory.mktemp("config") / "config.yaml"
    path.write_text(yaml.safe_dump(config))
    return path
