"""Running programs: input forms, saturation counts, refusals, speed."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from predfuse import models
from predfuse.arrays import Array
from predfuse.errors import InputError, PredfuseError
from predfuse.fusion.convolution import finish_block, fused_convolution
from predfuse.fusion.weights import fuse
from predfuse.graph.nodes import INPUT, Network
from predfuse.integer import reference, run_program
from predfuse.integer.compile import compile_network
from predfuse.integer.fast_machine import FastMachine
from predfuse.integer.program import IntegerConv, IntegerPool, Program
from predfuse.integer.run import to_integers
from predfuse.predictor.initialise import insert_predictors


def _scale(name: str, weight: int, shift: int, activation: str = "linear", ceiling: int = 0) -> IntegerConv:
    """A layer that multiplies its one channel by ``weight / 2**shift``."""
    return IntegerConv(
        name,
        (INPUT,),
        fraction_bits=8,
        weight=np.full((1, 1, 1, 1), weight, np.int16),
        bias=np.zeros(1, np.int64),
        shift=np.full(1, shift, np.int8),
        accumulator_bits=40,
        activation=activation,  # type: ignore[arg-type]
        ceiling=ceiling,
    )


def _program(*nodes: IntegerConv | IntegerPool) -> Program:
    table = np.arange(-128, 128, dtype=np.int16)[None] * 256
    return Program("p", (1, 2, 3), 8, table, nodes, labels=tuple("abcdef"))


@pytest.mark.parametrize("machine", ["fast", "reference"])
def test_every_value_that_does_not_fit_is_counted(machine: str) -> None:
    pixels = np.array([[0, 64, 128], [191, 192, 255]], np.uint8)[None, None]  # -32768 ... 32512
    result = run_program(_program(_scale("double", 2, 0)), pixels, machine=machine)  # type: ignore[arg-type]
    np.testing.assert_array_equal(result.scores, [[-32768, -32768, 0, 32256, 32767, 32767]])
    assert result.saturations == {INPUT: 0, "double": 3}  # -65536, 32768 and 65024
    relu = run_program(_program(_scale("double", 2, 0, "relu")), pixels, machine=machine)  # type: ignore[arg-type]
    assert relu.saturations["double"] == 2  # what ReLU removes has not saturated
    relu6 = _scale("double", 2, 0, "relu6", 1536)
    clipped = run_program(_program(relu6), pixels, machine=machine)  # type: ignore[arg-type]
    assert clipped.saturations["double"] == 0 and clipped.scores.max() == 1536


@pytest.mark.parametrize("machine", ["fast", "reference"])
def test_rounding_is_half_up(machine: str) -> None:
    values = np.array([-3, -2, -1, 1, 2, 3]) / 256
    floats = values.reshape(1, 1, 2, 3)
    result = run_program(_program(_scale("half", 1, 1)), floats, machine=machine)  # type: ignore[arg-type]
    np.testing.assert_array_equal(result.scores, [[-1, -1, 0, 1, 1, 2]])


def test_averages_and_maxima_by_hand() -> None:
    table = np.zeros((1, 256), np.int16)
    image = np.array([[1, 2, 3], [-4, 5, 7]], np.int16)[None] / 256

    def pooled(kind: str, multiplier: int, shift: int) -> list[int]:
        node = IntegerPool(
            "pool",
            (INPUT,),
            fraction_bits=8,
            kind=kind,  # type: ignore[arg-type]
            kernel=2,
            stride=1,
            padding=(0, 0, 0, 1),
            multiplier=np.full((1, 3), multiplier, np.int16),
            shift=np.full((1, 3), shift, np.int8),
            accumulator_bits=40,
        )
        program = Program("p", (1, 2, 3), 8, table, (node,))
        results = [run_program(program, image[None], machine=m).scores[0].tolist() for m in ("fast", "reference")]
        assert results[0] == results[1]
        return list(results[0])

    assert pooled("average", 1 << 14, 16) == [1, 4, 3]  # 4/4, 17/4, 10/4
    assert pooled("max", 1, 0) == [5, 7, 7]
    for multiplier, shift in ((1 << 14, 15), ((1 << 14) + 1, 16), (1 << 13, 16)):
        with pytest.raises(InputError, match="does not average at 8 fraction bits from 8"):
            pooled("average", multiplier, shift)


def test_float_images_saturate_and_are_counted() -> None:
    program = _program(_scale("same", 1, 0))
    images = np.array([0.0, 127.996, 128.0, 1e6, -128.0, -1e6]).reshape(1, 1, 2, 3)
    integers, saturated = to_integers(program, images)
    np.testing.assert_array_equal(integers.ravel(), [0, 32767, 32767, 32767, -32768, -32768])
    assert saturated == 3 and run_program(program, images).saturations == {INPUT: 3, "same": 0}


def test_results_say_which_class_and_how_often_right() -> None:
    program = _program(_scale("same", 1, 0))
    images = np.zeros((2, 1, 2, 3))
    images[0, 0, 1, 2] = images[1, 0, 0, 1] = 1
    result = run_program(program, images)
    assert result.predictions.tolist() == [5, 1] and result.fraction_bits == 8
    assert result.accuracy(np.array([5, 0])) == 0.5


def test_unusable_images_and_names_are_refused() -> None:
    program = _program(_scale("same", 1, 0))
    unusable: list[tuple[Array, str]] = [
        (np.zeros((1, 1, 2, 2)), "have shape 1x1x2x2, program p expects Nx1x2x3"),
        (np.zeros((0, 1, 2, 3)), "have shape 0x1x2x3"),
        (np.zeros((1, 1, 2, 3), np.int16), "have type int16"),
        (np.full((1, 1, 2, 3), np.nan), "hold NaN"),
    ]
    for images, message in unusable:
        with pytest.raises(InputError, match=message):
            run_program(program, images)
    image = np.zeros((1, 1, 2, 3))
    with pytest.raises(InputError, match="has no layer 'more'"):
        run_program(program, image, keep=["more"])
    for machine in ("slow", FastMachine(_program(_scale("same", 1, 0)))):
        with pytest.raises(InputError, match="machine: is"):
            run_program(program, image, machine=machine)  # type: ignore[arg-type]


def test_the_reference_notices_widths_that_are_too_narrow() -> None:
    layer = _scale("same", 1, 0)
    object.__setattr__(layer, "accumulator_bits", 10)  # past every check
    with pytest.raises(PredfuseError, match="layer same: accumulator exceeds the 10 bits"):
        reference.run_image(_program(layer), np.full((1, 2, 3), 512, np.int16))


def _predicted(name: str, shape: tuple[int, int, int]) -> tuple[Network, Array]:
    """A network pruned as published, its predictors calibrated on noise, and two images of it."""
    images = np.random.default_rng(0).normal(size=(2, *shape))
    model = models.build(name, input_shape=shape)
    noise = torch.from_numpy(images).float()
    with torch.no_grad():
        for module in model.modules():  # batch norms take the statistics of the images
            if isinstance(module, torch.nn.BatchNorm2d):
                module.momentum = 1.0
        model.train()
        model(noise)
        for parameter in model.parameters():
            if parameter.dim() == 4:
                magnitude = parameter.abs().flatten()
                share = 0.7 if parameter.shape[1] == 1 else 0.8
                parameter.mul_(parameter.abs() > magnitude.kthvalue(int(share * len(magnitude))).values)
    model.eval()
    insert_predictors(model, noise)
    return models.to_network(model), images


@pytest.mark.parametrize(("name", "shape"), [("fusionet-s", (1, 28, 28)), ("fusionet", (3, 32, 32))])
def test_every_block_gives_what_the_float_block_gives(name: str, shape: tuple[int, int, int]) -> None:
    """On the masks it used and the input it got, to a few steps of its output."""
    network, images = _predicted(name, shape)
    program = compile_network(network, images)
    machine = FastMachine(program)
    result = run_program(program, images[:1], machine=machine, keep=[n.name for n in program.nodes], keep_masks=True)
    assert len(program.fused_blocks()) == len(list(network.bottlenecks())) and sum(result.saturations.values()) == 0
    scales = {node.name: 2.0**-node.fraction_bits for node in program.nodes}
    for block in network.bottlenecks():
        x = result.values[block.inputs[0]][0] * scales[block.inputs[0]]
        masks = [mask[0] for mask in result.masks[block.name]]
        expected = finish_block(block, fused_convolution(fuse(block), x, *masks), x)
        found = result.values[block.name][0] * scales[block.name]
        np.testing.assert_allclose(found, expected, rtol=0, atol=8 * scales[block.name], err_msg=block.name)
