"""FusioNet: few channels outside the blocks, very many inside, grouped 1x1 convolutions, channel shuffle.

Published network: ICS 2021 and its artifact (CIFAR-10, 32x32, 4 groups). The family scales its outer width, middle
width, depth, input size and stem stride.
"""

from __future__ import annotations

from torch import nn

from predfuse.errors import InputError
from predfuse.graph.nodes import Shape
from predfuse.models.layers import MAX_BLOCKS, BottleneckUnit, Cnn, ConvUnit, GlobalPool

STAGE_CHANNELS = (32, 64, 96)
STAGE_MIDDLE = (2368, 2368, 3456)
STAGE_BLOCKS = (4, 4, 8)
LAST_CHANNELS = 160
TAIL_CHANNELS = 960


def fusionet(
    architecture: str = "fusionet",
    num_classes: int = 10,
    input_shape: Shape = (3, 32, 32),
    width: float = 1.0,
    middle_width: float = 1.0,
    depth: float = 1.0,
    stem_stride: int = 1,
    stem_depthwise_stride: int = 1,
    groups: int = 4,
    stage_channels: tuple[int, ...] = STAGE_CHANNELS,
    stage_middle: tuple[int, ...] = STAGE_MIDDLE,
    stage_blocks: tuple[int, ...] = STAGE_BLOCKS,
    last_channels: int = LAST_CHANNELS,
    tail_channels: int = TAIL_CHANNELS,
    shifts: bool = True,
    stem_pointwise: bool = True,
) -> Cnn:
    """Build a FusioNet.

    The last block of every stage goes over to the channels of the next (of the last stage: ``last_channels``) and,
    but for the last stage, halves the image. Its predecessors have a residual, except the very first block.

    Args:
        architecture: Name recorded in the network.
        num_classes: Outputs of the classifier.
        input_shape: ``(C, H, W)`` of an image.
        width: Factor on the outer channels, rounded to multiples of ``groups``.
        middle_width: Factor on the middle channels, likewise.
        depth: Factor on the blocks per stage, rounded, at least 1.
        stem_stride: Stride of the first convolution.
        stem_depthwise_stride: Stride of the depthwise convolution before the first block.
        groups: Groups of the 1x1 convolutions.
        stage_channels: Input channels of each stage.
        stage_middle: Middle channels of each stage's blocks.
        stage_blocks: Blocks of each stage.
        last_channels: Output channels of the last block.
        tail_channels: Output channels of the last grouped 1x1 convolution.
        stem_pointwise: Whether a grouped 1x1 and a depthwise convolution follow the first one, as published.
        shifts: Whether the norms inside the blocks shift; without, fused blocks have no bias sums.

    Raises:
        InputError: Lists of different length, channels not divisible by the groups, factors not positive, too many
            blocks, a stride of a convolution that is left out.
    """
    options = {key: value for key, value in locals().items() if key != "architecture"}
    if not len(stage_channels) == len(stage_middle) == len(stage_blocks) or not stage_channels:
        raise InputError("fusionet options", "stage lists differ in length", "give one entry per stage in each")
    if min(width, middle_width, depth) <= 0 or min(stage_blocks) < 1 or min(stem_stride, stem_depthwise_stride) < 1:
        raise InputError("fusionet options", "a size or factor is not positive", "use values above 0")
    if stem_depthwise_stride != 1 and not stem_pointwise:
        what = f"has a stem_depthwise_stride of {stem_depthwise_stride} without that convolution"
        raise InputError("fusionet options", what, "use stem_stride")

    def scaled(channels: int, factor: float) -> int:
        return channels if factor == 1.0 else max(groups, round(channels * factor / groups) * groups)

    counts = [max(1, round(blocks * depth)) for blocks in stage_blocks]
    if sum(counts) > MAX_BLOCKS:
        what = f"make {sum(counts):,} blocks, more than {MAX_BLOCKS:,}"
        raise InputError("fusionet options", what, "use fewer blocks, or less depth")
    channels = [scaled(c, width) for c in (*stage_channels, last_channels)]
    tail = scaled(tail_channels, width)
    stem = channels[0]
    layers: list[tuple[str, nn.Module]] = [("conv1", ConvUnit(input_shape[0], stem, 3, stem_stride))]
    if stem_pointwise:
        layers += [
            ("PW1", ConvUnit(stem, stem, groups=groups, shuffle_groups=groups)),
            ("DW1", ConvUnit(stem, stem, 3, stem_depthwise_stride, groups=stem, activation="linear")),
        ]
    number = 0
    for stage, (middle, count) in enumerate(zip(stage_middle, counts, strict=True)):
        for index in range(count):
            number += 1
            last = index == count - 1
            into = channels[stage]
            out = channels[stage + 1] if last else into
            stride = 2 if last and stage < len(stage_blocks) - 1 else 1
            block = BottleneckUnit(
                into,
                scaled(middle, middle_width),
                out,
                stride=stride,
                groups=groups,
                shuffle_groups=groups,
                residual=not last and number > 1,
                shifts=shifts,
            )
            layers.append((f"b{number}", block))
    layers += [
        ("GPW1", ConvUnit(channels[-1], tail, groups=groups)),
        ("pool", GlobalPool()),
        ("FC1", nn.Linear(tail, num_classes)),
    ]
    return Cnn(architecture, options, input_shape, layers)
