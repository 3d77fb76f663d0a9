"""Writing exported networks; a file is kept only once what it holds was run and agrees with the network."""

from __future__ import annotations

import io
import logging
from pathlib import Path
from typing import Literal, get_args

import torch

from predfuse.arrays import FloatArray
from predfuse.errors import InputError, PredfuseError
from predfuse.exporters.arrays import Form, Precision, default_precision, require_form, unfused
from predfuse.exporters.check import TOLERANCE, ExportCheck, check_images, check_onnx, relative_error
from predfuse.exporters.graph import require_onnx, to_onnx
from predfuse.exporters.module import to_module
from predfuse.files import require_writable, write_atomically, write_bytes_atomically
from predfuse.fusion.execute import require_images
from predfuse.graph.nodes import Network
from predfuse.readers.boundary import as_path

log = logging.getLogger(__name__)

Format = Literal["onnx", "torch"]
FORMATS: tuple[Format, ...] = get_args(Format)
SUFFIXES: dict[str, Format] = {".onnx": "onnx", ".pt2": "torch"}


def format_of(path: Path, given: str | None = None) -> Format:
    """The format of a file: the one given, else what its suffix says.

    Raises:
        InputError: Neither says, or they contradict each other.
    """
    by_suffix = SUFFIXES.get(path.suffix)
    if given is None:
        if by_suffix is None:
            raise InputError(str(path), "does not say its format", "call it .onnx or .pt2, or give the format")
        return by_suffix
    if given not in FORMATS:
        raise InputError(f"format {given!r}", "is unknown", f"use one of {', '.join(FORMATS)}")
    if by_suffix not in (None, given):
        raise InputError(str(path), f"is called {path.suffix} but would hold {given}", "rename it")
    return "onnx" if given == "onnx" else "torch"


def export_network(
    network: Network,
    path: str | Path,
    form: Form = "plain",
    format_name: str | None = None,
    images: FloatArray | None = None,
    precision: Precision | None = None,
) -> ExportCheck:
    """Write ``network`` as ONNX or as a ``torch.export`` archive, checked before it is kept.

    Args:
        network: What to export.
        path: The file; nothing is there, or what was there before, if anything fails.
        form: ``plain``, ``predicted`` or ``fused`` (see :data:`predfuse.exporters.arrays.Form`); a warning names the
            blocks that are too large to be fused.
        format_name: ``onnx`` or ``torch``; by default what the suffix says (``.onnx``, ``.pt2``).
        images: ``[N, C, H, W]``, normalised, to check with; random ones if not given.
        precision: ``float32`` or ``float64`` within; by default float32 for the plain form and float64 for the others,
            in which rounding decides masks. Images and scores are float32 in any case.

    Returns:
        How closely the file agrees with the network.

    Raises:
        InputError: The path cannot be written, the form or format does not fit, or the extra ``onnx`` is missing.
        PredfuseError: The exported network gives other values.

    Example:
        >>> export_network(models.network("fusionet-s"), Path("fusionet-s.onnx"))  # doctest: +SKIP
    """
    path = as_path(path)
    chosen = format_of(path, format_name)
    require_writable(path)
    computed_in = precision or default_precision(form)
    require_form(network, form)
    if images is not None:
        require_images(network, images)
    for name, reason in (unfused(network) if form == "fused" else {}).items():
        log.warning("block %s stays in the predicted form: %s", name, reason)
    if chosen == "torch":
        return _export_torch(network, path, form, images, computed_in)
    require_onnx("onnxruntime")
    model = to_onnx(network, form, computed_in).SerializeToString(deterministic=True)
    checks: list[ExportCheck] = []

    def write(temporary: Path) -> None:
        temporary.write_bytes(model)
        checks.append(check_onnx(network, form, temporary, images, computed_in))

    write_atomically(path, write)
    return checks[0]


def _export_torch(
    network: Network, path: Path, form: Form, images: FloatArray | None, precision: Precision
) -> ExportCheck:
    module = to_module(network, form, precision).requires_grad_(False)
    given = torch.from_numpy(check_images(network) if images is None else images).float()
    # An example of two images: sizes of 1 are taken as constants.
    example = torch.zeros(2, *network.input_shape)
    program = torch.export.export(module, (example,), dynamic_shapes=({0: torch.export.Dim("batch")},))
    program.example_inputs = None  # torch would pickle them
    archive = io.BytesIO()
    torch.export.save(program, archive)
    archive.seek(0)
    loaded = torch.export.load(archive).module()
    with torch.no_grad():
        wanted = module(given).numpy()
        error = max(
            relative_error(loaded(given).numpy(), wanted),
            relative_error(loaded(given[:1]).numpy(), module(given[:1]).numpy()),
        )
    if not error <= TOLERANCE:
        what = f"the exported program is off by {error:.1e}, more than {TOLERANCE:.0e}"
        raise PredfuseError(f"network {network.name}: {what}")
    write_bytes_atomically(path, archive.getvalue())
    return ExportCheck(len(given), network.output, error, error, len(given), 0, 0, error)
