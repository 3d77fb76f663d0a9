"""Fashion-MNIST (Zalando Research, MIT licence): IDX files, and the 1,000-image test subset shipped in the package.

The subset holds the first 100 test images of each class, in the order of the test set. It is one PNG contact sheet
(40 x 25 tiles of 28 x 28 pixels, row by row) with labels and positions in a JSON file beside it.
"""

from __future__ import annotations

import struct
from importlib import resources
from pathlib import Path

import numpy as np

from predfuse.data.checksums import AGAIN, LARGEST_BYTES, KnownFile, read_file
from predfuse.data.dataset import Images, Labels, Source, Split
from predfuse.errors import InputError
from predfuse.readers.archives import read_gzip
from predfuse.readers.boundary import reading
from predfuse.readers.documents import read_json
from predfuse.readers.pictures import decode_picture

CLASSES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)
MEAN = (0.2860405969887955,)
STD = (0.35302424451492254,)
DEBIAN_FOLDER = Path("/usr/share/datasets/fashion-mnist")
"""Where the Debian and Ubuntu package ``dataset-fashion-mnist`` puts the files."""

KNOWN = {  # of the decompressed files: the gzip files of Debian and of the publisher differ in their headers
    "train-images-idx3-ubyte": KnownFile(
        47_040_016, "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888"
    ),
    "train-labels-idx1-ubyte": KnownFile(60_008, "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9"),
    "t10k-images-idx3-ubyte": KnownFile(7_840_016, "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b"),
    "t10k-labels-idx1-ubyte": KnownFile(10_008, "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34"),
}
_PREFIX: dict[Split, str] = {"train": "train", "test": "t10k"}
_TILES_PER_ROW = 40
_SIZE = 28


def find(folder: Path) -> Source | None:
    """The folder itself when it holds an IDX file of Fashion-MNIST, gzipped or not."""
    present = any((folder / f"{name}{suffix}").is_file() for name in KNOWN for suffix in (".gz", ""))
    return Source(folder, "IDX files") if present else None


def read(source: Source, split: Split) -> tuple[Images, Labels]:
    """Images ``[N, 1, 28, 28]`` and labels ``[N]`` of one split, checksums verified.

    Raises:
        InputError: A file is missing, truncated or not the known one.
    """
    prefix = _PREFIX[split]
    images = _read_known(source.path, f"{prefix}-images-idx3-ubyte")
    labels = _read_known(source.path, f"{prefix}-labels-idx1-ubyte")
    return images[:, np.newaxis], labels.astype(np.int64)


def _read_known(folder: Path, name: str) -> Images:
    zipped, plain = folder / f"{name}.gz", folder / name
    path = plain if plain.is_file() and not zipped.is_file() else zipped
    content = read_gzip(path, LARGEST_BYTES, AGAIN) if path == zipped else read_file(path)
    return parse_idx(str(path), KNOWN[name].verify(str(path), content))


def parse_idx(where: str, content: bytes) -> Images:
    """An IDX file of unsigned bytes (the MNIST format: magic, big-endian sizes, values) as an array.

    Raises:
        InputError: The header or the length is wrong.
    """
    if len(content) < 4 or content[:3] != b"\x00\x00\x08" or len(content) < 4 + 4 * content[3]:
        raise InputError(where, "is no IDX file of unsigned bytes", AGAIN)
    dimensions = content[3]
    shape = struct.unpack(f">{dimensions}I", content[4 : 4 + 4 * dimensions])
    values = np.frombuffer(content, np.uint8, offset=4 + 4 * dimensions)
    expected = int(np.prod(shape, dtype=object))
    if len(values) != expected:
        raise InputError(where, f"holds {len(values):,} values, its header says {expected:,}", AGAIN)
    return values.reshape(shape).copy()  # torch wants arrays it may write to


def shipped_folder() -> Path:
    """The folder of the package that holds the subset and its licence."""
    return Path(str(resources.files("predfuse.data") / "shipped"))


def read_shipped(folder: Path | None = None) -> tuple[Images, Labels]:
    """The 1,000 test images ``[1000, 1, 28, 28]`` shipped with the package, and their labels.

    Raises:
        InputError: The installed files are damaged.
    """
    folder = folder or shipped_folder()
    facts_path, sheet_path = folder / "fashion-mnist-1000.json", folder / "fashion-mnist-1000.png"
    with reading(str(facts_path), "is damaged", "reinstall predfuse"):
        facts = read_json(facts_path, "is damaged", "reinstall predfuse")
        known = KnownFile(facts["sheet_bytes"], facts["sheet_sha256"])
        labels = np.array(facts["labels"], np.int64)
    sheet = decode_picture(str(sheet_path), known.verify(str(sheet_path), read_file(sheet_path)), "L")
    rows = sheet.shape[1] // _SIZE
    tiles = sheet.reshape(rows, _SIZE, _TILES_PER_ROW, _SIZE).transpose(0, 2, 1, 3)
    return np.ascontiguousarray(tiles.reshape(-1, 1, _SIZE, _SIZE)[: len(labels)]), labels
