"""Run an unmodified module once through ``torch.export`` and keep its operations with their values.

``torch.export`` proved more robust than ``torch.fx.symbolic_trace``: it runs the module's Python with known shapes, so
that padding computed in ``forward``, branches on shapes, functional calls and custom autograd functions all come out
as plain ATen operations that know their module and source line.
"""

from __future__ import annotations

import io
import logging
import re
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram
from torch.export.graph_signature import InputKind, OutputKind
from torch.fx import Node as GraphNode
from torch.utils._pytree import tree_map

from predfuse.errors import InputError, PredfuseError
from predfuse.graph.from_torch.ledger import Part, short_source
from predfuse.graph.from_torch.regions import inline_regions

_FRAME = re.compile(r'File "(?P<file>[^"]+)", line (?P<line>\d+)')
_TORCH = str(Path(torch.__file__).parent)
_ALIASING = {
    "view", "reshape", "transpose", "permute", "select", "slice", "narrow", "split", "split_with_sizes", "chunk",
    "unbind", "squeeze", "unsqueeze", "flatten", "unflatten", "expand", "t", "diagonal", "getitem", "alias", "detach",
}  # fmt: skip


_FILLED = frozenset(
    f"aten.{name}" for name in ("zeros_like", "ones_like", "full_like", "new_zeros", "new_ones", "new_full")
)
"""Operations that take nothing but the shape from their input."""


@dataclass(frozen=True, eq=False)
class Capture:
    """The operations of a module on one example, in execution order.

    Attributes:
        nodes: Calls of ATen operations that the output depends on.
        values: What every node gives for the example, in float64 on the CPU: a tensor, or several, by name.
        constants: Names of the nodes (parameters and buffers among them) that do not depend on the input.
        parameters: Qualified name of the parameter or buffer behind a node.
        input: Name of the input's node.
        output: Name of the node the module returns.
    """

    nodes: tuple[GraphNode, ...]
    values: dict[str, Any]
    constants: frozenset[str]
    parameters: dict[str, str]
    input: str
    output: str

    def tensor(self, name: str) -> Tensor:
        """The value of a node, of several results the first."""
        value = self.values[name]
        tensor: Tensor = value[0] if isinstance(value, list | tuple) else value
        return tensor

    def part(self, node: GraphNode, role: str) -> Part:
        """How the ledger names a node."""
        stack = list(node.meta.get("nn_module_stack", {}).items())
        key, (module, kind) = stack[-1] if stack else ("", ("", ""))
        held = [self.parameters[argument.name] for argument in node.all_input_nodes if argument.name in self.parameters]
        return Part(
            role=role,
            operation=operation_of(node),
            graph_node=node.name,
            module=module,
            module_type=kind if isinstance(kind, str) else f"{kind.__module__}.{kind.__qualname__}",
            parameters=tuple(held),
            call=int(key.rpartition("@")[2]) if "@" in key else 0,
            source=source_of(node),
        )


def operation_of(node: GraphNode) -> str:
    """``aten.relu`` for every overload of it, in place or not."""
    packet = getattr(node.target, "overloadpacket", None)
    name = str(packet) if packet is not None else str(getattr(node.target, "__name__", node.target))
    return name if name.endswith("__") else name.rstrip("_")


def arguments_of(node: GraphNode) -> dict[str, Any]:
    """All arguments of an ATen call by name, defaults filled in."""
    bound: dict[str, Any] = {}
    for position, argument in enumerate(node.target._schema.arguments):  # type: ignore[union-attr]
        default = argument.default_value if argument.has_default_value() else None
        passed = node.args[position] if position < len(node.args) else node.kwargs.get(argument.name, default)
        bound[argument.name] = passed
    return bound


