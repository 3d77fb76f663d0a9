"""Options shared by every command whose SOURCE may be ``package.module:function``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from predfuse.sources import ModuleOptions

SOURCE_HELP = (
    "Registered network, checkpoint of predfuse train, saved network, or package.module:function that returns a "
    "torch.nn.Module (its code is run)."
)
"""Help text of a SOURCE argument."""

Weights = Annotated[
    Path | None, typer.Option("--weights", help="State dictionary for package.module:function, safetensors.")
]
Input = Annotated[
    str | None,
    typer.Option("--input", help="Shape for package.module:function: images,channels,height,width, e.g. 1,3,224,224."),
]
Mean = Annotated[
    str, typer.Option("--mean", help="Of package.module:function's images, per channel, 0..1, e.g. 0.5,0.5,0.5.")
]
Std = Annotated[str, typer.Option("--std", help="Per-channel divisor after that.")]
AllowUnsupported = Annotated[
    bool, typer.Option("--allow-unsupported", help="List operations no network can hold instead of failing.")
]


def module_options(
    weights: Path | None = None, input_shape: str | None = None, mean: str = "", std: str = ""
) -> ModuleOptions:
    """What the options say.

    Raises:
        InputError: One of them is malformed.
    """
    from predfuse.sources import ModuleOptions, parse_shape

    shape = None if input_shape is None else parse_shape(input_shape)
    return ModuleOptions(weights, shape, _floats("--mean", mean), _floats("--std", std))


def _floats(option: str, text: str) -> tuple[float, ...]:
    from predfuse.errors import InputError

    try:
        return tuple(float(part) for part in text.split(",")) if text else ()
    except ValueError as error:
        raise InputError(option, f"is {text!r}", "write numbers with commas between them") from error
