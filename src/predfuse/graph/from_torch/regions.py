"""Regions of an exported graph (``with torch.enable_grad()`` in ``forward``) put back where they stood."""

from __future__ import annotations

from typing import Any

from torch.export import ExportedProgram
from torch.fx import Node as GraphNode

_REGION = "wrap_with_set_grad_enabled"
"""Its arguments are a flag, the region's graph, and what that graph takes."""


def inline_regions(program: ExportedProgram) -> None:
    """Replace every call of a region by the region's operations, in place: gradients do not matter here."""
    _inline_in(program.graph_module)


def _inline_in(module: Any) -> None:
    """:func:`inline_regions` for one graph module and the regions inside its regions."""
    graph = module.graph
    found = False
    for node in list(graph.nodes):
        if node.op != "call_function" or getattr(node.target, "__name__", "") != _REGION:
            continue
        found = True
        _, held, *operands = node.args
        region = module.get_submodule(str(held.target))
        _inline_in(region)
        parameters = [inner for inner in region.graph.nodes if inner.op == "placeholder"]
        values = dict(zip(parameters, operands, strict=True))
        with graph.inserting_before(node):
            results = graph.graph_copy(region.graph, values)
        _replace(node, results if isinstance(results, list | tuple) else (results,))
        graph.erase_node(node)
        if not held.users:
            graph.erase_node(held)
    if found:
        graph.lint()
        module.recompile()


def _replace(node: GraphNode, results: list[GraphNode] | tuple[GraphNode, ...]) -> None:
    """Let the readers of a region's results read the operations that give them."""
    for user in list(node.users):  # each takes one of the results
        user.replace_all_uses_with(results[int(user.args[1])])  # type: ignore[arg-type]
        user.graph.erase_node(user)