def source_of(node: GraphNode) -> str:
    """``file:line`` of the innermost frame outside PyTorch that ran the operation; ``""`` where there is none."""
    frames = _FRAME.findall(node.meta.get("stack_trace") or "")
    outside = [f"{file}:{line}" for file, line in frames if not file.startswith(_TORCH)]
    return outside[-1] if outside else ""


def capture(module: nn.Module, example: Tensor) -> Capture:
    """Export the module in evaluation mode on ``example [1, C, H, W]`` and run every operation once.

    The module is left as it was, its training flags included.

    Raises:
        InputError: The module does not run on this example, depends on values of its input in Python, or returns
            something else than one tensor.
    """
    with evaluation(module):
        program = _export(module, example)
        inline_regions(program)
        if _mutates_views(program):
            with quiet():
                program = program.run_decompositions({})
    return _evaluate(program, example)


@contextmanager
def evaluation(module: nn.Module) -> Iterator[None]:
    """The module in evaluation mode and full precision; its training flags are given back afterwards."""
    flags = [(child, child.training) for child in module.modules()]
    try:
        for child, _ in flags:
            child.training = False
        with _no_autocast():
            yield
    finally:
        for child, training in flags:
            child.training = training


@contextmanager
def _no_autocast() -> Iterator[None]:
    """``torch.autocast`` without effect: a network computes in full what automatic mixed precision would round."""

    def enter(region: Any) -> Any:
        return region

    def leave(region: Any, *error: Any) -> None:
        pass

    with patch.multiple(torch.autocast, __enter__=enter, __exit__=leave):
        yield


@contextmanager
def quiet() -> Iterator[None]:
    """Exporting warns, logs and prints about PyTorch's own internals, and some models print in ``forward``."""
    disabled = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    nowhere = io.StringIO()
    try:
        with warnings.catch_warnings(), redirect_stdout(nowhere), redirect_stderr(nowhere):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)


def _export(module: nn.Module, example: Tensor) -> ExportedProgram:
    where = f"model {type(module).__name__}"
    if isinstance(module, torch.jit.ScriptModule):
        raise InputError(where, "is compiled by TorchScript", "give the torch.nn.Module it was made from")
    shape = "x".join(map(str, example.shape))
    try:
        with quiet(), torch.no_grad():
            module(example.clone())
    except PredfuseError:
        raise
    except Exception as error:
        what = f"does not run on an input of {shape} ({_first_line(error)})"
        raise InputError(where, what, "give an input shape it accepts") from error
    try:
        # Without gradients, a no_grad block inside forward leaves nothing behind in the graph.
        with quiet(), torch.no_grad():
            return torch.export.export(module, (example.clone(),), strict=False)
    except Exception as error:
        place = _user_frame(error)
        if "data-dependent" in str(error) or "GuardOnDataDependent" in type(error).__name__:
            what = f"branches on values of its input{place}, which no network holds"
            raise InputError(where, what, "make its forward independent of tensor values") from error
        what = f"cannot be exported by torch.export{place} ({_first_line(error)})"
        raise InputError(where, what, "make its forward independent of tensor values") from error


