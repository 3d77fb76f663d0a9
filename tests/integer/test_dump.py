"""A dump holds what the machine computed, layer by layer, and appears whole or not at all."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from integer.cases import CompiledCase, compiled_cases

from predfuse.errors import InputError
from predfuse.graph.nodes import INPUT
from predfuse.integer import run_program
from predfuse.integer.dump import dump_result


@given(compiled_cases())
@settings(max_examples=10, deadline=None)
def test_dumped_arrays_are_those_of_the_run(tmp_path_factory: pytest.TempPathFactory, case: CompiledCase) -> None:
    folder = tmp_path_factory.mktemp("dump") / "new"
    names = [INPUT, *(node.name for node in case.program.nodes)]
    result = run_program(case.program, case.images, keep=names, keep_masks=True)
    dump_result(case.program, result, folder)
    files = json.loads((folder / "manifest.json").read_text())["files"]
    assert [entry["layer"] for entry in files if entry["kind"] == "values"] == names
    assert sorted(path.name for path in folder.iterdir()) == sorted(["manifest.json", *(e["file"] for e in files)])
    for entry in files:
        array = np.load(folder / entry["file"], allow_pickle=False)
        name, kind = entry["layer"], entry["kind"]
        expected = result.values[name] if kind == "values" else result.masks[name][int(kind[-1]) - 1]
        np.testing.assert_array_equal(array, expected)
        assert (list(array.shape), str(array.dtype)) == (entry["shape"], entry["dtype"])
    with pytest.raises(InputError, match="exists already; name a new folder"):
        dump_result(case.program, result, folder)
    assert [path.name for path in Path(folder.parent).iterdir()] == ["new"]
