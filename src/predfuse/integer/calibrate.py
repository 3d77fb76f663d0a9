"""How large every tensor of a network gets on real images, from which the scales are chosen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from predfuse.arrays import Float64Array, FloatArray, ImageArray, Int64Array, are_floats, are_pixels
from predfuse.errors import InputError
from predfuse.fusion.execute import plan_network, run_plan
from predfuse.graph.nodes import INPUT, Bottleneck, Network
from predfuse.input_checks import require_finite
from predfuse.integer.pixels import pixel_table


@dataclass(frozen=True)
class Calibration:
    """Largest magnitudes over the calibration images.

    Attributes:
        channels: ``[C]`` by node name and for ``"input"``; of a block with a residual, the larger of its sum and of
            what it adds to its input.
        images: How many images were run.
    """

    channels: dict[str, Float64Array]
    images: int

    @property
    def largest(self) -> dict[str, float]:
        """The largest over all channels."""
        return {name: float(values.max()) for name, values in self.channels.items()}

    def scaled(self, gains: dict[str, Int64Array]) -> Calibration:
        """Ranges of the network with channels larger by powers of two, ``[C]`` per node."""
        channels = {
            name: np.ldexp(values, gains[name]) if name in gains else values for name, values in self.channels.items()
        }
        return Calibration(channels, self.images)


def normalise(network: Network, images: ImageArray) -> FloatArray:
    """Images ``[N, C, H, W]`` as the network's input: 8-bit ones normalised, float ones as they are.

    Raises:
        InputError: Of another shape or type than the network takes.
    """
    if images.ndim != 4 or images.shape[1:] != tuple(network.input_shape) or not len(images):
        what = f"have shape {'x'.join(map(str, images.shape))}, network {network.name} expects Nx"
        raise InputError("images", what + "x".join(map(str, network.input_shape)), "resize or choose other images")
    if are_pixels(images):
        table = pixel_table(network)
        return np.stack([table[channel][images[:, channel]] for channel in range(images.shape[1])], axis=1)
    if are_floats(images):
        require_finite(images)
        return images
    raise InputError("images", f"have type {images.dtype}", "use uint8 pixels or normalised floats")


def calibrate(network: Network, images: FloatArray, progress: Callable[[int], None] | None = None) -> Calibration:
    """Run a network with its predicted masks (true ones where it has no predictor) and record every magnitude.

    Args:
        network: The network, floating weights.
        images: ``[N, C, H, W]`` normalised floats.
        progress: Called with 1 after every image.

    Raises:
        InputError: Images that do not fit or hold NaN, or a network that overflows on them.
    """
    names = [node.name for node in network.nodes]
    plan = plan_network(network, "predicted")
    channels = {name: np.zeros(shape[0]) for name, shape in network.shapes().items()}
    for image in images:
        outputs = run_plan(plan, image[None], statistics=False, keep=names, progress=progress).outputs
        outputs[INPUT] = image[None]
        for name, values in outputs.items():
            channels[name] = np.maximum(channels[name], np.abs(values).max(axis=(0, 2, 3)))
        for node in network.nodes:
            if isinstance(node, Bottleneck) and node.residual:
                added = np.abs(outputs[node.name] - outputs[node.inputs[0]]).max(axis=(0, 2, 3))
                channels[node.name] = np.maximum(channels[node.name], added)
        for name in names:
            if not np.isfinite(channels[name]).all():
                raise InputError(f"layer {name}", "gives NaN or infinite values", "retrain or repair the weights")
    return Calibration(channels, len(images))
