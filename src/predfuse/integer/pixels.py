"""8-bit images without rounding: input scales of whole steps per pixel value.

At a power-of-two scale of the normalised image, every pixel value has a rounding error of its own, the same wherever
it occurs: that of a uniform background is everywhere and grows from layer to layer. Where convolutions alone read the
image, its scale can be any: here one pixel value more is ``2**p`` more, exactly, and the weights make up for it.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

import numpy as np

from predfuse.arrays import Float64Array, Int16Array
from predfuse.graph.nodes import INPUT, Conv, Network
from predfuse.integer.widths import highest


def pixel_table(network: Network) -> Float64Array:
    """Normalised value ``[C, 256]`` float64 of every 8-bit pixel value: ``(pixel / 255 - mean) / std``."""
    channels = network.input_shape[0]
    mean = np.array(network.mean or (0.0,) * channels)[:, None]
    std = np.array(network.std or (1.0,) * channels)[:, None]
    table: Float64Array = (np.arange(256) / 255 - mean) / std
    return table


@dataclass(frozen=True, eq=False)
class PixelScale:
    """Integers of an image.

    Attributes:
        gain: ``[C]``: integers are ``normalised * gain * 2**fraction_bits``, rounded.
        fraction_bits: Of the input times its gain.
        table: ``[C, 256]`` int16 of every pixel value.
        error: ``[C]`` by how much the integers, as input times gain, are too large, the same for all pixel values.
    """

    gain: Float64Array
    fraction_bits: int
    table: Int16Array
    error: Float64Array


def pixel_scale(network: Network, fraction_bits: int, bits: int) -> PixelScale | None:
    """Whole steps per pixel value; None where other layers than convolutions read the image.

    Args:
        network: Without unpredicted blocks.
        fraction_bits: Of the normalised image, in which all pixel values fit a word.
        bits: Of a word. In 8 the steps are 2 or 4 pixel values.
    """
    readers = [node for node in network.nodes if INPUT in node.inputs]
    if not readers or not all(isinstance(node, Conv) for node in readers):
        return None
    channels = network.input_shape[0]
    black = 255 * np.array(network.mean or (0.0,) * channels)  # the pixel value that stands for 0
    deviation = np.array(network.std or (1.0,) * channels)
    largest = np.maximum(np.abs(black), np.abs(255 - black))
    steps = np.array([math.floor(math.log2(highest(bits) / (value + 1))) for value in largest])
    exact = np.ldexp(np.arange(256) - black[:, None], steps[:, None])
    table = np.floor(exact + 0.5)
    return PixelScale(
        gain=255 * deviation * np.ldexp(1.0, steps - fraction_bits),
        fraction_bits=fraction_bits,
        table=table.astype(np.int16),
        error=np.ldexp((table - exact).mean(axis=1), -fraction_bits),
    )


def fold_pixel_scale(network: Network, scale: PixelScale) -> Network:
    """The network for an input that is larger by the gain, and by the constant error (borders aside)."""
    replaced = {}
    for node in network.nodes:
        if isinstance(node, Conv) and node.inputs == (INPUT,):
            group_channels = node.weight.shape[1]
            first = np.arange(node.out_channels) // (node.out_channels // node.groups) * group_channels
            channel = first[:, None] + np.arange(group_channels)  # [O, C/groups]
            weight = node.weight / scale.gain[channel][:, :, None, None]
            surplus = (weight.sum(axis=(2, 3)) * scale.error[channel]).sum(axis=1)
            replaced[node.name] = dataclasses.replace(node, weight=weight, bias=node.bias - surplus)
    return network.replace_nodes(**replaced)
