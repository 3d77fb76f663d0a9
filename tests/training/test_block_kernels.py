"""Blocks trained by other ways than layer by layer against the layers of PyTorch in 64-bit floats."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import pytest
import torch
from hypothesis import given, settings, strategies as st
from strategies import PREDICTOR_FORMATS
from torch import Tensor
from torch.nn import Conv2d

from predfuse import models
from predfuse.errors import PredfuseError
from predfuse.graph.nodes import Activation
from predfuse.models.layers import BlockKernel, BottleneckUnit, ConvUnit
from predfuse.predictor.initialise import initial_predictor
from predfuse.predictor.layerwise import block_loss
from predfuse.training.fast import choose, native
from predfuse.training.fast.block_layout import Layout
from predfuse.training.fast.choose import use_kernels
from predfuse.training.fast.cpu_block import ChannelwiseBlock
from predfuse.training.fast.gpu_block import ChannelMajor, fits
from predfuse.training.fast.native import block_loops
from predfuse.training.losses import fold_norms
from predfuse.training.pruning import INNER_NORMS

Norms = Literal["batch", "scale", "partial"]


@st.composite
def blocks(draw: st.DrawFn) -> tuple[BottleneckUnit, Tensor]:
    """A block of any kind in training or evaluation mode, pruned or not, predicted or not, and inputs that fit it."""
    groups = draw(st.sampled_from((1, 2, 4)))
    into, middle, out = (groups * draw(st.integers(1, 6)) for _ in range(3))
    norms: Norms = draw(st.sampled_from(("batch", "scale", "partial")))
    activations: list[Activation] = [draw(st.sampled_from(("relu", "relu6", "linear"))) for _ in range(2)]
    unit = BottleneckUnit(
        into,
        middle,
        out,
        kernel=draw(st.sampled_from((1, 3, 5))),
        stride=draw(st.sampled_from((1, 2))),
        groups=groups,
        activation=activations[0],
        depthwise_activation=activations[1],
        shuffle_groups=groups,
        shifts=norms != "scale",
    )
    if norms == "partial":
        from predfuse.models.norms import PartialNorm

        for name in INNER_NORMS:
            setattr(unit, name, PartialNorm(middle))
    random = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    density = draw(st.sampled_from((0.0, 0.25, 1.0)))
    with torch.no_grad():
        for name, parameter in unit.named_parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=random))
            if parameter.dim() > 1:
                parameter.mul_(torch.rand(parameter.shape, generator=random) < density)
            elif name.endswith("norm.weight"):
                parameter.abs_().add_(0.2)
        for name in INNER_NORMS:
            norm = getattr(unit, name)
            norm.running_var.uniform_(0.5, 2, generator=random)
            if norms == "partial":
                norm.shift_mask.copy_(torch.rand(middle, generator=random) < 0.5)
                norm.bias.mul_(norm.shift_mask)
            if norms != "scale":
                norm.running_mean.uniform_(-1, 1, generator=random)
            if norms == "partial":
                norm.running_mean.mul_(norm.shift_mask)
    size = draw(st.integers(1, 9)), draw(st.integers(1, 9))
    x = 2 * torch.randn(draw(st.integers(2, 4)), into, *size, generator=random)
    if draw(st.booleans()):
        unit.predictor = initial_predictor(unit.eval(), x, draw(PREDICTOR_FORMATS))
        for latent in unit.predictor.parameters():
            latent.data += 0.7 * torch.randn(latent.shape, generator=random)
        unit.surrogate = draw(st.booleans())
    return unit.train(draw(st.booleans())), x


def _run(unit: BottleneckUnit, x: Tensor) -> dict[str, Tensor]:
    """Outputs, gradients of all that has one, and running statistics."""
    x = x.clone().requires_grad_()
    y = unit(x)
    weights = torch.linspace(-1, 1, y.numel(), dtype=y.dtype).cos().view_as(y)
    (y * weights + y.square() / 7).sum().backward()
    assert x.grad is not None
    found = {"y": y.detach(), "x": x.grad}
    for name, parameter in unit.named_parameters():
        if parameter.grad is not None:
            latent = "predictor" in name
            # pruned weights get no gradient from the loops
            found[name] = parameter.grad if latent or parameter.dim() == 1 else parameter.grad * (parameter != 0)
    return found | {name: value.clone() for name, value in unit.named_buffers() if value.is_floating_point()}


def _error(found: Tensor, wanted: Tensor, scale: Tensor) -> float:
    return float((found.detach().double() - wanted).abs().max() / scale.detach().abs().max().clamp(min=1e-3))


@contextmanager
def _threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


needs_compiler = pytest.mark.skipif(block_loops() is None, reason="the block loops need a C++ compiler")
KERNELS = pytest.mark.parametrize(
    "kernel",
    [
        pytest.param(ChannelwiseBlock(), id="loops", marks=needs_compiler),
        pytest.param(ChannelMajor(), id="whole"),
        pytest.param(ChannelMajor(part_pixels=8), id="parts"),
    ],
)


@KERNELS
@given(blocks(), st.integers(1, 3))
@settings(max_examples=150, deadline=None)
def test_blocks_compute_and_learn_what_the_layers_do(
    kernel: BlockKernel, case: tuple[BottleneckUnit, Tensor], threads: int
) -> None:
    unit, x = case
    unit.project_norm = torch.nn.Identity()  # type: ignore[assignment]  # not part of the loops
    for name in INNER_NORMS:  # two values may decide a channel's statistics, and what divides by them is no more exact
        getattr(unit, name).eps = 0.1
    exact = copy.deepcopy(unit).double()
    layers, loops = copy.deepcopy(unit), unit
    loops.kernel = kernel
    wanted, by_layers = _run(exact, x.double()), _run(layers, x)
    with _threads(threads):
        by_loops = _run(loops, x)
    for name in by_loops.keys() - wanted.keys():  # a predictor whose gate a linear activation does not need
        assert not by_loops[name].any()
    for name, value in wanted.items():
        if value.numel():
            scale = torch.stack([tensor.detach().abs().max() for tensor in (value, wanted["y"])]).max()
            limit = 3e-5 + 4 * _error(by_layers[name], value, scale)
            assert _error(by_loops[name], value, scale) <= limit, name


@KERNELS
@given(blocks(), st.integers(1, 3))
@settings(max_examples=100, deadline=None)
def test_predictors_learn_the_same_signs_either_way(
    kernel: BlockKernel, case: tuple[BottleneckUnit, Tensor], threads: int
) -> None:
    unit, x = case
    if unit.predictor is None:
        unit.predictor = initial_predictor(unit.eval(), x)
    unit.eval()
    loops = copy.deepcopy(unit)
    loops.kernel = kernel
    exact = copy.deepcopy(unit).double()
    wanted, wanted_y = exact.layerwise(x.double(), block_loss)
    with _threads(threads):
        loss, y = loops.layerwise(x, block_loss)
    torch.testing.assert_close(y.double(), wanted_y, rtol=1e-4, atol=1e-4 * float(wanted_y.abs().max()) + 1e-6)
    torch.testing.assert_close(loss.double(), wanted, rtol=1e-5, atol=1e-6)
    wanted.mul(3).backward()
    loss.mul(3).backward()
    assert exact.predictor is not None and loops.predictor is not None
    for (name, one), other in zip(exact.predictor.named_parameters(), loops.predictor.parameters(), strict=True):
        assert one.grad is not None and other.grad is not None
        assert _error(other.grad, one.grad, one.grad) <= 3e-5, name
    assert all(p.grad is None for name, p in loops.named_parameters() if "predictor" not in name)


@given(st.sampled_from((1, 3, 5)), st.sampled_from((1, 2)), st.integers(1, 4), st.integers(1, 3), st.integers(0, 99))
@settings(max_examples=100, deadline=None)
def test_grouped_convolutions_are_those_of_the_layers(
    kernel: int, stride: int, groups: int, by: int, seed: int
) -> None:
    random = torch.Generator().manual_seed(seed)
    conv = ConvUnit(groups * by, groups * by, kernel, stride, groups=groups).conv
    pointwise, depthwise = kernel == stride == 1 and groups > 1, kernel > 1 and by == 1
    assert fits(conv) == (pointwise or depthwise)
    if not fits(conv):
        return
    torch.nn.init.normal_(conv.weight, generator=random)
    x = torch.randn(4, groups * by, 5, 6, generator=random)
    found = _convolved(ChannelMajor(part_pixels=40).convolve, conv, x)
    exact = copy.deepcopy(conv).double()
    wanted = _convolved(lambda layer, images: layer(images), exact, x.double())
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one.double(), other, rtol=1e-4, atol=1e-5 * float(other.abs().max()))


def _convolved(run: Callable[[Conv2d, Tensor], Tensor], conv: Conv2d, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Output, and gradients of input and weights."""
    x = x.clone().requires_grad_()
    y = run(conv, x)
    conv.weight.grad = None
    (y * torch.linspace(-1, 1, y.numel(), dtype=y.dtype).cos().view_as(y)).sum().backward()
    assert x.grad is not None and conv.weight.grad is not None
    return y.detach(), x.grad, conv.weight.grad


