"""How many steps of tuning a network gets where nobody says it, and how many images a step takes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from predfuse.graph.nodes import Bottleneck, Network, Shape
from predfuse.predictor.layerwise import BATCH_SIZE

TUNED_VALUES, FEWEST_TUNED = 1 << 20, 2
"""Values of one pre-activation in a step of tuning; a step takes fewer images where a block needs more, but two."""
MOST_STEPS, TUNED_OPERATIONS = 200, 40e9
"""Steps of tuning: so many, or as many as take so many multiplications of the blocks (minutes of one core)."""


def affordable_steps(network: Network, blocks: Iterable[Bottleneck], batch_size: int = BATCH_SIZE) -> int:
    """Steps of tuning by default: :data:`MOST_STEPS`, fewer where each is slow.

    Args:
        network: That has the blocks.
        blocks: Those that get predictors.
        batch_size: Images of one step, fewer where they are large.
    """
    shapes, operations = network.shapes(), 0
    for block in blocks:
        values, (_, rows, columns) = pre_activations(block, shapes), shapes[block.name]
        windows = block.middle_channels * rows * columns * block.kernel**2
        operations += images_of_step(values, batch_size) * (values * block.group_channels + windows)
    return min(MOST_STEPS, max(1, int(TUNED_OPERATIONS / max(operations, 1))))


def pre_activations(block: Bottleneck, shapes: Mapping[str, Shape]) -> int:
    """Values of the first pre-activation of an image.

    Args:
        block: The block.
        shapes: ``(C, H, W)`` of every node of its network.
    """
    _, rows, columns = shapes[block.inputs[0]]
    return block.middle_channels * rows * columns


def images_of_step(values: int, batch_size: int = BATCH_SIZE) -> int:
    """Images of a step of tuning, at most ``batch_size``, of a block with so many pre-activations an image."""
    return min(batch_size, max(FEWEST_TUNED, TUNED_VALUES // values))
