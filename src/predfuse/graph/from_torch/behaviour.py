"""What tracing demands of a module's behaviour: the same result on every call, and every image by itself.

A network computes each image by itself and remembers nothing. A module that lets its images interact
(``y - y.mean(0)``), or remembers something between calls, can agree with a network on one image and one call only.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._pytree import tree_leaves

from predfuse.errors import InputError
from predfuse.graph.from_torch.capture import evaluation, quiet
from predfuse.pruning.masks import make_permanent

JOINT_IMAGES = 5
"""Images of the joint batch: a prime, so that no permutation or group of equal parts leaves all of them in place."""
MANY_IMAGES, MANY_VALUES = (67, 17), 1 << 22
"""Images of a larger joint batch, repeated in no order: the most whose values are as few. It shows what the small one
hides, a batch rolled by five or branches on its size."""
ENDLESS = 1009
"""Images of the batch of which shapes alone are worked out: more than any slice keeps."""
_SEED = 20_210_604


def private_copy(module: nn.Module) -> nn.Module:
    """A deep copy to trace, so that nothing ``forward`` does reaches the user's own module, without masks of pruning.

    Raises:
        InputError: It cannot be copied.
    """
    computed = [value for child in module.modules() for value in vars(child).values() if isinstance(value, Tensor)]
    memo = {id(tensor): tensor.detach().clone() for tensor in computed if not tensor.is_leaf}  # torch's own pruning
    try:
        copied = copy.deepcopy(module, memo)
    except Exception as error:
        where, what = f"model {type(module).__name__}", f"cannot be copied ({type(error).__name__}: {error})"
        raise InputError(where, what[:300], "keep no open files, locks or generators in it") from error
    make_permanent(copied)
    return copied


def distinct_images(example: Tensor, count: int) -> Tensor:
    """The images of ``example`` that differ from each other, and made ones of their size, ``count`` or more in all."""
    kept: list[Tensor] = []
    for image in example.detach():
        if not any(torch.equal(image, other) for other in kept):
            kept.append(image)
    generator = torch.Generator().manual_seed(_SEED)
    spread = float(example.detach().double().std(correction=0)) or 1.0
    while len(kept) < count:
        made = spread * torch.randn(example.shape[1:], generator=generator, dtype=torch.float64)
        kept.append((made + float(example.detach().double().mean())).to(example))
    return torch.stack(kept)


def call(module: nn.Module, images: Tensor) -> Tensor:
    """The one tensor a module in evaluation form returns, out of any tuple or dictionary it is in.

    The module gets images of its own, which it may alter.
    """
    with evaluation(module), quiet(), torch.no_grad():
        (tensor,) = (leaf for leaf in tree_leaves(module(images.clone())) if isinstance(leaf, Tensor))
    return tensor.detach()


def require_stateless(module: nn.Module, images: Tensor) -> None:
    """Refuse a module whose result, parameters, buffers or attributes change from call to call.

    What the first call leaves behind (a grid made once, say) is fine.

    Args:
        module: A copy that may be altered.
        images: ``[N, C, H, W]``, two or more that differ.

    Raises:
        InputError: It keeps a state; says which.
    """
    where = f"model {type(module).__name__}"
    call(module, images[:1])
    before, held = call(module, images[:1]).clone(), _state(module)
    for image in (images[:1], images[1:2], images[:1]):  # after one call, and after three
        after, now = call(module, image), _state(module)
        changed = sorted(name for name in held.keys() | now.keys() if not _same(held.get(name), now.get(name)))
        if changed:
            what = f"its forward changes {changed[0]} on every call"
            raise InputError(where, what, "a network keeps no state: let evaluation leave the module as it is")
        if image.data_ptr() != images.data_ptr() or _same(before, after):
            continue
        what = "gives another result for the same image when it is called again"
        raise InputError(where, what, "a network keeps no state and no randomness: take them out of evaluation")


def require_separate_images(module: nn.Module, images: Tensor, tolerance: float) -> None:
    """Refuse a module that gives an image something else in a batch than by itself.

    Args:
        module: A copy that may be altered.
        images: ``[N, C, H, W]``, two or more that differ.
        tolerance: Largest relative difference; a module that misses it is run once more in float64, for its own
            rounding may differ from batch size to batch size.

    Raises:
        InputError: Its images interact, or it does not run on several.
    """
    where = f"model {type(module).__name__}"
    mend = "let every image be computed by itself: no sums, flips, slices or reshapes over the batch dimension"
    orders = [torch.arange(len(images))]
    many = next((count for count in MANY_IMAGES if count * images[0].numel() <= MANY_VALUES), 0)
    if many:
        generator = torch.Generator().manual_seed(_SEED)
        orders.append(torch.randint(len(images), (many,), generator=generator))
    for order in orders:
        try:
            difference = _joint_difference(module, images, order)
            if not difference <= tolerance:
                difference = _joint_difference(copy.deepcopy(module).double(), images.double(), order)
        except (RuntimeError, ValueError, IndexError, TypeError, AssertionError) as error:
            lines = str(error).strip().splitlines() or [""]
            what = f"does not run on a batch of {len(order)} images ({type(error).__name__}: {lines[0][:200]})"
            raise InputError(where, what, mend) from error
        if not difference <= tolerance:
            what = f"its images interact: in a batch, what it gives an image differs by a relative {difference:.2g}"
            raise InputError(where, what, mend)
    given, wanted = _results_of_many(module, images[0])
    if given != wanted:
        raise InputError(where, f"its images interact: of {ENDLESS} images it gives {given} results", mend)


def _joint_difference(module: nn.Module, images: Tensor, order: Tensor) -> float:
    """Largest difference of a joint batch in this order from single images, relative to the image's largest value."""
    singles = [call(module, image[None]).double().cpu() for image in images]
    joint = call(module, images[order]).double().cpu()
    if not singles[0].ndim or joint.shape != (len(order) * singles[0].shape[0], *singles[0].shape[1:]):
        return float("inf")
    worst = 0.0
    parts = joint.reshape(len(order), *singles[0].shape)
    for got, wanted in zip(parts, (singles[at] for at in order.tolist()), strict=True):
        finite = torch.isfinite(wanted)
        if not torch.equal(finite, torch.isfinite(got)):
            return float("inf")
        difference = float((got - wanted)[finite].abs().max()) if finite.any() else 0.0
        scale = float(wanted[finite].abs().max()) if finite.any() else 0.0
        worst = max(worst, difference / scale if scale else (float("inf") if difference else 0.0))
    return worst