@given(
    st.integers(1, 3),
    st.integers(1, 7),
    st.integers(1, 7),
    st.sampled_from((1, 3, 5)),
    st.sampled_from((1, 2)),
)
def test_layouts_hold_images_and_what_filters_read(
    images: int, rows: int, columns: int, kernel: int, stride: int
) -> None:
    layout = Layout(images, rows, columns, kernel, stride)
    x = torch.randn(images, 2, rows, columns, generator=torch.Generator().manual_seed(rows * columns))
    flat = layout.flatten(x)
    assert torch.equal(layout.unflatten(flat), x)
    assert torch.equal(layout.pixels_of(flat), x.permute(1, 2, 3, 0).flatten(1))
    assert flat.count_nonzero() == x.count_nonzero() and layout.pixels == x[:, 0].numel()
    assert int(layout.inside.sum()) == images * columns
    conv = torch.nn.Conv2d(2, 2, kernel, stride, kernel // 2, groups=2)
    y = conv(x).detach()
    assert torch.equal(layout.unflatten(layout.flatten(y, stride), stride), y) and layout.outputs == y[:, 0].numel()


@needs_compiler
@pytest.mark.parametrize("threads", [1, 2, 4, 5])
def test_threads_share_the_groups_of_a_block(threads: int) -> None:
    model = models.build("fusionet-s", num_classes=10, input_shape=(3, 16, 16), groups=4)
    with _threads(threads):
        assert use_kernels(model, torch.device("cpu")) == (threads <= 4)
        assert all(isinstance(block.kernel, ChannelwiseBlock) == (threads <= 4) for _, block in model.bottlenecks())
    assert use_kernels(model, torch.device("cuda"))
    assert all(isinstance(block.kernel, ChannelMajor) for _, block in model.bottlenecks())


@needs_compiler
@pytest.mark.parametrize(("network", "loops"), [("fusionet-n", True), ("fusionet-m", True), ("mobilenetv2-s", False)])
def test_unpruned_blocks_take_the_loops_where_a_channel_reads_few_inputs(network: str, loops: bool) -> None:
    model = models.build(network)
    with _threads(1):
        assert use_kernels(model, torch.device("cpu"), pruned=False) == loops
        assert all(isinstance(block.kernel, ChannelwiseBlock) == loops for _, block in model.bottlenecks())


@needs_compiler
def test_a_block_cannot_be_differentiated_twice() -> None:
    unit = BottleneckUnit(4, 8, 4)
    unit.kernel = ChannelwiseBlock()
    y = unit(torch.randn(2, 4, 4, 4, generator=torch.Generator().manual_seed(0)))
    y.sum().backward(retain_graph=True)
    with pytest.raises(PredfuseError, match="twice"):
        y.sum().backward()


def test_folded_norms_change_nothing() -> None:
    model = models.build("fusionet-s", num_classes=10, input_shape=(3, 16, 16)).eval()
    random = torch.Generator().manual_seed(3)
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(generator=random)  # type: ignore[union-attr]
            module.running_var.uniform_(0.5, 2, generator=random)  # type: ignore[union-attr]
    x = torch.randn(2, 3, 16, 16, generator=random)
    wanted = model(x)
    fold_norms(model)
    assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in model.modules())
    torch.testing.assert_close(model(x), wanted, rtol=1e-4, atol=1e-5)


@needs_compiler
def test_loops_are_compiled_once_and_named_after_what_makes_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "loops.cpp"
    source.write_text('extern "C" int answer() { return 6 * 7; }')
    monkeypatch.setattr(native, "SOURCES", [source])
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    found = block_loops.__wrapped__()
    assert found is not None and found.answer() == 42
    block_loops.__wrapped__()
    source.write_text('extern "C" int answer() { return 43; }')
    other = block_loops.__wrapped__()
    assert other is not None and other.answer() == 43 and found.answer() == 42
    assert len(list((tmp_path / "predfuse" / "loops").iterdir())) == 2


def test_without_a_compiler_layers_of_pytorch_train_the_blocks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(native, "COMPILERS", ("no-such-compiler",))
    assert block_loops.__wrapped__() is None
    broken = tmp_path / "loops.cpp"
    broken.write_text("not C++")
    monkeypatch.undo()
    monkeypatch.setattr(native, "SOURCES", [broken])
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert block_loops.__wrapped__() is None and caplog.messages[-1].count("PyTorch") == 1
    monkeypatch.setattr(choose, "block_loops", lambda: None)
    assert not use_kernels(models.build("fusionet-n"), torch.device("cpu"))