def _user_frame(error: Exception) -> str:
    """`` (folder/file.py:12)`` of the innermost frame outside PyTorch, other than the module loader's and this one."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if not frame.filename.startswith(_TORCH)]
    own = str(Path(__file__))
    last = next((frame for frame in reversed(frames) if frame.filename != own and "<" not in frame.filename), None)
    return f" ({short_source(f'{last.filename}:{last.lineno}')})" if last is not None else ""


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0] if lines else ''}"[:300]


def _mutates_views(program: ExportedProgram) -> bool:
    """Whether an operation in place may change what another node sees: the graph then is not a pure one."""
    varying = {spec.arg.name for spec in program.graph_signature.input_specs if spec.kind == InputKind.USER_INPUT}
    for node in program.graph.nodes:
        if node.op != "call_function" or not any(argument.name in varying for argument in node.all_input_nodes):
            continue
        varying.add(node.name)
        target = node.args[0]
        if _in_place(node) and isinstance(target, GraphNode):
            relatives = [target, *target.users]
            if any(relative.op == "call_function" and _short_name(relative) in _ALIASING for relative in relatives):
                return True
    return False


def _in_place(node: GraphNode) -> bool:
    schema = getattr(node.target, "_schema", None)
    return schema is not None and schema.is_mutable


def _short_name(node: GraphNode) -> str:
    return operation_of(node).rpartition(".")[2]


def _evaluate(program: ExportedProgram, example: Tensor) -> Capture:
    signature = program.graph_signature
    values: dict[str, Any] = {}
    constants: set[str] = set()
    parameters: dict[str, str] = {}
    source = ""
    for spec in signature.input_specs:
        name = spec.arg.name
        if spec.kind == InputKind.USER_INPUT:
            source, values[name] = name, _widened(example)
        else:
            target = str(spec.target)
            stored = program.state_dict if target in program.state_dict else program.constants
            values[name] = _widened(stored[target])
            constants.add(name)
            parameters[name] = target
    nodes = []
    with quiet(), torch.no_grad():
        for node in program.graph.nodes:
            if node.op == "get_attr":
                values[node.name] = _widened(_attribute(program.graph_module, str(node.target)))
                constants.add(node.name)
            elif node.op == "call_function":
                values[node.name] = _call(node, values)
                fixed = all(argument.name in constants for argument in node.all_input_nodes)
                if (fixed and not _random(node)) or operation_of(node) in _FILLED:
                    constants.add(node.name)
                nodes.append(node)
    returned = next(node for node in program.graph.nodes if node.op == "output").args[0]
    kinds = [spec.kind for spec in signature.output_specs]
    names = [
        getattr(result, "name", "")
        for result, kind in zip(returned, kinds, strict=True)
        if kind == OutputKind.USER_OUTPUT
    ]
    if len(names) != 1 or not isinstance(values.get(names[0]), Tensor):
        raise InputError("model", f"returns {len(names)} values", "wrap it so that it returns one tensor")
    return Capture(_live(nodes, names[0]), values, frozenset(constants), parameters, source, names[0])


def _live(nodes: list[GraphNode], output: str) -> tuple[GraphNode, ...]:
    """The nodes the output depends on."""
    needed = {output}
    for node in reversed(nodes):
        if node.name in needed:
            needed.update(argument.name for argument in node.all_input_nodes)
    return tuple(node for node in nodes if node.name in needed)


def _attribute(root: nn.Module, path: str) -> Any:
    value: Any = root
    for name in path.split("."):
        value = getattr(value, name)
    return value


def _random(node: GraphNode) -> bool:
    return torch.Tag.nondeterministic_seeded in getattr(node.target, "tags", ())


def _widened(value: Any) -> Any:
    """Tensors on the CPU, floating ones in float64: the recorded values then hold next to no rounding."""
    if not isinstance(value, Tensor):
        return value
    tensor = value.detach().cpu()
    return tensor.double() if tensor.is_floating_point() else tensor


def _call(node: GraphNode, values: dict[str, Any]) -> Any:
    """Run one operation in float64; one in place works on a copy, so that recorded values stay."""

    def value_of(argument: GraphNode) -> Any:
        value = values[argument.name]
        return value.clone() if _in_place(node) and isinstance(value, Tensor) else value

    arguments = tree_map(_wide_type, torch.fx.map_arg(node.args, value_of))
    keywords = tree_map(_wide_type, torch.fx.map_arg(node.kwargs, value_of))
    return tree_map(_widened, node.target(*arguments, **keywords))  # type: ignore[operator]


def _wide_type(argument: Any) -> Any:
    """float64 for any floating type, and the CPU for any device, an operation names."""
    if isinstance(argument, torch.dtype):
        return torch.float64 if argument.is_floating_point else argument
    return torch.device("cpu") if isinstance(argument, torch.device) else argument
