"""Memory files hold a program's integers: read back as ``$readmemh`` would, they are the arrays of the layers."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, strategies as st

import predfuse
from predfuse import models
from predfuse.errors import InputError
from predfuse.integer.fused_weights import fused_lists
from predfuse.integer.memory_files import bits_of, write_memory_files


def test_files_and_header_hold_the_arrays(tmp_path: Path) -> None:
    network = models.network("fusionet-s")
    program = predfuse.compile(network, np.random.default_rng(0).normal(size=(2, *network.input_shape)))
    folder = tmp_path / "memory"
    count = write_memory_files(program, folder)
    manifest = json.loads((folder / "manifest.json").read_text())
    header = (folder / "program.h").read_text()
    assert len(manifest["files"]) == count == len(list(folder.glob("*.mem")))
    nodes = {node.name: node for node in program.nodes}
    for entry in manifest["files"]:
        words = np.array([int(line, 16) for line in (folder / entry["file"]).read_text().split()], dtype=np.int64)
        bits = entry["bits"]
        signed = np.where(words >> (bits - 1) & 1, words - (1 << bits), words)
        assert signed.size == entry["words"] == int(np.prod(entry["shape"]))
        (text,) = re.findall(rf" {entry['symbol']}\[\d+\] = {{(.*)}};", header)
        assert signed.size == 0 or signed.tolist() == [int(value) for value in text.split(",")]
        node = nodes.get(entry["layer"])
        if entry["layer"] == "input":
            assert (signed == np.asarray(program.input_table).ravel()).all()
        elif hasattr(node, entry["name"]):
            assert (signed == getattr(node, entry["name"]).ravel()).all()
        elif entry["name"] == "list_weights_value":
            assert (signed == fused_lists(node).weights.value).all()  # type: ignore[arg-type]
    with pytest.raises(InputError, match="exists already"):
        write_memory_files(program, folder)


@given(st.lists(st.integers(-(2**40), 2**40), min_size=1))
def test_the_width_is_the_narrowest_that_holds_all(values: list[int]) -> None:
    bits = bits_of(np.array(values))
    assert all(-(1 << bits - 1) <= value < 1 << bits - 1 for value in values)
    assert bits == 1 or not all(-(1 << bits - 2) <= value < 1 << bits - 2 for value in values)
