"""Whole networks as well-known libraries write them, scaled down, to be traced as they are.

The code follows the style of the libraries named in each docstring: how modules nest, what is a module and what a call,
where shapes are computed.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class ConvNormActivation(nn.Sequential):
    """A Sequential with a constructor of its own (torchvision)."""

    def __init__(
        self,
        channels: int,
        outputs: int,
        kernel: int = 3,
        stride: int = 1,
        groups: int = 1,
        activation: Callable[..., nn.Module] | None = nn.ReLU6,
    ) -> None:
        layers: list[nn.Module] = [
            nn.Conv2d(channels, outputs, kernel, stride, (kernel - 1) // 2, groups=groups, bias=False),
            nn.BatchNorm2d(outputs),
        ]
        super().__init__(*layers, *([] if activation is None else [activation(inplace=True)]))
        self.out_channels = outputs


class MobileNetV2(nn.Module):
    """torchvision: blocks with an expansion of 1 have no expand layer; residual where the shape allows."""

    class Block(nn.Module):
        def __init__(self, channels: int, outputs: int, stride: int, expansion: int) -> None:
            super().__init__()
            middle = round(channels * expansion)
            self.use_res_connect = stride == 1 and channels == outputs
            layers: list[nn.Module] = []
            if expansion != 1:
                layers.append(ConvNormActivation(channels, middle, 1))
            layers += [
                ConvNormActivation(middle, middle, stride=stride, groups=middle),
                nn.Conv2d(middle, outputs, 1, bias=False),
                nn.BatchNorm2d(outputs),
            ]
            self.conv = nn.Sequential(*layers)

        def forward(self, x: Tensor) -> Tensor:
            if self.use_res_connect:
                return x + self.conv(x)
            return self.conv(x)

    def __init__(self) -> None:
        super().__init__()
        features: list[nn.Module] = [ConvNormActivation(3, 8, stride=2)]
        channels = 8
        for expansion, outputs, count, stride in ((1, 8, 1, 1), (6, 12, 2, 2), (6, 16, 2, 2)):
            for index in range(count):
                features.append(self.Block(channels, outputs, stride if index == 0 else 1, expansion))
                channels = outputs
        features.append(ConvNormActivation(channels, 64, 1))
        self.features = nn.Sequential(*features)
        self.classifier = nn.Sequential(nn.Dropout(0.2), nn.Linear(64, 10))

    def _forward_impl(self, x: Tensor) -> Tensor:
        x = self.features(x)
        x = F.adaptive_avg_pool2d(x, (1, 1))
        x = torch.flatten(x, 1)
        return self.classifier(x)

    def forward(self, x: Tensor) -> Tensor:
        return self._forward_impl(x)


class MnasNet(nn.Module):
    """torchvision: one flat Sequential, `x.mean([2, 3])`, blocks that add their input in `forward`."""

    class Block(nn.Module):
        def __init__(self, channels: int, outputs: int, kernel: int, stride: int, expansion: int) -> None:
            super().__init__()
            middle = channels * expansion
            self.apply_residual = channels == outputs and stride == 1
            self.layers = nn.Sequential(
                nn.Conv2d(channels, middle, 1, bias=False),
                nn.BatchNorm2d(middle, momentum=3e-4),
                nn.ReLU(inplace=True),
                nn.Conv2d(middle, middle, kernel, padding=kernel // 2, stride=stride, groups=middle, bias=False),
                nn.BatchNorm2d(middle, momentum=3e-4),
                nn.ReLU(inplace=True),
                nn.Conv2d(middle, outputs, 1, bias=False),
                nn.BatchNorm2d(outputs, momentum=3e-4),
            )

        def forward(self, input: Tensor) -> Tensor:
            if self.apply_residual:
                return self.layers(input) + input
            return self.layers(input)

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1, stride=2, bias=False),
            nn.BatchNorm2d(8),
            nn.ReLU(inplace=True),
            nn.Conv2d(8, 8, 3, padding=1, stride=1, groups=8, bias=False),
            nn.BatchNorm2d(8),
            nn.ReLU(inplace=True),
            nn.Conv2d(8, 6, 1, bias=False),
            nn.BatchNorm2d(6),
            nn.Sequential(self.Block(6, 10, 3, 2, 3), self.Block(10, 10, 3, 1, 3)),
            nn.Sequential(self.Block(10, 12, 5, 2, 6), self.Block(12, 12, 5, 1, 6)),
        )
        self.classifier = nn.Sequential(nn.Dropout(p=0.2, inplace=True), nn.Linear(12, 10))

    def forward(self, x: Tensor) -> Tensor:
        x = self.layers(x)
        x = x.mean([2, 3])
        return self.classifier(x)


class SqueezeExcitation(nn.Module):
    """torchvision: pooling, two 1x1 convolutions, a scale activation."""

    def __init__(self, channels: int, squeeze: int, scale: Callable[[], nn.Module] = nn.Sigmoid) -> None:
        super().__init__()
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc1, self.fc2 = nn.Conv2d(channels, squeeze, 1), nn.Conv2d(squeeze, channels, 1)
        self.activation, self.scale_activation = nn.ReLU(), scale()

    def forward(self, input: Tensor) -> Tensor:
        scale = self.scale_activation(self.fc2(self.activation(self.fc1(self.avgpool(input)))))
        return scale * input


class MobileNetV3(nn.Module):
    """torchvision: the first blocks use ReLU, one has squeeze-and-excitation, the last ones hard-swish."""

    class Block(nn.Module):
        def __init__(self, channels: int, middle: int, outputs: int, kernel: int, excite: bool, swish: bool) -> None:
            super().__init__()
            activation = nn.Hardswish if swish else nn.ReLU
            layers: list[nn.Module] = [
                ConvNormActivation(channels, middle, 1, activation=activation),
                ConvNormActivation(middle, middle, kernel, groups=middle, activation=activation),
            ]
            if excite:
                layers.append(SqueezeExcitation(middle, 4, nn.Hardsigmoid))
            layers.append(ConvNormActivation(middle, outputs, 1, activation=None))
            self.block = nn.Sequential(*layers)
            self.residual = channels == outputs

        def forward(self, input: Tensor) -> Tensor:
            result = self.block(input)
            if self.residual:
                result += input
            return result

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            ConvNormActivation(3, 8, stride=2, activation=nn.Hardswish),
            self.Block(8, 16, 8, 3, False, False),
            self.Block(8, 24, 12, 5, True, False),
            self.Block(12, 24, 12, 3, False, True),
        )
        self.classifier = nn.Sequential(nn.Linear(12, 16), nn.Hardswish(), nn.Dropout(0.2), nn.Linear(16, 10))

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(torch.flatten(F.adaptive_avg_pool2d(self.features(x), 1), 1))


def pad_same(x: Tensor, kernel: list[int], stride: list[int], dilation: list[int], value: float = 0) -> Tensor:
    """TensorFlow's SAME (timm)."""
    rows, columns = x.size()[-2:]

    def total(size: int, axis: int) -> int:
        return max(
            (math.ceil(size / stride[axis]) - 1) * stride[axis] + (kernel[axis] - 1) * dilation[axis] + 1 - size, 0
        )

    above, left = total(rows, 0), total(columns, 1)
    return F.pad(x, (left // 2, left - left // 2, above // 2, above - above // 2), value=value)


class Conv2dSame(nn.Conv2d):
    """timm."""

    def forward(self, x: Tensor) -> Tensor:
        x = pad_same(x, list(self.weight.shape[-2:]), list(self.stride), list(self.dilation))
        return F.conv2d(x, self.weight, self.bias, self.stride, (0, 0), self.dilation, self.groups)


class BatchNormAct2d(nn.BatchNorm2d):
    """timm: a batch norm that holds its activation and calls the function itself."""

    def __init__(self, channels: int, activation: nn.Module) -> None:
        super().__init__(channels, eps=1e-3)
        self.drop, self.act = nn.Identity(), activation

    def forward(self, x: Tensor) -> Tensor:
        training = self.training or (self.running_mean is None and self.running_var is None)
        x = F.batch_norm(
            x,
            self.running_mean if not self.training or self.track_running_stats else None,
            self.running_var if not self.training or self.track_running_stats else None,
            self.weight,
            self.bias,
            training,
            self.momentum or 0.0,
            self.eps,
        )
        return self.act(self.drop(x))


class DropPath(nn.Module):
    """Stochastic depth (timm)."""

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return x
        mask = x.new_empty((x.shape[0],) + (1,) * (x.ndim - 1)).bernoulli_(0.9)
        return x * mask / 0.9


class EfficientNet(nn.Module):
    """timm: SAME padding in forward, norms with activations, blocks in stages, drop path, selectable pooling."""

    class Block(nn.Module):
        def __init__(self, channels: int, outputs: int, kernel: int, stride: int, activation: nn.Module, excite: bool):
            super().__init__()
            middle = 4 * channels
            self.has_skip = channels == outputs and stride == 1
            self.conv_pw = nn.Conv2d(channels, middle, 1, bias=False)
            self.bn1 = BatchNormAct2d(middle, activation)
            self.conv_dw = Conv2dSame(middle, middle, kernel, stride, groups=middle, bias=False)
            self.bn2 = BatchNormAct2d(middle, activation)
            self.se = SqueezeExcitation(middle, 2) if excite else nn.Identity()
            self.conv_pwl = nn.Conv2d(middle, outputs, 1, bias=False)
            self.bn3 = BatchNormAct2d(outputs, nn.Identity())
            self.drop_path = DropPath()

        def forward(self, x: Tensor) -> Tensor:
            shortcut = x
            x = self.bn1(self.conv_pw(x))
            x = self.bn2(self.conv_dw(x))
            x = self.bn3(self.conv_pwl(self.se(x)))
            if self.has_skip:
                x = self.drop_path(x) + shortcut
            return x

    def __init__(self, activation: Callable[..., nn.Module] = nn.ReLU6, excite: bool = False) -> None:
        super().__init__()
        self.conv_stem = Conv2dSame(3, 8, 3, 2, bias=False)
        self.bn1 = BatchNormAct2d(8, activation(inplace=True))
        arguments = ((8, 12, 3, 2), (12, 12, 5, 1), (12, 16, 5, 2))
        self.blocks = nn.Sequential(
            *(nn.Sequential(self.Block(*sizes, activation(inplace=True), excite)) for sizes in arguments)
        )
        self.global_pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(1))
        self.classifier = nn.Linear(16, 10)
        self.drop_rate = 0.2

    def forward(self, x: Tensor) -> Tensor:
        x = self.blocks(self.bn1(self.conv_stem(x)))
        x = self.global_pool(x)
        if self.drop_rate > 0.0:
            x = F.dropout(x, p=self.drop_rate, training=self.training)
        return self.classifier(x)


def channel_shuffle(x: Tensor, groups: int) -> Tensor:
    """torchvision."""
    batch, channels, height, width = x.size()
    x = x.view(batch, groups, channels // groups, height, width)
    x = torch.transpose(x, 1, 2).contiguous()
    return x.view(batch, channels, height, width)


class ShuffleNetV2(nn.Module):
    """torchvision: halves of the channels, both ways of a block, a shuffle after every block."""

    class Block(nn.Module):
        def __init__(self, channels: int, outputs: int, stride: int) -> None:
            super().__init__()
            self.stride, half = stride, outputs // 2
            self.branch1: nn.Module = nn.Sequential()
            if stride > 1:
                self.branch1 = nn.Sequential(
                    nn.Conv2d(channels, channels, 3, stride, 1, bias=False, groups=channels),
                    nn.BatchNorm2d(channels),
                    nn.Conv2d(channels, half, 1, bias=False),
                    nn.BatchNorm2d(half),
                    nn.ReLU(inplace=True),
                )
            self.branch2 = nn.Sequential(
                nn.Conv2d(channels if stride > 1 else half, half, 1, bias=False),
                nn.BatchNorm2d(half),
                nn.ReLU(inplace=True),
                nn.Conv2d(half, half, 3, stride, 1, bias=False, groups=half),
                nn.BatchNorm2d(half),
                nn.Conv2d(half, half, 1, bias=False),
                nn.BatchNorm2d(half),
                nn.ReLU(inplace=True),
            )

        def forward(self, x: Tensor) -> Tensor:
            if self.stride == 1:
                x1, x2 = x.chunk(2, dim=1)
                out = torch.cat((x1, self.branch2(x2)), dim=1)
            else:
                out = torch.cat((self.branch1(x), self.branch2(x)), dim=1)
            return channel_shuffle(out, 2)

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1, bias=False), nn.BatchNorm2d(8), nn.ReLU(inplace=True))
        self.maxpool = nn.MaxPool2d(kernel_size=3, stride=2, padding=1)
        self.stage2 = nn.Sequential(self.Block(8, 16, 2), self.Block(16, 16, 1), self.Block(16, 16, 1))
        self.conv5 = nn.Sequential(nn.Conv2d(16, 24, 1, bias=False), nn.BatchNorm2d(24), nn.ReLU(inplace=True))
        self.fc = nn.Linear(24, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv5(self.stage2(self.maxpool(self.conv1(x))))
        return self.fc(x.mean([2, 3]))


class ShuffleNetV1(nn.Module):
    """Grouped blocks; strided ones join their output with an average-pooled shortcut, ReLU after the sum."""

    class Block(nn.Module):
        def __init__(self, channels: int, outputs: int, stride: int, groups: int) -> None:
            super().__init__()
            self.stride, self.groups = stride, groups
            middle, outputs = outputs // 2, outputs - channels if stride == 2 else outputs
            self.conv1 = nn.Conv2d(channels, middle, 1, groups=groups, bias=False)
            self.bn1 = nn.BatchNorm2d(middle)
            self.conv2 = nn.Conv2d(middle, middle, 3, stride, 1, groups=middle, bias=False)
            self.bn2 = nn.BatchNorm2d(middle)
            self.conv3 = nn.Conv2d(middle, outputs, 1, groups=groups, bias=False)
            self.bn3 = nn.BatchNorm2d(outputs)

        def forward(self, x: Tensor) -> Tensor:
            out = F.relu(self.bn1(self.conv1(x)))
            out = channel_shuffle(out, self.groups)
            out = self.bn3(self.conv3(self.bn2(self.conv2(out))))
            if self.stride == 2:
                return F.relu(torch.cat([out, F.avg_pool2d(x, 3, 2, 1)], 1))
            return F.relu(out + x)

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 1, bias=False)
        self.blocks = nn.Sequential(self.Block(8, 24, 2, 2), self.Block(24, 24, 1, 2))
        self.linear = nn.Linear(24, 10)

    def forward(self, x: Tensor) -> Tensor:
        out = F.avg_pool2d(self.blocks(F.relu(self.conv(x))), 16)
        return self.linear(out.view(out.size(0), -1))


