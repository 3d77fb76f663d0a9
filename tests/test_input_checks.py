"""Images no picture gives, normalisation and labels that cannot be: refused wherever they come in."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch

import predfuse
from predfuse import models
from predfuse.errors import InputError
from predfuse.fusion.execute import run_network
from predfuse.integer.compile import compile_network
from predfuse.integer.run import to_integers

SMALL: dict[str, Any] = {"input_shape": [1, 8, 8], "stage_channels": [4, 4], "stage_middle": [8, 8], "num_classes": 3}


@pytest.mark.parametrize("value", [1e38, -1e7, np.nan, np.inf])
def test_images_with_values_no_pixel_has_are_refused_by_all_that_take_them(value: float) -> None:
    network, images = models.network("fusionet-s", options=SMALL), np.zeros((2, 1, 8, 8))
    program = compile_network(network, images)
    images[1, 0, 3, 3] = value
    model = models.build("fusionet-s", **SMALL)
    for take in (
        lambda: run_network(network, images),
        lambda: compile_network(network, images),
        lambda: to_integers(program, images),
        lambda: to_integers(program, images.astype(np.float32)),
        lambda: predfuse.prepare(model, predfuse.PrepareConfig(steps=0), torch.from_numpy(images).float()),
    ):
        with pytest.raises(InputError, match=r"images: hold (NaN or infinite|values beyond 1,000,000).* in image 1"):
            take()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"std": (0.2,)}, "has std without mean"),
        ({"mean": (0.5,)}, "has mean without std"),
        ({"mean": (0.5, 0.5), "std": (0.2, 0.2)}, "mean has 2 values for 1 channels"),
        ({"mean": (128.0,), "std": (58.0,)}, "mean is .*divide by 255"),
        ({"mean": (0.5,), "std": (1e-9,)}, "std is "),
        ({"mean": (float("nan"),), "std": (0.2,)}, "mean is "),
        ({"labels": ("a", "b", "a")}, "the label 'a' twice"),
        ({"labels": ("a", "b")}, "2 labels for 3 classes"),
    ],
)
def test_normalisation_and_labels_that_cannot_be(changes: dict[str, tuple[float | str, ...]], message: str) -> None:
    network = models.network("fusionet-s", options=SMALL)
    with pytest.raises(InputError, match=message):
        dataclasses.replace(network, **changes)  # type: ignore[arg-type]
    if "labels" in changes:
        program = compile_network(network, np.zeros((2, 1, 8, 8)))
        with pytest.raises(InputError, match=message):
            dataclasses.replace(program, **changes)  # type: ignore[arg-type]
