"""Networks as other people write them, each in a style of its own, to be traced."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def liven(module: nn.Module, seed: int = 0) -> nn.Module:
    """Batch norms with statistics worth folding."""
    generator = torch.Generator().manual_seed(seed)
    for layer in module.modules():
        if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
            assert layer.running_mean is not None and layer.running_var is not None
            layer.running_mean.normal_(0, 0.3, generator=generator)
            layer.running_var.uniform_(0.5, 2, generator=generator)
            with torch.no_grad():
                layer.weight.normal_(1, 0.3, generator=generator)
                layer.bias.normal_(0, 0.3, generator=generator)
    return module


class InvertedResidual(nn.Module):
    """Nested Sequentials, as torchvision writes MobileNetV2."""

    def __init__(
        self,
        channels: int,
        middle: int,
        outputs: int,
        kernel: int = 3,
        stride: int = 1,
        groups: int = 1,
        activation: Callable[[], nn.Module] = nn.ReLU6,
        residual: bool = False,
    ) -> None:
        super().__init__()
        self.residual = residual
        self.conv = nn.Sequential(
            nn.Sequential(
                nn.Conv2d(channels, middle, 1, groups=groups, bias=False), nn.BatchNorm2d(middle), activation()
            ),
            nn.Sequential(
                nn.Conv2d(middle, middle, kernel, stride, kernel // 2, groups=middle, bias=False),
                nn.BatchNorm2d(middle),
                activation(),
            ),
            nn.Conv2d(middle, outputs, 1, groups=groups, bias=False),
            nn.BatchNorm2d(outputs),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv(x) if self.residual else self.conv(x)


class Functional(nn.Module):
    """Bare parameters and function calls; the activation works in place, the padding is TensorFlow's."""

    def __init__(self) -> None:
        super().__init__()
        self.expand = nn.Parameter(torch.randn(12, 4, 1, 1))
        self.filter = nn.Parameter(torch.randn(12, 1, 3, 3))
        self.project = nn.Parameter(torch.randn(4, 12, 1, 1))
        self.norm = nn.BatchNorm2d(12, eps=1e-3)

    def forward(self, x: Tensor) -> Tensor:
        h = F.relu(self.norm(F.conv2d(x, self.expand)), inplace=True)
        h = torch.clamp(F.conv2d(F.pad(h, (0, 1, 0, 1)), self.filter, stride=2, groups=12), 0, 6)
        return F.conv2d(h, self.project).mean([2, 3])


