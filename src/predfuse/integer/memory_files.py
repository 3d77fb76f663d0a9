"""A program's integers as ``$readmemh`` memory files, a C header and a manifest, for hardware and firmware."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from predfuse.arrays import IntegerArray
from predfuse.files import write_folder_atomically
from predfuse.integer.fused_weights import fused_lists
from predfuse.integer.program import FusedBlock, Program


def bits_of(array: IntegerArray) -> int:
    """Narrowest two's-complement width that holds every value, 1 or more; values of 0 and up need a sign bit too."""
    low, high = int(array.min(initial=0)), int(array.max(initial=0))
    return max(high, -low - 1).bit_length() + 1


def arrays(program: Program) -> Iterator[tuple[str, str, IntegerArray]]:
    """Layer, name and integers of everything a program holds: the input table, then every layer's arrays in order.

    Of fused blocks also the lists they are multiplied out to: entries of a row lie from ``start[row]`` to
    ``start[row + 1]``; a row is ``(output * channels + channel) * taps + tap``.
    """
    yield "input", "table", np.asarray(program.input_table)
    for node in program.nodes:
        holders: list[tuple[str, Any]] = [("", node)]
        if isinstance(node, FusedBlock):
            if node.predictor is not None:
                holders.append(("predictor_", node.predictor))
            lists = fused_lists(node)
            for name in ("weights", "expand_bias", "depthwise_bias"):
                entries = getattr(lists, name)
                for part, values in (("start", entries.indptr), ("channel", entries.channel), ("value", entries.value)):
                    yield node.name, f"list_{name}_{part}", values
        for prefix, holder in holders:
            for field in dataclasses.fields(holder):
                value = getattr(holder, field.name)
                if isinstance(value, np.ndarray) and value.dtype.kind in "iub":
                    yield node.name, prefix + field.name, value


def write_memory_files(program: Program, folder: Path) -> int:
    """Write a folder of memory files; it appears whole or not at all.

    ``NNN.layer.name.mem`` holds one word a line, hexadecimal two's complement of ``bits`` bits, the last index running
    fastest (C order). ``manifest.json`` lists every file with layer, name, shape, bits and words, and every layer's
    plain settings; ``program.h`` holds the same arrays for C.

    Returns:
        How many memory files there are.

    Raises:
        InputError: The folder exists or cannot be written.
    """
    files: list[dict[str, Any]] = []

    def fill(temporary: Path) -> None:
        header = [f"/* {program.name}: integers of a predfuse program; see manifest.json */", "#include <stdint.h>", ""]
        for layer, name, array in arrays(program):
            words, bits = array.astype(np.int64).ravel(), bits_of(array)
            stem = f"{len(files):03d}.{re.sub(r'[^A-Za-z0-9_-]+', '_', layer)[:60]}.{name}"
            digits, mask = -(-bits // 4), (1 << bits) - 1
            text = "".join(f"{int(word) & mask:0{digits}x}\n" for word in words)
            (temporary / f"{stem}.mem").write_text(text, encoding="ascii")
            symbol = f"m{re.sub(r'[^A-Za-z0-9_]', '_', stem)}"
            kind = next(size for size in (8, 16, 32, 64) if bits <= size)
            values = ",".join(map(str, words.tolist())) or "0"
            header.append(f"/* {layer} {name}: {list(array.shape)}, {bits} bits */")
            header.append(f"#define {symbol.upper()}_WORDS {words.size}")
            header.append(f"static const int{kind}_t {symbol}[{max(1, words.size)}] = {{{values}}};")
            facts = {"shape": list(array.shape), "bits": bits, "words": words.size}
            files.append({"layer": layer, "name": name, "file": f"{stem}.mem", "symbol": symbol, **facts})
        layers = [{"type": type(node).__name__, **_settings(node)} for node in program.nodes]
        document = {"program": program.name, "input_shape": list(program.input_shape), "layers": layers, "files": files}
        (temporary / "manifest.json").write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
        (temporary / "program.h").write_text("\n".join(header) + "\n", encoding="utf-8")

    write_folder_atomically(folder, fill)
    return len(files)


def _settings(node: Any) -> dict[str, Any]:
    """The fields of a layer that are plain values."""
    found = {field.name: getattr(node, field.name) for field in dataclasses.fields(node)}
    return {name: value for name, value in found.items() if isinstance(value, bool | int | float | str | tuple)}
