"""Batch-norm folding: a normalisation after a linear layer becomes part of that layer's weights and bias."""

from __future__ import annotations

import numpy as np

from predfuse.arrays import Float64Array, FloatArray
from predfuse.errors import InputError


def batch_norm_affine(
    gamma: FloatArray, beta: FloatArray, mean: FloatArray, var: FloatArray, eps: float
) -> tuple[Float64Array, Float64Array]:
    """Scale and shift with ``batch_norm(x) = scale * x + shift``, per channel, in float64.

    Args:
        gamma: ``[O]`` weight of the batch norm.
        beta: ``[O]`` bias of the batch norm.
        mean: ``[O]`` running mean.
        var: ``[O]`` running (biased or not, as the framework stores it) variance, 0 or more.
        eps: Added to the variance.

    Raises:
        InputError: The arrays differ in length, hold NaN, or the variance plus ``eps`` is not positive.
    """
    arrays = [np.asarray(array, dtype=np.float64) for array in (gamma, beta, mean, var)]
    if any(array.ndim != 1 or array.shape != arrays[0].shape for array in arrays):
        shapes = ", ".join(str(array.shape) for array in arrays)
        raise InputError("batch norm", f"gamma, beta, mean, var have shapes {shapes}", "give one value per channel")
    if not all(np.isfinite(array).all() for array in arrays):
        raise InputError("batch norm", "holds NaN or infinite values", "retrain or repair the weights")
    scale64, shift64, mean64, var64 = arrays
    if (var64 + eps <= 0).any():
        raise InputError("batch norm", "variance plus eps is not positive", "retrain or repair the statistics")
    scale = scale64 / np.sqrt(var64 + eps)
    return scale, shift64 - mean64 * scale


def fold_batch_norm(
    weight: FloatArray,
    gamma: FloatArray,
    beta: FloatArray,
    mean: FloatArray,
    var: FloatArray,
    eps: float,
) -> tuple[FloatArray, FloatArray]:
    """Fold the batch norm that follows a convolution or linear layer without bias into it.

    Computed in float64, returned in the floating type of ``weight`` (rounded once).

    Args:
        weight: ``[O, ...]``, output channels first.
        gamma: ``[O]`` weight of the batch norm.
        beta: ``[O]`` bias of the batch norm.
        mean: ``[O]`` running mean.
        var: ``[O]`` running variance.
        eps: Added to the variance.

    Returns:
        ``(weight, bias)`` of the layer that gives the same output without batch norm. Zero weights stay zero.

    Raises:
        InputError: The channel counts differ, or a value is not usable.
    """
    scale, shift = batch_norm_affine(gamma, beta, mean, var, eps)
    if weight.ndim < 1 or weight.shape[0] != scale.size:
        what = f"weight of shape {weight.shape} with {scale.size} normalised channels"
        raise InputError("batch norm", what, "fold a batch norm into the layer right before it")
    folded = weight.astype(np.float64) * scale.reshape(-1, *[1] * (weight.ndim - 1))
    dtype = weight.dtype if weight.dtype.kind == "f" else np.dtype(np.float64)
    return folded.astype(dtype), shift.astype(dtype)
