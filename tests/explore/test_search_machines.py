"""The tool that runs the searches of the shipped machines again: what it calls theirs, and what it would write."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

from predfuse.hardware.spec import load_spec

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("search_machines", ROOT / "tools" / "search_machines.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_searched_machine_lies_in_the_space_its_source_names(tool: ModuleType) -> None:
    machines = tool.searched()
    assert {"archon-1.7", "dense-2.5", "sparse-1.7-m", "sparse-depth-first-1.7-half"} <= set(machines)
    for name in machines:
        machine = load_spec(name)
        words, space = tool.search_of(name)
        assert " ".join(words) == machine.source
        point = {}
        for field, values in space.refined_values.items():
            value: Any = machine.model_dump(mode="json")
            for part in field.split(".")[1:]:
                value = value[part]
            assert value in values, f"{name}: {field}"
            point[field] = value
        own = {"name", "description", "source"}
        assert space.split(point)[0].model_dump(exclude=own) == machine.model_dump(exclude=own), name


def test_what_it_writes_is_the_machine_that_was_found(tool: ModuleType, tmp_path: Path) -> None:
    found = tmp_path / "eyeriss-dense-7.yaml"
    text = "name: eyeriss-dense-7\ndescription: x\nextends: eyeriss-dense\narray: {rows: 5, columns: 6}\n"
    found.write_text(text, encoding="utf-8")
    network = {"name": "mobilenetv2-s", "options": {}, "fused": False, "pruned": "nothing", "shift_share": 1.0}
    metrics = {"total_cycles": 12345.0, "energy_uj": 6.789, "area_mm2": 0.5}
    best = {"number": 7, "metrics": metrics}
    result = {"front": [best], "rows": [best], "space": {"network": network, "sampler": "tpe", "seed": 0}}
    written = tmp_path / "dense-2.5.yaml"
    written.write_text(tool.specification("dense-2.5", result, found), encoding="utf-8")
    assert "12,345 cycles, 6.79 uJ, 0.500 mm2" in written.read_text(encoding="utf-8").replace("\n# ", " ")
    assert list(yaml.safe_load(written.read_text(encoding="utf-8")))[:3] == ["name", "description", "source"]
    assert load_spec(written).array == load_spec(found).array
    assert load_spec(written).source == load_spec("dense-2.5").source
