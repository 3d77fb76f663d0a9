"""docs/reference/files.md names every field and array of one file of each kind, and none that is not there."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from safetensors import safe_open
from snippets import ROOT
from typer.testing import CliRunner

from predfuse import load, zoo
from predfuse.cli import app
from predfuse.data import catalogue
from predfuse.graph.io import save_network
from predfuse.graph.nodes import NODE_TYPES, Network
from predfuse.graph.predictor import Predictor
from predfuse.integer import nodes as integer

PAGE = (ROOT / "docs/reference/files.md").read_text(encoding="utf-8")
CONFIG = """
network:
  name: fusionet-s
  options:
    {stage_blocks: [1, 1], stage_middle: [16, 16], stage_channels: [8, 8], last_channels: 8,
      tail_channels: 16, groups: 2}
data: {name: "folder:pictures", size: 8, held_out: 4}
batch_size: 8
threads: 1
vanilla: {epochs: 1}
prune: {epochs: 1}
predict: {epochs: 1, layerwise_steps: 2, calibration_images: 8}
"""
COMMANDS = (
    "train t.yaml -o run",
    "compile run/predicted-joint.safetensors --images pictures --count 4 -o program.safetensors",
    "run program.safetensors pictures --count 1 --dump dump",
    "export program.safetensors --form memory -o memory",
    "simulate program.safetensors -a archon --fidelity cycle --images pictures --trace trace.json",
)


def section(title: str) -> str:
    """The text under a heading."""
    return re.split(r"^## ", PAGE.split(f"\n## {title}\n")[1], flags=re.MULTILINE)[0]


def tables(title: str) -> list[list[list[str]]]:
    """The rows of every table of a section, without their heads."""
    found = re.findall(r"(?:^\|.*\n)+", section(title), re.MULTILINE)
    return [[[cell.strip() for cell in line[1:-1].split("|")] for line in one.splitlines()[2:]] for one in found]


def names(cell: str) -> set[str]:
    """The names in backticks that are fields, not shapes."""
    return set(re.findall(r"`([A-Za-z_0-9]+)`", cell))


def listed(title: str, table: int = 0) -> set[str]:
    """The fields in the first column of a table."""
    return set().union(*(names(row[0]) for row in tables(title)[table]))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """One file of every kind, of a very small network."""
    with pytest.MonkeyPatch.context() as patch:
        path = tmp_path_factory.mktemp("files")
        patch.chdir(path)
        pixels = np.random.default_rng(0)
        for index in range(40):
            inside = Path("pictures", "train" if index < 24 else "test", f"class{index % 2}")
            inside.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels.integers(0, 255, (8, 8), dtype=np.uint8)).save(inside / f"{index}.png")
        Path("t.yaml").write_text(CONFIG, encoding="utf-8")
        for command in COMMANDS:
            ran = CliRunner().invoke(app, command.split())
            assert ran.exit_code == 0, f"{command}: {ran.output} {ran.exception}"
        yield path


def metadata(path: Path) -> tuple[dict[str, Any], list[str]]:
    """What a safetensors file says in its one key, and the names of its tensors."""
    with safe_open(path, "np") as file:
        assert list(file.metadata()) == ["predfuse"]
        return json.loads(file.metadata()["predfuse"]), list(file.keys())


def test_one_form_for_all_safetensors_files(folder: Path) -> None:
    shown = set(re.findall(r'"(\w+)": ', section("The form of safetensors files")))
    for path in (folder / "program.safetensors", *folder.glob("run/*.safetensors")):
        found, _ = metadata(path)
        assert set(found) == shown and f"`{found['format']}`" in PAGE


def test_checkpoints(folder: Path) -> None:
    paths = sorted(folder.glob("run/*.safetensors"))
    assert len(paths) == 4
    found = set().union(*(metadata(path)[0]["document"] for path in paths))
    assert listed("Checkpoints") - {"shifts"} == found
    assert '"shifts": "pruned"' in (ROOT / "src/predfuse/training/checkpoint.py").read_text(encoding="utf-8")


def test_programs(folder: Path) -> None:
    found, tensors = metadata(folder / "program.safetensors")
    document = found["document"]
    assert listed("Programs") - {"bits"} == set(document)
    assert '{"bits": program.bits}' in (ROOT / "src/predfuse/integer/program_io.py").read_text(encoding="utf-8")
    rows = {row[0].strip("`"): row for row in tables("Programs")[1]}
    assert names(tables("Programs")[0][-1][1]) == set(document["metadata"])
    kinds = {node["name"]: node["type"] for node in document["nodes"]} | {"input": "input"}
    of_predictor = rows_of_nodes()["its predictor"]
    for name in tensors:
        layer, _, array = name.rpartition(".")
        if layer.endswith(".predictor"):
            assert array in of_predictor[1]
        else:
            assert array in names(rows[kinds[layer]][2]), name
    for node in document["nodes"]:
        kept = set(node) - {"type", "name", "inputs", "fraction_bits"}
        assert names(rows[node["type"]][1]) == kept, node["type"]
    for kind in [*set(rows) - {"input"}]:
        whole = {one.name for one in fields(getattr(integer, kind))} - {"name", "inputs", "fraction_bits", "bits"}
        assert names(rows[kind][1]) | names(rows[kind][2]) == whole, kind


def rows_of_nodes() -> dict[str, tuple[set[str], set[str]]]:
    return {row[0].strip("`"): (names(row[1]), names(row[2])) for row in tables("Networks")[1]}


def test_networks(folder: Path) -> None:
    path = folder / "network.safetensors"
    network = load(folder / "run" / "predicted-joint.safetensors")
    assert isinstance(network, Network)
    save_network(network, path)
    found, tensors = metadata(path)
    assert listed("Networks") == set(found["document"])
    rows = rows_of_nodes()
    types = {node["name"]: node["type"] for node in found["document"]["nodes"]}
    for name in tensors:
        layer, _, array = name.rpartition(".")
        row = rows["its predictor"] if layer.endswith(".predictor") else rows[types[layer]]
        assert array in row[1], name
    for kind in (*NODE_TYPES, Predictor):
        settings, arrays = rows["its predictor" if kind is Predictor else kind.__name__]
        assert settings | arrays == {one.name for one in fields(kind)} - {"name", "inputs"}, kind
        assert not settings & arrays
    assert len(rows) == len(NODE_TYPES) + 1


def test_logs(folder: Path) -> None:
    entries = [json.loads(line) for line in (folder / "run" / "log.jsonl").read_text().splitlines()]
    assert listed("Logs of trainings") == set().union(*entries)


def test_cards() -> None:
    for name in zoo.names():
        for entry in json.loads((zoo.folder(name) / "card.json").read_text()):
            assert listed("Cards of the zoo") == set(entry), name


def test_decoded_data_sets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREDFUSE_DATA", str(tmp_path))
    name = "fashion-mnist-1000"
    monkeypatch.setitem(catalogue.CATALOGUE, name, replace(catalogue.entry(name), slow=True))
    catalogue.load(name, "test")
    found, tensors = metadata(catalogue.cache_path(name, "test"))
    assert {*found["document"], *tensors} == names(section("Decoded data sets")) and found["format"] in PAGE


def test_manifests(folder: Path) -> None:
    for inside, title in (("dump", "Values of layers"), ("memory", "Memory files")):
        found = json.loads((folder / inside / "manifest.json").read_text())
        opening = section(title).split("\n|")[0]
        assert names(opening) & set(found) == set(found), title
        assert listed(title) == set().union(*found["files"]), title


def test_traces(folder: Path) -> None:
    found = json.loads((folder / "trace.json").read_text())
    assert {*found, *found["otherData"]} == names(section("Traces").split("\n|")[0])
    assert listed("Traces") == set().union(*found["traceEvents"])
