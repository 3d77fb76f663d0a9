"""The user's model as ``package.module:function``, and its weights."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from predfuse.errors import InputError
from predfuse.graph.from_torch.references import load_module, load_weights


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with a model of its own."""
    (tmp_path / "user_models.py").write_text(
        "from torch import nn\n"
        "def small(): return nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU())\n"
        "class Own(nn.Conv2d):\n"
        "    def __init__(self): super().__init__(3, 4, 1)\n"
        "made = small()\n"
        "number = 3\n"
        "def fails(): raise RuntimeError('no weights')\n"
        "def needs(width): return nn.Conv2d(3, width, 1)\n"
        "def text(): return 'model'\n"
    )
    (tmp_path / "broken_models.py").write_text("import a_package_nobody_has\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


@pytest.mark.parametrize("name", ["small", "Own", "made"])
def test_functions_classes_and_modules_give_a_module(folder: Path, name: str) -> None:
    assert isinstance(load_module(f"user_models:{name}"), nn.Module)


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("user_models:nothing", "user_models has no nothing"),
        ("no_such_package_here:model", "cannot import no_such_package_here"),
        ("broken_models:model", "cannot import broken_models .*a_package_nobody_has"),
        ("user_models:fails", "fails when called without arguments .RuntimeError: no weights"),
        ("user_models:needs", "fails when called without arguments .TypeError"),
        ("user_models:number", "is a int"),
        ("user_models:text", "gives a str"),
        ("user models:x", "is no reference"),
    ],
)
def test_references_that_give_no_module_are_refused(folder: Path, reference: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        load_module(reference)


def test_weights_are_loaded_and_checked(tmp_path: Path) -> None:
    module = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))
    tensors = {name: tensor + 1 for name, tensor in module.state_dict().items()}
    path = tmp_path / "weights.safetensors"
    save_file(tensors, path)
    load_weights(module, path)
    torch.testing.assert_close(module.state_dict()["0.bias"], tensors["0.bias"])
    for change, message in (
        ({"0.bias": None}, "lacks the tensor 0.bias"),
        ({"0.bias": torch.ones(5)}, r"0.bias has shape \(5,\) instead of \(4,\)"),
        ({"0.bias": torch.full((4,), torch.nan)}, "0.bias holds NaN"),
        ({"2.bias": torch.ones(4)}, "unknown tensor 2.bias"),
        ({"1.num_batches_tracked": None}, ""),
    ):
        altered = {name: tensor for name, tensor in {**tensors, **change}.items() if tensor is not None}
        save_file(altered, path)
        if not message:
            load_weights(module, path)
            continue
        with pytest.raises(InputError, match=message):
            load_weights(module, path)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("weights.pth", b"", "is a pickle, which can run any code .*save_file"),
        ("weights.safetensors", b"not tensors", "is no intact safetensors file"),
        ("missing.safetensors", None, "does not exist"),
    ],
)
def test_unusable_weight_files_are_refused(tmp_path: Path, name: str, content: bytes | None, message: str) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=message):
        load_weights(nn.Conv2d(3, 4, 1), tmp_path / name)
