"""What larger maps do to the comparison at equal accuracy: see docs/explanation/archon.md, "Larger maps".

    python tools/measure_map_sizes.py [SIZE ...]

FusioNet-N, fused on ``archon-1.7-n``, against itself and against MobileNetV2-S of half the width, both pruned and
unfused on sparse machines of the same area. The networks are those trained on 32x32 CIFAR-10 images; other sizes are
the first test image enlarged, so that their masks are smoother than those of a network trained at that size, accuracies
are only known at 32. Machines keep their sizes.
"""

from __future__ import annotations

import argparse
import dataclasses

import torch

import predfuse
from predfuse import data, hardware, zoo
from predfuse.arrays import UInt8Array
from predfuse.errors import PredfuseError
from predfuse.graph.nodes import Network
from predfuse.integer.program import Program

SIZES = (32, 64, 96, 160, 224)
RIVALS = tuple(name for name in hardware.names() if name.startswith(("sparse-1.7", "sparse-depth-first-1.7")))


def enlarged(images: UInt8Array, size: int) -> UInt8Array:
    """Images of ``size`` x ``size`` pixels, bilinear."""
    found = torch.nn.functional.interpolate(torch.from_numpy(images).float(), (size, size), mode="bilinear")
    return found.round().clamp(0, 255).to(torch.uint8).numpy()


def network_of(run: str, stage: str, size: int) -> Network:
    """A shipped network that takes images of ``size`` x ``size`` pixels."""
    network = predfuse.load(zoo.folder(run) / f"{stage}.safetensors")
    assert isinstance(network, Network)
    return dataclasses.replace(network, input_shape=(network.input_shape[0], size, size))


def cost(what: Network | Program, machine: str | hardware.AcceleratorSpec, images: UInt8Array) -> tuple[int, float]:
    """Cycles and energy (uJ) of the first image."""
    found = predfuse.simulate(what, machine, "cycle", images).first
    return found.total_cycles, found.total_energy_uj


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sizes", nargs="*", type=int, default=SIZES, metavar="SIZE", help="of images (pixels)")
    calibration, test = data.load("cifar10", "train", limit=16).images, data.load("cifar10", "test", limit=1).images
    archon = hardware.load_spec("archon-1.7-n")
    print(f"{'pixels':>6}  {'cycles':>9} {'uJ':>8}  over itself: speed, energy; over the rival: speed, energy")
    for size in parser.parse_args().sizes:
        images = enlarged(test, size)
        fused = network_of("cifar10-fusionet-n", "predicted-joint", size)
        cycles, energy = cost(predfuse.compile(fused, enlarged(calibration, size)), archon, images)
        line = f"{size:6}  {cycles:9,} {energy:8.2f}"
        for run in ("cifar10-fusionet-n", "cifar10-mobilenetv2-s-x0.5"):
            unfused = network_of(run, "pruned", size)
            costs = [cost(unfused, machine, images) for machine in RIVALS]
            fastest, most_frugal = (min(values) for values in zip(*costs, strict=True))
            line += f"  {fastest / cycles:5.2f}x {energy / most_frugal:5.2f}"
        print(line, flush=True)


if __name__ == "__main__":
    try:
        main()
    except PredfuseError as error:
        raise SystemExit(f"error: {error}") from None
