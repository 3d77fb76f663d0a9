"""A :class:`predfuse.graph.nodes.Network` as an ``nn.Module`` of ordinary PyTorch operators, in one of three forms.

All modules take and give ``[N, C, H, W]``; the whole network gives ``[N, classes]`` when it ends in a ``Linear``. The
weights are parameters, so that a plain or predicted network can be tuned further; predictors and fused weights are
buffers.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from predfuse.arrays import FloatArray
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
from predfuse.graph.nodes import Bottleneck, Linear, Network, Node, Padding
from predfuse.models.from_graph import GraphCnn, folded_layers
from predfuse.models.layers import BottleneckUnit, shuffle_channels


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
    return NetworkModule(network, form, _DTYPES[precision]).eval()


_DTYPES: dict[Precision, torch.dtype] = {"float32": torch.float32, "float64": torch.float64}


class NetworkModule(GraphCnn):
    """The graph of a network, layer by layer.

    Attributes:
        form: The form it was made in.
    """

    def __init__(self, network: Network, form: Form, dtype: torch.dtype) -> None:
        layers = folded_layers(network, dtype)
        left = unfused(network) if form == "fused" else {}
        pairs = zip(network.nodes, layers, strict=True)
        forms = (_in_form(node, layer, form, left).to(dtype) for node, layer in pairs)
        super().__init__(network.name, network, forms)
        self.form = form
        self._output = network.shapes()[network.output]
        self._flat = isinstance(network.nodes[-1], Linear)

    def forward(self, x: Tensor) -> Tensor:
        """Scores of normalised images ``[N, C, H, W]``, in the type of the images."""
        return self.run(x, lambda layer, *inputs: layer(*inputs))

    def run(self, x: Tensor, call: Callable[..., Tensor]) -> Tensor:
        """As :meth:`forward`, every layer's output being what ``call`` gives for it and its inputs."""
        weights = (tensor for tensors in (self.parameters(), self.buffers()) for tensor in tensors)
        y = self.through(x.to(next(weights, x).dtype), call).to(x.dtype)
        return y if self._flat else y.unflatten(1, self._output)


def _in_form(node: Node, layer: nn.Module, form: Form, left: Collection[str]) -> nn.Module:
    """The layer of a node, or what stands for a block in its form (see :func:`block_form`)."""
    chosen = block_form(node, form, left) if isinstance(node, Bottleneck) else "plain"
    if not isinstance(node, Bottleneck) or not isinstance(layer, BottleneckUnit) or chosen == "plain":
        return layer
    return FusedBlock(node) if chosen == "fused" else PredictedBlock(node, layer)


def _tensor(array: FloatArray) -> Tensor:
    return torch.from_numpy(np.array(array, np.float64))


def _pad(x: Tensor, padding: Padding) -> Tensor:
    top, bottom, left, right = padding
    return F.pad(x, (left, right, top, bottom)) if any(padding) else x


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


class GatedBlock(nn.Module):
    """What the two predicted forms share: masks decided by a predictor take the place of activations."""

    def __init__(self, block: Bottleneck) -> None:
        super().__init__()
        self.gates = _Gates(block)

    def forward(self, x: Tensor) -> Tensor:
        return self.gated(x, *self.gates(x))

    def gated(self, x: Tensor, mask1: Tensor, mask2: Tensor) -> Tensor:
        """The output under given masks."""
        raise NotImplementedError


class PredictedBlock(GatedBlock):
    """A bottleneck whose only nonlinearity are its predictor's masks."""

    def __init__(self, block: Bottleneck, unit: BottleneckUnit) -> None:
        super().__init__(block)
        self.unit = unit

    def gated(self, x: Tensor, mask1: Tensor, mask2: Tensor) -> Tensor:
        return self.unit.under_masks(x, mask1, mask2)


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
        self.kernel, self.stride, self.padding, self.groups = block.kernel, block.stride, block.padding, block.groups
        self.shuffle_groups, self.residual = block.shuffle_groups, block.residual
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
        y = shuffle_channels(y.flatten(1, 2), self.shuffle_groups)
        return y + x if self.residual else y

    def _grouped(self, x: Tensor) -> Tensor:
        """``[N, C, H, W] -> [N, groups, C/groups, H, W]``."""
        return torch.unflatten(x, 1, (self.groups, -1))
