"""Feed every reader malformed files and count what must not be: tracebacks, hangs, files left behind, too much memory.

    python tools/fuzz_readers.py --count 10000 --seed 0 [--start 0] [--reader NAME ...]

Inputs are valid files with bytes changed, cut, doubled or filled, and documents and arrays (with right checksums) of
wrong and extreme values; the same seed gives the same inputs. A reader may return or raise PredfuseError. All run in
one process with a limit on its address space above what the libraries hold, so that a reader that believes a header's
promise of gigabytes ends in MemoryError or is counted.
"""

from __future__ import annotations

import argparse
import copy
import gzip
import io
import json
import logging
import random
import resource
import signal
import tarfile
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from PIL import Image
from safetensors.numpy import save as save_tensors

from predfuse import models
from predfuse.arrays import Array
from predfuse.data.fashion_mnist import parse_idx
from predfuse.data.folder import load_part
from predfuse.data.image_sources import load_images
from predfuse.errors import PredfuseError
from predfuse.experiments.ablation import read_ablation
from predfuse.explore.space import load_space
from predfuse.graph.io import load_network, save_network
from predfuse.hardware.spec import load_spec
from predfuse.integer.compile import compile_network
from predfuse.integer.program_io import load_program, save_program
from predfuse.predictor.initialise import attach_empty_predictors
from predfuse.readers.archives import read_gzip, read_tar_gz
from predfuse.readers.documents import read_json, read_json_lines
from predfuse.tensor_file import load_tensor_file, save_tensor_file
from predfuse.training.checkpoint import load_checkpoint, save_checkpoint
from predfuse.training.config import load_config

ROOT = Path(__file__).resolve().parents[1]
HANG_SECONDS = 10
STRANGE: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2**31, 2**63, 10**30, -(10**30), 0.5, -0.0, 1e300, 1e-300, "", "x", "\0", "../../x",
    "x" * 5000, [], {}, [[]], [0] * 300, {"x": 1}, {"": {"": []}}, "1e3", "folder:/", "cpu", "\u202e", [1, 2, 3, 4],
)  # fmt: skip
FRAGMENTS = (
    b"[" * 5000, b"{" * 5000, b"&a [*a]", b"!!int abc", b"2026-13-45", b".inf", b"\x00" * 64, b"\xff" * 8, b"<<: *x\n",
    b'"\\ud800"', b"9" * 400, b"- " * 3000, b"!!python/object/apply:os.system [ls]", b"? [a]\n",
    b"\x7f\xff\xff\xff" * 2,
)  # fmt: skip


class Hang(BaseException):
    """A reader took longer than :data:`HANG_SECONDS`; no Exception, so that no reader can turn it into a line."""


@dataclass
class Reader:
    """A reader with valid files it is given malformed copies of.

    Attributes:
        read: Takes the path of a file.
        seeds: Contents of valid files.
        suffix: Of the files' names.
        kind: Format and version of a file of the project's own, whose facts are changed under a right checksum.
    """

    read: Callable[[Path], Any]
    seeds: list[bytes]
    suffix: str = ""
    kind: tuple[str, int] | None = None
    _parsed: dict[bytes, Any] = field(default_factory=dict)

    def parsed(self, seed: bytes, scratch: Path) -> Any:
        """What a valid file holds, parsed once: a tensor file, or the values of a YAML document."""
        if seed not in self._parsed:
            scratch.write_bytes(seed)
            self._parsed[seed] = load_tensor_file(scratch, *self.kind) if self.kind else yaml.safe_load(seed)
        return self._parsed[seed]


@dataclass
class Outcome:
    """What a reader did with its inputs; ``faults`` says more of each that must not be."""

    inputs: int = 0
    accepted: int = 0
    refused: int = 0
    faults: list[str] = field(default_factory=list)
    slowest_seconds: float = 0.0


