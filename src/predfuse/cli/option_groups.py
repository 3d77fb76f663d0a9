"""Groups of options: one parameter of a command's function that stands for all the options its value is made of.

A command that shows a table takes ``outputs: Outputs`` and so has ``--json``, ``--csv`` and ``--report``; one that
takes ``module: ModuleOptions`` has all options of ``package.module:function``.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from inspect import Parameter, signature
from typing import Any, get_type_hints

import typer

from predfuse.cli.options import module_options
from predfuse.cli.output import Outputs, outputs
from predfuse.sources import ModuleOptions

_MAKERS: dict[Any, Callable[..., Any]] = {Outputs: outputs, ModuleOptions: module_options}
"""The function that makes a group's value; its own parameters are the options."""


def expand_all(commands: typer.Typer) -> None:
    """:func:`expanded` for every command of a group, in place."""
    for command in commands.registered_commands:
        assert command.callback is not None
        command.callback = expanded(command.callback)
    callback = commands.registered_callback
    if callback is not None and callback.callback is not None:
        callback.callback = expanded(callback.callback)


def expanded(function: Callable[..., Any]) -> Callable[..., Any]:
    """A command's function with the options of its groups in the place of the groups."""
    hints = get_type_hints(function, include_extras=True)
    makers = {name: _MAKERS[hint] for name, hint in hints.items() if hint in _MAKERS}
    if not makers:
        return function
    options = {name: list(_parameters(maker)) for name, maker in makers.items()}

    @wraps(function)
    def command(**values: Any) -> Any:
        groups = {
            name: maker(**{option.name: values.pop(option.name) for option in options[name]})
            for name, maker in makers.items()
        }
        return function(**values, **groups)

    kept = [parameter for parameter in _parameters(function) if parameter.name not in makers]
    parameters = [*kept, *(option for group in options.values() for option in group)]
    command.__signature__ = signature(function).replace(parameters=parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return command


def _parameters(function: Callable[..., Any]) -> list[Parameter]:
    """The parameters of a function, by keyword and with their annotations resolved."""
    hints = get_type_hints(function, include_extras=True)
    return [
        parameter.replace(annotation=hints[parameter.name], kind=Parameter.KEYWORD_ONLY)
        for parameter in signature(function).parameters.values()
    ]
