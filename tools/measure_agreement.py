"""How far integers drift from a deep predicted network, by what its predictors are: see docs/reference/program.md.

    python tools/measure_agreement.py [BITSxLARGEST_WEIGHT ...] [--seed 0]

The network is a MobileNetV2 of width 0.35 with random weights and norms as uneven as trained ones, pruned, with the
statistics of 384 CIFAR-10 images. Predictors are fitted on 64 images and not tuned; 32 others are compared. The last
lines say how far the model's own scores move when its images grow by a little.
"""

from __future__ import annotations

import argparse

import numpy as np
import torch
from torch import Tensor, nn

import predfuse
from predfuse import data, models
from predfuse.arrays import Array
from predfuse.fusion.execute import run_network
from predfuse.graph.nodes import Network
from predfuse.integer.agreement import compare
from predfuse.integer.compile import compile_layers
from predfuse.models.norms import Norm
from predfuse.predictor.network import prepare_network
from predfuse.predictor.prepare import PrepareConfig

MEAN, STD = (0.4914, 0.4822, 0.4465), (0.247, 0.2435, 0.2616)
FORMATS = ("4x1", "4x4", "6x4", "8x1", "8x4")


def normalised(pixels: Array) -> Tensor:
    """As the network takes them."""
    shape = (1, 3, 1, 1)
    return (torch.from_numpy(pixels).float() / 255 - torch.tensor(MEAN).view(shape)) / torch.tensor(STD).view(shape)


def network_of(images: Array, seed: int) -> Network:
    """The network, unpredicted."""
    model: nn.Module = models.build("mobilenetv2", seed, width=0.35)
    predfuse.prune(model, normalised(images[:2])).finish()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, tensor in model.named_parameters():
            if "norm" in name and name.endswith("weight"):
                tensor.copy_(torch.exp(torch.randn(tensor.shape, generator=generator) * 0.4))
            elif "norm" in name and name.endswith("bias"):
                drawn = torch.randn(tensor.shape, generator=generator) * 0.3
                kept = torch.rand(tensor.shape, generator=generator) < 0.3
                tensor.copy_(torch.where(tensor != 0, tensor, drawn * kept))
        for module in model.modules():
            if isinstance(module, Norm):
                module.momentum = None
        model.train()
        for start in range(1000, 1384, 64):
            model(normalised(images[start : start + 64]))
    return predfuse.to_network(model.eval(), normalised(images[:2]), name="narrow", mean=MEAN, std=STD)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("formats", nargs="*", default=FORMATS, metavar="BITSxLARGEST_WEIGHT")
    parser.add_argument("--seed", type=int, default=0, help="of the weights")
    chosen = parser.parse_args()
    images = data.load("cifar10", "train", limit=1400).images
    plain, fitted, compared = network_of(images, chosen.seed), normalised(images[:64]).numpy(), images[64:96]
    for text in chosen.formats:
        bits, largest = map(int, text.split("x"))
        network = prepare_network(plain, fitted, PrepareConfig(bits, largest_weight=largest, steps=0))
        found, _ = compare(compile_layers(network, images[64:80]), network, compared)
        last = list(found.drift.values())[-1]
        print(
            f"{text}: scores {found.output_error:.3f}, last block {last:.2f}, classes {found.classes_agree:.0%}",
            flush=True,
        )
    exact = normalised(compared).numpy().astype(np.float64)
    scores = run_network(network, exact, "predicted", statistics=False).logits
    for growth in (1e-6, 1e-5, 1e-4):
        moved = run_network(network, exact * (1 + growth), "predicted", statistics=False).logits - scores
        share = np.sqrt(np.mean(np.square(moved)) / np.mean(np.square(scores)))
        print(f"{text}: images larger by {growth:g} move the model's own scores by {share:.3f}")


if __name__ == "__main__":
    main()
