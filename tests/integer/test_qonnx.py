"""QONNX: a program of plain layers gives the integer machine's bits, by our runner and by qonnx's own ``Quant``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import assume, given, settings
from integer.cases import CompiledCase, compiled_cases
from onnx.reference import ReferenceEvaluator
from onnx.reference.op_run import OpRun

from predfuse import data, load, zoo
from predfuse.arrays import Array
from predfuse.cli import main
from predfuse.errors import InputError
from predfuse.graph.nodes import Network
from predfuse.integer.compile import compile_network
from predfuse.integer.program import Program
from predfuse.integer.qonnx import DOMAIN, predictor_to_qonnx, run_qonnx, to_qonnx
from predfuse.integer.run import run_program, to_integers


def peer_run(model: onnx.ModelProto, image: Array) -> Array:
    """The same with ``Quant`` computed by the package qonnx."""
    intquant = pytest.importorskip("qonnx.custom_op.general.intquant", reason="the package qonnx is not installed")

    class Quant(OpRun):
        op_domain = DOMAIN

        def _run(self, x, scale, zero, bits, **given):  # type: ignore[no-untyped-def]
            return (intquant.int_quant(x, scale, zero, bits, given["signed"], given["narrow"], given["rounding_mode"]),)

    outputs = ReferenceEvaluator(model, new_ops=[Quant]).run(None, {"input": image.astype(np.float32)})
    assert isinstance(outputs, list)
    found: Array = outputs[0]
    return found


def integers_of(program: Program, image: Array, run: Callable[[onnx.ModelProto, Array], Array]) -> Array:
    real = np.ldexp(to_integers(program, image[None])[0].astype(np.float64), -program.input_fraction_bits)
    found: Array = np.ldexp(run(to_qonnx(program), real).astype(np.float64), program.output.fraction_bits).ravel()
    return found


@settings(max_examples=10, deadline=None)
@given(case=compiled_cases(with_predictor=False))
def test_random_programs_are_equal_bit_for_bit(case: CompiledCase) -> None:
    program, image = case.program, case.images[0]
    if any(getattr(node, "accumulator_bits", 0) > 53 for node in program.nodes):
        with pytest.raises(InputError, match="float64 is exact to 53"):
            to_qonnx(program)
        return
    wanted = run_program(program, image[None]).scores[0]
    for run in (run_qonnx, peer_run):
        assert np.array_equal(integers_of(program, image, run), wanted)


@settings(max_examples=8, deadline=None)
@given(case=compiled_cases(with_predictor=True))
def test_fused_blocks_are_refused_and_their_predictors_are_said_exactly(case: CompiledCase) -> None:
    assume(case.program.fused_blocks())
    with pytest.raises(InputError, match="is fused, which QONNX has no operators for"):
        to_qonnx(case.program)
    require_equal_masks(case.program, case.images[:1])


def require_equal_masks(program: Program, images: Array) -> None:
    """Every predictor, run by the package qonnx on what its block reads, gives the masks of the integer machine."""
    execute = pytest.importorskip("qonnx.core.onnx_exec", reason="the package qonnx is not installed").execute_onnx
    wrapper = pytest.importorskip("qonnx.core.modelwrapper").ModelWrapper
    blocks = list(program.fused_blocks())
    result = run_program(program, images, keep=[block.inputs[0] for block in blocks], keep_masks=True)
    for block in blocks:
        source = block.inputs[0]
        real = np.ldexp(result.values[source].astype(np.float32), -program.fraction_bits[source])
        found = execute(wrapper(predictor_to_qonnx(program, block.name)), {"input": real})
        gated = (block.expand_gated, block.depthwise_gated)
        assert len(found) == sum(gated)
        for number, mask in enumerate(result.masks[block.name], 1):
            if gated[number - 1]:
                assert np.array_equal(found[f"mask{number}"], mask), f"{block.name}: mask{number}"


def test_a_shipped_network_by_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    program, out = str(tmp_path / "pruned.program"), tmp_path / "pruned.onnx"
    pruned = zoo.folder("fashion-mnist-fusionet-s") / "pruned.safetensors"
    data = ("--images", "fashion-mnist-1000", "-n")
    for command in (
        ("compile", str(pruned), "-o", program, *data, "4"),
        ("export", program, "-o", str(out), "--form", "qonnx", *data, "1"),
    ):
        monkeypatch.setattr("sys.argv", ["predfuse", *command])
        with pytest.raises(SystemExit) as ended:
            main()
        assert not ended.value.code
    assert out.stat().st_size > 100_000
    assert "1 images equal bit for bit" in capsys.readouterr().out


def test_predictors_of_a_shipped_network_are_said_exactly() -> None:
    network = load(zoo.folder("fashion-mnist-fusionet-s") / "predicted-joint.safetensors")
    assert isinstance(network, Network)
    images = data.load("fashion-mnist-1000", "test", limit=4).images
    program = compile_network(network, images)
    require_equal_masks(program, images[:1])
    with pytest.raises(InputError, match="has no fused block 'nowhere'"):
        predictor_to_qonnx(program, "nowhere")
