"""Calls of the compiled block loops: their structures, and the threads that share a block's groups."""

from __future__ import annotations

import ctypes
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from predfuse.training.fast.native import call, pointer

LINEAR, RELU, RELU6, GATED = range(4)
"""Codes of what follows a norm."""


_INTEGERS = (
    "images height width kernel stride groups in_pitch out_pitch middle inputs outputs"
    " first_code second_code predicted surrogate use_batch"
)
_FLOATS = "hidden_max eps count"
_ARRAYS = (
    "x xq inside expand expand_shift whole_expand expand_offset hidden_scale depthwise whole_depthwise"
    " depthwise_offset gamma beta shifted mean variance project expand_width depthwise_width"
)


class _Block(ctypes.Structure):
    """A block and its inputs as the loops read them; ``C`` inputs, ``M`` middle channels, ``O`` outputs.

    images (padded), height, width, kernel, stride, groups: of the layout and the block.
    in_pitch, out_pitch: Values from one row of inputs or outputs to the next.
    middle, inputs, outputs: ``M``, ``C/groups``, ``O/groups``.
    first_code, second_code: What follows the two norms.
    predicted: Whether there is a predictor; else what is its is null.
    surrogate: Whether gradients go through its gates to it.
    use_batch: Whether the depthwise norm uses the batch's statistics.
    hidden_max: Largest quantised hidden value.
    eps, count: Of the depthwise norm, and number of outputs of one channel.
    x, xq: ``[C, in_pitch]`` inputs and their quantised form.
    inside: 1 where a line of pixels has an image.
    expand, expand_shift: ``[M, C/groups]`` with the expand norm's factor folded in; ``[M]``, what that norm adds.
    whole_expand, expand_offset, hidden_scale: ``[M, C/groups]``, ``[M]``, ``[M]`` of the predictor.
    depthwise, whole_depthwise, depthwise_offset: ``[M, k*k]``, likewise, ``[M]``.
    gamma, beta, shifted: ``[M]`` of the depthwise norm, 64-bit floats; beta and shifted are 0 where it only scales.
    mean, variance: ``[M]``, 64-bit floats; statistics of the batch if ``use_batch`` (forward fills them in).
    project: ``[M, O/groups]``.
    expand_width, depthwise_width: ``[M]``, half-widths of the gates' surrogate gradients.
    """

    _fields_ = [
        *((name, ctypes.c_int64) for name in _INTEGERS.split()),
        *((name, ctypes.c_double) for name in _FLOATS.split()),
        *((name, ctypes.c_void_p) for name in _ARRAYS.split()),
    ]


GRADIENTS = {
    "backward": [
        "x",
        "xq",
        "expand",
        "expand_shift",
        "whole_expand",
        "expand_offset",
        "depthwise",
        "whole_depthwise",
        "depthwise_offset",
        "gamma",
        "beta",
        "project",
    ],
    "layerwise": ["losses", "weights", "expand", "expand_offset", "depthwise", "depthwise_offset"],
}
"""What the two loops fill in, zero before, in 64-bit floats but for ``x`` and ``xq``.

``backward``: Gradients of the arrays of these names. That of ``expand`` is the sum of the gradient of the normalised
expand times the inputs. Those of weights that are zero are zero, but for the whole weights.

``layerwise``: By channel ``[M, 2]`` losses of both stages and sums over their weights, gradients of both
``[M, 2, C/groups]`` and ``[M, 2]``, and of the second ``[M, k*k]`` and ``[M]``.
"""

Values = dict[str, Any]


@lru_cache(maxsize=1)
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, "block")


def run(loop: str, block: Values, y: Tensor, found: Values | None = None) -> None:
    """Run a loop on as many threads as PyTorch uses, each with some of the groups, which touch no common array.

    Args:
        loop: ``forward``, ``backward`` or ``layerwise``.
        block: Numbers and tensors by the names of :class:`_Block`; those of a predictor may be missing.
        y: ``[O, out_pitch]``, filled, or for ``backward`` the gradient of the outputs.
        found: Filled, by the names in :data:`GRADIENTS`; what is missing must not be needed.
    """
    groups = block["groups"]
    form = _Block(**{name: pointer(value) for name, value in block.items()})
    given = [ctypes.byref(form), pointer(y)]
    if found is not None:
        names = GRADIENTS[loop]
        given.append((ctypes.c_void_p * len(names))(*(pointer(found.get(name)) for name in names)))

    def part(first: int, last: int) -> None:
        call(loop, *given, ctypes.c_int64(first), ctypes.c_int64(last))

    threads = min(groups, torch.get_num_threads())
    if threads == 1:
        part(0, groups)
        return
    bounds = [groups * number // threads for number in range(threads + 1)]
    for done in [_pool(threads).submit(part, *each) for each in pairwise(bounds)]:
        done.result()
