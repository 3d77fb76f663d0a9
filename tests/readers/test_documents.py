"""YAML and JSON: what plain parsers pass over in silence or choke on is refused in one line (faults A7, B11)."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, strategies as st

from predfuse.errors import InputError
from predfuse.experiments.ablation import read_ablation
from predfuse.explore.space import load_space
from predfuse.hardware.spec import load_spec
from predfuse.readers.documents import parse_json, parse_yaml
from predfuse.training.config import load_config

BOMB = "a: &a [1, 1, 1, 1, 1, 1, 1, 1, 1]\n" + "".join(
    f"{name}: &{name} [{', '.join(['*' + before] * 9)}]\n" for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)
MALFORMED = [
    ("seed: 1\nseed: 2\n", "the key 'seed' is given twice, line 2"),
    ("a:\n  b: 1\n  b: 2\n", "the key 'b' is given twice, line 3"),
    ("yes: 1\ntrue: 2\n", "the key 'true' is given twice"),
    ("a: 010\n", "010 is a number of another base, line 1"),
    ("b: 2\na: 1:30\n", "1:30 is a number of another base, line 2"),
    ("{? [a] : 1}", "a key that is no plain word"),
    ("a: !!int abc", "is not valid YAML .*invalid literal"),
    ("a: 2026-13-45", "is not valid YAML .*month"),
    ("a: " + "1" * 5000, "is not valid YAML .*digits"),
    ("a: 12345678901234567890123", "a whole number of more than 64 bits"),
    ("a: .inf", "holds inf, which is no finite number"),
    ("a: [{b: .nan}]", "holds nan, which is no finite number"),
    ("[" * 5000, "nested too deeply"),
    ("&a [*a]", "an alias that refers to itself"),
    ("a: &a {b: *a}", "an alias that refers to itself"),
    (BOMB, "more than 100,000 values, aliases written out"),
    ("a: !!python/object/apply:os.system [ls]", "could not determine a constructor"),
    ("a: *b", "undefined alias"),
    ("\tx: 1", "cannot start any token"),
    ("a: \x00", "special characters"),
    ("a: '" + "x" * 300_000, "holds more than 262,144 bytes"),
]
READERS: list[Callable[[Path], Any]] = [load_config, load_spec, load_space, read_ablation]


@pytest.mark.parametrize(("text", "message"), MALFORMED)
def test_malformed_yaml_is_one_line(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        parse_yaml("x.yaml", text)
    assert str(caught.value).startswith("x.yaml: ") and "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize("read", READERS)
def test_every_yaml_file_goes_through_the_one_reader(read: Callable[[Path], Any], tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    for text, message in MALFORMED:
        path.write_text(text)
        with pytest.raises(InputError, match=message) as caught:
            read(path)
        assert "\n" not in str(caught.value)
    path.write_bytes(b"a: \xff\xfe")
    with pytest.raises(InputError, match="is no text in UTF-8"):
        read(path)
    with pytest.raises(InputError, match=r"is a folder|neither shipped nor a file"):
        read(tmp_path)
    for name in ("missing.yaml", "x" * 300, "x\0y"):
        with pytest.raises(InputError) as caught:
            read(tmp_path / name)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "line",
    [
        "seed: yes",
        "seed: '3'",
        "vanilla: {epochs: '3'}",
        "data: {name: cifar10, flip: 'no'}",
        "predict: {bits: '4'}",
        "seed: 12345678901234567890123",
        "seed: 9223372036854775808",
        "vanilla: {epochs: .inf}",
        "seed: -1",
    ],
)
def test_numbers_of_a_training_configuration(line: str, tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(f"network: {{name: fusionet-s}}\ndata: {{name: cifar10}}\n{line}\n")
    with pytest.raises(InputError, match=r"c\.yaml: "):
        load_config(path)
    key, _, value = line.partition(": ")
    path.write_text("network: {name: fusionet-s}\ndata: {name: cifar10}\n")
    assert load_config(path).seed == 0
    with pytest.raises(InputError):
        load_config(path, [f"{key}={value}"])


def test_a_merge_key_is_no_doubled_key() -> None:
    text = "base: &base {x: 1, y: 2}\nother: {<<: *base, x: 3}\nthird: {<<: *base}\n"
    assert parse_yaml("x", text)["other"] == {"x": 3, "y": 2}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[" * 200_000, "nested too deeply"),
        ('{"a": 1, "a": 2}', "given twice"),
        ("[NaN]", "NaN is no finite number"),
        ("[-Infinity]", "no finite number"),
        ("[1e999]", "1e999 is no finite number"),
        ("[" + "1" * 5000 + "]", "digits"),
        ("", "is no intact JSON"),
        (b"\xff\xfe\x00", "is no intact JSON"),
    ],
)
def test_malformed_json_is_one_line(text: str | bytes, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        parse_json("x.json", text)
    assert "\n" not in str(caught.value)


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("abcdef", min_size=1, max_size=4), inner),
    max_leaves=12,
)  # fmt: skip


@given(PLAIN)
def test_what_is_well_formed_is_read_as_the_plain_parsers_read_it(value: Any) -> None:
    import json

    import yaml

    assert parse_yaml("x", yaml.safe_dump(value)) == value
    assert parse_json("x", json.dumps(value)) == value


def test_a_named_pipe_is_refused_instead_of_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.yaml")
    with pytest.raises(InputError, match=r"pipe.yaml: is a pipe, not a file"):
        load_config(tmp_path / "pipe.yaml")