class ResNet(nn.Module):
    """torchvision: 7x7 stem, max pooling, bottlenecks with any groups and width, dilation, downsampling branches."""

    class Block(nn.Module):
        def __init__(self, channels: int, outputs: int, stride: int, groups: int, dilation: int, excite: bool) -> None:
            super().__init__()
            width = outputs // 2
            self.conv1, self.bn1 = nn.Conv2d(channels, width, 1, bias=False), nn.BatchNorm2d(width)
            self.conv2 = nn.Conv2d(width, width, 3, stride, dilation, dilation, groups, bias=False)
            self.bn2 = nn.BatchNorm2d(width)
            self.se = SqueezeExcitation(width, 2) if excite else None
            self.conv3, self.bn3 = nn.Conv2d(width, outputs, 1, bias=False), nn.BatchNorm2d(outputs)
            self.relu = nn.ReLU(inplace=True)
            self.downsample: nn.Module | None = None
            if stride != 1 or channels != outputs:
                self.downsample = nn.Sequential(
                    nn.Conv2d(channels, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
                )

        def forward(self, x: Tensor) -> Tensor:
            identity = x
            out = self.relu(self.bn1(self.conv1(x)))
            out = self.relu(self.bn2(self.conv2(out)))
            if self.se is not None:
                out = self.se(out)
            out = self.bn3(self.conv3(out))
            if self.downsample is not None:
                identity = self.downsample(x)
            out += identity
            return self.relu(out)

    def __init__(self, groups: int = 1, dilation: int = 1, excite: bool = False) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 8, kernel_size=7, stride=2, padding=3, bias=False)
        self.bn1, self.relu = nn.BatchNorm2d(8), nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(kernel_size=3, stride=2, padding=1)
        self.layer1 = nn.Sequential(
            self.Block(8, 16, 1, groups, dilation, excite), self.Block(16, 16, 1, groups, dilation, excite)
        )
        self.layer2 = nn.Sequential(self.Block(16, 24, 2, groups, 1, excite))
        self.avgpool, self.fc = nn.AdaptiveAvgPool2d((1, 1)), nn.Linear(24, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        x = self.avgpool(self.layer2(self.layer1(x)))
        return self.fc(torch.flatten(x, 1))


class DenseNet(nn.Module):
    """torchvision: norms and ReLUs before convolutions, lists of feature maps concatenated, transitions."""

    class Layer(nn.Module):
        def __init__(self, channels: int) -> None:
            super().__init__()
            self.norm1, self.conv1 = nn.BatchNorm2d(channels), nn.Conv2d(channels, 8, 1, bias=False)
            self.norm2, self.conv2 = nn.BatchNorm2d(8), nn.Conv2d(8, 4, 3, padding=1, bias=False)
            self.relu1, self.relu2 = nn.ReLU(inplace=True), nn.ReLU(inplace=True)
            self.drop_rate = 0.1

        def forward(self, input: Tensor | list[Tensor]) -> Tensor:
            features = [input] if isinstance(input, Tensor) else input
            bottleneck = self.conv1(self.relu1(self.norm1(torch.cat(features, 1))))
            new = self.conv2(self.relu2(self.norm2(bottleneck)))
            return F.dropout(new, p=self.drop_rate, training=self.training) if self.drop_rate > 0 else new

    class Stage(nn.ModuleDict):
        def forward(self, init: Tensor) -> Tensor:
            features = [init]
            for _, layer in self.items():
                features.append(layer(features))
            return torch.cat(features, 1)

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential()
        self.features.add_module("conv0", nn.Conv2d(3, 8, 3, 2, 1, bias=False))
        self.features.add_module("norm0", nn.BatchNorm2d(8))
        self.features.add_module("relu0", nn.ReLU(inplace=True))
        self.features.add_module("block1", self.Stage({f"l{i}": self.Layer(8 + 4 * i) for i in range(3)}))
        transition = [nn.BatchNorm2d(20), nn.ReLU(inplace=True), nn.Conv2d(20, 10, 1, bias=False), nn.AvgPool2d(2, 2)]
        self.features.add_module("transition1", nn.Sequential(*transition))
        self.features.add_module("norm5", nn.BatchNorm2d(10))
        self.classifier = nn.Linear(10, 10)

    def forward(self, x: Tensor) -> Tensor:
        out = F.relu(self.features(x), inplace=True)
        return self.classifier(torch.flatten(F.adaptive_avg_pool2d(out, (1, 1)), 1))


class SqueezeNet(nn.Module):
    """torchvision: fire modules, pooling that rounds up, a convolution as the classifier."""

    class Fire(nn.Module):
        def __init__(self, channels: int, squeeze: int, expand: int) -> None:
            super().__init__()
            self.squeeze = nn.Conv2d(channels, squeeze, 1)
            self.expand1x1, self.expand3x3 = nn.Conv2d(squeeze, expand, 1), nn.Conv2d(squeeze, expand, 3, padding=1)
            self.activation = nn.ReLU(inplace=True)

        def forward(self, x: Tensor) -> Tensor:
            x = self.activation(self.squeeze(x))
            return torch.cat([self.activation(self.expand1x1(x)), self.activation(self.expand3x3(x))], 1)

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 8, 3, 2), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2, ceil_mode=True), self.Fire(8, 4, 8)
        )
        self.classifier = nn.Sequential(
            nn.Dropout(0.5), nn.Conv2d(16, 10, 1), nn.ReLU(inplace=True), nn.AdaptiveAvgPool2d((1, 1))
        )

    def forward(self, x: Tensor) -> Tensor:
        return torch.flatten(self.classifier(self.features(x)), 1)


