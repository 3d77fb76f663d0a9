"""Trained runs to and from a Hugging Face hub repository (extra ``hub``), or a folder in its place.

What goes over is a fixed list of names: a run's checkpoints (safetensors), ``card.json``, ``config.yaml``,
``log.jsonl`` and a model card ``README.md``. Whatever else a repository holds is neither asked for nor looked at.
"""

from __future__ import annotations

import importlib.util
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from predfuse.errors import InputError, PredfuseError
from predfuse.files import sha256_of_file, write_folder_atomically
from predfuse.readers.documents import read_json_lines, read_mapping
from predfuse.training.checkpoint import load_checkpoint
from predfuse.training.config import parse_config, without_retired
from predfuse.zoo.catalogue import CARD, STAGES, Stage, folder, read_card

HUB = "hf://"
MODEL_CARD = "README.md"
TRANSFERRED = (CARD, "config.yaml", "log.jsonl", MODEL_CARD, *(f"{stage}.safetensors" for stage in STAGES))
"""The names that are ever sent or fetched."""
_DAMAGED = "push it again from where it was trained"


def push(run: str | Path, destination: str) -> str:
    """Send a run, checked first, and a model card made from its facts.

    Args:
        run: Name in the zoo, or a folder with a ``card.json`` as ``predfuse zoo add`` makes it.
        destination: ``hf://OWNER/NAME``, or a folder that does not exist yet. A repository that does not exist is made,
            private; files of an earlier push are replaced.

    Returns:
        Where it is now.

    Raises:
        InputError: No such run, a file that is not as its card says, a folder that exists, or no extra ``hub``.
        PredfuseError: The hub did not take it.

    Source: docs/how-to/hub.md.
    """
    source = folder(run)
    with tempfile.TemporaryDirectory(prefix="predfuse-push-") as temporary:
        staged = Path(temporary) / "run"
        staged.mkdir()
        _copy(source, staged)
        entries = verified(staged, str(source))
        (staged / MODEL_CARD).write_text(model_card(entries), encoding="utf-8")
        if not destination.startswith(HUB):
            return str(_place(staged, Path(destination)))
        _send(staged, destination.removeprefix(HUB))
    return destination


def pull(source: str, target: Path) -> list[Stage]:
    """Fetch a run into a new folder, which ``demo --run`` and ``compare --run`` take, each checkpoint as a file.

    Every checkpoint must be the one its card describes and pass the loader that all checkpoints pass; nothing is there
    otherwise.

    Args:
        source: ``hf://OWNER/NAME``, or a folder.
        target: A folder that does not exist yet.

    Returns:
        The facts of its stages.

    Raises:
        InputError: No such source, a file that is missing or refused, a target that exists, or no extra ``hub``.
        PredfuseError: The hub did not give it.

    Source: docs/how-to/hub.md.
    """
    if target.exists():
        raise InputError(str(target), "exists", "name a folder that does not")
    with tempfile.TemporaryDirectory(prefix="predfuse-pull-") as temporary:
        fetched, staged = Path(temporary) / "fetched", Path(temporary) / "run"
        staged.mkdir()
        if source.startswith(HUB):
            _receive(source.removeprefix(HUB), fetched)
        else:
            fetched = Path(source)
        _copy(fetched, staged)
        entries = verified(staged, source)
        _place(staged, target)
    return entries


def verified(run: Path, where: str) -> list[Stage]:
    """The facts of a run's stages, once every file is what its card says and can be loaded.

    Raises:
        InputError: A file is missing, damaged, or refused by its reader; messages name ``where``.

    Source: docs/reference/files.md, Cards of the zoo.
    """
    if not (run / CARD).is_file():
        raise InputError(where, f"holds no {CARD}", "take the run into a zoo first: predfuse zoo add")
    entries = read_card(run / CARD)
    for name in ("config.yaml", "log.jsonl"):
        if not (run / name).is_file():
            raise InputError(where, f"holds no {name}", _DAMAGED)
    parse_config(without_retired(read_mapping(run / "config.yaml"), where), where)
    read_json_lines(run / "log.jsonl", "is no log of a training run", _DAMAGED)
    shipped = [entry for entry in entries if entry.file is not None]
    if not shipped:
        raise InputError(where, "holds no weights, by its card", "name a run whose weights ship")
    for entry in shipped:
        if entry.stage not in STAGES or entry.file != f"{entry.stage}.safetensors":
            raise InputError(where, f"its card names the file {entry.file!r}", _DAMAGED)
        path = run / entry.file
        if not path.is_file() or sha256_of_file(path) != entry.sha256:
            raise InputError(f"{where}/{entry.file}", "is missing or not the file its card describes", _DAMAGED)
        load_checkpoint(path)
    return entries


def model_card(entries: Sequence[Stage]) -> str:
    """The model card of a run, Markdown with the hub's YAML head. Source: docs/how-to/hub.md."""
    first = next(entry for entry in entries if entry.file is not None)
    rows = "\n".join(
        f"| {entry.stage} | {entry.test_accuracy:.2%} of {entry.test_images:,} | {entry.parameters:,} | {entry.seed} |"
        for entry in entries
    )
    return f"""---
library_name: predfuse
pipeline_tag: image-classification
tags: [predictive-layer-fusion, safetensors]
---

# {first.run}

`{first.network}` trained on {first.data} with predfuse: a convolutional network for predictive layer fusion.

| stage | right on the test set | parameters | seed |
| --- | --- | ---: | ---: |
{rows}

`predfuse zoo pull hf://OWNER/NAME -o FOLDER` fetches and verifies it; `predfuse.load("FOLDER/{first.file}")` loads it.
`card.json` holds all facts with checksums, `config.yaml` and `log.jsonl` how it was trained. No file holds code.
"""


def _copy(source: Path, target: Path) -> None:
    """Copy what may go over, and nothing else."""
    if not source.is_dir():
        raise InputError(str(source), "is no folder and no name in the zoo", "name one, or hf://OWNER/NAME")
    for name in TRANSFERRED:
        if (source / name).is_file():
            shutil.copyfile(source / name, target / name)


def _place(staged: Path, target: Path) -> Path:
    """Put a finished folder where nothing is, whole or not at all."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(str(target), f"cannot be written ({error.strerror})", "name another folder") from error

    def fill(made: Path) -> None:
        for file in staged.iterdir():
            shutil.copyfile(file, made / file.name)

    write_folder_atomically(target, fill)
    return target


def _send(staged: Path, repository: str) -> None:
    _require_hub()
    import huggingface_hub

    hub = huggingface_hub.HfApi()
    try:
        hub.create_repo(repository, private=True, exist_ok=True)
        hub.upload_folder(
            repo_id=repository,
            folder_path=staged,
            allow_patterns=list(TRANSFERRED),
            delete_patterns=["*.safetensors"],
            commit_message="Run pushed by predfuse",
        )
    except Exception as error:  # the client's errors have no common class
        raise _failed(repository, error) from error


def _receive(repository: str, target: Path) -> None:
    _require_hub()
    import huggingface_hub

    try:
        huggingface_hub.snapshot_download(repository, local_dir=target, allow_patterns=list(TRANSFERRED))
    except Exception as error:  # the client's errors have no common class
        raise _failed(repository, error) from error


def _failed(repository: str, error: Exception) -> PredfuseError:
    said = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
    return PredfuseError(
        f"{HUB}{repository}: {said}; check the name, the network and that you are logged in (hf auth login)"
    )


def _require_hub() -> None:
    if importlib.util.find_spec("huggingface_hub") is None:
        raise InputError(HUB, "needs huggingface_hub, which is not installed", 'install "predfuse[hub]"')
