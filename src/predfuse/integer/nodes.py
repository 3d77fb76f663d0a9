"""The layers of a compiled network: integers with power-of-two scales, exactly defined ("arithmetic: integers").

Every tensor has words of 16 bits, or all have 8, and stands for ``integer * 2**-fraction_bits``. Every layer follows
one rule: an exact accumulator, ``round_half_up(accumulator / 2**shift)``, the activation, saturation to a word
(counted). What each layer accumulates stands in its docstring; arrays are int16 whichever the words.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, TypeAlias

import numpy as np

from predfuse.arrays import Int8Array, Int16Array, Int32Array, Int64Array
from predfuse.graph.nodes import Activation, Bottleneck, BottleneckShapes, Node, Padding, Predictor, Shape, Windowed
from predfuse.integer.widths import (
    ACCUMULATOR_LIMIT,
    FRACTION_LIMIT,
    SHIFT_LIMIT,
    SUM_LIMIT,
    WORD_WIDTHS,
    add_bits,
    bias_factor_bits,
    conv_bits,
    highest,
    largest_exponent,
    layer_error,
    pool_bits,
    pool_counts,
    require_accumulator,
    require_activation,
    require_array,
    require_range,
    require_word,
)


@dataclass(frozen=True, eq=False, repr=False)
class IntegerNode(Node):
    """A node whose inputs and outputs are words.

    Attributes:
        fraction_bits: The output stands for ``integer * 2**-fraction_bits``.
        bits: Of a word: of an activation, a weight and a factor (bits, with sign).
    """

    fraction_bits: int
    bits: int = field(default=16, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.bits not in WORD_WIDTHS:
            raise layer_error(self.name, f"has words of {self.bits} bits")
        require_range(self.name, "fraction_bits", self.fraction_bits, -FRACTION_LIMIT, FRACTION_LIMIT)


@dataclass(frozen=True, eq=False, repr=False)
class IntegerConv(Windowed, IntegerNode):
    """A convolution; a linear layer is one whose window is the whole image.

    ``accumulator[o] = bias[o] + sum_{c,kh,kw} weight[o,c,kh,kw] * x[c, ...]``, then the shift of channel ``o``.

    Attributes:
        weight: ``[O, C/groups, kh, kw]`` int16.
        bias: ``[O]`` int64, in units of the accumulator.
        shift: ``[O]`` int8.
        ceiling: ReLU6's 6 in units of the output; 0 for other activations.
        accumulator_bits: With sign, for the worst case of any input.
    """

    weight: Int16Array
    bias: Int64Array
    shift: Int8Array
    accumulator_bits: int
    stride: int = 1
    padding: Padding = (0, 0, 0, 0)
    dilation: int = 1
    groups: int = 1
    activation: Activation = "linear"
    ceiling: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.weight, np.ndarray) or self.weight.ndim != 4:
            raise layer_error(self.name, "weight is no array of four dimensions")
        require_array(self.name, "weight", self.weight, np.int16, self.weight.shape)
        require_word(self.name, "weight", self.weight, self.bits)
        require_array(self.name, "bias", self.bias, np.int64, (self.out_channels,))
        require_array(self.name, "shift", self.shift, np.int8, (self.out_channels,))
        require_range(self.name, "shift", self.shift, 0, SHIFT_LIMIT)
        if self.groups < 1 or self.out_channels % self.groups or min(self.stride, self.dilation) < 1:
            raise layer_error(self.name, f"groups {self.groups}, stride {self.stride}, dilation {self.dilation}")
        if min(self.padding) < 0:
            raise layer_error(self.name, f"padding {self.padding}")
        require_activation(self.name, self.activation, self.ceiling)
        require_accumulator(self.name, self.accumulator_bits, conv_bits(self.weight, self.bias, self.shift, self.bits))


@dataclass(frozen=True, eq=False, repr=False)
class FusedBlock(BottleneckShapes, IntegerNode):
    """A bottleneck as one convolution gated by its predictor, its fused weights given by their factors.

    Fused weights, with ``R(v, s) = round_half_up(v / 2**s)`` and ``m`` of the group of ``o``::

        F[o,m,c,k]  = R(R(project[o,m] * expand[m,c],  bits - 1) * depthwise[m,k], weight_shift[o])
        B1[o,m,k]   = R(R(project[o,m] * expand_bias[m], bits - 1) * depthwise[m,k], expand_bias_shift[o])
        B2[o,m]     = R(project[o,m] * depthwise_bias[m], depthwise_bias_shift[o])

    Output, with the masks of the predictor (0 outside the image) and ``q = s*p + k``::

        accumulator[o,p] = output_bias[o]
            + sum_{c,k} x[c,q] * sum_m F[o,m,c,k] mask2[m,p] mask1[m,q]
            + 2**expand_bias_exponent[o] * sum_k sum_m B1[o,m,k] mask2[m,p] mask1[m,q]
            + 2**depthwise_bias_exponent[o] * sum_m B2[o,m] mask2[m,p]

    then the shift of channel ``o``, saturation, the channel shuffle, and with a residual ``x`` aligned to the output:
    ``saturate(round_half_up((y * 2**max(r, 0) + x * 2**max(-r, 0)) / 2**max(r, 0)))``, ``r = residual_shift``.
    The predictor reads ``clamp(x >> predictor_shift, input_min, input_max)``.

    Attributes:
        expand: ``[M, C/groups]`` int16.
        expand_bias: ``[M]`` int32, of 8 bits more than a word.
        depthwise: ``[M, k, k]`` int16.
        depthwise_bias: ``[M]`` int32, of 8 bits more than a word.
        project: ``[O, M/groups]`` int16.
        weight_shift: ``[O]`` int8.
        expand_bias_shift: ``[O]`` int8.
        depthwise_bias_shift: ``[O]`` int8.
        expand_bias_exponent: ``[O]`` int8, at most ``bits - 2``: the power of two is itself a possible activation.
        depthwise_bias_exponent: ``[O]`` int8, likewise.
        output_bias: ``[O]`` int64, in units of the accumulator.
        shift: ``[O]`` int8.
        weight_bits: Of every fused weight and bias entry (bits, with sign).
        sum_bits: Of every sum of one list, whatever the masks (bits, with sign).
        accumulator_bits: With sign, for the worst case of any masks and any input.
        predictor: In integers; its ``input_exponent`` is that of the float network.
        predictor_shift: Right shift from the block's input to the predictor's.
        expand_gated: Whether the first stage is gated at all (not for a linear one).
        depthwise_gated: Whether the second stage is.
        residual_shift: Fraction bits of the input less those of the output; 0 without residual.
    """

    expand: Int16Array
    expand_bias: Int32Array
    depthwise: Int16Array
    depthwise_bias: Int32Array
    project: Int16Array
    weight_shift: Int8Array
    expand_bias_shift: Int8Array
    depthwise_bias_shift: Int8Array
    expand_bias_exponent: Int8Array
    depthwise_bias_exponent: Int8Array
    output_bias: Int64Array
    shift: Int8Array
    weight_bits: int
    sum_bits: int
    accumulator_bits: int
    predictor: Predictor
    predictor_shift: int
    expand_gated: bool
    depthwise_gated: bool
    stride: int
    padding: Padding
    groups: int
    shuffle_groups: int
    residual: bool
    residual_shift: int

    def __post_init__(self) -> None:
        super().__post_init__()
        for label, dimensions in (("expand", 2), ("depthwise", 3), ("project", 2)):
            if not isinstance(getattr(self, label), np.ndarray) or getattr(self, label).ndim != dimensions:
                raise layer_error(self.name, f"{label} is no array of {dimensions} dimensions")
        middle, outputs, kernel = self.middle_channels, self.out_channels, self.kernel
        shapes = {
            "expand": self.expand.shape,
            "expand_bias": (middle,),
            "depthwise": (middle, kernel, kernel),
            "depthwise_bias": (middle,),
            "project": (outputs, middle // self.groups if self.groups > 0 else 0),
        }
        for label, shape in shapes.items():
            bias = label.endswith("bias")
            require_array(self.name, label, getattr(self, label), np.int32 if bias else np.int16, shape)
            require_word(self.name, label, getattr(self, label), bias_factor_bits(self.bits) if bias else self.bits)
        require_array(self.name, "output_bias", self.output_bias, np.int64, (outputs,))
        limits = dict.fromkeys(("expand_bias_exponent", "depthwise_bias_exponent"), largest_exponent(self.bits))
        limits |= dict.fromkeys(("shift", "weight_shift", "expand_bias_shift", "depthwise_bias_shift"), SHIFT_LIMIT)
        for label, largest in limits.items():
            require_array(self.name, label, getattr(self, label), np.int8, (outputs,))
            require_range(self.name, label, getattr(self, label), 0, largest)
        require_range(self.name, "weight_bits", self.weight_bits, 1, self.bits)
        require_range(self.name, "sum_bits", self.sum_bits, 1, SUM_LIMIT)
        require_range(self.name, "accumulator_bits", self.accumulator_bits, 1, ACCUMULATOR_LIMIT)
        require_range(self.name, "predictor_shift", self.predictor_shift, 0, SHIFT_LIMIT)
        require_range(self.name, "residual_shift", self.residual_shift, -30, 30)
        if not isinstance(self.predictor, Predictor):
            raise layer_error(self.name, "has no predictor")
        self.as_bottleneck()  # checks everything the float block checks too

    def as_bottleneck(self) -> Bottleneck:
        """The block's shape, predictor and integer factors in the terms of :mod:`predfuse.graph.nodes`."""
        return Bottleneck(
            name=self.name,
            inputs=self.inputs,
            expand_weight=self.expand,
            expand_bias=self.expand_bias,
            depthwise_weight=self.depthwise,
            depthwise_bias=self.depthwise_bias,
            project_weight=self.project,
            project_bias=self.output_bias,
            stride=self.stride,
            padding=self.padding,
            groups=self.groups,
            expand_activation="relu" if self.expand_gated else "linear",
            depthwise_activation="relu" if self.depthwise_gated else "linear",
            shuffle_groups=self.shuffle_groups,
            residual=self.residual,
            predictor=self.predictor,
        )

    @property
    def factors(self) -> tuple[Int16Array, Int16Array, Int16Array]:
        return self.expand, self.depthwise, self.project


