"""Small stand-ins for the real archives, with the checksum tables exchanged to fit them."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from predfuse.data import cifar
from predfuse.data.checksums import KnownFile

PER_BATCH = 3


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def pack(path: Path, folder: str, files: dict[str, bytes]) -> None:
    """Write a tar.gz archive with all files below one folder."""
    with tarfile.open(path, "w:gz") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(f"{folder}/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))


class TinyCifar:
    """CIFAR-10 with three images a batch, in every accepted form, plus the arrays it must decode to."""

    def __init__(self) -> None:
        random = np.random.default_rng(7)
        self.images = random.integers(0, 256, (6 * PER_BATCH, 3, 32, 32), np.uint8)
        self.labels = random.integers(0, 10, 6 * PER_BATCH)
        self.npm: dict[str, bytes] = {}
        self.binary: dict[str, bytes] = {}
        names = [*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"]
        for place, name in enumerate(names):
            part = slice(place * PER_BATCH, (place + 1) * PER_BATCH)
            strip = self.images[part].transpose(0, 2, 3, 1).reshape(PER_BATCH, 1024, 3)
            buffer = io.BytesIO()
            Image.fromarray(strip).save(buffer, "PNG")
            self.npm[f"{name}.png"] = buffer.getvalue()
            records = [bytes([label]) + image.tobytes() for image, label in self._pairs(part)]
            self.binary[f"{name}.bin"] = b"".join(records)
        split = 5 * PER_BATCH
        self.npm["train_lables.json"] = json.dumps(self.labels[:split].tolist()).encode()
        self.npm["test_lables.json"] = json.dumps(self.labels[split:].tolist()).encode()

    def _pairs(self, part: slice) -> list[tuple[np.ndarray, int]]:
        return [(image, int(label)) for image, label in zip(self.images[part], self.labels[part], strict=True)]

    def expected(self, split: str) -> tuple[np.ndarray, np.ndarray]:
        part = slice(0, 5 * PER_BATCH) if split == "train" else slice(5 * PER_BATCH, None)
        return self.images[part], self.labels[part]


@pytest.fixture
def tiny_cifar(monkeypatch: pytest.MonkeyPatch) -> TinyCifar:
    tiny = TinyCifar()
    npm = {name: KnownFile(len(content), sha256(content)) for name, content in tiny.npm.items()}
    binary = {name: KnownFile(len(content), None) for name, content in tiny.binary.items()}
    monkeypatch.setattr(cifar, "NPM_KNOWN", npm)
    monkeypatch.setattr(cifar, "BINARY_KNOWN_10", binary)
    return tiny


@pytest.fixture(autouse=True)
def empty_places(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """No test sees the data or the cache of whoever runs it."""
    monkeypatch.delenv("PREDFUSE_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
