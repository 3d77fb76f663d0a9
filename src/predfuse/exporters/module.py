"""A :class:`predfuse.graph.nodes.Network` as an ``nn.Module`` of ordinary PyTorch operators, in one of three forms.

All modules take and give ``[N, C, H, W]``; the whole network gives ``[N, classes]`` when it ends in a ``Linear``. The
weights are parameters, so that a plain or predicted network can be tuned further; predictors and fused weights are
buffers.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from predfuse.exporters.arrays import (
    Form,
    Precision,
    block_form,
    fused_arrays,
    gate_arrays,
    require_form,
    require_precision,
    unfused,
)
from predfuse.graph.nodes import (
    INPUT,
    Activation,
    Add,
    Array,
    Bottleneck,
    Concat,
    Conv,
    Linear,
    Network,
    Node,
    Padding,
    Pool,
    Shuffle,
)


def to_module(network: Network, form: Form = "plain", precision: Precision = "float32") -> NetworkModule:
    """The network as a PyTorch module in evaluation mode.

    Args:
        network: What to convert.
        form: ``plain`` ignores predictors; in the other two, blocks without one are executed with their activations,
            and in the fused one those of too many dense fused weights take the predicted form
            (:func:`predfuse.exporters.arrays.unfused`).
        precision: Of its weights and of everything it computes; it gives scores in the type of its images.

    Raises:
        InputError: The network cannot take the form (see :func:`predfuse.exporters.arrays.require_form`).
    """
    require_form(network, form)
    require_precision(precision)
    return NetworkModule(network, form).to(_DTYPES[precision]).eval()


_DTYPES: dict[Precision, torch.dtype] = {"float32": torch.float32, "float64": torch.float64}


class NetworkModule(nn.Module):
    """The graph of a network, node by node.

    Attributes:
        names: Name of every node, in order.
        nodes: The module of every node.
        form: The form it was made in.
    """

    def __init__(self, network: Network, form: Form) -> None:
        super().__init__()
        self.form = form
        self.names = [node.name for node in network.nodes]
        self.sources = [node.inputs for node in network.nodes]
        left = unfused(network) if form == "fused" else {}
        self.nodes = nn.ModuleList(node_module(node, form, left) for node in network.nodes)
        self.flat = isinstance(network.nodes[-1], Linear)

    def forward(self, x: Tensor) -> Tensor:
        """Scores of normalised images ``[N, C, H, W]``."""
        weights = (tensor for tensors in (self.parameters(), self.buffers()) for tensor in tensors)
        values = {INPUT: x.to(next(weights, x).dtype)}
        for name, sources, module in zip(self.names, self.sources, self.nodes, strict=True):
            values[name] = module(*(values[source] for source in sources))
        output = values[self.names[-1]].to(x.dtype)
        return output.flatten(1) if self.flat else output


def node_module(node: Node, form: Form, left: Collection[str] = ()) -> nn.Module:
    """What a node computes, as a module of its inputs; blocks ``left`` out of the fused form take the predicted one."""
    if isinstance(node, Conv):
        return _Conv(node)
    if isinstance(node, Bottleneck):
        return _BLOCKS[block_form(node, form, left)](node)
    if isinstance(node, Pool):
        return _Pool(node)
    if isinstance(node, Linear):
        return _Linear(node)
    if isinstance(node, Add):
        return _Add(node)
    if isinstance(node, Concat):
        return _Concat()
    assert isinstance(node, Shuffle)
    return _Shuffle(node.groups)


def _tensor(array: Array) -> Tensor:
    return torch.from_numpy(np.array(array, np.float64))


def _parameter(array: Array) -> nn.Parameter:
    return nn.Parameter(_tensor(array))


def _pad(x: Tensor, padding: Padding, value: float = 0.0) -> Tensor:
    top, bottom, left, right = padding
    return F.pad(x, (left, right, top, bottom), value=value) if any(padding) else x


def _activate(x: Tensor, activation: Activation) -> Tensor:
    if activation == "relu":
        return F.relu(x)
    return F.relu6(x) if activation == "relu6" else x


def _shuffle(x: Tensor, groups: int) -> Tensor:
    return F.channel_shuffle(x, groups) if groups > 1 else x


class _Conv(nn.Module):
    def __init__(self, node: Conv) -> None:
        super().__init__()
        self.weight, self.bias = _parameter(node.weight), _parameter(node.bias)
        self.stride, self.padding, self.dilation, self.groups = node.stride, node.padding, node.dilation, node.groups
        self.activation = node.activation

    def forward(self, x: Tensor) -> Tensor:
        padded = _pad(x, self.padding)
        y = F.conv2d(padded, self.weight, self.bias, self.stride, 0, self.dilation, self.groups)
        return _activate(y, self.activation)


class _Pool(nn.Module):
    def __init__(self, node: Pool) -> None:
        super().__init__()
        self.node = node

    def forward(self, x: Tensor) -> Tensor:
        node = self.node
        if node.kernel == 0:
            return x.mean((2, 3), keepdim=True) if node.kind == "average" else x.amax((2, 3), keepdim=True)
        if node.kind == "max":
            return F.max_pool2d(_pad(x, node.padding, -torch.inf), node.kernel, node.stride)
        y = F.avg_pool2d(_pad(x, node.padding), node.kernel, node.stride)
        if node.count_padding or not any(node.padding):
            return y
        inside = _pad(torch.ones_like(x[:1, :1]), node.padding)
        return y / F.avg_pool2d(inside, node.kernel, node.stride)


class _Linear(nn.Module):
    def __init__(self, node: Linear) -> None:
        super().__init__()
        self.weight, self.bias = _parameter(node.weight), _parameter(node.bias)
        self.activation = node.activation

    def forward(self, x: Tensor) -> Tensor:
        return _activate(F.linear(x.flatten(1), self.weight, self.bias), self.activation)[:, :, None, None]


class _Add(nn.Module):
    def __init__(self, node: Add) -> None:
        super().__init__()
        self.activation = node.activation

    def forward(self, *inputs: Tensor) -> Tensor:
        total = inputs[0]
        for x in inputs[1:]:
            total = total + x
        return _activate(total, self.activation)


class _Concat(nn.Module):
    def forward(self, *inputs: Tensor) -> Tensor:
        return torch.cat(inputs, 1)


class _Shuffle(nn.Module):
    def __init__(self, groups: int) -> None:
        super().__init__()
        self.groups = groups

    def forward(self, x: Tensor) -> Tensor:
        return _shuffle(x, self.groups)


class _Block(nn.Module):
    """What the three forms of a block share: its geometry, shuffle and residual."""

    def __init__(self, block: Bottleneck) -> None:
        super().__init__()
        self.stride, self.padding, self.groups = block.stride, block.padding, block.groups
        self.shuffle_groups, self.residual = block.shuffle_groups, block.residual

    def finish(self, y: Tensor, x: Tensor) -> Tensor:
        y = _shuffle(y, self.shuffle_groups)
        return y + x if self.residual else y

    def windows(self, h: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        """Depthwise convolution of ``[N, M, H, W]``."""
        return F.conv2d(_pad(h, self.padding), weight, bias, self.stride, groups=len(weight))


class PlainBlock(_Block):
    """A bottleneck with its activation functions."""

    def __init__(self, block: Bottleneck) -> None:
        super().__init__(block)
        self.expand_weight = _parameter(block.expand_weight[:, :, None, None])
        self.expand_bias = _parameter(block.expand_bias)
        self.depthwise_weight = _parameter(block.depthwise_weight[:, None])
        self.depthwise_bias = _parameter(block.depthwise_bias)
        self.project_weight = _parameter(block.project_weight[:, :, None, None])
        self.project_bias = _parameter(block.project_bias)
        self.expand_activation, self.depthwise_activation = block.expand_activation, block.depthwise_activation

    def forward(self, x: Tensor) -> Tensor:
        return self.project(self.pre_activations(x)[1], x)

    def pre_activations(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """What the two activations see, ``a [N, M, H, W]`` and ``d [N, M, P, Q]``, under the true masks."""
        a = F.conv2d(x, self.expand_weight, self.expand_bias, groups=self.groups)
        h = _activate(a, self.expand_activation)
        return a, self.windows(h, self.depthwise_weight, self.depthwise_bias)

    def project(self, d: Tensor, x: Tensor) -> Tensor:
        """The block's output from its second pre-activation and its input."""
        u = _activate(d, self.depthwise_activation)
        return self.finish(F.conv2d(u, self.project_weight, self.project_bias, groups=self.groups), x)


