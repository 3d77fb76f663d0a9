"""Ablations: shared stages, rows, interrupted ones, and what a user can get wrong."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image
from typer.testing import CliRunner

from predfuse import models
from predfuse.cli import app
from predfuse.errors import InputError, PredfuseError
from predfuse.experiments.ablation import plan_ablation, read_ablation, run_ablation
from predfuse.experiments.ablation_rows import read_rows
from predfuse.experiments.ablation_runs import Progress
from predfuse.training.config import parse_config

VARIANTS = {
    "2-bit activations": {"predict.bits": 2},
    "weights up to 2": {"predict.largest_weight": 2},
    "float scales": {"predict.scales": "float"},
    "no shifts": {"network.options.shifts": False},
    "shifts pruned": {"prune.shift_sparsity": 0.8},
    "shifts removed": {"prune.shift_sparsity": 1},
    "vanilla only": {"prune": None},
}

STAGES = ("vanilla", "pruned", "layerwise", "predicted-joint")


@pytest.fixture(scope="module")
def variants(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four variants of a tiny training run on two classes of pictures."""
    folder = tmp_path_factory.mktemp("ablation")
    rng = np.random.default_rng(0)
    for label, name in enumerate(("above", "below")):
        (folder / "pictures" / name).mkdir(parents=True)
        for number in range(20):
            picture = rng.integers(0, 100, (8, 8))
            picture[4 * label : 4 * label + 4] += 120
            Image.fromarray(picture.astype(np.uint8)).save(folder / "pictures" / name / f"{number:02}.png")
    options = {"stage_channels": [8, 8], "stage_middle": [32, 32], "stage_blocks": [1, 1], "last_channels": 8}
    base = {
        "network": {"name": "fusionet", "options": {**options, "tail_channels": 16}},
        "data": {"name": f"folder:{folder / 'pictures'}", "crop_padding_pixels": 1},
        "batch_size": 8,
        "threads": 1,
        "vanilla": {"epochs": 2},
        "prune": {"epochs": 1, "update_every_steps": 1},
        "predict": {"epochs": 1, "layerwise_steps": 2, "calibration_images": 8},
    }
    (folder / "base.yaml").write_text(yaml.safe_dump(base))
    path = folder / "variants.yaml"
    path.write_text(yaml.safe_dump({"base": "base.yaml", "variants": VARIANTS}, sort_keys=False))
    return path


def test_variants_are_trained_and_measured(variants: Path, tmp_path: Path) -> None:
    ran = CliRunner().invoke(app, ["ablate", str(variants), "-o", str(tmp_path / "out")], env={"COLUMNS": "100"})
    assert ran.exit_code == 0, ran.output
    rows = {row["variant"]: row for row in json.loads((tmp_path / "out" / "ablation.json").read_text())}
    assert list(rows) == ["base", *VARIANTS] and all(name in ran.output for name in rows)
    assert rows["2-bit activations"]["changes"] == "predict.bits=2" and rows["base"]["changes"] == ""
    base = rows["base"]
    for name, row in rows.items():
        last = row["predicted"] or row["pruned"] or row["vanilla"]
        assert row["lost"] == pytest.approx(base["predicted"] - last), name
    assert rows["float scales"]["total_cycles"] is None and rows["vanilla only"]["pruned"] is None
    for name in ("no shifts", "shifts pruned", "shifts removed"):
        assert rows[name]["total_cycles"] < base["total_cycles"], name
    assert rows["2-bit activations"]["fused_multiplications"] == base["fused_multiplications"] > 0
    assert [asdict(row) for row in read_rows(tmp_path / "out" / "ablation.csv")] == list(rows.values())
    with pytest.raises(InputError, match="holds no ablation"):
        read_rows(tmp_path / "out" / "ablation.json")
    # Variants of the predictor start from the very same pruned network, trained once.
    files = [(tmp_path / "out" / run / "pruned.safetensors") for run in ("base", "2-bit-activations", "float-scales")]
    assert len({file.read_bytes() for file in files}) == 1
    assert not (tmp_path / "out" / "vanilla-only" / "pruned.safetensors").exists()
    stages = (tmp_path / "out" / "2-bit-activations" / "log.jsonl").read_text()
    assert '"vanilla"' not in stages and '"predicted-joint"' in stages
    assert " of 28: layerwise of 2-bit activations\n" in ran.output and "28 of 28: " in ran.output
    assert "pruned of 2-bit activations" not in ran.output
    # Nothing is trained again.
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").glob("*/*.safetensors")}
    again = run_ablation(variants, tmp_path / "out")
    assert [row.variant for row in again] == list(rows)
    assert before == {path: path.stat().st_mtime_ns for path in (tmp_path / "out").glob("*/*.safetensors")}


