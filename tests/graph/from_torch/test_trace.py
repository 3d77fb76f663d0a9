"""What tracing promises as a whole: its errors, its verification, that it leaves the module alone."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
import traced_modules as styles
from torch import Tensor, nn

from predfuse import models
from predfuse.errors import InputError, PredfuseError
from predfuse.fusion.execute import run_network
from predfuse.graph.from_torch import trace
from predfuse.graph.from_torch.verify import verify
from predfuse.graph.io import load_network, save_network
from predfuse.graph.nodes import Conv, Unsupported
from predfuse.hardware import load_spec
from predfuse.hardware.closed_form.simulate import simulate


class ReturnsTwo(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.conv(x), x


class BranchesOnValues(ReturnsTwo):
    def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]
        return self.conv(x) if x.sum() > 0 else self.conv(-x)


class IgnoresItsInput(ReturnsTwo):
    def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]
        return self.conv(torch.ones(1, 3, 4, 4))


@pytest.mark.parametrize(
    ("module", "example", "message"),
    [
        (ReturnsTwo(), torch.randn(1, 3, 4, 4), "returns 2 values"),
        (BranchesOnValues(), torch.randn(1, 3, 4, 4), "branches on values of its input"),
        (IgnoresItsInput(), torch.randn(1, 3, 4, 4), "does not depend on its input"),
        (nn.Identity(), torch.randn(1, 3, 4, 4), "returns its input"),
        (nn.Conv2d(3, 4, 1), torch.randn(1, 5, 4, 4), "does not run on an input of 1x5x4x4"),
        (nn.Conv2d(3, 4, 9), torch.randn(1, 3, 4, 4), "does not run on an input of 1x3x4x4"),
        (nn.Conv2d(3, 4, 1), torch.randn(3, 4, 4), "has shape 3x4x4"),
        (nn.Conv2d(3, 4, 1), torch.zeros(1, 3, 4, 4, dtype=torch.uint8), "no finite floating-point values"),
        (nn.Conv2d(3, 4, 1), torch.full((1, 3, 4, 4), torch.nan), "no finite floating-point values"),
    ],
)
def test_unusable_models_and_examples_are_refused_in_one_line(module: nn.Module, example: Tensor, message: str) -> None:
    with pytest.raises(InputError) as caught:
        trace(module, example)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.filterwarnings("ignore:.*torch.jit.script")
def test_compiled_modules_are_refused() -> None:
    with pytest.raises(InputError, match="is compiled by TorchScript; give the torch"):
        trace(torch.jit.script(nn.Conv2d(3, 4, 1)), torch.randn(1, 3, 4, 4))


def test_weights_that_are_no_numbers_are_refused_by_layer() -> None:
    module: Any = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Conv2d(4, 2, 1))
    with torch.no_grad():
        module[1].weight[0, 0] = torch.nan
    with pytest.raises(InputError, match="layer 1: weight holds NaN"):
        trace(module, torch.randn(1, 3, 4, 4))


def test_the_module_is_left_as_it_was() -> None:
    module: Any = styles.liven(styles.TensorFlowStyle())
    module.train()
    module.expand_norm.eval()  # as when fine-tuning with frozen statistics
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    trace(module, torch.randn(2, 3, 8, 8))
    assert (module.training, module.expand_norm.training, module.dropout.training) == (True, False, True)
    for name, tensor in module.state_dict().items():
        torch.testing.assert_close(tensor, before[name], rtol=0, atol=0)


class ReturnsDictionary(ReturnsTwo):
    def forward(self, x: Tensor) -> dict[str, list[Tensor]]:  # type: ignore[override]
        return {"scores": [self.conv(x)]}


def test_one_tensor_may_be_returned_in_a_container() -> None:
    result = trace(ReturnsDictionary(), torch.randn(2, 3, 4, 4, requires_grad=True))
    assert [entry.kind for entry in result.ledger] == ["conv"]


def test_modules_in_float64_with_one_channel() -> None:
    module = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8, 3)).double()
    assert trace(module, torch.randn(3, 1, 4, 4).double()).verification.output_error < 1e-14  # type: ignore[operator]


def test_half_precision_modules_are_judged_by_their_own_rounding() -> None:
    module = styles.liven(styles.InvertedResidual(4, 12, 4)).bfloat16()
    result = trace(module, torch.randn(1, 4, 6, 6).bfloat16())
    assert result.verification.output_error > 1e-4  # type: ignore[operator]
    assert result.verification.node_error < 1e-12


def test_a_wrong_network_is_found_and_the_layer_named() -> None:
    module: Any = styles.liven(styles.InvertedResidual(4, 12, 4))
    module = nn.Sequential(nn.Conv2d(3, 4, 1), module, nn.Conv2d(4, 2, 1))
    images = torch.randn(1, 3, 6, 6)
    network = trace(module, images).network
    conv = network.nodes[-1]
    assert isinstance(conv, Conv)
    wrong = network.replace_nodes(**{conv.name: dataclasses.replace(conv, bias=conv.bias + 1e-3)})
    values = run_network(network, images.double().numpy(), keep=[node.name for node in network.nodes]).outputs
    recorded = {name: value[0] for name, value in values.items()}
    verify(network, module, images, recorded, 1e-4)
    with pytest.raises(PredfuseError, match=f"differs from the module at {conv.name} by a relative"):
        verify(wrong, module, images, recorded, 1e-4)
    with torch.no_grad():
        module[2].bias += 1
    with pytest.raises(PredfuseError, match="differs from the module"):
        verify(network, module, images, recorded, 1e-4)


@pytest.mark.parametrize("name", ["mobilenetv2-s", "fusionet-s"])
def test_registered_networks_trace_to_what_their_lowering_gives(name: str) -> None:
    model = models.build(name)
    styles.liven(model)
    channels, height, width = model.input_shape
    x = torch.randn(1, channels, height, width, generator=torch.Generator().manual_seed(0))
    result = trace(model, x)
    lowered = models.to_network(model)
    found = {block.name: block for block in result.network.bottlenecks()}
    for block in lowered.bottlenecks():
        same = found[f"layers.{block.name}"]
        assert (same.shuffle_groups, same.residual) == (block.shuffle_groups, block.residual)
        np.testing.assert_allclose(same.project_weight, block.project_weight, rtol=1e-12)
    images = x.double().numpy()
    expected = run_network(lowered, images, statistics=False).logits
    np.testing.assert_allclose(
        run_network(result.network, images, statistics=False).logits, expected, rtol=1e-9, atol=1e-9
    )


def test_networks_with_gaps_are_saved_but_not_run(tmp_path) -> None:  # type: ignore[no-untyped-def]
    network = trace(styles.SqueezeExciteBlock(), torch.randn(1, 4, 6, 6), allow_unsupported=True).network
    save_network(network, tmp_path / "gaps.safetensors")
    loaded = load_network(tmp_path / "gaps.safetensors")
    gaps = [node for node in loaded.nodes if isinstance(node, Unsupported)]
    assert [gap.operation for gap in gaps] == ["aten.sigmoid", "aten.mul"]
    with pytest.raises(InputError, match=r"layer excite.sigmoid: cannot be run .*a sigmoid"):
        run_network(loaded, np.zeros((1, 4, 6, 6)))


def test_networks_with_gaps_are_simulated_only_where_allowed() -> None:
    network = trace(styles.SqueezeExciteBlock(), torch.randn(1, 4, 6, 6), allow_unsupported=True).network
    spec = load_spec("eyeriss-dense")
    with pytest.raises(InputError, match=r"layer excite.sigmoid: a sigmoid has no 0/1 mask"):
        simulate(network, spec)
    result = simulate(network, spec, allow_unsupported=True)
    statuses = {entry.node: entry.status for entry in result.ledger}
    assert [node for node, status in statuses.items() if status == "unsupported"] == ["excite.sigmoid", "excite.mul"]
    assert result.total_cycles > 0