class _Gates(nn.Module):
    """The integer predictor of a block: both masks, as booleans."""

    input_scale: Tensor
    expand: Tensor
    expand_offset: Tensor
    hidden_scale: Tensor
    depthwise: Tensor
    depthwise_offset: Tensor

    def __init__(self, block: Bottleneck) -> None:
        super().__init__()
        arrays = gate_arrays(block)
        for name in ("input_scale", "expand", "expand_offset", "hidden_scale", "depthwise", "depthwise_offset"):
            self.register_buffer(name, _tensor(getattr(arrays, name)))
        self.input_min, self.input_max, self.hidden_max = arrays.input_min, arrays.input_max, arrays.hidden_max
        self.thresholds = arrays.expand_threshold, arrays.depthwise_threshold
        self.stride, self.padding, self.groups = block.stride, block.padding, block.groups

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        quantised = torch.floor(x * self.input_scale).clamp(self.input_min, self.input_max)
        z1 = F.conv2d(quantised, self.expand, self.expand_offset, groups=self.groups)
        q1 = torch.floor(z1 * self.hidden_scale).clamp(0, self.hidden_max)
        padded = _pad(q1, self.padding)
        z2 = F.conv2d(padded, self.depthwise, self.depthwise_offset, self.stride, groups=len(self.depthwise))
        return z1 > self.thresholds[0], z2 > self.thresholds[1]


