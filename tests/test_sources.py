"""SOURCE arguments: names, checkpoints and saved networks give the same network; the rest is refused in one line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from predfuse import models
from predfuse.errors import InputError
from predfuse.ir import Network
from predfuse.ir_io import save_network
from predfuse.sources import load_source
from predfuse.tensor_file import stored_format
from predfuse.training.checkpoint import save_checkpoint


def _same(left: Network, right: Network) -> bool:
    return all(
        np.array_equal(a.expand_weight, b.expand_weight)
        for a, b in zip(left.bottlenecks(), right.bottlenecks(), strict=True)
    )


def test_all_three_kinds_of_source_give_the_network(tmp_path: Path) -> None:
    model = models.build("fusionet-s").eval()
    save_checkpoint(tmp_path / "checkpoint.safetensors", model, {"mean": (0.5, 0.4, 0.3), "std": (0.2, 0.2, 0.2)})
    save_network(models.network("fusionet-s"), tmp_path / "network.safetensors")

    registered = load_source("fusionet-s")
    checkpoint = load_source(str(tmp_path / "checkpoint.safetensors"))
    saved = load_source(str(tmp_path / "network.safetensors"))
    assert _same(registered, checkpoint) and _same(registered, saved)
    assert checkpoint.mean == (0.5, 0.4, 0.3)


def test_a_file_is_told_by_its_content_not_its_name(tmp_path: Path) -> None:
    path = tmp_path / "weights.bin"
    save_checkpoint(path, models.build("fusionet-s"), {})
    assert stored_format(path) == "predfuse-checkpoint"
    assert load_source(str(path)).name == "fusionet-s"


def test_unknown_text_names_what_is_possible() -> None:
    with pytest.raises(InputError, match=r"source 'fusionnet': is neither .* use a file or one of fusionet, "):
        load_source("fusionnet")


@pytest.mark.parametrize("content", [b"", b"hello", b"\x10\x00\x00\x00\x00\x00\x00\x00{}"])
def test_a_file_that_is_no_network_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "broken.safetensors"
    path.write_bytes(content)
    assert stored_format(path) is None
    with pytest.raises(InputError, match=r"broken\.safetensors"):
        load_source(str(path))
