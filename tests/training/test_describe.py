"""The template trains, the schema is of the configuration, and the page of all fields has every one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from predfuse.cli import app
from predfuse.errors import InputError
from predfuse.training import run as running, stages
from predfuse.training.config import TrainConfig, load_config, parse_config
from predfuse.training.describe import fields_page, section, template


def test_every_field_is_described() -> None:
    inner = [section(field) for field in TrainConfig.model_fields.values()]
    fields = {**TrainConfig.model_fields, **{k: f for model in inner if model for k, f in model.model_fields.items()}}
    assert [name for name, field in fields.items() if section(field) is None and not field.description] == []


def test_the_page_of_all_fields_has_every_one() -> None:
    named = [line.split("`")[1] for line in fields_page().splitlines() if line.startswith("| `")]
    inner = [(name, section(field)) for name, field in TrainConfig.model_fields.items()]
    assert sorted(named) == sorted(
        field for name, model in inner for field in ([name] if model is None else model.model_fields)
    )


def test_the_template_holds_the_defaults_and_trains(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = CliRunner().invoke(app, ["train", "--template"])
    assert written.exit_code == 0 and written.output == template()
    (tmp_path / "my.yaml").write_text(written.output)
    plain = {"network": {"name": "fusionet-s"}, "data": {"name": "fashion-mnist"}}
    assert load_config(tmp_path / "my.yaml") == parse_config(plain, "plain")
    for module in (running, stages):
        monkeypatch.setattr(module, "use_kernels", lambda *_, **__: False)
    short = ["vanilla.epochs=1", "prune.epochs=1", "predict.epochs=1", "predict.layerwise_steps=1", "batch_size=16"]
    short += [f"data.name=folder:{pictures}", "data.limit=16", "predict.calibration_images=8"]
    arguments = [word for setting in short for word in ("-s", setting)]
    run = tmp_path / "run"
    result = CliRunner().invoke(app, ["train", str(tmp_path / "my.yaml"), "-o", str(run), "--seed", "3", *arguments])
    assert result.exit_code == 0, result.output
    assert yaml.safe_load((run / "config.yaml").read_text())["seed"] == 3
    assert (run / "predicted-joint.safetensors").exists()


def test_the_schema_is_that_of_the_configuration() -> None:
    result = CliRunner().invoke(app, ["train", "--schema"])
    assert json.loads(result.output)["properties"].keys() == TrainConfig.model_fields.keys()


@pytest.mark.parametrize(
    ("override", "what"),
    [
        ("seed=yes", "seed is yes, not a number"),
        ("data.limit=no", "data.limit: is False"),
        ("vanilla.epochs=.inf", "vanilla.epochs"),
        ("vanilla.epochs='3'", "vanilla.epochs is the text '3', not a number"),
        ("predict.tuning=[1]", "tuning"),
        ("predict.tuning=[joint,joint]", "predict.tuning: .*names a way twice"),
        ("data.flip=1", "data.flip is 1, not true or false"),
        ("data.flip='yes'", "data.flip is the text 'yes', not true or false"),
        ("seed=99999999999999999999999", "seed"),
    ],
)
def test_values_that_only_look_like_numbers_are_refused(tmp_path: Path, override: str, what: str) -> None:
    (tmp_path / "my.yaml").write_text(template())
    with pytest.raises(InputError, match=what):
        load_config(tmp_path / "my.yaml", [override])


def test_a_key_given_twice_is_refused(tmp_path: Path) -> None:
    (tmp_path / "my.yaml").write_text(template() + "seed: 7\n")
    with pytest.raises(InputError, match="'seed' is given twice"):
        load_config(tmp_path / "my.yaml")


def test_what_is_missing_is_named() -> None:
    result = CliRunner().invoke(app, ["train"])
    assert isinstance(result.exception, InputError) and "--template" in str(result.exception)
