"""Find expand-depthwise-project blocks among the drafted layers and make each of them one node.

A block is a 1x1 convolution, a depthwise one and a 1x1 one in a row, with ReLU, ReLU6 or nothing after the first two;
nothing else may read what flows between them, for once fused it no longer exists. A channel shuffle of the block's
output and the addition of its input become part of it.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from dataclasses import dataclass

from predfuse.errors import InputError
from predfuse.graph.from_torch.graph_builder import Draft, activation_node, readers
from predfuse.graph.from_torch.ledger import Part
from predfuse.graph.nodes import INPUT, Add, Bottleneck, Conv, Shuffle, Unsupported


def find_blocks(drafts: list[Draft], output: str) -> tuple[list[Draft], str]:
    """Make every block a :class:`predfuse.graph.nodes.Bottleneck`; what is almost one gets the reason why it is not.

    Returns:
        The drafts in order and the name of the output's node.
    """
    position = 0
    while position < len(drafts):
        draft = drafts[position]
        if isinstance(draft.node, Conv) and _looks_depthwise(draft):
            match = _match(drafts, draft, output)
            if isinstance(match, str):
                drafts[position] = dataclasses.replace(draft, reason=match)
            else:
                drafts, output = _replace(drafts, match, output)
                position = next(i for i, candidate in enumerate(drafts) if candidate.name == match.block.name)
        position += 1
    return drafts, output


@dataclass(frozen=True, eq=False)
class Match:
    """A found block.

    Attributes:
        block: Its draft.
        replaced: Names of the drafts it stands for, the last one giving its output.
        tail: An activation after the projection, which a block cannot hold and which follows it as a node.
    """

    block: Draft
    replaced: tuple[str, ...]
    tail: Draft | None


def _looks_depthwise(draft: Draft) -> bool:
    """Whether a convolution is grouped down to one input channel each (a scale is no layer of a block)."""
    node = draft.node
    return isinstance(node, Conv) and not draft.affine and node.groups == node.in_channels and node.weight.size > 1


def _match(drafts: list[Draft], depthwise: Draft, output: str) -> Match | str:
    """The block around a depthwise convolution, or why there is none."""
    by_name = {draft.name: draft for draft in drafts}
    reads: dict[str, list[Draft]] = {}
    for draft in drafts:
        for source in set(draft.node.inputs):
            reads.setdefault(source, []).append(draft)
    counts = readers(drafts, output)
    expand = by_name.get(depthwise.source)
    while expand is not None and expand.affine and isinstance(by_name.get(expand.source, expand).node, Unsupported):
        expand = by_name[expand.source]  # x * relu6(x + 3) / 6: the product is to blame, not the division
    problem = _not_expand(expand) or _not_depthwise(depthwise)
    if problem:
        return problem
    assert expand is not None
    inside = _read_elsewhere(expand, reads, counts)
    if inside:
        return inside
    inside = _read_elsewhere(depthwise, reads, counts)
    if inside:
        return inside
    following = reads.get(depthwise.name, [])
    project = following[0] if following else None
    problem = _not_project(project, expand, depthwise)
    if problem:
        return problem
    assert project is not None
    return _build(expand, depthwise, project, reads, counts, drafts)


def _not_expand(draft: Draft | None) -> str:
    """Why the layer before a depthwise convolution is no expansion; empty if it is one."""
    if draft is None:
        return "a depthwise convolution of the input, without an expansion before it"
    node = draft.node
    if isinstance(node, Unsupported):
        return f"no block: {node.reason} stands between expansion and depthwise convolution"
    if not isinstance(node, Conv) or draft.affine:
        return f"no block: a {_kind(draft)} ({draft.name}), not a 1x1 convolution, comes before the depthwise one"
    if node.kernel != (1, 1):
        size = "x".join(map(str, node.kernel))
        return f"no block: the convolution before it ({draft.name}) is {size}, not 1x1"
    if node.stride != 1 or any(node.padding):
        return f"no block: the expansion {draft.name} has a stride or padding"
    if node.activation == "linear" and node.out_channels <= node.in_channels:
        return f"no block: the linear 1x1 convolution before it ({draft.name}) expands nothing"
    return ""


def _not_depthwise(draft: Draft) -> str:
    node = draft.node
    assert isinstance(node, Conv)
    rows, columns = node.kernel
    if node.out_channels != node.in_channels:
        return f"no block: a depthwise multiplier of {node.out_channels / node.in_channels:g} instead of 1"
    if rows != columns or rows % 2 == 0:
        return f"no block: the depthwise kernel is {rows}x{columns}, not an odd square"
    if node.dilation != 1:
        return f"no block: the depthwise convolution is dilated by {node.dilation}"
    return ""


def _read_elsewhere(draft: Draft, reads: dict[str, list[Draft]], counts: Counter[str]) -> str:
    """Why the output of a layer inside a block cannot vanish; empty if it can."""
    found = reads.get(draft.name, [])
    others = found[1:]
    if others and any(isinstance(reader.node, Unsupported) for reader in found):
        return f"no block: squeeze-and-excitation or another gate reads {draft.name} inside it"
    if others:
        return f"no block: {others[0].name} also reads {draft.name} inside it"
    if found and counts[draft.name] > len(found):
        return f"no block: the network returns {draft.name} inside it"
    return ""


def _not_project(draft: Draft | None, expand: Draft, depthwise: Draft) -> str:
    """Why the layer after a depthwise convolution is no projection; empty if it is one."""
    if draft is None:
        return "no block: nothing projects the depthwise convolution's output"
    node, first = draft.node, expand.node
    assert isinstance(first, Conv) and isinstance(depthwise.node, Conv)
    if isinstance(node, Unsupported):
        return f"no block: {node.reason} stands between depthwise convolution and projection"
    if not isinstance(node, Conv) or draft.affine:
        return f"no block: a {_kind(draft)} ({draft.name}), not a 1x1 convolution, follows the depthwise one"
    if node.kernel != (1, 1) or node.stride != 1 or any(node.padding):
        return f"no block: the convolution after it ({draft.name}) is not a plain 1x1"
    if node.groups != first.groups:
        return f"no block: expansion and projection have {first.groups} and {node.groups} groups, not the same number"
    if node.activation != "linear" and first.out_channels <= max(first.in_channels, node.out_channels):
        channels = f"{first.in_channels}-{first.out_channels}-{node.out_channels} channels"
        return f"no block: {channels}, no wider inside, with {node.activation} at the end: separable convolutions"
    return ""


def _kind(draft: Draft) -> str:
    if draft.affine:
        return "scale by itself"
    return "sum" if isinstance(draft.node, Add) else type(draft.node).__name__.lower()


def _build(
    expand: Draft,
    depthwise: Draft,
    project: Draft,
    reads: dict[str, list[Draft]],
    counts: Counter[str],
    every: list[Draft],
) -> Match:
    first, second, third = expand.node, depthwise.node, project.node
    assert isinstance(first, Conv) and isinstance(second, Conv) and isinstance(third, Conv)
    project, tail = _split_activation(project)
    drafts = [expand, depthwise, project]
    parts = _renamed(expand, "expand") + _renamed(depthwise, "depthwise") + _renamed(project, "project")
    block = Bottleneck(
        name=project.name,
        inputs=first.inputs,
        expand_weight=first.weight[:, :, 0, 0],
        expand_bias=first.bias,
        depthwise_weight=second.weight[:, 0],
        depthwise_bias=second.bias,
        project_weight=third.weight[:, :, 0, 0],
        project_bias=third.bias,
        stride=second.stride,
        padding=second.padding,
        groups=first.groups,
        expand_activation=first.activation,
        depthwise_activation=second.activation,
    )
    if tail is None:
        shuffle = _only_reader(project, reads, counts)
        if shuffle is not None and isinstance(shuffle.node, Shuffle):
            block = dataclasses.replace(block, shuffle_groups=shuffle.node.groups)
            parts += _renamed(shuffle, "shuffle")
            drafts.append(shuffle)
        added = _only_reader(drafts[-1], reads, counts)
        if added is not None and isinstance(added.node, Add) and _is_residual(block, added.node, drafts[-1].name):
            residual = _with_residual(block)
            if residual is not None:
                block = residual
                parts += _renamed(added, "residual")
                drafts.append(added)
    block = dataclasses.replace(block, name=_block_name(parts, drafts, every))
    return Match(Draft(block, parts, drafts[-1].origin), tuple(draft.name for draft in drafts), tail)


def _only_reader(draft: Draft, reads: dict[str, list[Draft]], counts: Counter[str]) -> Draft | None:
    found = reads.get(draft.name, [])
    return found[0] if len(found) == 1 and counts[draft.name] == 1 else None


def _is_residual(block: Bottleneck, added: Add, inner: str) -> bool:
    return added.activation == "linear" and sorted(added.inputs) == sorted((inner, block.inputs[0]))


def _with_residual(block: Bottleneck) -> Bottleneck | None:
    try:
        return dataclasses.replace(block, residual=True)
    except InputError:
        return None


def _renamed(draft: Draft, stage: str) -> tuple[Part, ...]:
    """The parts of a layer under the role it has in the block; its activation stays apart."""
    roles = {"conv": stage, "shuffle": stage, "add": stage}
    return tuple(
        dataclasses.replace(part, role=roles.get(part.role, f"{stage}_{part.role.removeprefix('conv_')}"))
        for part in draft.parts
    )


def _split_activation(project: Draft) -> tuple[Draft, Draft | None]:
    """A projection without its activation, and the activation by itself."""
    node = project.node
    assert isinstance(node, Conv)
    if node.activation == "linear":
        return project, None
    own = tuple(part for part in project.parts if part.role != "activation")
    rest = tuple(part for part in project.parts if part.role == "activation")
    tail = Draft(activation_node(f"{project.name}.activation", "", node.activation), rest, project.origin)
    plain = dataclasses.replace(project, node=dataclasses.replace(node, activation="linear"), parts=own)
    return dataclasses.replace(plain, origin=own[-1].graph_node), tail


def _block_name(parts: tuple[Part, ...], drafts: list[Draft], every: list[Draft]) -> str:
    """The module all its layers live in, if no other layer does; else that module and the range of its layers."""
    inside = {draft.name for draft in drafts}
    layers = {part.layer for part in parts if part.layer}
    common = _common_module([part.module for part in parts])
    others = [
        draft.parts[0].module
        for draft in every
        if draft.name not in inside and isinstance(draft.node, Conv | Bottleneck)
        if not layers & {part.layer for part in draft.parts}
    ]
    taken = {draft.name for draft in every if draft.name not in inside} | {INPUT}
    alone = common and not any(module == common or module.startswith(f"{common}.") for module in others)
    name = common
    if not alone:
        common = _common_module([drafts[0].name, drafts[2].name])
        ends = [draft.name.removeprefix(f"{common}.") for draft in (drafts[0], drafts[2])]
        name = ".".join(filter(None, (common, "-".join(ends))))
    unique, copy = name, 1
    while unique in taken:
        unique, copy = f"{name}@{copy}", copy + 1
    return unique


def _common_module(paths: list[str]) -> str:
    """The longest module path that all paths start with."""
    common = []
    for names in zip(*(path.split(".") for path in paths), strict=False):
        if len(set(names)) > 1:
            break
        common.append(names[0])
    return ".".join(common)


def _replace(drafts: list[Draft], match: Match, output: str) -> tuple[list[Draft], str]:
    """Put the block where its last layer was, and let all readers read it."""
    last = match.replaced[-1]
    new = [match.block]
    if match.tail is not None:
        tail = dataclasses.replace(match.tail.node, inputs=(match.block.name,))
        new.append(dataclasses.replace(match.tail, node=tail))
    result: list[Draft] = []
    for draft in drafts:
        if draft.name == last:
            result += new
        elif draft.name not in match.replaced:
            inputs = tuple(new[-1].name if source == last else source for source in draft.node.inputs)
            result.append(dataclasses.replace(draft, node=dataclasses.replace(draft.node, inputs=inputs)))
    return result, new[-1].name if output == last else output
