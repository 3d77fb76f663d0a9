"""Registered networks as PyTorch modules: ``names()``, ``build(name, **options)`` and ``network(name)``.

In come a name and options, out goes a trainable module, or the network it stands for.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch

from predfuse.errors import InputError
from predfuse.graph.nodes import Network
from predfuse.models.fusionet import fusionet
from predfuse.models.inverted import (
    mnasnet,
    mnasnet_fused,
    mobilenetv2,
    mobilenetv2_fused,
    shufflenet,
    shufflenet_fused,
)
from predfuse.models.layers import MAX_BLOCKS, Cnn, initialise
from predfuse.models.lower import to_network
from predfuse.readers.boundary import reading

# few channels a group and a middle 12 to 72 times the outside: the shape for which fusion pays
_wide_inside = partial(
    fusionet,
    stem_stride=2,
    groups=8,
    stage_channels=(64, 64),
    stage_middle=(768, 2304),
    stage_blocks=(1, 5),
    last_channels=64,
    tail_channels=256,
)
_REGISTRY: dict[str, Callable[..., Cnn]] = {
    "fusionet": fusionet,
    "fusionet-s": partial(
        fusionet,
        architecture="fusionet-s",
        stem_stride=2,
        stage_channels=(32, 64),
        stage_middle=(256, 512),
        stage_blocks=(2, 4),
        last_channels=96,
        tail_channels=384,
    ),
    "fusionet-m": partial(_wide_inside, architecture="fusionet-m"),
    "fusionet-n": partial(_wide_inside, architecture="fusionet-n", stage_channels=(32, 32), last_channels=32),
    "fusionet-e": partial(
        _wide_inside,
        architecture="fusionet-e",
        stage_channels=(16, 32),
        stage_middle=(384, 1536),
        stage_blocks=(3, 4),
        last_channels=32,
    ),
    "mobilenetv2": mobilenetv2,
    "mobilenetv2-fused": mobilenetv2_fused,
    "mobilenetv2-s": partial(
        mobilenetv2,
        architecture="mobilenetv2-s",
        stem_stride=2,
        channels=(16, 24, 24, 48, 48, 48, 96),
        strided=(3,),
        tail_channels=384,
    ),
    "mnasnet": mnasnet,
    "mnasnet-fused": mnasnet_fused,
    "shufflenet": shufflenet,
    "shufflenet-fused": shufflenet_fused,
}

MAX_PARAMETERS, MAX_SIZE = 2**28, 2**16
"""Most parameters of a network, and the largest size among its options; block counts have ``MAX_BLOCKS``."""


def names() -> list[str]:
    """The registered names. Source: docs/explanation/zoo.md."""
    return list(_REGISTRY)


def build(name: str, seed: int = 0, **options: Any) -> Cnn:
    """Build a registered network with freshly initialised weights.

    Args:
        name: One of :func:`names`.
        seed: Of the initial weights; the global random state is neither read nor changed.
        options: Keyword arguments of the architecture, e.g. ``num_classes``, ``input_shape``, ``width``.

    Raises:
        InputError: Unknown name or option, or an impossible shape.

    Source: docs/explanation/zoo.md.
    """
    return build_from(name, options, seed)


def build_from(name: str, options: Mapping[str, Any], seed: int = 0) -> Cnn:
    """As :func:`build`, with options from a file, which may have any names."""
    if name not in _REGISTRY:
        raise InputError(f"network {name!r}", "is not registered", f"use one of {', '.join(_REGISTRY)}")
    factory = _REGISTRY[name]
    known = [key for key in inspect.signature(factory).parameters if key != "architecture"]
    for key in options:
        if key not in known:
            raise InputError(f"network {name!r}", f"has no option {key!r}", f"use some of {', '.join(known)}")
    for key, value in options.items():
        _require_possible(name, key, value, inspect.signature(factory).parameters[key].default)
    plain = {key: _tuples(value) for key, value in options.items()}
    # torch initialises every layer from the global state first
    with reading(f"network {name!r}", "cannot use these options", "correct them"), torch.random.fork_rng(devices=[]):
        with torch.device("meta"):  # no memory yet
            size = sum(parameter.numel() for parameter in factory(**plain).parameters())
        if size > MAX_PARAMETERS:
            what = f"would have {size:,} parameters, more than {MAX_PARAMETERS:,}"
            raise InputError(f"network {name!r}", what, "use fewer channels")
        model = factory(**plain)
    initialise(model, seed)
    return model


def _require_possible(name: str, key: str, value: Any, default: Any) -> None:
    """Refuse sizes that would take for ever to build, and what is of another kind than the default."""
    kinds = {bool: (bool,), int: (int,), float: (int, float), tuple: (list, tuple)}.get(type(default), (type(default),))
    inner = value if isinstance(value, (list, tuple)) else ()
    if type(value) not in kinds or any(type(number) is not int for number in inner):
        kind = {bool: "true or false", int: "a whole number", float: "a number", tuple: "a list of whole numbers"}
        what = f"cannot use these options ({key} is {value!r}, not {kind.get(type(default), 'of its kind')})"
        raise InputError(f"network {name!r}", what, "correct its value")
    numbers = value if isinstance(value, (list, tuple)) else [value]
    largest = MAX_BLOCKS if key in ("depth", "stage_blocks") else MAX_SIZE
    for number in numbers:
        if isinstance(number, (int, float)) and not abs(number) <= largest:
            raise InputError(f"network {name!r}", f"option {key} is {number}", f"use at most {largest:,}")


def _tuples(value: Any) -> Any:
    """Lists, as JSON and YAML give them, as the tuples the architectures take."""
    return tuple(value) if isinstance(value, list) else value


def network(name: str, seed: int = 0, options: Mapping[str, Any] | None = None) -> Network:
    """A registered network, freshly initialised, as the graph everything downstream works on.

    Args:
        name: One of :func:`names`.
        seed: Of the initial weights.
        options: Keyword arguments of the architecture, as of :func:`build`.

    Raises:
        InputError: As :func:`build`.

    Source: docs/explanation/zoo.md.
    """
    return to_network(build_from(name, options or {}, seed), name=name)


__all__ = ["Cnn", "build", "names", "network", "to_network"]
