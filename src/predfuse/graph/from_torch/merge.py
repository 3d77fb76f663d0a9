"""Merge drafts: padding, batch norms and activations become part of the layers they belong to."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np

from predfuse.graph.from_torch.graph_builder import Draft, Pad, affine_conv, readers
from predfuse.graph.nodes import Activation, Add, Concat, Conv, Linear, Node, Padding, Pool, Shuffle, Unsupported

Step = Callable[[dict[str, Draft], Draft, dict[str, int]], tuple[Draft, str | None] | None]


def merge(drafts: list[Draft], output: str) -> tuple[list[Draft], str]:
    """All merges in the order that leaves the fewest nodes; nothing the output does not need is kept.

    Returns:
        The drafts in order and the name of the output's node.
    """
    for step in (_pad_into_reader, _affine_into_layer, _activation_into_layer):
        drafts, output = _merge_once(drafts, output, step)
    drafts = [_border_alone(draft) for draft in drafts]
    return drop_unread(drafts, output), output


def _merge_once(drafts: list[Draft], output: str, step: Step) -> tuple[list[Draft], str]:
    """Offer every draft, in order, the merge with the one it reads; renamed nodes are renamed in all their readers."""
    merged: dict[str, Draft] = {}
    renamed: dict[str, str] = {}
    counts = dict(readers(drafts, output))
    for original in drafts:
        inputs = tuple(renamed.get(source, source) for source in original.node.inputs)
        draft = dataclasses.replace(original, node=dataclasses.replace(original.node, inputs=inputs))
        result = step(merged, draft, counts)
        if result is None:
            merged[draft.name] = draft
            continue
        joined, absorbed = result
        if absorbed is not None:
            del merged[absorbed]
        renamed[original.name] = joined.name
        counts[joined.name] = counts.get(original.name, 0)
        merged[joined.name] = joined
    return list(merged.values()), renamed.get(output, output)


def drop_unread(drafts: list[Draft], output: str) -> list[Draft]:
    """The drafts the output depends on."""
    needed = {output}
    for draft in reversed(drafts):
        if draft.name in needed:
            needed.update(draft.node.inputs)
    return [draft for draft in drafts if draft.name in needed]


def _pad_into_reader(merged: dict[str, Draft], draft: Draft, counts: dict[str, int]) -> tuple[Draft, str | None] | None:
    """A border before a convolution, a pooling or another border is that layer's own padding."""
    del counts  # every reader takes a copy of the border; a border nobody reads any more is dropped
    pad = merged.get(draft.source)
    if pad is None or not isinstance(pad.node, Pad):
        return None
    node = draft.node
    inputs, value = pad.node.inputs, pad.node.value
    together: Node
    if isinstance(node, Pad) and node.value == value:
        together = Pad(node.name, inputs, pad.node.image, _sum(pad.node.padding, node.padding), value)
    elif isinstance(node, Conv) and value == 0 and not draft.affine:
        together = dataclasses.replace(node, inputs=inputs, padding=_sum(pad.node.padding, node.padding))
    elif isinstance(node, Pool) and node.kernel and _pads_pool(merged, pad.node, node):
        padding = _sum(pad.node.padding, node.padding)
        if max(padding) >= node.kernel:
            return None
        # The border was part of the image the pooling averaged over.
        together = dataclasses.replace(node, inputs=inputs, padding=padding, count_padding=True)
    else:
        return None
    return draft.absorbing(_as_role(pad, draft), together), None


def _as_role(pad: Draft, layer: Draft) -> Draft:
    role = f"{layer.parts[-1].role}_pad"
    return dataclasses.replace(pad, parts=tuple(dataclasses.replace(part, role=role) for part in pad.parts))


def _sum(first: Padding, second: Padding) -> Padding:
    top, bottom, left, right = (a + b for a, b in zip(first, second, strict=True))
    return (top, bottom, left, right)


def _pads_pool(merged: dict[str, Draft], pad: Pad, pool: Pool) -> bool:
    """Whether the pooling's own padding does what the border did."""
    if pool.kind == "average":
        return pad.value == 0 and (pool.count_padding or not any(pool.padding))
    return pad.value == -np.inf or (pad.value == 0 and _is_nonnegative(merged, pad.inputs[0]))


def _is_nonnegative(merged: dict[str, Draft], name: str) -> bool:
    """Whether a node's values are known to be 0 or more, so that a border of zeros never exceeds them."""
    draft = merged.get(name)
    if draft is None:
        return False
    node = draft.node
    if isinstance(node, Conv | Linear | Add) and node.activation != "linear":
        return True
    keeps_sign = isinstance(node, Pool | Concat | Shuffle | Add)
    return keeps_sign and all(_is_nonnegative(merged, source) for source in node.inputs)


def _affine_into_layer(
    merged: dict[str, Draft], draft: Draft, counts: dict[str, int]
) -> tuple[Draft, str | None] | None:
    """A scale and shift after a linear layer nobody else reads scales that layer's weights."""
    layer = merged.get(draft.source)
    if not draft.affine or layer is None or counts.get(layer.name, 0) != 1:
        return None
    node = layer.node
    if not isinstance(node, Conv | Linear) or node.activation != "linear":
        return None
    assert isinstance(draft.node, Conv)
    scale, shift = draft.node.weight[:, 0, 0, 0], draft.node.bias
    weight = node.weight * scale.reshape(-1, *[1] * (node.weight.ndim - 1))
    together = dataclasses.replace(node, weight=weight, bias=node.bias * scale + shift)
    joined = draft.absorbing(layer, together)
    return dataclasses.replace(joined, affine=layer.affine), layer.name


def _activation_into_layer(
    merged: dict[str, Draft], draft: Draft, counts: dict[str, int]
) -> tuple[Draft, str | None] | None:
    """An activation after a layer nobody else reads is that layer's activation."""
    if not isinstance(draft.node, Add) or len(draft.node.inputs) != 1:
        return None
    layer = merged.get(draft.source)
    if layer is None or counts.get(layer.name, 0) != 1 or not isinstance(layer.node, Conv | Linear | Add):
        return None
    activation = _after(layer.node.activation, draft.node.activation)
    joined = draft.absorbing(layer, dataclasses.replace(layer.node, activation=activation))
    return dataclasses.replace(joined, affine=layer.affine), layer.name


def _after(first: Activation, second: Activation) -> Activation:
    """One activation that does what two after each other do."""
    return "relu6" if "relu6" in (first, second) else second


def _border_alone(draft: Draft) -> Draft:
    """A border no layer could absorb: zeros are the padding of a 1x1 depthwise convolution that changes nothing."""
    pad = draft.node
    if not isinstance(pad, Pad):
        return draft
    channels = pad.image[0]
    if pad.value != 0:
        reason = f"a border of {pad.value} that no maximum pooling absorbs"
        operation = draft.parts[-1].operation
        node: Node = Unsupported(pad.name, pad.inputs, operation, reason, pad.output_shape([pad.image]))
        return dataclasses.replace(draft, node=node, reason=reason)
    conv = affine_conv(pad.name, pad.inputs[0], np.ones(channels), np.zeros(channels))
    reason = "a border that no layer absorbs, kept as a 1x1 depthwise convolution of ones"
    return dataclasses.replace(draft, node=dataclasses.replace(conv, padding=pad.padding), affine=True, reason=reason)
