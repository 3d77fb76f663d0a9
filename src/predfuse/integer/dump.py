"""Every layer's integers and masks of a run as ``.npy`` files in a folder, with a manifest, for hardware tests."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np

from predfuse.arrays import IntegerArray
from predfuse.files import write_folder_atomically
from predfuse.integer.program import Program
from predfuse.integer.run import MachineResult


def dump_result(program: Program, result: MachineResult, folder: Path) -> None:
    """Write what a run with ``keep`` of all layers and ``keep_masks`` holds; the folder appears whole or not at all.

    Values are int16 ``[N, C, H, W]``, also those of 8 bits, standing for ``integer * 2**-fraction_bits``; masks are
    uint8 0 or 1, ``[N, M, H, W]`` of the expanded channels and ``[N, M, P, Q]`` of the filtered ones. ``manifest.json``
    lists every file with its shape, bits and fraction bits, in the order of the program.

    Raises:
        InputError: The folder exists or cannot be written.
    """
    bits = program.fraction_bits
    entries: list[dict[str, Any]] = []

    def fill(temporary: Path) -> None:
        def write(layer: str, kind: str, array: IntegerArray, width: int, fraction_bits: int | None) -> None:
            file = f"{len(entries):03d}.{re.sub(r'[^A-Za-z0-9._-]+', '_', layer)[:80]}.{kind}.npy"
            np.save(temporary / file, array, allow_pickle=False)
            facts = {"shape": list(array.shape), "dtype": str(array.dtype), "bits": width}
            entries.append({"layer": layer, "kind": kind, "file": file, **facts, "fraction_bits": fraction_bits})

        for name in (name for name in bits if name in result.values):
            for kind, mask in zip(("mask1", "mask2"), result.masks.get(name, ()), strict=False):
                write(name, kind, mask.astype(np.uint8), 1, None)
            write(name, "values", result.values[name].astype(np.int16), program.bits, bits[name])
        document = {"program": program.name, "images": len(result.scores), "files": entries}
        (temporary / "manifest.json").write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")

    write_folder_atomically(folder, fill)
