"""Convert checkpoints and states of unfinished training of version 1, which had no checksum, in place.

python tools/convert_checkpoints.py FILE.safetensors...

The tensors stay as they are, bit for bit; a file that is converted already is left alone.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch
from safetensors import safe_open

from predfuse.errors import PredfuseError
from predfuse.training.checkpoint import FORMAT, read_tensors, write_tensors


def convert(path: Path) -> bool:
    """Convert one file; whether it had to be."""
    with safe_open(path, framework="pt") as file:
        facts = json.loads((file.metadata() or {}).get("predfuse", "null"))
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
    if not isinstance(facts, dict) or facts.pop("format", None) != FORMAT:
        raise PredfuseError(f"{path}: is no checkpoint")
    if facts.pop("version", None) != 1:
        return False
    write_tensors(path, tensors, facts)
    again, found = read_tensors(path)
    if found != facts or again.keys() != tensors.keys():
        raise PredfuseError(f"{path}: differs after conversion")
    for name, tensor in tensors.items():
        if tensor.dtype != again[name].dtype or not torch.equal(tensor, again[name]):
            raise PredfuseError(f"{path}: {name} differs after conversion")
    return True


if __name__ == "__main__":
    if not sys.argv[1:]:
        sys.exit(__doc__)
    for argument in sys.argv[1:]:
        print(f"{argument}: {'converted' if convert(Path(argument)) else 'is of this version'}")
