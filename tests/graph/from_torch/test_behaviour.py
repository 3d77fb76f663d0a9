"""Modules whose images interact or that change from call to call are refused; module and example stay as they were."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings, strategies as st
from torch import Tensor, nn
from torch.nn.utils import prune

from predfuse.errors import InputError
from predfuse.graph.from_torch import trace
from predfuse.graph.from_torch.behaviour import distinct_images, require_separate_images
from predfuse.graph.nodes import Conv

Function = Callable[[Tensor], Tensor]

MIXERS: dict[str, Function] = {
    "minus the batch's mean": lambda y: y - y.mean(0, keepdim=True),
    "over the batch's largest": lambda y: y / y.abs().amax(0, keepdim=True),
    "plus the flipped batch": lambda y: y + y.flip(0),
    "rolled by one": lambda y: y.roll(1, 0),
    "rolled by ten": lambda y: y.roll(10, 0),
    "rolled by two": lambda y: y + 0.1 * y.roll(2, 0),
    "the first only": lambda y: y[:1],
    "the first for all": lambda y: y[:1].expand_as(y),
    "plus the first": lambda y: y + y[:1],
    "by the batch size": lambda y: y / y.shape[0],
    "halves swapped": lambda y: torch.cat(y.chunk(2)[::-1]),
    "running sum": lambda y: y.cumsum(0),
    "sorted": lambda y: y.sort(0).values,
    "over the largest of all": lambda y: y / y.max(),
    "one image after all": lambda y: y.reshape(1, -1, *y.shape[2:]),
    "rolled by five": lambda y: y.roll(5, 0),
    "flipped if there are many": lambda y: y.flip(0) if len(y) > 6 else y,
    "the first eight only": lambda y: y[:8],
    "the first 500 only": lambda y: y[:500],
    "batch and rows swapped": lambda y: y.reshape(y.shape[2], y.shape[1], -1, y.shape[3]),
}
KEEPERS: dict[str, Function] = {
    "as it is": lambda y: y,
    "channels flipped": lambda y: y.flip(1),
    "by a number": lambda y: 0.5 * y,
    "rolled twice, back and forth": lambda y: y.roll(1, 0).roll(-1, 0),
    "flipped twice": lambda y: y.flip(0).flip(0),
    "split and joined": lambda y: torch.cat(y.split(1)),
    "shuffled": lambda y: y.view(y.shape[0], 2, 2, *y.shape[2:]).transpose(1, 2).reshape(y.shape),
    "centred by itself": lambda y: y - y.mean((1, 2, 3), keepdim=True),
    "by a batch of ones": lambda y: y * torch.ones(y.shape[0], 1, 1, 1),
}


class Between(nn.Module):
    """Functions between two convolutions."""

    def __init__(self, functions: list[Function], seed: int = 0) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.first, self.last = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 3, padding=1)
        self.functions = functions

    def forward(self, x: Tensor) -> Tensor:
        y = self.first(x)
        for function in self.functions:
            y = function(y)
        return self.last(y) if y.shape[1] == 4 else y


@settings(max_examples=25, deadline=None)
@given(st.lists(st.sampled_from(sorted(KEEPERS)), max_size=3), st.integers(0, 99))
def test_modules_that_compute_every_image_by_itself_are_accepted(names: list[str], seed: int) -> None:
    module = Between([KEEPERS[name] for name in names], seed).eval()
    require_separate_images(module, distinct_images(torch.zeros(1, 3, 4, 4), 5), 1e-4)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.sampled_from(sorted(KEEPERS)), max_size=2),
    st.sampled_from(sorted(MIXERS)),
    st.integers(0, 99),
    st.data(),
)
def test_modules_that_mix_images_are_refused(names: list[str], mixer: str, seed: int, data: st.DataObject) -> None:
    functions = [KEEPERS[name] for name in names]
    functions.insert(data.draw(st.integers(0, len(functions))), MIXERS[mixer])
    module = Between(functions, seed).eval()
    with pytest.raises(InputError, match=r"images interact|does not run on a batch of 5 images"):
        require_separate_images(module, distinct_images(torch.zeros(1, 3, 4, 4), 5), 1e-4)


@pytest.mark.parametrize(
    "mixer", ["plus the flipped batch", "rolled by ten", "the first 500 only", "by the batch size"]
)
def test_tracing_refuses_what_one_image_does_not_show(mixer: str) -> None:
    for example in (torch.randn(1, 3, 4, 4), torch.randn(1, 3, 4, 4).expand(4, 3, 4, 4)):
        with pytest.raises(InputError, match=r"model Between: .*images interact"):
            trace(Between([MIXERS[mixer]]), example)


class Stateful(nn.Module):
    """A convolution, and whatever a step of its own does to its state."""

    def __init__(self, step: Callable[[Any, Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.conv, self.step = nn.Conv2d(3, 4, 1), step
        self.calls, self.grid = 0, None
        self.seen: list[Tensor] = []
        self.register_buffer("sum", torch.zeros(4, 1, 1))
        self.register_buffer("last", torch.zeros(4, 4, 4))
        self.norm = nn.BatchNorm2d(3)

    def forward(self, x: Tensor) -> Tensor:
        return self.step(self, x, self.conv(x))


def _count(module: Any, x: Tensor, y: Tensor) -> Tensor:
    module.calls += 1
    return y * module.calls


def _count_only(module: Any, x: Tensor, y: Tensor) -> Tensor:
    module.calls += 1
    return y


def _accumulate(module: Any, x: Tensor, y: Tensor) -> Tensor:
    module.sum += 1
    return y + module.sum


def _keep(module: Any, x: Tensor, y: Tensor) -> Tensor:
    module.seen.append(x)
    return y


def _track(module: Any, x: Tensor, y: Tensor) -> Tensor:
    module.norm.train()
    module.norm(x)
    return y


def _remember(module: Any, x: Tensor, y: Tensor) -> Tensor:
    before = module.last.mean((1, 2), keepdim=True)
    module.last.copy_(y[0])
    return y + before


def _alter_input(module: Any, x: Tensor, y: Tensor) -> Tensor:
    x.mul_(2)
    return module.conv(x)


def _every_other(module: Any, x: Tensor, y: Tensor) -> Tensor:
    module.grid = None if module.grid else "odd"
    return y if module.grid else -y


def _change_weights(module: Any, x: Tensor, y: Tensor) -> Tensor:
    module.conv.weight.data *= 0.99
    return y


def _make_once(module: Any, x: Tensor, y: Tensor) -> Tensor:
    if module.grid is None:
        module.grid = torch.full((4, 1, 1), 0.5)
    return y + module.grid


@pytest.mark.parametrize(
    "step", [_count, _count_only, _accumulate, _keep, _track, _remember, _every_other, _change_weights]
)
def test_modules_that_change_from_call_to_call_are_refused_and_left_alone(step: object) -> None:
    module, example = Stateful(step), torch.randn(2, 3, 4, 4)  # type: ignore[arg-type]
    before, given = copy.deepcopy(module.state_dict()), example.clone()
    with pytest.raises(InputError, match=r"its forward changes|another result|unsupported operation"):
        trace(module, example)
    _require_untouched(module, before)
    assert torch.equal(example, given)


@pytest.mark.parametrize("step", [_alter_input, _make_once])
def test_what_does_no_harm_is_accepted_and_the_module_and_its_example_are_left_alone(step: object) -> None:
    module, example = Stateful(step), torch.randn(2, 3, 4, 4)  # type: ignore[arg-type]
    before, given = copy.deepcopy(module.state_dict()), example.clone()
    trace(module, example)
    _require_untouched(module, before)
    assert torch.equal(example, given)


def _require_untouched(module: Stateful, before: dict[str, Tensor]) -> None:
    assert all(torch.equal(before[name], tensor) for name, tensor in module.state_dict().items())
    assert (module.calls, module.grid, module.seen, module.norm.training) == (0, None, [], True)


def test_weights_that_hooks_compute_are_copied() -> None:
    """torch's own pruning and the older weight norm keep tensors that deepcopy refuses."""
    module = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU(), nn.Conv2d(4, 2, 1))
    prune.l1_unstructured(module[0], "weight", 0.5)
    with pytest.warns(FutureWarning, match="weight_norm"):
        nn.utils.weight_norm(module[2])
    (first, last) = (node for node in trace(module, torch.randn(2, 3, 4, 4)).network.nodes if isinstance(node, Conv))
    assert (first.weight == 0).sum() == 6 and last.weight.all()


