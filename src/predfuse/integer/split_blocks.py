"""Blocks that cannot be fused (no predictor) become the three convolutions they are made of."""

from __future__ import annotations

import dataclasses

from predfuse.graph.nodes import Add, Bottleneck, Conv, Network, Node, Shuffle


def unfold_unpredicted(network: Network) -> Network:
    """A copy of the network with every block that has no predictor as ``NAME.expand``, ``NAME.depthwise``,
    ``NAME.project`` and, where it has them, ``NAME.shuffle`` and ``NAME.add``.

    The outputs are unchanged; layers that read a block read the last of its parts.
    """
    nodes: list[Node] = []
    last_part: dict[str, str] = {}
    for node in network.nodes:
        inputs = tuple(last_part.get(source, source) for source in node.inputs)
        rewired = dataclasses.replace(node, inputs=inputs)
        if isinstance(rewired, Bottleneck) and rewired.predictor is None:
            nodes += _parts(rewired)
            last_part[node.name] = nodes[-1].name
        else:
            nodes.append(rewired)
    return dataclasses.replace(network, nodes=tuple(nodes))


def _parts(block: Bottleneck) -> list[Node]:
    name, source = block.name, block.inputs
    parts: list[Node] = [
        Conv(
            name=f"{name}.expand",
            inputs=source,
            weight=block.expand_weight[:, :, None, None],
            bias=block.expand_bias,
            groups=block.groups,
            activation=block.expand_activation,
        ),
        Conv(
            name=f"{name}.depthwise",
            inputs=(f"{name}.expand",),
            weight=block.depthwise_weight[:, None],
            bias=block.depthwise_bias,
            stride=block.stride,
            padding=block.padding,
            groups=block.middle_channels,
            activation=block.depthwise_activation,
        ),
        Conv(
            name=f"{name}.project",
            inputs=(f"{name}.depthwise",),
            weight=block.project_weight[:, :, None, None],
            bias=block.project_bias,
            groups=block.groups,
        ),
    ]
    if block.shuffle_groups > 1:
        parts.append(Shuffle(f"{name}.shuffle", (parts[-1].name,), block.shuffle_groups))
    if block.residual:
        parts.append(Add(f"{name}.add", (parts[-1].name, *source)))
    return parts
