"""What both exporters need of a block: its predictor and its fused weights as dense floating arrays."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np

from predfuse.arrays import Float64Array, FloatArray
from predfuse.errors import InputError
from predfuse.graph.nodes import Activation, Bottleneck, Network, Unsupported

Form = Literal["plain", "predicted", "fused"]
"""``plain``: activation functions. ``predicted``: the predictors' masks in their place. ``fused``: every predicted
block as one convolution with the sums of its surviving fused weights, but for those :func:`unfused` names."""

FORMS: tuple[Form, ...] = get_args(Form)

Precision = Literal["float32", "float64"]
"""What values and weights are computed in. Predictors round down: where two runtimes' last bits differ, a value may
fall on another step and change a mask. In float64 that does not happen in practice (see ``docs/how-to/export.md``)."""

PRECISIONS: dict[Precision, type[np.floating[Any]]] = {"float32": np.float32, "float64": np.float64}


def default_precision(form: Form) -> Precision:
    """float64 where masks decide, so that every runtime decides alike; float32 elsewhere."""
    return "float32" if form == "plain" else "float64"


def require_precision(precision: str) -> None:
    """Check the name of a precision.

    Raises:
        InputError: It is unknown.
    """
    if precision not in PRECISIONS:
        raise InputError(f"precision {precision!r}", "is unknown", f"use one of {', '.join(PRECISIONS)}")


MAX_FUSED_WEIGHTS = 50_000_000
"""Most dense fused weights the fused form stores over all blocks (4 or 8 bytes each, in several copies while checked).
Blocks beyond it stay in the predicted form."""

EXACT_LIMIT = 2**23
"""Predictor scores below this, plus the half that is added to them, are exact in float32."""


@dataclass(frozen=True, eq=False)
class GateArrays:
    """The integer predictor of a block as floating convolutions that give its very integers.

    Both offsets carry an extra 0.5: comparing a score plus a half with 1 is comparing the score with 0, flooring is
    unchanged, and either survives a runtime whose convolutions are off by less than a half.

        xq = clamp(floor(x * input_scale), input_min, input_max)
        z1 = conv(xq, expand) + expand_offset                        mask1 = z1 > expand_threshold
        q1 = clamp(floor(z1 * hidden_scale), 0, hidden_max)
        z2 = conv(q1, depthwise) + depthwise_offset                  mask2 = z2 > depthwise_threshold

    Attributes:
        expand: ``[M, C/groups, 1, 1]`` in {-1, 0, 1}.
        expand_offset: ``[M]``.
        expand_threshold: 1, or minus infinity for a linear activation, which is always on.
        hidden_scale: ``[1, M, 1, 1]`` powers of two.
        depthwise: ``[M, 1, k, k]`` in {-1, 0, 1}.
        depthwise_offset: ``[M]``.
    """

    input_scale: float
    input_min: float
    input_max: float
    expand: Float64Array
    expand_offset: FloatArray
    expand_threshold: float
    hidden_scale: Float64Array
    hidden_max: float
    depthwise: Float64Array
    depthwise_offset: FloatArray
    depthwise_threshold: float


@dataclass(frozen=True, eq=False)
class FusedArrays:
    """A block as one convolution over gates ("arithmetic: block"), the shift ``b1`` as one more input that is 1.

    Attributes:
        taps: ``[k*k, O*(C/groups + 1), M/groups, 1, 1]``: for every tap the weights whose sums over the gates of the
            surviving middle channels are the multipliers ``S``, rows ordered (group, output, input).
        constant: ``[O, M/groups, 1, 1]``: project weight times depthwise bias, summed where mask 2 is on.
        bias: ``[O]``.
    """

    taps: FloatArray
    constant: FloatArray
    bias: FloatArray


def require_form_name(form: str) -> None:
    """Check the name of a form.

    Raises:
        InputError: It is unknown.
    """
    if form not in FORMS:
        raise InputError(f"form {form!r}", "is unknown", f"use one of {', '.join(FORMS)}")


def require_form(network: Network, form: str) -> None:
    """Check that a network can take a form.

    Raises:
        InputError: Unknown form, an unsupported operation, no block with a predictor, or none whose dense fused weights
            are few enough.
    """
    where = f"network {network.name}"
    require_form_name(form)
    for node in network.nodes:
        if isinstance(node, Unsupported):
            what = f"cannot be exported: {node.reason}"
            raise InputError(f"layer {node.name}", what, "replace this operation in the model")
    if form == "plain":
        return
    predicted = _predicted(network)
    if not predicted:
        what = f"has no block with a predictor, which the {form} form needs"
        raise InputError(where, what, "train or prepare one, or use the plain form")
    reasons = unfused(network) if form == "fused" else {}
    if len(reasons) == len(predicted):
        first = predicted[0].name
        raise InputError(f"layer {first}", reasons[first], "use the predicted form or narrower blocks")


def unfused(network: Network) -> dict[str, str]:
    """Why blocks stay in the predicted form where the network is exported in the fused one, by name.

    Blocks of few dense fused weights come first, until all together would be more than ``MAX_FUSED_WEIGHTS``.
    """
    reasons: dict[str, str] = {}
    total = 0
    for block in sorted(_predicted(network), key=fused_weight_count):
        count = fused_weight_count(block)
        if total + count > MAX_FUSED_WEIGHTS:
            limit = f"more than {MAX_FUSED_WEIGHTS:,}" + (f" with the {total:,} of smaller blocks" if total else "")
            reasons[block.name] = f"has {count:,} dense fused weights, {limit}"
        else:
            total += count
    return reasons


def block_form(block: Bottleneck, form: Form, left: Collection[str]) -> Form:
    """The form a block takes where its network takes ``form``, but for the blocks ``left`` in the predicted one."""
    if form == "plain" or block.predictor is None:
        return "plain"
    return "predicted" if block.name in left else form


def _predicted(network: Network) -> list[Bottleneck]:
    return [block for block in network.bottlenecks() if block.predictor is not None]


def fused_weight_count(block: Bottleneck) -> int:
    """Dense fused weights of a block, with those of the expand bias."""
    middle = block.middle_channels // block.groups
    return block.kernel**2 * block.out_channels * (block.group_channels + 1) * middle


def gate_arrays(block: Bottleneck) -> GateArrays:
    """The predictor of ``block`` as float64 arrays.

    Raises:
        InputError: It has none, or its scores are too large to be exact in float32.
    """
    predictor = block.predictor
    if predictor is None:
        raise InputError(f"layer {block.name}", "has no predictor", "train or prepare one")
    reach = max(-predictor.input_min, predictor.input_max)
    expand, depthwise = predictor.expand.astype(np.float64), predictor.depthwise.astype(np.float64)
    first = (np.abs(expand).sum(axis=1) * reach + np.abs(predictor.expand_offset)).max()
    second = (np.abs(depthwise).sum(axis=(1, 2)) * predictor.hidden_max + np.abs(predictor.depthwise_offset)).max()
    if max(first, second) >= EXACT_LIMIT:
        what = f"predictor scores reach {max(first, second):.0f}, float32 is exact below {EXACT_LIMIT}"
        raise InputError(f"layer {block.name}", what, "retrain the predictor with smaller offsets")

    def threshold(activation: Activation) -> float:
        return -np.inf if activation == "linear" else 1.0

    return GateArrays(
        input_scale=2.0**-predictor.input_exponent,
        input_min=predictor.input_min,
        input_max=predictor.input_max,
        expand=expand[:, :, None, None],
        expand_offset=predictor.expand_offset + 0.5,
        expand_threshold=threshold(block.expand_activation),
        hidden_scale=np.ldexp(1.0, -predictor.shift.astype(np.int64))[None, :, None, None],
        hidden_max=predictor.hidden_max,
        depthwise=depthwise[:, None],
        depthwise_offset=predictor.depthwise_offset + 0.5,
        depthwise_threshold=threshold(block.depthwise_activation),
    )


def fused_arrays(block: Bottleneck, dtype: type[np.floating[Any]] = np.float32) -> FusedArrays:
    """The dense fused weights of ``block`` (products in float64)."""
    groups, middle, outputs = block.groups, block.middle_channels // block.groups, block.out_channels // block.groups
    extended = np.concatenate((block.expand_weight, block.expand_bias[:, None]), axis=1, dtype=np.float64)
    expand = extended.reshape(groups, middle, -1)
    project = block.project_weight.astype(np.float64).reshape(groups, outputs, middle)
    depthwise = block.depthwise_weight.astype(np.float64).reshape(groups, middle, -1)
    rows = block.out_channels * expand.shape[2]
    taps = np.empty((block.kernel**2, rows, middle, 1, 1), dtype)
    for tap in range(len(taps)):
        gated = project * depthwise[:, None, :, tap]
        products = gated[:, :, None, :] * expand.swapaxes(1, 2)[:, None]
        taps[tap] = products.reshape(rows, middle, 1, 1)
    constant = project * block.depthwise_bias.astype(np.float64).reshape(groups, 1, middle)
    return FusedArrays(
        taps=taps,
        constant=constant.reshape(block.out_channels, middle, 1, 1).astype(dtype),
        bias=block.project_bias.astype(dtype),
    )