class Inception(nn.Module):
    """torchvision's GoogLeNet: parallel branches, an auxiliary head in training only."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = ConvNormActivation(3, 8, 7, 2, activation=nn.ReLU)
        self.branch1 = ConvNormActivation(8, 4, 1, activation=nn.ReLU)
        self.branch2 = nn.Sequential(ConvNormActivation(8, 4, 1, activation=nn.ReLU), ConvNormActivation(4, 6))
        self.branch4 = nn.Sequential(
            nn.MaxPool2d(3, stride=1, padding=1, ceil_mode=True), ConvNormActivation(8, 4, 1, activation=nn.ReLU)
        )
        self.aux = nn.Linear(14, 10)
        self.fc = nn.Linear(14, 10)

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        x = self.stem(x)
        x = torch.cat([self.branch1(x), self.branch2(x), self.branch4(x)], 1).mean((2, 3))
        if self.training:
            return self.fc(x), self.aux(x)
        return self.fc(x)


class RepVgg(nn.Module):
    """Branches that are summed: 3x3, 1x1 and a batch norm by itself; kept in a ModuleList and a Python sum."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, 2, 1)
        self.branches = nn.ModuleList(
            [
                ConvNormActivation(8, 8, 3, activation=None),
                ConvNormActivation(8, 8, 1, activation=None),
                nn.BatchNorm2d(8),
            ]
        )
        self.head = nn.Linear(8, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        x = F.relu(sum(branch(x) for branch in self.branches))
        return self.head(F.adaptive_avg_pool2d(x, 1).squeeze(-1).squeeze(-1))


class MobileOne(nn.Module):
    """A separable chain whose layers scale and average their branches."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Conv2d(3, 8, 3, 2, 1), nn.Conv2d(3, 8, 5, 2, 2)
        self.alpha = nn.Parameter(torch.tensor(0.3))

    def forward(self, x: Tensor) -> Tensor:
        mixed = (1 - self.alpha) * self.one(x) + self.alpha * self.two(x)
        difference = torch.sub(mixed, self.one(x), alpha=0.5)
        return F.relu(mixed - difference).sum((2, 3))


class FrozenBatchNorm(nn.Module):
    """torchvision's detection models: buffers, reshaped on the way."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight: Tensor
        self.bias: Tensor
        self.running_mean: Tensor
        self.running_var: Tensor
        for name, value in (("weight", 1.5), ("bias", 0.25), ("running_mean", 0.5), ("running_var", 2.0)):
            self.register_buffer(name, torch.full((channels,), value) + torch.arange(channels) / 10)

    def forward(self, x: Tensor) -> Tensor:
        w, b = self.weight.reshape(1, -1, 1, 1), self.bias.reshape(1, -1, 1, 1)
        scale = w * (self.running_var.reshape(1, -1, 1, 1) + 1e-5).rsqrt()
        return x * scale + (b - self.running_mean.reshape(1, -1, 1, 1) * scale)


class Ghost(nn.Module):
    """GhostNet without excitation: cheap depthwise features concatenated, the surplus cut off."""

    def __init__(self) -> None:
        super().__init__()
        self.primary = ConvNormActivation(3, 6, 1, activation=nn.ReLU)
        self.cheap = ConvNormActivation(6, 6, 3, groups=6, activation=nn.ReLU)
        self.oup = 12

    def forward(self, x: Tensor) -> Tensor:
        x1 = self.primary(x)
        return torch.cat([x1, self.cheap(x1)], dim=1)[:, : self.oup, :, :].mean([2, 3])


class SandGlass(nn.Module):
    """MobileNeXt: depthwise, reduce, expand, depthwise; only part of the block's input is added."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Sequential(
            ConvNormActivation(3, 12, 3, 2),
            ConvNormActivation(12, 12, 3, groups=12),
            ConvNormActivation(12, 4, 1, activation=None),
            ConvNormActivation(4, 12, 1),
            ConvNormActivation(12, 12, 3, groups=12, activation=None),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x).mean((-2, -1))


class ProxylessNas(nn.Module):
    """once-for-all: OrderedDicts of named layers, shortcuts as modules, settings checked in forward."""

    class Block(nn.Module):
        def __init__(self, channels: int, kernel: int, shortcut: nn.Module | None) -> None:
            super().__init__()
            middle = 6 * channels
            self.inverted_bottleneck = nn.Sequential()
            self.inverted_bottleneck.add_module("conv", nn.Conv2d(channels, middle, 1, bias=False))
            self.inverted_bottleneck.add_module("bn", nn.BatchNorm2d(middle))
            self.inverted_bottleneck.add_module("act", nn.Hardtanh(0, 6, inplace=True))
            self.depth_conv = ConvNormActivation(middle, middle, kernel, groups=middle)
            self.point_linear = ConvNormActivation(middle, channels, 1, activation=None)
            self.shortcut = shortcut

        def forward(self, x: Tensor) -> Tensor:
            res = self.point_linear(self.depth_conv(self.inverted_bottleneck(x)))
            return res if self.shortcut is None else res + self.shortcut(x)

    def __init__(self) -> None:
        super().__init__()
        self.first_conv = ConvNormActivation(3, 6, stride=2)
        self.blocks = nn.ModuleList([self.Block(6, 7, None), self.Block(6, 5, nn.Identity())])
        self.classifier = nn.Linear(6, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first_conv(x)
        for block in self.blocks:
            x = block(x)
        assert x.dim() == 4, "a feature map"
        return self.classifier(x.mean(3).mean(2))


class ConvNext(nn.Module):
    """Depthwise 7x7, layer norm over the channels, linear layers on the last dimension, GELU, layer scale."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 4, 4)
        self.dwconv = nn.Conv2d(8, 8, 7, padding=3, groups=8)
        self.norm = nn.LayerNorm(8)
        self.pwconv1, self.act, self.pwconv2 = nn.Linear(8, 32), nn.GELU(), nn.Linear(32, 8)
        self.gamma = nn.Parameter(torch.full((8,), 0.1))

    def forward(self, x: Tensor) -> Tensor:
        x = residual = self.stem(x)
        x = self.norm(self.dwconv(x).permute(0, 2, 3, 1))
        x = self.gamma * self.pwconv2(self.act(self.pwconv1(x)))
        return (residual + x.permute(0, 3, 1, 2)).mean([-2, -1])


class UNet(nn.Module):
    """A transposed convolution and an upsampling, joined with earlier feature maps."""

    def __init__(self) -> None:
        super().__init__()
        self.down, self.bottom = nn.Conv2d(3, 4, 3, 2, 1), nn.Conv2d(4, 4, 3, 2, 1)
        self.up, self.last = nn.ConvTranspose2d(4, 4, 2, 2), nn.Conv2d(8, 2, 3, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        skip = F.relu(self.down(x))
        x = torch.cat([self.up(F.relu(self.bottom(skip))), skip], 1)
        return self.last(F.interpolate(x, scale_factor=2, mode="nearest"))


class RecurrentHead(nn.Module):
    """Rows of the feature map as a sequence for an LSTM."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, 2, 1)
        self.lstm, self.fc = nn.LSTM(4, 6, batch_first=True), nn.Linear(6, 10)

    def forward(self, x: Tensor) -> Tensor:
        sequence = F.relu(self.conv(x)).mean(3).permute(0, 2, 1)
        out, _ = self.lstm(sequence)
        return self.fc(out[:, -1])


class LocalResponse(nn.Module):
    """AlexNet as published: normalisation over neighbouring channels."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 8, 5, 2), nn.LocalResponseNorm(5)

    def forward(self, x: Tensor) -> Tensor:
        return F.max_pool2d(self.norm(F.relu(self.conv(x))), 3, 2)


class ShapeBranches(nn.Module):
    """Control flow on shapes and on settings, loops over lists, assertions."""

    def __init__(self) -> None:
        super().__init__()
        self.convs = nn.ModuleList([nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)])

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[1] != 3:
            raise ValueError("three channels")
        while min(x.shape[-2:]) > 8:
            x = F.avg_pool2d(x, 2)
        for index, conv in enumerate(self.convs):
            x = conv(x)
            if index < len(self.convs) - 1:
                x = F.relu(x)
        return x.reshape(x.size(0), -1)


class ValueBranch(nn.Module):
    """Control flow on values, which no graph can hold."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x) if x.mean() > 0 else self.conv(-x)


class Detector(nn.Module):
    """Two outputs."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.boxes, self.scores = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 1), nn.Conv2d(4, 2, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = F.relu(self.body(x))
        return self.boxes(x), self.scores(x)


class Spelled(nn.Module):
    """A function as a module between two convolutions."""

    def __init__(self, function: Callable[[Tensor], Tensor], channels: int = 4) -> None:
        super().__init__()
        self.before, self.function = nn.Conv2d(3, channels, 3, 1, 1), function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(self.before(x))
