"""Take networks nobody registered from PyTorch to export, by commands, and print what every step took.

    python tools/measure_own_networks.py [NETWORK ...] [--count 8] [--output FOLDER]

Networks are ``mobilenetv2`` (224x224, 1000 classes), ``mobilenetv2-small`` (32x32, 10 classes), written as torchvision
writes them with random weights, and ``efficientnet-lite0`` with its ImageNet weights (see
examples/efficientnet_lite0.py). Images are smooth random ones. A step fails the run; a step's memory is its largest
resident set.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

ROOT = Path(__file__).resolve().parents[1]
MOST_CPU_SECONDS, MOST_BYTES = 240, 4 * 1000**3


def convolution(channels: int, outputs: int, kernel: int = 1, stride: int = 1, groups: int = 1) -> nn.Sequential:
    """Convolution, batch norm, ReLU6."""
    layer = nn.Conv2d(channels, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
    return nn.Sequential(layer, nn.BatchNorm2d(outputs), nn.ReLU6(inplace=True))


class InvertedResidual(nn.Module):
    """torchvision's block."""

    def __init__(self, channels: int, outputs: int, stride: int, expansion: int) -> None:
        super().__init__()
        middle = channels * expansion
        layers: list[nn.Module] = [convolution(channels, middle)] if expansion > 1 else []
        layers += [convolution(middle, middle, 3, stride, middle)]
        layers += [nn.Conv2d(middle, outputs, 1, bias=False), nn.BatchNorm2d(outputs)]
        self.conv = nn.Sequential(*layers)
        self.use_res_connect = stride == 1 and channels == outputs

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.conv(x)
        return x + y if self.use_res_connect else y


class MobileNetV2(nn.Module):
    """torchvision's network; ``strides`` are those of the stem and of the stages."""

    def __init__(self, classes: int, strides: tuple[int, ...]) -> None:
        super().__init__()
        layers: list[nn.Module] = [convolution(3, 32, 3, strides[0])]
        channels = 32
        settings = ((1, 16, 1), (6, 24, 2), (6, 32, 3), (6, 64, 4), (6, 96, 3), (6, 160, 3), (6, 320, 1))
        for (expansion, outputs, blocks), stride in zip(settings, strides[1:], strict=True):
            for index in range(blocks):
                layers.append(InvertedResidual(channels, outputs, stride if index == 0 else 1, expansion))
                channels = outputs
        self.features = nn.Sequential(*layers, convolution(channels, 1280))
        self.classifier = nn.Sequential(nn.Dropout(0.2), nn.Linear(1280, classes))

    def forward(self, x: Tensor) -> Tensor:
        scores: Tensor = self.classifier(nn.functional.adaptive_avg_pool2d(self.features(x), (1, 1)).flatten(1))
        return scores


def _settled(network: nn.Module, side: int) -> nn.Module:
    """With the statistics its norms see on images."""
    pixels = torch.from_numpy(images(8, side)).float() / 127.5 - 1
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None
    with torch.no_grad():
        network.train()(pixels)
    return network.eval()


def mobilenetv2() -> nn.Module:
    """For ImageNet."""
    torch.manual_seed(0)
    return _settled(MobileNetV2(1000, (2, 1, 2, 2, 2, 1, 2, 1)), 224)


def mobilenetv2_small() -> nn.Module:
    """For CIFAR-10."""
    torch.manual_seed(0)
    return _settled(MobileNetV2(10, (1, 1, 1, 2, 2, 1, 2, 1)), 32)


def images(count: int, side: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """Smooth random pictures ``[N, 3, side, side]``."""
    coarse = torch.from_numpy(np.random.default_rng(0).uniform(0, 255, (count, 3, side // 8, side // 8)))
    smooth = nn.functional.interpolate(coarse, (side, side), mode="bicubic", align_corners=False)
    return np.asarray(smooth.clamp(0, 255).numpy(), np.uint8)


NETWORKS = {
    "mobilenetv2-small": ("measure_own_networks:mobilenetv2_small", 32),
    "mobilenetv2": ("measure_own_networks:mobilenetv2", 224),
    "efficientnet-lite0": ("efficientnet_lite0:model", 224),
}


def steps(module: str, side: int, folder: Path) -> dict[str, list[str]]:
    """The commands, by verb."""
    own, pruned, prepared, program = (str(folder / f"{name}.safetensors") for name in ("own", "pruned", "prep", "prog"))
    pictures = str(folder / "images.npy")
    shape = ["--input", f"1,3,{side},{side}", "--mean", "0.5,0.5,0.5", "--std", "0.5,0.5,0.5"]
    return {
        "trace": [module, *shape, "-o", own],
        "prune": [own, "-o", pruned],
        "prepare": [pruned, "--images", pictures, "-o", prepared],
        "compile": [prepared, "--images", pictures, "-o", program],
        "simulate": [program, "-a", "archon", "--fidelity", "cycle", "--images", pictures],
        "export": [prepared, "--form", "fused", "--images", pictures, "-n", "2", "-o", str(folder / "fused.onnx")],
    }


def measure(name: str, count: int, folder: Path) -> bool:
    """Run a network through all steps, with a log of what each printed; whether it kept to the limits."""
    module, side = NETWORKS[name]
    folder.mkdir(parents=True, exist_ok=True)
    np.save(folder / "images.npy", images(count, side))
    paths = [str(ROOT / "src"), str(ROOT / "tools"), str(ROOT / "examples")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    total, largest = 0.0, 0
    for verb, arguments in steps(module, side, folder).items():
        start = time.perf_counter()
        with (folder / f"{verb}.log").open("wb") as log:
            command = [sys.executable, "-m", "predfuse", verb, *arguments]
            child = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
            _, status, used = os.wait4(child.pid, 0)
            child.returncode = os.waitstatus_to_exitcode(status)
        seconds, resident = used.ru_utime + used.ru_stime, used.ru_maxrss * 1024
        total, largest = total + seconds, max(largest, resident)
        wall = time.perf_counter() - start
        print(f"{name:20} {verb:9} {seconds:6.1f} s CPU {wall:6.1f} s wall {resident / 1e9:5.2f} GB", flush=True)
        if child.returncode:
            print((folder / f"{verb}.log").read_text(errors="replace")[-2000:])
            return False
    print(f"{name:20} {'all':9} {total:6.1f} s CPU {'':15} {largest / 1e9:5.2f} GB", flush=True)
    return total <= MOST_CPU_SECONDS and largest <= MOST_BYTES


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="*", metavar="NETWORK", help=f"some of {', '.join(NETWORKS)}; all if none")
    parser.add_argument("--count", type=int, default=8, help="images to calibrate with")
    parser.add_argument("--output", type=Path, help="folder that keeps files and logs")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = chosen.output or Path(scratch)
        kept = [measure(name, chosen.count, folder / name) for name in chosen.networks or NETWORKS]
    raise SystemExit(not all(kept))


if __name__ == "__main__":
    main()
