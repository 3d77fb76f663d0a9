"""Documents that build on another: what differs wins, circles under any name and wrong bases are one line."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, strategies as st

from predfuse.errors import InputError
from predfuse.explore.space import load_space
from predfuse.hardware.spec import load_spec
from predfuse.readers.extends import extended

KEYS = st.sampled_from(["a", "b", "c"])
LEAVES = st.integers(0, 9) | st.lists(st.integers(0, 9), max_size=2)
FIELDS = st.dictionaries(KEYS, st.recursive(LEAVES, lambda inner: st.dictionaries(KEYS, inner, max_size=3)), max_size=3)


def laid_over(documents: Sequence[dict[str, Any]]) -> dict[tuple[str, ...], Any]:
    """The slow way: leaves by path, written one document after the other; a leaf ends what was below or around it."""
    found: dict[tuple[str, ...], Any] = {}

    def lay(value: Any, path: tuple[str, ...]) -> None:
        if isinstance(value, dict) and value:
            for step in range(len(path) + 1):
                found.pop(path[:step], None)
            for key, inner in value.items():
                lay(inner, (*path, key))
        elif value != {} or not any(path == known[: len(path)] and known[len(path) :] for known in found):
            for known in [known for known in found if known[: len(path)] == path or path[: len(known)] == known]:
                del found[known]
            found[path] = value

    for document in documents:
        for key, value in document.items():
            lay(value, (key,))
    return found


@given(st.lists(FIELDS, min_size=1, max_size=4))
def test_a_chain_of_documents_is_the_fields_of_all_the_last_on_top(documents: list[dict[str, Any]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        for number, document in enumerate(documents):
            base = {"extends": f"{number - 1}.yaml"} if number else {}
            Path(folder, f"{number}.yaml").write_text(yaml.safe_dump(base | document), encoding="utf-8")
        last = Path(folder, f"{len(documents) - 1}.yaml")
        found = extended(last.read_text(encoding="utf-8"), str(last))
    assert laid_over([found]) == laid_over(documents)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("extends: nothing\n", "extends: is 'nothing', which is no file; use a file beside"),
        ("extends: [b.yaml]\n", "extends: is ['b.yaml']; name a YAML file"),
        ("extends: a.yaml\n", "extends: goes round in a circle through a.yaml"),
        ("extends: ../here/a.yaml\n", "extends: goes round in a circle through ../here/a.yaml"),
        ("extends: b.yaml\n", "b.yaml: extends: goes round in a circle through a.yaml"),
        ("extends: c.yaml\nwheels: 4\n", "wheels: is an unknown key"),
        ("extends: c.yaml\nfields: {machine.array.rows: 3}\n", "fields.machine.array.rows"),
        ("extends: list.yaml\n", "list.yaml: holds a list, not fields"),
    ],
)
def test_wrong_bases_of_a_search_are_one_line(tmp_path: Path, text: str, message: str) -> None:
    folder = tmp_path / "here"
    folder.mkdir()
    search = "machine: eyeriss-dense\nnetwork: {name: mobilenetv2-s}\nfields: {machine.array.rows: [3, 4]}\n"
    files = {"b": "extends: a.yaml\n", "c": f"{search}objectives: [area_mm2]\nsampler: grid\n", "list": "- 1\n"}
    for name, written in {**files, "a": text}.items():
        (folder / f"{name}.yaml").write_text(written, encoding="utf-8")
    with pytest.raises(InputError) as caught:
        load_space(folder / "a.yaml")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_search_states_only_what_differs(tmp_path: Path) -> None:
    base = Path(__file__).parents[2] / "configs" / "explore-sparse.yaml"
    own = tmp_path / "own.yaml"
    own.write_text(f"extends: {base}\nfields: {{machine.array.rows: [5], machine.bits: [8, 16]}}\nseed: 7\n")
    whole, changed = load_space(base), load_space(own)
    assert changed.values == {**whole.values, "machine.array.rows": (5,), "machine.bits": (8, 16)}
    assert list(changed.values) == [*whole.values, "machine.bits"]
    assert changed.as_json() | {"values": {}, "seed": 0} == whole.as_json() | {"values": {}}


def test_a_file_called_as_a_shipped_machine_may_build_on_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("archon.yaml").write_text("extends: archon\nname: own\n", encoding="utf-8")
    assert load_spec("archon.yaml").array == load_spec("archon").array
