import pytest
import torch

from predfuse.errors import InputError
from predfuse.training.device import choose_device, describe
from predfuse.training.images import generator, vary


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
