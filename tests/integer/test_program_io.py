"""Program files: faithful, deterministic, and refused in one line when something is wrong with them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from integer.block_cases import INPUT_BITS, compiled, example_block
from integer.cases import CompiledCase, compiled_cases

from predfuse import models
from predfuse.errors import InputError
from predfuse.integer.compile import compile_network
from predfuse.integer.program import FusedBlock, Program
from predfuse.integer.program_io import FORMAT, VERSION, load_program, save_program
from predfuse.tensor_file import load_tensor_file, save_tensor_file


@pytest.fixture(scope="module")
def program() -> Program:
    images = np.random.default_rng(0).normal(size=(1, 1, 8, 8))
    network = models.network("fusionet-s", options={"input_shape": [1, 8, 8], "stage_middle": [16, 16]})
    return compile_network(network, images, facts={"calibration": "noise"})


@given(compiled_cases())
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_programs_survive_the_file(tmp_path: Path, case: CompiledCase) -> None:
    first, second = tmp_path / "a.safetensors", tmp_path / "b.safetensors"
    save_program(case.program, first)
    loaded = load_program(first)
    for one, other in zip(case.program.nodes, loaded.nodes, strict=True):
        assert type(one) is type(other)
        for field in dataclasses.fields(one):
            expected, found = getattr(one, field.name), getattr(other, field.name)
            if field.name == "predictor":
                assert all(
                    np.array_equal(a, b) for a, b in zip(vars(expected).values(), vars(found).values(), strict=True)
                )
            elif isinstance(expected, np.ndarray):
                assert expected.dtype == found.dtype and np.array_equal(expected, found)
            else:
                assert expected == found and type(expected) is type(found), field.name
    save_program(loaded, second)
    assert first.read_bytes() == second.read_bytes()


def test_facts_survive_the_file(tmp_path: Path, program: Program) -> None:
    path = tmp_path / "p.safetensors"
    save_program(program, path)
    loaded = load_program(path)
    for name in ("name", "input_shape", "input_fraction_bits", "labels", "metadata"):
        assert getattr(loaded, name) == getattr(program, name)
    assert loaded.metadata["calibration"] == "noise" and loaded.metadata["options"]["sum_bits"] == 20
    np.testing.assert_array_equal(loaded.input_table, program.input_table)


def test_files_with_a_layout_are_read(tmp_path: Path, program: Program) -> None:
    """Version 0.2 wrote one, which nothing used."""
    old, new = tmp_path / "old.safetensors", tmp_path / "new.safetensors"
    save_program(program, new)
    file = load_tensor_file(new, FORMAT, VERSION)
    layout = {"tile_rows": 8, "tile_columns": 8, "lanes": 8, "banks": 16}
    save_tensor_file(old, FORMAT, VERSION, {**file.document, "layout": layout}, file.tensors)
    save_program(load_program(old), old)
    assert old.read_bytes() == new.read_bytes()


def test_damaged_files_are_refused(tmp_path: Path, program: Program) -> None:
    path = tmp_path / "p.safetensors"
    save_program(program, path)
    content = path.read_bytes()
    for length in (0, 7, 100, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:length])
        with pytest.raises(InputError, match=r"p\.safetensors"):
            load_program(path)
    flipped = bytearray(content)
    flipped[-5] ^= 1
    path.write_bytes(bytes(flipped))
    with pytest.raises(InputError, match="checksum"):
        load_program(path)
    with pytest.raises(InputError, match="does not exist"):
        load_program(tmp_path / "missing.safetensors")


def _drop_layer_field(document: dict[str, Any], tensors: dict[str, Any]) -> None:
    del document["nodes"][0]["stride"]


def _add_field(document: dict[str, Any], tensors: dict[str, Any]) -> None:
    document["nodes"][0]["colour"] = 1


def _unknown_type(document: dict[str, Any], tensors: dict[str, Any]) -> None:
    document["nodes"][0]["type"] = "Softmax"


def _drop_tensor(document: dict[str, Any], tensors: dict[str, Any]) -> None:
    del tensors["conv1.bias"]


def _surplus_tensor(document: dict[str, Any], tensors: dict[str, Any]) -> None:
    tensors["more"] = np.zeros(1)


def _short_bias(document: dict[str, Any], tensors: dict[str, Any]) -> None:
    tensors["conv1.bias"] = tensors["conv1.bias"][:-1]


def _wrong_type(document: dict[str, Any], tensors: dict[str, Any]) -> None:
    tensors["conv1.weight"] = tensors["conv1.weight"].astype(np.int32)


def _wide_shift(document: dict[str, Any], tensors: dict[str, Any]) -> None:
    tensors["conv1.shift"] = np.full_like(tensors["conv1.shift"], 63)


def _narrow_accumulator(document: dict[str, Any], tensors: dict[str, Any]) -> None:
    document["nodes"][0]["accumulator_bits"] = 20


def _wrong_channels(document: dict[str, Any], tensors: dict[str, Any]) -> None:
    document["input_shape"] = [3, 8, 8]
    tensors["input.table"] = np.zeros((3, 256), np.int16)


def _wrong_order(document: dict[str, Any], tensors: dict[str, Any]) -> None:
    document["nodes"].reverse()


def _wrong_scale(document: dict[str, Any], tensors: dict[str, Any]) -> None:
    shuffle = next(node for node in document["nodes"] if node["type"] == "IntegerShuffle")
    shuffle["fraction_bits"] += 1


def _wrong_table(document: dict[str, Any], tensors: dict[str, Any]) -> None:
    tensors["input.table"] = tensors["input.table"][:, :-1]


def _no_layers(document: dict[str, Any], tensors: dict[str, Any]) -> None:
    document["nodes"] = []
    for name in [name for name in tensors if name != "input.table"]:
        del tensors[name]


def _text_for_number(document: dict[str, Any], tensors: dict[str, Any]) -> None:
    document["nodes"][0]["stride"] = "2"


CORRUPTIONS: dict[str, Callable[[dict[str, Any], dict[str, Any]], None]] = {
    "field stride is missing": _drop_layer_field,
    "unknown field colour": _add_field,
    "unknown layer type 'Softmax'": _unknown_type,
    "tensor conv1.bias is missing": _drop_tensor,
    "unknown tensor more": _surplus_tensor,
    "bias has shape": _short_bias,
    "weight has type int32, expected int16": _wrong_type,
    "shift lies outside 0..62": _wide_shift,
    "accumulator_bits is 20, needs": _narrow_accumulator,
    "gets 3 channels, expects 1": _wrong_channels,
    "which does not come before it": _wrong_order,
    "fraction bits, gets": _wrong_scale,
    "input table is int16": _wrong_table,
    "has no layers": _no_layers,
    "holds '2', which does not fit": _text_for_number,
}


@pytest.mark.parametrize("message", CORRUPTIONS)
def test_inconsistent_programs_are_refused(tmp_path: Path, program: Program, message: str) -> None:
    path = tmp_path / "p.safetensors"
    save_program(program, path)
    file = load_tensor_file(path, FORMAT, VERSION)
    CORRUPTIONS[message](file.document, file.tensors)
    save_tensor_file(path, FORMAT, VERSION, file.document, file.tensors)
    with pytest.raises(InputError) as caught:
        load_program(path)
    assert message in str(caught.value) and "\n" not in str(caught.value) and str(path) in str(caught.value)


def test_other_versions_and_formats_are_refused(tmp_path: Path, program: Program) -> None:
    path = tmp_path / "p.safetensors"
    save_program(program, path)
    file = load_tensor_file(path, FORMAT, VERSION)
    save_tensor_file(path, FORMAT, VERSION + 1, file.document, file.tensors)
    with pytest.raises(InputError, match=f"has version {VERSION + 1} of {FORMAT}, this program reads {VERSION}"):
        load_program(path)
    save_tensor_file(path, "predfuse-network", VERSION, file.document, file.tensors)
    with pytest.raises(InputError, match="holds format 'predfuse-network'"):
        load_program(path)


def test_widths_of_fused_lists_are_checked() -> None:
    """A block that declares less than its lists need is refused before it runs."""
    from predfuse.integer.fast_machine import FastMachine

    program = _fused_program()
    (block,) = program.fused_blocks()
    for name in ("weight_bits", "sum_bits", "accumulator_bits"):
        narrow = dataclasses.replace(block, **{name: getattr(block, name) - 1})
        with pytest.raises(InputError, match=f"layer b1: {name} is {getattr(narrow, name)}, needs"):
            FastMachine(dataclasses.replace(program, nodes=(narrow,)))


def _fused_program() -> Program:
    layer: FusedBlock = compiled(example_block())
    return Program("p", (4, 5, 5), INPUT_BITS, np.zeros((4, 256), np.int16), (layer,))
