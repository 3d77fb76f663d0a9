"""The PyTorch building blocks all registered networks are made of.

A :class:`Cnn` is an ordered dictionary of layers with the names of the published tables (``conv1``, ``PW1``, ``b1``,
..., ``FC1``), so that every later result can be traced to its layer.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor, nn

from predfuse.errors import InputError
from predfuse.graph.nodes import Activation, Node, Padding, Shape
from predfuse.models.norms import BATCH_NORM_EPS, Norm, ScaleNorm

if TYPE_CHECKING:  # a predictor is put into a block from outside
    from predfuse.predictor.trainable import TrainablePredictor

MAX_BLOCKS = 1000
"""Most blocks of a network."""


def shuffle_channels(x: Tensor, groups: int) -> Tensor:
    """Channel shuffle of ``[N, C, H, W]``: output channel ``i*groups + j`` is input channel ``j*C/groups + i``."""
    if groups == 1:
        return x
    return nn.functional.channel_shuffle(x, groups)


def activate(x: Tensor, activation: Activation, inplace: bool = True) -> Tensor:
    """Apply ``"linear"``, ``"relu"`` or ``"relu6"``."""
    if activation == "relu":
        return nn.functional.relu(x, inplace=inplace)
    if activation == "relu6":
        return nn.functional.relu6(x, inplace=inplace)
    return x


class ConvUnit(nn.Module):
    """Convolution without bias -> batch norm -> activation -> optional channel shuffle."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int = 1,
        stride: int = 1,
        groups: int = 1,
        activation: Activation = "relu",
        shuffle_groups: int = 1,
    ) -> None:
        super().__init__()
        require_divisible(groups, in_channels, out_channels)
        self.conv = nn.Conv2d(in_channels, out_channels, kernel, stride, kernel // 2, groups=groups, bias=False)
        self.norm = nn.BatchNorm2d(out_channels, eps=BATCH_NORM_EPS)
        self.activation: Activation = activation
        self.shuffle_groups = shuffle_groups
        self.convolve: Callable[[nn.Conv2d, Tensor], Tensor] | None = None
        """Another way to compute the convolution where gradients are wanted."""

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x) if self.convolve is None or not torch.is_grad_enabled() else self.convolve(self.conv, x)
        return shuffle_channels(activate(self.norm(y), self.activation), self.shuffle_groups)


class PaddedConv2d(nn.Conv2d):
    """A convolution without bias that pads its sides ``(top, bottom, left, right)`` unequally."""

    def __init__(
        self, into: int, out: int, kernel: tuple[int, int], stride: int, sides: Padding, dilation: int, groups: int
    ) -> None:
        super().__init__(into, out, kernel, stride, 0, dilation, groups, bias=False)
        self.sides = sides

    def forward(self, x: Tensor) -> Tensor:
        top, bottom, left, right = self.sides
        return super().forward(nn.functional.pad(x, (left, right, top, bottom)))


def padding_of(conv: nn.Conv2d) -> Padding:
    """``(top, bottom, left, right)`` pixels a convolution adds to its input."""
    if isinstance(conv, PaddedConv2d):
        return conv.sides
    assert not isinstance(conv.padding, str)
    rows, columns = conv.padding
    return (rows, rows, columns, columns)


class BlockKernel(Protocol):
    """Another way to train a block than layer by layer, to the same values but for rounding."""

    def project(self, block: BottleneckUnit, x: Tensor) -> Tensor:
        """What the project convolution puts out, before its norm; updates running statistics in training."""

    def layerwise(self, block: BottleneckUnit, x: Tensor) -> tuple[Tensor, Tensor]:
        """The layer-wise loss of the block's predictor, and what the project convolution puts out under true masks.

        See :func:`predfuse.predictor.layerwise.block_loss`.
        """


def norm_names(layer: nn.Module) -> dict[str, str]:
    """Name of the norm behind each of a layer's convolutions, by the name of the convolution; none of other layers."""
    if isinstance(layer, BottleneckUnit):
        return {name: f"{name}_norm" for name in ("expand", "depthwise", "project")}
    return {"conv": "norm"} if isinstance(layer, ConvUnit) else {}


