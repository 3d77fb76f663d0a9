"""Options that mean the same in every command that has them, and what they stand for."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, get_args

import typer

from predfuse.data.dataset import Part
from predfuse.errors import InputError
from predfuse.input_checks import require_normalisation
from predfuse.sources import ModuleOptions, parse_shape

SOURCE_HELP = (
    "Registered network, checkpoint of predfuse train, saved network, or package.module:function that returns a "
    "torch.nn.Module (its code is run)."
)
IMAGES_HELP = (
    "Data set (e.g. fashion-mnist-1000), .npy file of [N,C,H,W] uint8 pixels or normalised floats, safetensors file "
    "with such 'images' and perhaps 'labels' [N], image folder, or one picture."
)


def _count(value: int | None) -> int | None:
    if value is not None and value < 1:
        raise InputError("--count", f"is {value}", "use 1 or more images")
    return value


def _split(value: str | None) -> str | None:
    if value not in (None, *get_args(Part)):
        raise InputError("--split", f"is {value!r}", "use train, test or all")
    return value


Source = Annotated[str, typer.Argument(help=SOURCE_HELP, metavar="SOURCE")]
Images = Annotated[str | None, typer.Option("--images", help=IMAGES_HELP, metavar="SOURCE")]
CalibrationImages = Annotated[
    str | None,
    typer.Option(
        "--images",
        help=f"{IMAGES_HELP} Or 'random'; default: what the network was trained on.",
        metavar="SOURCE",
    ),
]
Count = Annotated[int, typer.Option("--count", "-n", callback=_count, help="How many images.")]
CalibrationCount = Annotated[
    int | None, typer.Option("--count", "-n", callback=_count, help="How many images; default: 256, fewer large ones.")
]
AllOrCount = Annotated[
    int | None, typer.Option("--count", "-n", callback=_count, help="Only the first so many images.")
]
Size = Annotated[
    int | None,
    typer.Option("--size", help="Crop and resample pictures to this many pixels a side, the network's own."),
]
Split = Annotated[
    Any,  # a data.dataset.Part, which the callback makes sure of
    typer.Option(
        "--split",
        parser=str,
        callback=_split,
        metavar="TEXT",
        help="Of a data set or image folder: train, test, or (of a folder) all.",
    ),
]
Seed = Annotated[int, typer.Option("--seed", help="Of everything random.")]
Device = Annotated[str, typer.Option("--device", help="cpu, cuda, or auto: a GPU if PyTorch sees one.")]
Output = Annotated[Path, typer.Option("--output", "-o", help="File to write.")]
OutputFolder = Annotated[Path, typer.Option("--output", "-o", help="Folder to write; interrupted work goes on.")]
OptionalOutputFolder = Annotated[
    Path | None, typer.Option("--output", "-o", help="Folder to write; interrupted work goes on.")
]
Root = Annotated[
    Path | None,
    typer.Option("--root", help="Folder of data sets (default: $PREDFUSE_DATA, ~/.cache/predfuse/data)."),
]
Accelerator = Annotated[
    str, typer.Option("--accelerator", "-a", help="Shipped accelerator (see predfuse accelerators) or YAML file.")
]
Accelerators = Annotated[
    list[str] | None,
    typer.Option("--accelerator", "-a", help="Shipped accelerator or YAML file, several times for several machines."),
]

AllowUnsupported = Annotated[
    bool, typer.Option("--allow-unsupported", help="List operations no network can hold instead of failing.")
]


def module_options(
    weights: Annotated[
        Path | None, typer.Option("--weights", help="State dictionary for package.module:function, safetensors.")
    ] = None,
    input_shape: Annotated[
        str | None,
        typer.Option(
            "--input", help="Shape for package.module:function: images,channels,height,width, e.g. 1,3,224,224."
        ),
    ] = None,
    mean: Annotated[
        str, typer.Option("--mean", help="Of package.module:function's images, per channel, 0..1, e.g. 0.5,0.5,0.5.")
    ] = "",
    std: Annotated[str, typer.Option("--std", help="Per-channel divisor after that.")] = "",
) -> ModuleOptions:
    """What the options for ``package.module:function`` say.

    Raises:
        InputError: One of them is malformed, or meant for pixels of 0..255.
    """
    shape = None if input_shape is None else parse_shape(input_shape)
    means, stds = _floats("--mean", mean), _floats("--std", std)
    require_normalisation("--mean and --std", means, stds, len(means or stds))
    return ModuleOptions(weights, shape, means, stds)


def _floats(option: str, text: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in text.split(",")) if text else ()
    except ValueError as error:
        raise InputError(option, f"is {text!r}", "write numbers with commas between them") from error


def require_size(size: int | None, shape: tuple[int, ...]) -> bool:
    """Whether pictures are to be resampled, to the ``(C, H, W)`` of a network.

    Raises:
        InputError: ``--size`` is given and is not the network's.
    """
    if size is not None and (size, size) != shape[1:]:
        what = f"is {size}, the network takes {shape[1]}x{shape[2]} pixels"
        raise InputError("--size", what, f"use {shape[1]}" if shape[1] == shape[2] else "give pictures of that size")
    return size is not None