def test_variants_trained_side_by_side_are_the_same_and_a_failed_one_stops_no_other(
    variants: Path, tmp_path: Path
) -> None:
    document = yaml.safe_load(variants.read_text())
    document["base"] = yaml.safe_load((variants.parent / "base.yaml").read_text())
    document["variants"] = {"2 bits": {"predict.bits": 2}, "another seed": {"seed": 1}}
    path = tmp_path / "few.yaml"
    path.write_text(yaml.safe_dump(document, sort_keys=False))
    one_by_one = run_ablation(path, tmp_path / "one")
    assert [row.variant for row in one_by_one] == ["base", "2 bits", "another seed"]
    document["variants"] = {"hot": {"vanilla.learning_rate": 1e30}, **document["variants"]}
    path.write_text(yaml.safe_dump(document, sort_keys=False))
    ended: list[Progress] = []
    with pytest.raises(PredfuseError, match=r"variant 'hot' failed .*lower the learning rate.*; 3 are finished"):
        run_ablation(path, tmp_path / "two", ended.append, jobs=2)
    assert [asdict(row) for row in one_by_one] == json.loads((tmp_path / "two" / "ablation.json").read_text())
    log = (tmp_path / "two" / "2-bits" / "log.jsonl").read_text()
    assert '"vanilla"' not in log and '"pruned"' not in log
    words = [progress.what for progress in ended]
    # What is built on the stage that failed is not begun; the 14 stages are each made once.
    assert sorted(words) == sorted(
        [f"{stage} of {name}" for name in ("base", "another seed") for stage in STAGES]
        + [f"{stage} of 2 bits" for stage in STAGES[2:]]
        + [f"{stage} of hot failed" for stage in STAGES]
        + ["base", "2 bits", "another seed", "hot failed"]
    )
    assert dict(plan_ablation(path, tmp_path / "two")) == {
        "base": (),
        "hot": STAGES,
        "2 bits": (),
        "another seed": (),
    }


def test_the_plan_has_every_stage_once(variants: Path, tmp_path: Path) -> None:
    left = dict(plan_ablation(variants, tmp_path))
    assert left["base"] == left["no shifts"] == STAGES
    assert left["2-bit activations"] == left["float scales"] == STAGES[2:]
    assert left["shifts pruned"] == STAGES[1:]
    assert left["vanilla only"] == ()  # the base has that stage too
    # A stage that some variant has is not made again, whichever comes first.
    (tmp_path / "vanilla-only").mkdir()
    (tmp_path / "vanilla-only" / "vanilla.safetensors").touch()
    assert dict(plan_ablation(variants, tmp_path))["base"] == STAGES[1:]
    shown = CliRunner().invoke(app, ["ablate", str(variants), "-o", str(tmp_path), "--plan"], env={"COLUMNS": "90"})
    assert shown.exit_code == 0 and "no shifts" in shown.output and "layerwise, predicted-joint" in shown.output
    assert not (tmp_path / "base").exists()


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({"base": {}, "variants": {"a": {"x": 1}}, "more": 1}, "more is not a known key"),
        ({"variants": {"a": {"x": 1}}}, "has no base"),
        ({"base": "nothing.yaml", "variants": {"a": {"x": 1}}}, "nothing.yaml: does not exist"),
        ({"base": {"seed": 1}}, "has no variants"),
        ({"base": {"seed": 1}, "variants": {"a": {}}}, "variant 'a': changes nothing"),
        ({"base": {"seed": 1}, "variants": {"base": {"seed": 2}}}, "variant 'base': changes nothing, or has the name"),
        ({"base": {"seed": 1}, "variants": {"a": {"seed.x": 2}}}, "seed is no section"),
        ([1], "holds a list, not fields"),
    ],
)
def test_unusable_files(document: object, message: str, tmp_path: Path) -> None:
    path = tmp_path / "variants.yaml"
    path.write_text(yaml.safe_dump(document))
    with pytest.raises(InputError, match=message):
        read_ablation(path)


def test_all_variants_are_checked_before_the_first_is_trained(variants: Path, tmp_path: Path) -> None:
    document = yaml.safe_load(variants.read_text())
    document["base"] = yaml.safe_load((variants.parent / "base.yaml").read_text())
    path = tmp_path / "variants.yaml"
    for more, message in (
        ({"wrong": {"predict.bitz": 2}}, "variant 'wrong': predict.bitz: is an unknown key"),
        ({"2 bit activations": {"predict.bits": 3}}, "names differ only in punctuation"),
    ):
        path.write_text(yaml.safe_dump({**document, "variants": {**document["variants"], **more}}))
        with pytest.raises(InputError, match=message):
            run_ablation(path, tmp_path / "out")
        assert not (tmp_path / "out").exists()


def test_the_shipped_ablation_can_be_built() -> None:
    path = Path(__file__).parents[2] / "configs" / "cifar10-ablations.yaml"
    for name, raw in read_ablation(path).items():
        config = parse_config(raw, name)
        models.build(config.network.name, input_shape=(3, 32, 32), **config.network.options)