@dataclass(frozen=True, eq=False, repr=False)
class IntegerPool(IntegerNode):
    """Pooling; ``kernel`` 0 pools the whole image.

    ``average``: ``accumulator[p] = multiplier[p] * sum of the window inside the image``; ``max``: the maximum instead
    of the sum. Then the shift of pixel ``p``.

    Attributes:
        multiplier: ``[P, Q]`` int16, the inverse of the window's pixel count; 1 for maxima.
        shift: ``[P, Q]`` int8.
        accumulator_bits: With sign, for the worst case of any input.
    """

    kind: Literal["average", "max"]
    kernel: int
    stride: int
    padding: Padding
    multiplier: Int16Array
    shift: Int8Array
    accumulator_bits: int

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.kind not in ("average", "max") or self.kernel < 0 or self.stride < 1 or min(self.padding) < 0:
            raise layer_error(
                self.name, f"pooling {self.kind} {self.kernel}, stride {self.stride}, padding {self.padding}"
            )
        if (self.kernel and max(self.padding) >= self.kernel) or (not self.kernel and any(self.padding)):
            raise layer_error(self.name, f"padding {self.padding} with kernel {self.kernel}")
        shape = self.multiplier.shape
        if len(shape) != 2:
            raise layer_error(self.name, f"multiplier has shape {shape}, expected rows x columns")
        require_array(self.name, "multiplier", self.multiplier, np.int16, shape)
        require_array(self.name, "shift", self.shift, np.int8, shape)
        require_range(self.name, "multiplier", self.multiplier, 1, highest(self.bits))
        require_range(self.name, "shift", self.shift, 0, SHIFT_LIMIT)

    def require_average(self, input_bits: int, shape: Shape) -> None:
        """Check that every pixel of an average is that of its window, for an input of ``input_bits`` and ``shape``.

        Raises:
            InputError: It stands for another share of the sum than one pixel's, whether or not padding counts.
        """
        exponents = self.shift.astype(np.int64) + self.fraction_bits - input_bits
        for count_padding in (False, True):
            inverse = np.ldexp(1.0, exponents) / pool_counts(
                shape, self.kernel, self.stride, self.padding, count_padding
            )
            if (np.abs(self.multiplier - inverse) <= 0.5).all():
                return
        raise layer_error(self.name, f"does not average at {self.fraction_bits} fraction bits from {input_bits}")

    def output_shape(self, shapes: list[Shape]) -> Shape:
        (shape,) = shapes
        window = (self.kernel, self.kernel) if self.kernel else (shape[1], shape[2])
        out = self._window_shape(shape, shape[0], window, self.stride, self.padding)
        if out[1:] != self.multiplier.shape:
            raise layer_error(self.name, f"gives {out[1]}x{out[2]} pixels, has multipliers for {self.multiplier.shape}")
        pixels = 1 if self.kind == "max" else window[0] * window[1]
        require_accumulator(self.name, self.accumulator_bits, pool_bits(self.multiplier, pixels, self.shift, self.bits))
        return out