class DynamicSamePadding(nn.Conv2d):
    """TensorFlow's SAME, computed from the image in ``forward``."""

    def forward(self, x: Tensor) -> Tensor:
        sizes = [
            max((-(-size // stride) - 1) * stride + (kernel - 1) * dilation + 1 - size, 0)
            for size, kernel, stride, dilation in zip(
                x.shape[2:], self.kernel_size, self.stride, self.dilation, strict=True
            )
        ]
        if any(sizes):
            x = F.pad(x, (sizes[1] // 2, sizes[1] - sizes[1] // 2, sizes[0] // 2, sizes[0] - sizes[0] // 2))
        return F.conv2d(x, self.weight, self.bias, self.stride, 0, self.dilation, self.groups)


class TensorFlowStyle(nn.Module):
    """One activation module shared by all layers, padding computed on the way, stochastic depth that is off."""

    def __init__(self) -> None:
        super().__init__()
        self.expand = DynamicSamePadding(3, 9, 1, bias=False)
        self.expand_norm = nn.BatchNorm2d(9, eps=1e-3)
        self.filter = DynamicSamePadding(9, 9, 5, 2, groups=9, bias=False)
        self.filter_norm = nn.BatchNorm2d(9, eps=1e-3)
        self.project = DynamicSamePadding(9, 3, 1)
        self.activation = nn.Hardtanh(0, 6)
        self.dropout = nn.Dropout(0.3)

    def forward(self, x: Tensor) -> Tensor:
        y = self.activation(self.expand_norm(self.expand(x)))
        y = self.activation(self.filter_norm(self.filter(y)))
        y = self.project(y)
        if self.training:
            y = y * (torch.rand(len(y), 1, 1, 1) > 0.2)
        return self.dropout(y)


class SqueezeExcite(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.reduce = nn.Conv2d(channels, 4, 1)
        self.widen = nn.Conv2d(4, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.sigmoid(self.widen(F.relu(self.reduce(F.adaptive_avg_pool2d(x, 1)))))


class SqueezeExciteBlock(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.expand = nn.Conv2d(4, 12, 1)
        self.filter = nn.Conv2d(12, 12, 3, 1, 1, groups=12)
        self.excite = SqueezeExcite(12)
        self.project = nn.Conv2d(12, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.project(self.excite(F.relu(self.filter(F.relu(self.expand(x))))))


class HandwrittenHardSwish(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * F.relu6(x + 3) / 6


class ExtraBranch(nn.Module):
    """Something reads the expanded feature map inside the block."""

    def __init__(self) -> None:
        super().__init__()
        self.expand = nn.Conv2d(4, 12, 1)
        self.filter = nn.Conv2d(12, 12, 3, 1, 1, groups=12)
        self.project = nn.Conv2d(12, 4, 1)
        self.side = nn.Conv2d(12, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        h = F.relu(self.expand(x))
        return self.project(F.relu(self.filter(h))) + self.side(h)


class Shared(nn.Module):
    """The same block module twice."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, 1, 1)
        self.block = InvertedResidual(4, 12, 4, residual=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.block(self.block(self.stem(x)))


class PreActivation(nn.Module):
    """Batch norm and ReLU before the convolutions, constants in between, a classifier with a norm."""

    def __init__(self) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.BatchNorm2d(4), nn.BatchNorm2d(4)
        self.conv1, self.conv2 = nn.Conv2d(4, 4, 3, 1, 1), nn.Conv2d(4, 4, 3, 1, 1)
        self.classify, self.norm = nn.Linear(4 * 36, 7), nn.BatchNorm1d(7)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv1(F.relu(self.norm1(x)))
        x = x + self.conv2(F.relu(self.norm2(y)))
        x = (x - 0.5) / torch.tensor([1.0, 2.0, 3.0, 4.0]).view(1, 4, 1, 1)
        x = 1.5 - F.relu(x) * 0.5
        return F.relu(self.norm(self.classify(F.dropout(x.flatten(1), training=self.training))))


class DenseLayers(nn.Module):
    """Concatenations, as in DenseNet, and an input that is used again."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Conv2d(3, 2, 3, padding=1), nn.Conv2d(5, 2, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        y = torch.cat([x, F.relu(self.one(x))], 1)
        y = torch.cat([y, self.two(y)], dim=-3)
        return F.max_pool2d(F.relu_(y), 2)


class SeparableChain(nn.Module):
    """Depthwise and pointwise convolutions in a row, each with a ReLU, as in MobileNet (first version)."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU()]
        for channels, outputs in ((8, 16), (16, 32), (32, 32)):
            layers += [nn.Conv2d(channels, channels, 3, 1, 1, groups=channels), nn.ReLU()]
            layers += [nn.Conv2d(channels, outputs, 1), nn.ReLU()]
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        return torch.flatten(F.adaptive_avg_pool2d(self.layers(x), (1, 1)), 1)


class SplitChannels(nn.Module):
    """Half of the channels go another way, as in ShuffleNet (second version)."""

    def __init__(self) -> None:
        super().__init__()
        self.block = InvertedResidual(4, 8, 4)

    def forward(self, x: Tensor) -> Tensor:
        kept, changed = x.chunk(2, dim=1)
        return torch.cat([kept, self.block(changed)], 1)


class ShuffledBlocks(nn.Module):
    """Grouped blocks whose shuffles are spelled in three ways."""

    def __init__(self) -> None:
        super().__init__()
        self.one = InvertedResidual(4, 12, 4, groups=2)
        self.two = InvertedResidual(4, 12, 4, groups=2)
        self.three = InvertedResidual(4, 12, 4, groups=2)
        self.shuffle = nn.ChannelShuffle(2)

    def forward(self, x: Tensor) -> Tensor:
        images, channels, rows, columns = x.shape
        y = self.one(x).view(images, 2, channels // 2, rows, columns)
        x = x + y.transpose(1, 2).contiguous().view(images, -1, rows, columns)
        x = self.shuffle(self.two(x))
        y = self.three(x).reshape(images, 2, channels // 2, rows, columns)
        return y.permute(0, 2, 1, 3, 4).flatten(1, 2)


def flat_sequential() -> nn.Sequential:
    """Blocks without modules of their own, the second with a ReLU after its projection."""
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, 1, 1),
        *(nn.Conv2d(4, 12, 1), nn.ReLU(), nn.Conv2d(12, 12, 5, 2, 2, groups=12), nn.ReLU(), nn.Conv2d(12, 6, 1)),
        *(
            nn.Conv2d(6, 18, 1),
            nn.ReLU(),
            nn.Conv2d(18, 18, 3, 1, 1, groups=18),
            nn.ReLU(),
            nn.Conv2d(18, 6, 1),
            nn.ReLU(),
        ),
    )