class GatedBlock(_Block):
    """What the two predicted forms share: masks decided by a predictor take the place of activations."""

    gates: _Gates

    def forward(self, x: Tensor) -> Tensor:
        return self.gated(x, *self.gates(x))

    def gated(self, x: Tensor, mask1: Tensor, mask2: Tensor) -> Tensor:
        """The output under given masks."""
        raise NotImplementedError


class PredictedBlock(GatedBlock, PlainBlock):
    """A bottleneck whose only nonlinearity are its predictor's masks."""

    def __init__(self, block: Bottleneck) -> None:
        super().__init__(block)
        self.gates = _Gates(block)

    def gated(self, x: Tensor, mask1: Tensor, mask2: Tensor) -> Tensor:
        a = F.conv2d(x, self.expand_weight, self.expand_bias, groups=self.groups)
        h = torch.where(mask1, a, torch.zeros_like(a))
        d = self.windows(h, self.depthwise_weight, self.depthwise_bias)
        u = torch.where(mask2, d, torch.zeros_like(d))
        return self.finish(F.conv2d(u, self.project_weight, self.project_bias, groups=self.groups), x)


class FusedBlock(GatedBlock):
    """A bottleneck as one convolution: per tap, sums of the surviving fused weights, each multiplied once.

    It shows the fused arithmetic in standard operators. The sums are dense products with 0/1 gates here, which no
    ordinary runtime makes cheaper than the block itself.
    """

    taps: Tensor
    constant: Tensor
    bias: Tensor

    def __init__(self, block: Bottleneck) -> None:
        super().__init__(block)
        self.gates = _Gates(block)
        self.kernel = block.kernel
        arrays = fused_arrays(block, np.float64)
        for name in ("taps", "constant", "bias"):
            self.register_buffer(name, _tensor(getattr(arrays, name)))

    def gated(self, x: Tensor, mask1: Tensor, mask2: Tensor) -> Tensor:
        gates1, gates2 = _pad(mask1.to(x.dtype), self.padding), mask2.to(x.dtype)
        rows, columns = gates2.shape[2:]
        # The shift of the expand batch norm is the weight of one more input per group, which is always 1.
        image = F.pad(self._grouped(_pad(x, self.padding)), (0, 0, 0, 0, 0, 1), value=1.0)
        y = self._grouped(F.conv2d(gates2, self.constant, self.bias, groups=self.groups))
        for tap in range(self.kernel**2):
            row, column = divmod(tap, self.kernel)
            window = (
                slice(row, row + (rows - 1) * self.stride + 1, self.stride),
                slice(column, column + (columns - 1) * self.stride + 1, self.stride),
            )
            survivors = gates1[:, :, window[0], window[1]] * gates2
            sums = F.conv2d(survivors, self.taps[tap], groups=self.groups)
            sums = torch.unflatten(sums, 1, (self.groups, -1, image.shape[2]))
            y = y + (sums * image[:, :, None, :, window[0], window[1]]).sum(3)
        return self.finish(y.flatten(1, 2), x)

    def _grouped(self, x: Tensor) -> Tensor:
        """``[N, C, H, W] -> [N, groups, C/groups, H, W]``."""
        return torch.unflatten(x, 1, (self.groups, -1))


_BLOCKS: dict[Form, type[_Block]] = {"plain": PlainBlock, "predicted": PredictedBlock, "fused": FusedBlock}