@dataclass(frozen=True, eq=False, repr=False)
class IntegerAdd(IntegerNode):
    """Sum of equal shapes: ``accumulator = sum_i x_i * 2**align[i]``, then the shift and the activation.

    Attributes:
        align: ``[inputs]`` int8 left shifts that bring all inputs to one scale.
        shift: Right shift from there to the output.
        ceiling: ReLU6's 6 in units of the output; 0 for other activations.
        accumulator_bits: With sign, for the worst case of any inputs.
    """

    align: Int8Array
    shift: int
    accumulator_bits: int
    activation: Activation = "linear"
    ceiling: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        require_array(self.name, "align", self.align, np.int8, (len(self.inputs),))
        require_range(self.name, "align", self.align, 0, SHIFT_LIMIT)
        require_range(self.name, "shift", self.shift, 0, SHIFT_LIMIT)
        require_activation(self.name, self.activation, self.ceiling)
        require_accumulator(self.name, self.accumulator_bits, add_bits(self.align, self.shift, self.bits))

    def output_shape(self, shapes: list[Shape]) -> Shape:
        if any(shape != shapes[0] for shape in shapes):
            raise layer_error(self.name, f"adds different shapes {shapes}")
        return shapes[0]


@dataclass(frozen=True, eq=False, repr=False)
class IntegerConcat(IntegerNode):
    """Concatenation along the channels, every input shifted right to the coarsest scale of all.

    Attributes:
        shift: ``[inputs]`` int8.
    """

    shift: Int8Array

    def __post_init__(self) -> None:
        super().__post_init__()
        require_array(self.name, "shift", self.shift, np.int8, (len(self.inputs),))
        require_range(self.name, "shift", self.shift, 0, SHIFT_LIMIT)

    def output_shape(self, shapes: list[Shape]) -> Shape:
        if any(shape[1:] != shapes[0][1:] for shape in shapes):
            raise layer_error(self.name, f"joins different image sizes {shapes}")
        return (sum(shape[0] for shape in shapes), *shapes[0][1:])


@dataclass(frozen=True, eq=False, repr=False)
class IntegerShuffle(IntegerNode):
    """Channel shuffle: output channel ``i*groups + j`` is input channel ``j*C/groups + i``."""

    groups: int

    def output_shape(self, shapes: list[Shape]) -> Shape:
        (shape,) = shapes
        if self.groups < 1 or shape[0] % self.groups:
            raise layer_error(self.name, f"{shape[0]} channels in {self.groups} groups")
        return shape


ProgramNode: TypeAlias = IntegerConv | FusedBlock | IntegerPool | IntegerAdd | IntegerConcat | IntegerShuffle
NODE_TYPES: tuple[type[IntegerNode], ...] = (
    IntegerConv,
    FusedBlock,
    IntegerPool,
    IntegerAdd,
    IntegerConcat,
    IntegerShuffle,
)
