"""What a command's SOURCE argument may be, and the network it stands for.

A registered name, a checkpoint of ``predfuse train``, a saved network, or a function that returns a PyTorch module;
every command that takes a network uses this.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from predfuse.errors import InputError
from predfuse.graph.io import load_network
from predfuse.graph.nodes import Network
from predfuse.graph.reference_name import is_reference
from predfuse.readers.boundary import is_file, is_folder
from predfuse.tensor_file import stored_format

if TYPE_CHECKING:
    from predfuse.graph.from_torch import Ledger


MOST_VALUES = 2**26
"""Of an example input."""
MOST_NAMED = 8
"""Files of a folder that a message names."""


@dataclass(frozen=True)
class ModuleOptions:
    """What only ``package.module:function`` needs; the other sources bring it along.

    Attributes:
        weights: State dictionary, safetensors.
        shape: ``(N, C, H, W)`` of its input.
        mean: Per-channel mean of its images, 0..1; may be empty.
        std: Per-channel divisor after that; may be empty.
    """

    weights: Path | None = None
    shape: tuple[int, int, int, int] | None = None
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()

    def given(self) -> dict[str, object]:
        """The options that were given, by their names on the command line."""
        options = {"--weights": self.weights, "--input": self.shape, "--mean": self.mean, "--std": self.std}
        return {option: value for option, value in options.items() if value}


def load_source(text: str, options: ModuleOptions | None = None, *, allow_unsupported: bool = False) -> Network:
    """The network ``text`` stands for.

    Args:
        text: A registered name (see :func:`predfuse.models.names`; its weights are freshly initialised, seed 0), the
            path of a checkpoint or of a saved network, told apart by their content, or ``package.module:function``,
            which is called and traced. A registered name wins over a file of that name (write ``./name`` for the file),
            a file over a function.
        options: For a function.
        allow_unsupported: Of a function, see :func:`predfuse.graph.from_torch.trace`.

    Raises:
        InputError: It is none of these, the file is unusable, an option does not apply, or the function's module cannot
            be traced.
    """
    return open_source(text, options, allow_unsupported=allow_unsupported)[0]


def open_source(
    text: str, options: ModuleOptions | None = None, *, allow_unsupported: bool = False
) -> tuple[Network, Ledger | None]:
    """:func:`load_source`, and the ledger of a function's module."""
    from predfuse import models

    options = options or ModuleOptions()
    path = Path(text)
    known = text in models.names() or is_file(path)
    if not known and is_reference(text):
        from predfuse.graph.from_torch.references import trace_reference

        traced = trace_reference(text, options.weights, options.shape, allow_unsupported=allow_unsupported)
        return dataclasses.replace(traced.network, mean=options.mean, std=options.std), traced.ledger
    if not known and is_folder(path):
        held = sorted(file.name for file in path.glob("*.safetensors"))[:MOST_NAMED]
        raise InputError(f"source {text!r}", "is a folder", f"name a file in it: {', '.join(held) or 'it has none'}")
    if not known:
        what = "is neither a registered network nor a file nor package.module:function"
        raise InputError(f"source {text!r}", what, f"use a file or one of {', '.join(models.names())}")
    for option in options.given():
        raise InputError(option, "applies to package.module:function only", f"leave it out for {text}")
    return (models.network(text) if text in models.names() else _load_file(path)), None


def parse_shape(text: str) -> tuple[int, int, int, int]:
    """``1,3,224,224`` as a shape.

    Raises:
        InputError: It is not four positive whole numbers, or so many values that no network runs on them.
    """
    parts = text.replace("x", ",").split(",")
    sizes = [int(part) for part in parts if part.strip().isdigit()]
    if len(parts) != 4 or len(sizes) != 4 or min(sizes) < 1:
        raise InputError("--input", f"is {text!r}", "write images,channels,height,width, e.g. 1,3,224,224")
    if math.prod(sizes) > MOST_VALUES:
        raise InputError("--input", f"is {text!r}, more than {MOST_VALUES:,} values", "give fewer or smaller images")
    return (sizes[0], sizes[1], sizes[2], sizes[3])


def _load_file(path: Path) -> Network:
    from predfuse.training.checkpoint import FORMAT as CHECKPOINT_FORMAT
    from predfuse.training.runs import network_of

    if stored_format(path) == CHECKPOINT_FORMAT:
        return network_of(path)
    return load_network(path)
