import copy

import pytest
import torch

from predfuse import models
from predfuse.errors import InputError
from predfuse.training.augment import generator, vary
from predfuse.training.device import choose_device, describe
from predfuse.training.fast.choose import use_kernels
from predfuse.training.fast.cuda_graph import gradients
from predfuse.training.losses import cross_entropy


def test_the_processor_is_always_there() -> None:
    assert choose_device("cpu") == torch.device("cpu")
    assert describe(torch.device("cpu")) == "cpu"


def test_auto_takes_the_processor_where_there_is_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert choose_device("auto") == torch.device("cpu")


@pytest.mark.parametrize("name", ["cuda", "tpu"])
def test_a_device_that_is_not_there_is_refused(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(InputError, match=f"device .?{name}"):
        choose_device(name)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_images_vary_alike_on_every_device() -> None:
    images = torch.randint(0, 256, (8, 3, 32, 32), dtype=torch.uint8)
    here = vary(images, 2, True, generator(1))
    there = vary(images.cuda(), 2, True, generator(1))
    assert torch.equal(here, there.cpu())


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_recorded_step_gives_the_gradients_of_the_layers() -> None:
    random = torch.Generator().manual_seed(1)
    layers = models.build("fusionet-s", num_classes=10, input_shape=(3, 16, 16), groups=4).double().train()
    recorded = copy.deepcopy(layers).float().cuda()
    before = {name: buffer.clone() for name, buffer in recorded.named_buffers()}
    use_kernels(recorded, torch.device("cuda"))
    compute = gradients(recorded, cross_entropy(0.0), captured=True)
    for step in range(3):
        images = torch.randn(8, 3, 16, 16, generator=random)
        labels = torch.randint(0, 10, (8,), generator=random)
        wanted = gradients(layers, cross_entropy(0.0), captured=False)(images.double(), labels)
        found = compute(images.cuda(), labels.cuda())
        torch.testing.assert_close(found.cpu().double(), wanted, rtol=1e-4, atol=1e-5)
        for (name, one), other in zip(layers.named_parameters(), recorded.parameters(), strict=True):
            assert one.grad is not None and other.grad is not None
            scale = float(one.grad.abs().max())
            torch.testing.assert_close(other.grad.cpu().double(), one.grad, rtol=0, atol=1e-3 * scale + 1e-6, msg=name)
        counts = [buffer for name, buffer in recorded.named_buffers() if name.endswith("num_batches_tracked")]
        assert all(int(count) == step + 1 for count in counts)
    assert any(not torch.equal(buffer, before[name]) for name, buffer in recorded.named_buffers())
