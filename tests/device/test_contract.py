"""What every device has to keep; the same tests on cpu, cuda and mps."""

import pytest
import torch

from sdperf.device import DEVICE_CHOICES, select_device
from sdperf.errors import ConfigurationError


@pytest.fixture(
    params=[
        "cpu",
        pytest.param("cuda", marks=pytest.mark.cuda),
        pytest.param("mps", marks=pytest.mark.mps),
    ]
)
def device(request):
    return select_device(request.param)


def test_it_describes_itself_in_plain_values(device):
    info = device.describe()
    assert info.kind == device.kind == device.torch_device.type
    assert "fp32" in info.native_precisions
    assert info.memory_bytes is None or info.memory_bytes > 0


def test_synchronising_twice_is_harmless(device):
    torch.ones(8, device=device.torch_device).sum()
    device.synchronize()
    device.synchronize()


def test_the_peak_is_unknown_or_counts_what_was_allocated(device):
    device.reset_peak()
    block = torch.zeros(2**20, device=device.torch_device)
    device.synchronize()
    peak = device.peak_bytes()
    assert peak is None or peak >= block.numel() * 4
    del block
    device.empty_cache()
    assert device.peak_is_sampled in (True, False)


def test_auto_finds_a_device():
    assert select_device("auto").kind in DEVICE_CHOICES


def test_an_unknown_device_is_refused_with_the_choices():
    with pytest.raises(ConfigurationError, match="auto, mps, cuda, cpu"):
        select_device("tpu")


@pytest.mark.parametrize("kind", ["cuda", "mps"])
def test_an_absent_device_is_refused_with_what_is_there(kind, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(ConfigurationError, match="expected: cpu"):
        select_device(kind)
