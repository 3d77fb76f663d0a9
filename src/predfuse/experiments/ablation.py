"""Ablations: variants of one training configuration, each trained alike, and what they cost and save.

A file names a configuration and, for every variant, the fields it changes::

    base: cifar10-fusionet-s.yaml
    variants:
      2-bit activations: {predict.bits: 2}
      no shifts: {network.options.shifts: false}

Stages that variants have in common are trained once: variants of the predictor start from one pruned network.
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from predfuse import data
from predfuse.errors import InputError, PredfuseError, printable
from predfuse.experiments.ablation_rows import Row
from predfuse.experiments.ablation_runs import Progress, Variant, owners, train_variants
from predfuse.files import as_csv, write_text_atomically
from predfuse.fusion.counts import count_network
from predfuse.hardware.cycle.simulate import simulate_cycles
from predfuse.hardware.spec import load_spec
from predfuse.readers.documents import put, read_mapping
from predfuse.training.checkpoint import read_tensors
from predfuse.training.config import parse_config
from predfuse.training.device import choose_device
from predfuse.training.run import build_model
from predfuse.training.runs import network_of

BASE = "base"


def read_ablation(path: Path) -> dict[str, dict[str, Any]]:
    """The raw configuration of every variant by name, the base first.

    Raises:
        InputError: Missing or malformed file, unknown keys, or a variant that is no mapping of fields.
    """
    document = read_mapping(path)
    for key in document:
        if key not in ("base", "variants"):
            raise InputError(str(path), f"{printable(str(key))} is not a known key", "use base: and variants:")
    base, variants = document.get("base"), document.get("variants")
    if isinstance(base, str):
        base = read_mapping(path.parent / base)
    if not isinstance(base, dict):
        raise InputError(str(path), "has no base", "name a training configuration, or write it there")
    if not isinstance(variants, dict) or not variants:
        raise InputError(str(path), "has no variants", "give each a name and the fields it changes")
    configs: dict[str, dict[str, Any]] = {BASE: base}
    for name, changes in variants.items():
        if not isinstance(changes, dict) or not changes or str(name) in configs:
            raise InputError(f"{path}: variant {name!r}", "changes nothing, or has the name of another", "correct it")
        configs[str(name)] = copy.deepcopy(base)
        for field, value in changes.items():
            put(configs[str(name)], str(field), value, f"{path}: variant {name!r}")
    return configs


def run_ablation(
    path: Path, folder: Path, progress: Callable[[Progress], None] | None = None, jobs: int = 1, device: str = "cpu"
) -> list[Row]:
    """Train every variant and measure it; what is finished in ``folder`` is not done again.

    Args:
        path: The file of variants.
        folder: Receives a training run per variant, and after every variant ``ablation.csv`` and ``ablation.json``.
        progress: Told of every stage and every variant that ends.
        jobs: Stages trained at the same time, each in a process of its own.
        device: ``"cpu"``, ``"cuda"``, or ``"auto"``: a GPU if there is one; all variants share it.

    Returns:
        A row per variant, in the order of the file.

    Raises:
        InputError: A configuration is unusable (all are checked before the first is trained), or no such device.
        PredfuseError: A variant failed; all others are finished.
    """
    choose_device(device)  # refused before the first variant
    configs, variants = _variants(path, folder)
    for config in {(v.config.data, v.config.network.model_dump_json()): v.config for v in variants}.values():
        source = config.data
        train = data.load(source.name, "train", root=source.root, limit=source.limit, size=source.size)
        build_model(config, train)  # likewise
    measured: dict[str, Row] = {}

    def finished(variant: Variant, row: Row) -> None:
        measured[variant.name] = replace(row, changes=_differences(configs[BASE], configs[variant.name]))
        rows = _compared(measured, list(configs))
        write_text_atomically(folder / "ablation.csv", as_csv(map(asdict, rows)))
        write_text_atomically(folder / "ablation.json", json.dumps([asdict(row) for row in rows], indent=2) + "\n")

    failed = train_variants(variants, measure, finished, progress or (lambda _: None), jobs, device)
    if failed:
        first = next(iter(failed))
        more = f"; {len(failed) - 1} more failed" if len(failed) > 1 else ""
        raise PredfuseError(f"variant {first!r} failed ({failed[first]}){more}; {len(measured)} are finished")
    return _compared(measured, list(configs))


def plan_ablation(path: Path, folder: Path) -> list[tuple[str, tuple[str, ...]]]:
    """The stages still to be trained, by variant; one that several need is with the one that makes it.

    Raises:
        InputError: As :func:`run_ablation`.
    """
    _, variants = _variants(path, folder)
    made_by = owners(variants)
    return [
        (
            variant.name,
            tuple(
                stage
                for stage in variant.config.stages
                if made_by[variant.key(stage)][0] is variant and not variant.path(stage).exists()
            ),
        )
        for variant in variants
    ]


def _variants(path: Path, folder: Path) -> tuple[dict[str, dict[str, Any]], list[Variant]]:
    """The raw configurations by name, and the variants ready to be trained."""
    configs = read_ablation(path)
    parsed = {name: parse_config(raw, f"{path}: variant {name!r}") for name, raw in configs.items()}
    slugs = {name: _slug(name) for name in parsed}
    if len(set(slugs.values())) < len(slugs):
        raise InputError(str(path), "has variants whose names differ only in punctuation", "rename one")
    return configs, [Variant(name, config, folder / slugs[name]) for name, config in parsed.items()]


def _slug(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") or "variant"


def _compared(measured: Mapping[str, Row], order: list[str]) -> list[Row]:
    """The measured rows in their order, with what they lost to the base."""
    base = measured.get(BASE)
    rows = [measured[name] for name in order if name in measured]
    return [replace(row, lost=None if base is None else round(base.last - row.last, 6)) for row in rows]


def _differences(base: Any, other: Any, prefix: str = "") -> str:
    """``field=value`` of all that ``other`` has differently."""
    if not (isinstance(base, dict) and isinstance(other, dict)):
        return ""
    found = []
    for key, value in other.items():
        if base.get(key) == value:
            continue
        if isinstance(value, dict) and isinstance(base.get(key, {}), dict):
            found.append(_differences(base.get(key, {}), value, f"{prefix}{key}."))
        else:
            found.append(f"{prefix}{key}={value}")
    return ", ".join(found)


def measure(variant: Variant) -> Row:
    """A trained variant; ``changes`` and what it lost are still to be filled in."""
    facts = {stage: read_tensors(variant.path(stage))[1] for stage in variant.config.stages}
    accuracy = {stage: float(found["test_accuracy"]) for stage, found in facts.items()}
    tunings = {stage: value for stage, value in accuracy.items() if stage.startswith("predicted")}
    best = max(tunings, key=tunings.__getitem__) if tunings else None
    multiplications, cycles, energy = (None, None, None)
    if best is not None and facts[best].get("scales", "power-of-two") == "power-of-two":
        multiplications, cycles, energy = _hardware(variant.path(best), facts[best])
    return Row(
        variant=variant.name,
        changes="",
        vanilla=accuracy["vanilla"],
        pruned=accuracy.get("pruned"),
        predicted=tunings[best] if best is not None else None,
        lost=None,
        fused_multiplications=multiplications,
        total_cycles=cycles,
        energy_uj=energy,
    )


def _hardware(path: Path, facts: Mapping[str, Any]) -> tuple[float, int, float]:
    """Fused multiplications, cycles and energy (uJ) of the first test image."""
    network = network_of(path)
    source = facts["config"]["data"]
    found = data.load(facts["data"], "test", root=source["root"], limit=1, size=source["size"])
    result = simulate_cycles(network, load_spec("archon"), found.images[:1])[0].result
    return count_network(network).total.fused.multiplications, result.total_cycles, result.total_energy_uj