class Region(nn.Module):
    """Two convolutions, the first within a region."""

    def __init__(self, region: Callable[[], object]) -> None:
        super().__init__()
        self.first, self.last, self.region = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 2, 1), region

    def forward(self, x: Tensor) -> Tensor:
        with self.region():  # type: ignore[attr-defined]
            y = torch.relu(self.first(x))
        return self.last(y.float() if y.dtype == torch.bfloat16 else y)


@pytest.mark.parametrize(
    "region",
    [torch.enable_grad, torch.no_grad, lambda: torch.autocast("cpu"), lambda: torch.autocast("cpu", enabled=False)],
)
def test_regions_of_gradients_and_of_mixed_precision_are_looked_through(region: Callable[[], object]) -> None:
    result = trace(Region(region), torch.randn(2, 3, 4, 4))
    assert [entry.name for entry in result.ledger] == ["first", "last"]
    assert result.verification.output_error is not None and result.verification.output_error < 1e-6
    assert torch.autocast.__enter__.__module__.startswith("torch")


def test_functions_are_no_modules() -> None:
    with pytest.raises(InputError, match=r"model: is a function, not a torch\.nn\.Module; give a module"):
        trace(lambda x: x, torch.randn(1, 3, 4, 4))  # type: ignore[arg-type]
