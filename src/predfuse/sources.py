"""What a command's SOURCE argument may be, and the network it stands for.

A registered name, a checkpoint of ``predfuse train`` or a saved network; every command that takes a network uses this.
"""

from __future__ import annotations

from pathlib import Path

from predfuse.errors import InputError
from predfuse.ir import Network
from predfuse.tensor_file import stored_format

HELP = "Registered network, checkpoint of predfuse train, or saved network."
"""Help text of a SOURCE argument."""


def load_source(text: str) -> Network:
    """The network ``text`` stands for.

    Args:
        text: A registered name (see :func:`predfuse.models.names`; its weights are freshly initialised, seed 0), or the
            path of a checkpoint or of a saved network, told apart by their content. A registered name wins over a file
            of that name; write ``./name`` for the file.

    Raises:
        InputError: It is neither, or the file is unusable.
    """
    from predfuse import models

    if text in models.names():
        return models.network(text)
    path = Path(text)
    if path.is_file():
        return _load_file(path)
    what = "is neither a registered network nor a file"
    raise InputError(f"source {text!r}", what, f"use a file or one of {', '.join(models.names())}")


def _load_file(path: Path) -> Network:
    from predfuse.ir_io import load_network
    from predfuse.training.checkpoint import FORMAT as CHECKPOINT_FORMAT

    if stored_format(path) == CHECKPOINT_FORMAT:
        from predfuse.training.run import network_of

        network: Network = network_of(path)
        return network
    return load_network(path)
