"""Batch-norm folding gives the same numbers as normalising afterwards."""

from __future__ import annotations

import numpy as np
import pytest

from predfuse.errors import InputError
from predfuse.fusion.folding import batch_norm_affine, fold_batch_norm


def _statistics(channels: int, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
    gamma, beta, mean = rng.normal(size=(3, channels))
    return gamma, beta, mean, rng.uniform(0.01, 2.0, channels)


def test_folded_layer_equals_layer_then_batch_norm() -> None:
    rng = np.random.default_rng(1)
    weight = rng.normal(size=(5, 7, 1, 1))
    gamma, beta, mean, var = _statistics(5, rng)
    x = rng.normal(size=(7, 11))
    before = weight[:, :, 0, 0] @ x
    wanted = gamma[:, None] * (before - mean[:, None]) / np.sqrt(var[:, None] + 1e-5) + beta[:, None]
    folded, shift = fold_batch_norm(weight, gamma, beta, mean, var, 1e-5)
    np.testing.assert_allclose(folded[:, :, 0, 0] @ x + shift[:, None], wanted, rtol=1e-12, atol=1e-12)


def test_dtype_and_zeros_are_kept() -> None:
    rng = np.random.default_rng(2)
    weight = rng.normal(size=(4, 3, 3)).astype(np.float32)
    weight[1] = 0
    gamma, beta, mean, var = _statistics(4, rng)
    folded, shift = fold_batch_norm(weight, gamma, beta, mean, var, 1e-5)
    assert folded.dtype == shift.dtype == np.float32
    assert not folded[1].any() and folded[0].all()


def test_unusable_statistics_are_named() -> None:
    rng = np.random.default_rng(3)
    gamma, beta, mean, var = _statistics(4, rng)
    with pytest.raises(InputError, match="variance plus eps"):
        batch_norm_affine(gamma, beta, mean, -var, 1e-5)
    with pytest.raises(InputError, match="NaN"):
        batch_norm_affine(gamma * np.nan, beta, mean, var, 1e-5)
    with pytest.raises(InputError, match="one value per channel"):
        batch_norm_affine(gamma[:3], beta, mean, var, 1e-5)
    with pytest.raises(InputError, match="5, 2"):
        fold_batch_norm(np.ones((5, 2)), gamma, beta, mean, var, 1e-5)