def _results_of_many(module: nn.Module, image: Tensor) -> tuple[int, int]:
    """Results a batch of :data:`ENDLESS` images gives, by shapes alone, and how many it should give."""
    single = len(call(module, image[None]))
    try:
        with FakeTensorMode(allow_non_fake_inputs=True):
            return len(call(module, torch.empty(ENDLESS, *image.shape, dtype=image.dtype))), ENDLESS * single
    except Exception:  # not everything runs without values; real batches did
        return single, single


def _state(module: nn.Module) -> dict[str, Any]:
    """Everything of plain type that a module and its children hold, by qualified name."""
    state: dict[str, Any] = {}
    for path, child in module.named_modules():
        held = {key: value for key, value in vars(child).items() if not key.startswith("_") and key != "training"}
        for key, value in {**held, **child._parameters, **child._buffers}.items():
            leaves = tree_leaves(value)
            plain = [leaf for leaf in leaves if isinstance(leaf, Tensor | int | float | complex | str)]
            state[".".join(filter(None, (path, key)))] = [
                leaf.detach().clone() if isinstance(leaf, Tensor) else leaf for leaf in plain
            ]
    return state


def _same(first: Any, second: Any) -> bool:
    if isinstance(first, list) and isinstance(second, list):
        return len(first) == len(second) and all(map(_same, first, second))
    if isinstance(first, Tensor) and isinstance(second, Tensor):
        return first.shape == second.shape and torch.allclose(first, second, rtol=1e-9, atol=0, equal_nan=True)
    return type(first) is type(second) and bool(first == second or (first != first and second != second))
