"""Why an operation has no place in a network, in the user's words."""

from __future__ import annotations

_NO_MASK = "has no 0/1 mask (only ReLU, ReLU6 and linear do)"

_UPSAMPLING = "upsampling, which these networks do not do"
_RECURRENT = "a recurrent layer"

_REASONS = {
    "aten.silu": f"SiLU (swish) {_NO_MASK}",
    "aten.hardswish": f"hard-swish {_NO_MASK}",
    "aten.hardsigmoid": f"hard-sigmoid {_NO_MASK}",
    "aten.sigmoid": f"a sigmoid {_NO_MASK}",
    "aten.tanh": f"tanh {_NO_MASK}",
    "aten.gelu": f"GELU {_NO_MASK}",
    "aten.elu": f"ELU {_NO_MASK}",
    "aten.selu": f"SELU {_NO_MASK}",
    "aten.mish": f"Mish {_NO_MASK}",
    "aten.softplus": f"softplus {_NO_MASK}",
    "aten.leaky_relu": f"leaky ReLU {_NO_MASK}",
    "aten.celu": f"CELU {_NO_MASK}",
    "aten.rrelu": f"randomised ReLU {_NO_MASK}",
    "aten.log_sigmoid": f"log-sigmoid {_NO_MASK}",
    "aten.softsign": f"softsign {_NO_MASK}",
    "aten.abs": f"an absolute value {_NO_MASK}",
    "aten.prelu": f"PReLU {_NO_MASK}",
    "aten._prelu_kernel": f"PReLU {_NO_MASK}",
    "aten.mul": "a product of two feature maps (squeeze-and-excitation, gating or a hand-written activation)",
    "aten.div": "a quotient of two feature maps",
    "aten.softmax": "softmax is not part of a network here; take the scores before it",
    "aten.log_softmax": "softmax is not part of a network here; take the scores before it",
    "aten.layer_norm": "a layer norm depends on the image it normalises and cannot be folded",
    "aten.group_norm": "a group norm depends on the image it normalises and cannot be folded",
    "aten.instance_norm": "an instance norm depends on the image it normalises and cannot be folded",
    "aten.upsample_nearest2d": _UPSAMPLING,
    "aten.upsample_bilinear2d": _UPSAMPLING,
    "aten.upsample_bicubic2d": _UPSAMPLING,
    "aten.lstm": _RECURRENT,
    "aten.gru": _RECURRENT,
    "aten.rnn_tanh": _RECURRENT,
    "aten.rnn_relu": _RECURRENT,
    "aten.einsum": "a product written as einsum; write the convolution or linear layer it stands for",
    "aten.conv_transpose2d": "a transposed convolution",
    "aten.conv1d": "a one-dimensional convolution",
    "aten.conv3d": "a three-dimensional convolution",
    "aten.matmul": "a product of two feature maps (attention)",
    "aten.bmm": "a product of two feature maps (attention)",
    "aten.scaled_dot_product_attention": "attention",
}


def reason_for(operation: str) -> str:
    """Why ``operation`` (``aten.silu``) is unsupported."""
    return _REASONS.get(operation, f"{operation} is not an operation of these networks")


class NotSupportedError(Exception):
    """An operation cannot be expressed in a network; the message is the reason."""
