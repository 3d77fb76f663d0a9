"""Which layers are trained otherwise than by those of PyTorch, and how."""

from __future__ import annotations

import torch
from torch.utils._triton import has_triton

from predfuse.models.layers import BottleneckUnit, Cnn, ConvUnit
from predfuse.training.fast.cpu_block import ChannelwiseBlock
from predfuse.training.fast.gpu_block import ChannelMajor, fits
from predfuse.training.fast.native import block_loops

FEW_INPUTS = 8
"""Inputs of a middle channel up to which its loops beat PyTorch's grouped convolutions with no weight pruned: 4 inputs
4 times as fast (fusionet-n, whole steps beside other work)."""


def use_kernels(model: Cnn, device: torch.device, pruned: bool = True) -> bool:
    """Train the layers of a model otherwise than by those of PyTorch where that is faster.

    On a processor, blocks a middle channel at a time where it pays: if they are ``pruned``, or if a middle channel
    reads few inputs; threads share the groups of a block. With more threads than groups, and without a C++ compiler,
    PyTorch's layers are used. On a GPU, blocks and grouped convolutions in parts with channels outside the images,
    compiled where Triton is installed.

    Returns:
        Whether any layer is trained so.
    """
    on_gpu = ChannelMajor(compiled=has_triton()) if device.type == "cuda" else None
    used = False
    for layer in model.layers:
        if isinstance(layer, BottleneckUnit):
            pays = pruned or layer.expand.weight.shape[1] <= FEW_INPUTS
            pays = pays and torch.get_num_threads() <= layer.groups
            layer.kernel = on_gpu or (ChannelwiseBlock() if pays and block_loops() is not None else None)
            used = used or layer.kernel is not None
        elif isinstance(layer, ConvUnit):
            layer.convolve = on_gpu.convolve if on_gpu is not None and fits(layer.conv) else None
            used = used or layer.convolve is not None
    return used