def changed_bytes(chance: random.Random, content: bytes) -> bytes:
    """``content`` with one to eight places changed, cut, doubled, or filled with something parsers choke on."""
    found = bytearray(content)
    for _ in range(chance.choice((1, 1, 1, 2, 4, 8))):
        place = min(
            chance.randrange(len(found) + 1), int(chance.expovariate(1 / 200)) if chance.random() < 0.5 else 2**62
        )
        place = min(place, max(0, len(found) - 1))
        match chance.randrange(6):
            case 0:
                found[place : place + 1] = bytes((chance.randrange(256),))
            case 1:
                del found[place : place + chance.choice((1, 4, 100, 10**9))]
            case 2:
                end = place + chance.choice((1, 8, 64, 1000))
                found[end:end] = found[place:end]
            case 3:
                found[place:place] = chance.choice(FRAGMENTS)
            case 4:
                found[place : place + 8] = chance.choice((0, 1, 2**31, 2**62, 2**64 - 1)).to_bytes(
                    8, chance.choice(("little", "big"))
                )
            case _:
                found[place : place + 1] = bytes((found[place] ^ 1 << chance.randrange(8),)) if found else b"x"
    return bytes(found)


def changed_value(chance: random.Random, value: Any) -> Any:
    """Plain values with one to three of them replaced, removed, renamed, doubled or put elsewhere."""
    value = copy.deepcopy(value)
    for _ in range(chance.choice((1, 1, 2, 3))):
        holders = [holder for holder in _holders(value) if holder]
        if not holders:
            return chance.choice(STRANGE)
        holder = chance.choice(holders)
        key = chance.choice(list(holder) if isinstance(holder, dict) else range(len(holder)))
        match chance.randrange(5):
            case 0:
                del holder[key]
            case 1 if isinstance(holder, dict):
                holder[chance.choice(("x", "", "name", "\n", "type"))] = holder.pop(key)
            case 1 | 2 if isinstance(holder, list):
                holder.insert(key, copy.deepcopy(holder[key]))
            case 3 if isinstance(holder[key], int | float) and not isinstance(holder[key], bool):
                holder[key] = chance.choice(
                    (-holder[key], holder[key] * 1000, holder[key] + 1, str(holder[key]), holder[key] / 3)
                )
            case _:
                holder[key] = copy.deepcopy(chance.choice(STRANGE))
    return value


def _holders(value: Any) -> Iterator[Any]:
    if isinstance(value, dict | list):
        yield value
        for item in value.values() if isinstance(value, dict) else value:
            yield from _holders(item)


def _changed_arrays(chance: random.Random, arrays: dict[str, Any]) -> dict[str, Any]:
    """Arrays with one dropped, or of another shape, type or content."""
    arrays = dict(arrays)
    name = chance.choice(sorted(arrays))
    array = arrays[name]
    match chance.randrange(6):
        case 0:
            del arrays[name]
        case 1:
            arrays[name] = array.ravel()[: chance.randrange(array.size + 1)]
        case 2:
            arrays[name] = array.astype(chance.choice(("bool", "int8", "int64", "float16", "float64")))
        case 3:
            arrays[name] = np.full_like(array, chance.choice((0, 1, 127)))
        case 4 if array.dtype.kind == "f":
            arrays[name] = np.full_like(array, chance.choice((np.nan, np.inf, 1e38, -1)))
        case 4:
            arrays[name] = np.full_like(array, np.iinfo(array.dtype).max if array.dtype.kind in "iu" else True)
        case _:
            arrays[f"{name}.x"] = array
    return arrays


def malformed(chance: random.Random, reader: Reader, scratch: Path) -> bytes:
    """One malformed file."""
    seed = chance.choice(reader.seeds)
    structured = chance.random() < 0.6
    if structured and reader.kind is not None:
        held = reader.parsed(seed, scratch)
        arrays, document = dict(held.tensors), held.document
        if chance.random() < 0.7 or not arrays:
            document = changed_value(chance, document)
        else:
            arrays = _changed_arrays(chance, arrays)
        if isinstance(document, dict):
            try:
                save_tensor_file(scratch, *reader.kind, document, arrays)
                return scratch.read_bytes()
            except PredfuseError:  # what cannot be stored
                pass
    elif structured and reader.suffix == ".json":
        return json.dumps(changed_value(chance, json.loads(seed))).encode()
    elif structured and reader.suffix == ".yaml":
        return yaml.dump(changed_value(chance, reader.parsed(seed, scratch)), Dumper=yaml.CSafeDumper).encode()
    return changed_bytes(chance, seed)