class BottleneckUnit(nn.Module):
    """Expand -> depthwise -> project with batch norms; gated by ReLU, or by a predictor once it has one.

    Without a predictor this is the ordinary block. With ``predictor`` set, its masks are the only nonlinearity:
    ``h = mask1 * a`` and ``u = mask2 * d``, nothing is clamped ("arithmetic: block").

    Without ``shifts`` the norms after expand and depthwise only scale: fused, the block has no bias sums.

    With ``surrogate`` (the default) gradients go through the gates to the predictor and to what it reads; without, the
    masks are constants to them.
    """

    def __init__(
        self,
        in_channels: int,
        middle_channels: int,
        out_channels: int,
        kernel: int = 3,
        stride: int = 1,
        groups: int = 1,
        activation: Activation = "relu",
        depthwise_activation: Activation | None = None,
        shuffle_groups: int = 1,
        residual: bool = False,
        shifts: bool = True,
    ) -> None:
        super().__init__()
        require_divisible(groups, in_channels, middle_channels, out_channels)
        inner_norm: Callable[[int], Norm] = partial(nn.BatchNorm2d, eps=BATCH_NORM_EPS) if shifts else ScaleNorm
        if residual and (stride != 1 or in_channels != out_channels):
            raise InputError(f"block {in_channels}->{out_channels}", "cannot have a residual", "keep the shape")
        self.expand = nn.Conv2d(in_channels, middle_channels, 1, groups=groups, bias=False)
        self.expand_norm = inner_norm(middle_channels)
        self.depthwise = nn.Conv2d(
            middle_channels, middle_channels, kernel, stride, kernel // 2, groups=middle_channels, bias=False
        )
        self.depthwise_norm = inner_norm(middle_channels)
        self.project = nn.Conv2d(middle_channels, out_channels, 1, groups=groups, bias=False)
        self.project_norm = nn.BatchNorm2d(out_channels, eps=BATCH_NORM_EPS)
        self.expand_activation: Activation = activation
        self.depthwise_activation: Activation = depthwise_activation or activation
        self.shuffle_groups = shuffle_groups
        self.residual = residual
        self.predictor: TrainablePredictor | None = None
        self.surrogate = True
        self.kernel: BlockKernel | None = None

    @property
    def groups(self) -> int:
        return self.expand.groups

    def forward(self, x: Tensor) -> Tensor:
        return self._finished(x, self._projected(x))

    def _finished(self, x: Tensor, projected: Tensor) -> Tensor:
        y = shuffle_channels(self.project_norm(projected), self.shuffle_groups)
        return y + x if self.residual else y

    def _projected(self, x: Tensor) -> Tensor:
        if self.kernel is not None and torch.is_grad_enabled():
            return self.kernel.project(self, x)
        return self.projected_layer_by_layer(x)

    def projected_layer_by_layer(self, x: Tensor) -> Tensor:
        """What the project convolution puts out, before its norm, whatever the kernel."""
        if self.predictor is None:
            hidden = activate(self.expand_norm(self.expand(x)), self.expand_activation)
            hidden = activate(self.depthwise_norm(self.depthwise(hidden)), self.depthwise_activation)
        else:
            hidden = self._gated(x, self.predictor)
        projected: Tensor = self.project(hidden)
        return projected

    def _gated(self, x: Tensor, predictor: TrainablePredictor) -> Tensor:
        """What project reads under the predicted masks; a linear activation has no gate."""
        if torch.is_grad_enabled() and self.surrogate:
            expand_score, depthwise_score = predictor(x)
            hidden: Tensor = self.expand_norm(self.expand(x))
            if self.expand_activation != "linear":
                hidden = predictor.gate(hidden, expand_score, predictor.expand_width)
            hidden = self.depthwise_norm(self.depthwise(hidden))
            if self.depthwise_activation != "linear":
                hidden = predictor.gate(hidden, depthwise_score, predictor.depthwise_width)
            return hidden
        return self._masked(x, *predictor.masks(x))

    def _masked(self, x: Tensor, expand_mask: Tensor, depthwise_mask: Tensor) -> Tensor:
        hidden: Tensor = self.expand_norm(self.expand(x))
        if self.expand_activation != "linear":
            hidden = hidden.mul_(expand_mask)
        hidden = self.depthwise_norm(self.depthwise(hidden))
        return hidden if self.depthwise_activation == "linear" else hidden.mul_(depthwise_mask)

    def under_masks(self, x: Tensor, expand_mask: Tensor, depthwise_mask: Tensor) -> Tensor:
        """The block's output under given masks, ``[N, M, H, W]`` and ``[N, M, P, Q]``; linear activations have none."""
        return self._finished(x, self.project(self._masked(x, expand_mask, depthwise_mask)))

    def pre_activations(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """What the two activations see, ``a`` and ``d``, each ``[N, M, H, W]``, under the true masks."""
        a = self.expand_norm(self.expand(x))
        h = activate(a, self.expand_activation, inplace=False)
        return a, self.depthwise_norm(self.depthwise(h))

    def layerwise(self, x: Tensor, loss: Callable[..., Tensor]) -> tuple[Tensor, Tensor]:
        """What the predictor has to learn, and the block's output, under the true masks; in evaluation mode.

        Args:
            x: Input of the block.
            loss: Of the predictor, of ``x`` and of what the two activations see.
        """
        with torch.no_grad():
            if self.kernel is not None:
                found, projected = self.kernel.layerwise(self, x)
                return found, self._finished(x, projected)
            a, d = self.pre_activations(x)
            y = self.under_true_masks(x, d)
        return loss(self.predictor, x, a, d), y

    def under_true_masks(self, x: Tensor, d: Tensor) -> Tensor:
        """The block's output ``[N, O, P, Q]`` as without its predictor, from ``d`` of :meth:`pre_activations`."""
        return self._finished(x, self.project(activate(d, self.depthwise_activation, inplace=False)))


class ShuffleUnit(nn.Module):
    """Block of the original ShuffleNet: grouped 1x1 -> shuffle -> depthwise -> grouped 1x1, shuffle inside the block.

    The shuffle between expand and depthwise mixes the groups, so that it is no grouped fusable bottleneck.
    """

    def __init__(
        self, in_channels: int, middle_channels: int, out_channels: int, stride: int, groups: int, residual: bool
    ) -> None:
        super().__init__()
        self.expand = ConvUnit(in_channels, middle_channels, groups=groups, shuffle_groups=groups)
        self.depthwise = ConvUnit(
            middle_channels, middle_channels, 3, stride, groups=middle_channels, activation="linear"
        )
        self.project = ConvUnit(middle_channels, out_channels, groups=groups, activation="linear")
        self.residual = residual

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.project(self.depthwise(self.expand(x)))
        return y + x if self.residual else y


class GlobalPool(nn.Module):
    """Mean over the image: ``[N, C, H, W] -> [N, C]``."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mean((2, 3))


class Cnn(nn.Module):
    """A network as an ordered dictionary of named layers.

    Attributes:
        architecture: Registry name it was built from.
        options: The keyword arguments it was built with (JSON-able), enough to build it again.
        input_shape: ``(C, H, W)`` it was designed for.

    Source: docs/explanation/zoo.md.
    """

    def __init__(
        self, architecture: str, options: dict[str, object], input_shape: Shape, layers: list[tuple[str, nn.Module]]
    ) -> None:
        super().__init__()
        self.architecture = architecture
        self.options = options
        self.input_shape = input_shape
        self.layers = nn.Sequential(OrderedDict(layers))

    def forward(self, x: Tensor) -> Tensor:
        """The scores ``[N, K]`` of images ``x [N, C, H, W]``."""
        return self.through(x, lambda layer, *inputs: layer(*inputs))

    def through(self, x: Tensor, call: Callable[..., Tensor]) -> Tensor:
        """The scores ``[N, K]`` of images ``x [N, C, H, W]``; ``call`` gives a layer's output from its inputs."""
        for layer in self.layers:
            x = call(layer, x)
        return x

    def lowered(self) -> tuple[Node, ...] | None:
        """Its nodes, where the model knows them; None: they follow from the layers."""
        return None

    def bottlenecks(self) -> Iterator[tuple[str, BottleneckUnit]]:
        """The fusable blocks with their names."""
        for name, layer in self.layers.named_children():
            if isinstance(layer, BottleneckUnit):
                yield name, layer


def require_divisible(groups: int, *channels: int) -> None:
    """Check that every channel count splits into the groups.

    Raises:
        InputError: One does not.
    """
    for count in channels:
        if groups < 1 or count < 1 or count % groups:
            raise InputError("network options", f"{count} channels are not divisible by {groups} groups", "change one")


def initialise(model: nn.Module, seed: int) -> None:
    """He-normal weights (fan out), unit batch norms; deterministic for a seed whatever the global state."""
    generator = torch.Generator().manual_seed(seed)
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", generator=generator)
        elif isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, 0.0, module.in_features**-0.5, generator=generator)
            nn.init.zeros_(module.bias)
