"""Networks of inverted bottlenecks given by channel lists: MobileNetV2, MnasNet, ShuffleNet, original and modified.

The channel lists are those of the ICS 2021 artifact for 32x32 inputs: into the first block, then out of every one.
"Modified for fusion" widens the middle and narrows the ends.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from predfuse.errors import InputError
from predfuse.graph.nodes import Activation, Shape
from predfuse.models.layers import BottleneckUnit, Cnn, ConvUnit, GlobalPool, ShuffleUnit


def _blocks(
    channels: Sequence[int],
    middle: Sequence[int],
    strided: Sequence[int],
    kernels: Sequence[int] = (),
    groups: int = 1,
    activation: Activation = "relu",
) -> list[tuple[str, nn.Module]]:
    """Named blocks b1..bN between neighbouring ``channels``; ``strided`` numbers those of stride 2; residual where
    shapes allow."""
    layers: list[tuple[str, nn.Module]] = []
    for number, (into, inside, out) in enumerate(zip(channels[:-1], middle, channels[1:], strict=True), start=1):
        stride = 2 if number in strided else 1
        block = BottleneckUnit(
            into,
            inside,
            out,
            kernel=kernels[number - 1] if kernels else 3,
            stride=stride,
            groups=groups,
            activation=activation,
            shuffle_groups=groups,
            residual=stride == 1 and into == out,
        )
        layers.append((f"b{number}", block))
    return layers


def _separable_stem(
    channels: int, stem: int, out: int, stride: int, activation: Activation
) -> list[tuple[str, nn.Module]]:
    return [
        ("conv1", ConvUnit(channels, stem, 3, stride, activation=activation)),
        ("PW1", ConvUnit(stem, stem, activation=activation)),
        ("DW1", ConvUnit(stem, stem, 3, groups=stem, activation=activation)),
        ("PW2", ConvUnit(stem, out, activation="linear")),
    ]


def _tail(into: int, tail: int, num_classes: int, activation: Activation) -> list[tuple[str, nn.Module]]:
    return [
        ("PW1_tail", ConvUnit(into, tail, activation=activation)),
        ("pool", GlobalPool()),
        ("FC1", nn.Linear(tail, num_classes)),
    ]


def mobilenetv2(
    architecture: str = "mobilenetv2",
    num_classes: int = 10,
    input_shape: Shape = (3, 32, 32),
    width: float = 1.0,
    stem_stride: int = 1,
    stem_channels: int = 32,
    expansion: int = 6,
    channels: tuple[int, ...] = (16, 24, 24, 32, 32, 32, 64, 64, 64, 64, 96, 96, 96, 160, 160, 160, 320),
    strided: tuple[int, ...] = (6, 13),
    tail_channels: int = 1280,
) -> Cnn:
    """MobileNetV2: ``channels`` are the input of the first block, then the output of every block.

    The published list is c = 16,24x2,32x3,64x4,96x3,160x3 and o = 24x2,32x3,64x4,96x3,160x3,320, expansion 6,
    stride 2 at blocks 6 and 13. ``width`` is a factor on all channels, stem and tail too, rounded.

    Raises:
        InputError: The width leaves a layer without channels.
    """
    options = {key: value for key, value in locals().items() if key != "architecture"}
    stem, tail, *scaled = (round(count * width) for count in (stem_channels, tail_channels, *channels))
    if min(stem, tail, *scaled) < 1:
        raise InputError(
            f"{architecture} options", f"width {width} leaves a layer without channels", "use a larger one"
        )
    layers = [
        *_separable_stem(input_shape[0], stem, scaled[0], stem_stride, "relu6"),
        *_blocks(scaled, [expansion * into for into in scaled[:-1]], strided, activation="relu6"),
        *_tail(scaled[-1], tail, num_classes, "relu6"),
    ]
    return Cnn(architecture, options, input_shape, layers)


def _published(
    architecture: str,
    num_classes: int,
    input_shape: Shape,
    channels: Sequence[int],
    middle: Sequence[int],
    strided: Sequence[int],
    kernels: Sequence[int] = (),
) -> Cnn:
    """A network of the artifact that begins with 32 channels and ends with 1280."""
    options: dict[str, object] = {"num_classes": num_classes, "input_shape": input_shape}
    layers = [
        *_separable_stem(input_shape[0], 32, channels[0], 1, "relu"),
        *_blocks(channels, middle, strided, kernels),
        *_tail(channels[-1], 1280, num_classes, "relu"),
    ]
    return Cnn(architecture, options, input_shape, layers)


def mobilenetv2_fused(
    architecture: str = "mobilenetv2-fused", num_classes: int = 10, input_shape: Shape = (3, 32, 32)
) -> Cnn:
    """MobileNetV2 modified for fusion: 14 blocks, all with 864 middle channels, tail 80 -> 1280."""
    channels = [16, *[24] * 3, *[32] * 4, *[40] * 6, 80]
    return _published(architecture, num_classes, input_shape, channels, [864] * 14, (4, 8))


MNASNET_KERNELS = (3, 3, 5, 5, 5, 3, 3, 3, 3, 3, 3, 5, 5, 5, 3)


def mnasnet(architecture: str = "mnasnet", num_classes: int = 10, input_shape: Shape = (3, 32, 32)) -> Cnn:
    """MnasNet: 15 blocks, kernels 3 and 5, expansion 6,6,3,3,3,6x10."""
    channels = [16, *[24] * 2, *[40] * 3, *[80] * 4, *[112] * 2, *[160] * 3, 320]
    expansions = [6, 6, 3, 3, 3, *[6] * 10]
    middle = [into * expansion for into, expansion in zip(channels[:-1], expansions, strict=True)]
    return _published(architecture, num_classes, input_shape, channels, middle, (3, 12), MNASNET_KERNELS)


def mnasnet_fused(architecture: str = "mnasnet-fused", num_classes: int = 10, input_shape: Shape = (3, 32, 32)) -> Cnn:
    """MnasNet modified for fusion: 15 blocks, all with 960 middle channels, tail 80 -> 1280."""
    channels = [16, *[24] * 3, *[32] * 5, *[40] * 6, 80]
    return _published(architecture, num_classes, input_shape, channels, [960] * 15, (3, 9), MNASNET_KERNELS)


SHUFFLENET_GROUPS = 3


def shufflenet(architecture: str = "shufflenet", num_classes: int = 10, input_shape: Shape = (3, 32, 32)) -> Cnn:
    """ShuffleNet, 3 groups, 15 blocks: shuffle inside the block, no activation after the depthwise convolution."""
    options: dict[str, object] = {"num_classes": num_classes, "input_shape": input_shape}
    channels = [24, *[60] * 4, *[120] * 8, *[240] * 3]
    middle = [*[240] * 4, *[480] * 8, *[960] * 3]
    layers: list[tuple[str, nn.Module]] = [("conv1", ConvUnit(input_shape[0], 24, 3))]
    for number, (into, inside, out) in enumerate(zip(channels[:-1], middle, channels[1:], strict=True), start=1):
        stride = 2 if number in (4, 12) else 1
        unit = ShuffleUnit(into, inside, out, stride, SHUFFLENET_GROUPS, residual=stride == 1 and into == out)
        layers.append((f"b{number}", unit))
    layers += [("pool", GlobalPool()), ("FC1", nn.Linear(240, num_classes))]
    return Cnn(architecture, options, input_shape, layers)


def shufflenet_fused(
    architecture: str = "shufflenet-fused", num_classes: int = 10, input_shape: Shape = (3, 32, 32)
) -> Cnn:
    """ShuffleNet modified for fusion: 15 blocks, 2574 or 2604 middle channels, shuffle on the block's output."""
    options: dict[str, object] = {"num_classes": num_classes, "input_shape": input_shape}
    channels = [24, *[18] * 2, *[24] * 4, *[42] * 8, 84]
    layers: list[tuple[str, nn.Module]] = [
        ("conv1", ConvUnit(input_shape[0], 24, 3)),
        *_blocks(channels, [*[2574] * 7, *[2604] * 8], (3, 7), groups=SHUFFLENET_GROUPS),
        ("pool", GlobalPool()),
        ("FC1", nn.Linear(84, num_classes)),
    ]
    return Cnn(architecture, options, input_shape, layers)