@contextmanager
def alarm(seconds: int) -> Iterator[None]:
    """Raise :class:`Hang` after so long."""

    def ring(*_: Any) -> None:
        raise Hang

    before = signal.signal(signal.SIGALRM, ring)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def fuzz(name: str, reader: Reader, numbers: range, seed: int, folder: Path) -> Outcome:
    """Feed malformed files to a reader, in ``folder``, which has to stay empty but for the file given."""
    outcome = Outcome()
    scratch, given = folder / "scratch", folder / name
    for path in (scratch, given):
        path.mkdir(parents=True, exist_ok=True)
    for content in reader.seeds:  # are accepted: a reader that refuses everything is not tested
        file = given / f"x{reader.suffix}"
        file.write_bytes(content)
        reader.read(file)
    for number in numbers:
        chance = random.Random(f"{seed} {name} {number}")
        file = given / f"x{reader.suffix}"
        file.write_bytes(malformed(chance, reader, scratch / "x.safetensors"))
        outcome.inputs += 1
        start = time.perf_counter()
        try:
            with alarm(HANG_SECONDS):
                reader.read(file)
            outcome.accepted += 1
        except PredfuseError as error:
            outcome.refused += 1
            if len(str(error).splitlines()) != 1 or len(str(error)) > 8000:
                outcome.faults.append(f"{number}: a message of several lines or too long: {str(error)[:200]!r}")
        except Hang:
            outcome.faults.append(f"{number}: no answer in {HANG_SECONDS} s")
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt):
                raise
            place = traceback.extract_tb(error.__traceback__)[-1]
            outcome.faults.append(
                f"{number}: {type(error).__name__} at {place.filename}:{place.lineno}: {str(error)[:200]}"
            )
        outcome.slowest_seconds = max(outcome.slowest_seconds, time.perf_counter() - start)
        left = [path for path in given.iterdir() if path != file]
        if left:
            outcome.faults.append(f"{number}: left {left[0].name}")
    return outcome


def readers(folder: Path) -> dict[str, Reader]:
    """All readers with valid files, made in ``folder``."""
    options: dict[str, Any] = {
        "input_shape": [1, 8, 8],
        "stage_blocks": [1, 1],
        "stage_channels": [4, 4],
        "stage_middle": [8, 8],
        "num_classes": 3,
    }
    network = models.network("fusionet-s", options=options)
    save_network(network, folder / "network")
    save_program(compile_network(network, np.zeros((2, 1, 8, 8))), folder / "program")
    config = (ROOT / "configs/cifar10-mobilenetv2-s.yaml").read_bytes()
    ablation = (ROOT / "configs/cifar10-ablations.yaml").read_bytes()
    specs = [
        (ROOT / f"src/predfuse/hardware/specs/{name}.yaml").read_bytes()
        for name in ("archon", "archon-1.7", "dense-1.7", "sparse-1.7")
    ]
    # Those that build on others would need these beside them.
    texts = [path.read_bytes() for path in sorted((ROOT / "configs").glob("explore-*.yaml"))]
    spaces = [text for text in texts if b"extends:" not in text]
    model = models.build("fusionet-s", **options)
    attach_empty_predictors(model)
    save_checkpoint(folder / "checkpoint", model, {"mean": [0.5], "std": [0.25], "labels": ["a", "b", "c"]})
    pixels = np.arange(192, dtype=np.uint8).reshape(8, 8, 3)
    pictures = []
    forms: list[tuple[str, Array]] = [(form, pixels) for form in ("PNG", "JPEG", "TIFF", "BMP", "WEBP", "PPM")]
    forms += [("GIF", pixels[:, :, 0]), ("PNG", pixels[:, :, 0].astype(np.uint16) * 257)]
    for form, array in forms:
        buffer = io.BytesIO()
        Image.fromarray(array).save(buffer, form)
        pictures.append(buffer.getvalue())
    npy = io.BytesIO()
    np.save(npy, np.zeros((2, 3, 8, 8), np.float32))
    images = save_tensors({"images": np.zeros((2, 3, 8, 8), np.float32), "labels": np.array([0, 1])})
    idx = b"\x00\x00\x08\x03" + b"".join(size.to_bytes(4, "big") for size in (2, 3, 4)) + bytes(24)
    tar = io.BytesIO()
    with tarfile.open(fileobj=tar, mode="w:gz") as archive:
        for name in ("a.bin", "b.bin"):
            member = tarfile.TarInfo(f"x/{name}")
            member.size = 100
            archive.addfile(member, io.BytesIO(bytes(range(100))))

    def folder_of(path: Path) -> Any:
        root = folder / "folder"
        for place, name in enumerate("ab"):
            (root / name).mkdir(parents=True, exist_ok=True)
            for number in "02":
                Image.new("L", (8, 8), 9 * place).save(root / name / f"{number}.png")
        (root / "b/1.png").write_bytes(path.read_bytes())
        return load_part(root, "all", "RGB", 8)

    def load(path: Path) -> Any:
        return load_images(str(path), (3, 8, 8), resize=True)

    log = b'{"stage": "vanilla", "epoch": 1}\n{"stage": "prune", "loss": 0.5}\n'
    return {
        "train": Reader(load_config, [config], ".yaml"),
        "ablation": Reader(read_ablation, [ablation], ".yaml"),
        "accelerator": Reader(load_spec, specs, ".yaml"),
        "space": Reader(load_space, spaces, ".yaml"),
        "json": Reader(read_json, [b'{"a": [1, 2.5, "x", null], "b": {"c": true}}'], ".json"),
        "json lines": Reader(read_json_lines, [log], ".jsonl"),
        "network": Reader(load_network, [(folder / "network").read_bytes()], ".safetensors", ("predfuse-network", 1)),
        "program": Reader(load_program, [(folder / "program").read_bytes()], ".safetensors", ("predfuse-program", 1)),
        "checkpoint": Reader(
            load_checkpoint, [(folder / "checkpoint").read_bytes()], ".safetensors", ("predfuse-checkpoint", 2)
        ),
        "picture": Reader(load, pictures, ".png"),
        "array": Reader(load, [npy.getvalue()], ".npy"),
        "arrays": Reader(load, [images], ".safetensors"),
        "gzip": Reader(lambda path: read_gzip(path, 10**6), [gzip.compress(bytes(1000), mtime=0)], ".gz"),
        "idx": Reader(lambda path: parse_idx(str(path), path.read_bytes()), [idx]),
        "tar": Reader(lambda path: read_tar_gz(path, {"a.bin", "b.bin"}, 10**6), [tar.getvalue()], ".tar.gz"),
        "folder": Reader(folder_of, pictures, ".png"),
    }


def limit_memory(extra_bytes: int) -> None:
    """Let the address space grow by no more than this; what libraries have mapped, mostly untouched, comes on top."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + extra_bytes, resource.RLIM_INFINITY))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=500, help="inputs to each reader")
    parser.add_argument("--start", type=int, default=0, help="number of the first input, to go on after others")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--reader", action="append", help="only this one; several times for several")
    chosen = parser.parse_args()
    logging.disable()
    warnings.simplefilter("ignore")
    failed = False
    numbers = range(chosen.start, chosen.start + chosen.count)
    memory = Path("/dev/shm")  # the files given are many and small: no disk has to write them
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as name:
        folder = Path(name)
        known = readers(folder)
        limit_memory(2 * 1024**3)
        for reader in chosen.reader or known:
            outcome = fuzz(reader, known[reader], numbers, chosen.seed, folder / "fuzz")
            counts = f"{outcome.inputs:6,} inputs: {outcome.refused:6,} refused, {outcome.accepted:6,} accepted"
            faults = f"{len(outcome.faults)} faults, slowest {outcome.slowest_seconds:.2f} s"
            print(f"{reader:12} {counts}, {faults}", flush=True)
            for fault in outcome.faults[:20]:
                print(f"    {fault}", flush=True)
            failed |= bool(outcome.faults)
    resident = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2
    print(f"largest resident memory {resident:.2f} GiB")
    raise SystemExit(failed)


if __name__ == "__main__":
    main()
