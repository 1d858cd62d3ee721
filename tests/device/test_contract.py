"""What every device has to keep; the same tests on cpu, cuda, mps, and a recorded mps."""

import pickle
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pytest
import torch

from sdperf.device import DEVICE_CHOICES, select_device
from sdperf.device import mps as mps_module
from sdperf.errors import ConfigurationError
from sdperf.record.workload import PRECISIONS
from tests.support.recorded_mps import RecordedMps

BLOCK_BYTES = 2**24


@dataclass
class Subject:
    """A device, and how blocks are had from it."""

    device: Any
    recorded: RecordedMps | None = None

    def allocate(self):
        if self.recorded is None:
            block = torch.ones(BLOCK_BYTES // 4, device=self.device.torch_device)
        else:
            block = None
            self.recorded.allocate(BLOCK_BYTES)
        self.device.synchronize()
        return [block]

    def free(self, holder):
        holder.clear()
        if self.recorded is not None:
            self.recorded.free(BLOCK_BYTES)


@pytest.fixture(
    params=[
        "cpu",
        pytest.param("cuda", marks=pytest.mark.cuda),
        pytest.param("mps", marks=pytest.mark.mps),
        "recorded mps of torch 2.6",
        "recorded mps of torch 2.13",
    ]
)
def subject(request, monkeypatch):
    if not request.param.startswith("recorded"):
        return Subject(select_device(request.param))
    recorded = RecordedMps(request.param.split()[-1])
    monkeypatch.setattr(mps_module, "torch", recorded.torch)
    return Subject(mps_module.MpsDevice(), recorded)


@pytest.fixture
def device(subject):
    return subject.device


def test_it_describes_itself_in_plain_values_that_cross_a_process_border(device):
    info = device.describe()
    assert info.kind == device.kind in DEVICE_CHOICES
    assert "fp32" in info.native_precisions
    assert set(info.native_precisions) <= set(PRECISIONS)
    assert info.memory_bytes is None or info.memory_bytes > 0
    assert pickle.loads(pickle.dumps(info)) == info
    assert device.describe() == info


def test_its_place_is_named_as_torch_names_it(subject):
    expected = "cpu" if subject.recorded else subject.device.kind
    assert subject.device.torch_device.type == expected
    assert subject.device.torch_device == subject.device.torch_device


def test_synchronising_twice_is_harmless_and_returns_nothing(device):
    torch.ones(8, device=device.torch_device).sum()
    assert device.synchronize() is None
    assert device.synchronize() is None


def test_what_was_queued_is_done_after_synchronising(device):
    product = torch.ones(64, 64, device=device.torch_device) @ torch.ones(
        64, 64, device=device.torch_device
    )
    device.synchronize()
    assert torch.equal(product.cpu(), torch.full((64, 64), 64.0))


def test_memory_is_unknown_as_a_whole_or_known_as_a_whole(device):
    known = [
        value is not None
        for value in (device.live_bytes(), device.driver_bytes(), device.peak_bytes())
    ]
    assert all(known) or not any(known)
    assert any(known) == (device.kind != "cpu")
    assert device.peak_is_sampled in (True, False)


def test_live_memory_follows_what_is_held(subject):
    device = subject.device
    before = device.live_bytes()
    holder = subject.allocate()
    if before is None:
        assert device.live_bytes() is None
        return
    assert device.live_bytes() >= before + BLOCK_BYTES
    assert device.driver_bytes() >= device.live_bytes()
    subject.free(holder)
    assert device.live_bytes() < before + BLOCK_BYTES


def test_the_peak_is_unknown_or_holds_what_was_allocated_and_freed(subject):
    device = subject.device
    device.reset_peak()
    subject.free(subject.allocate())
    peak = device.peak_bytes()
    assert peak is None or peak >= BLOCK_BYTES


def test_a_peak_ends_where_it_is_reset(subject):
    device = subject.device
    subject.free(subject.allocate())
    device.reset_peak()
    peak, live = device.peak_bytes(), device.live_bytes()
    assert (peak is None) == (live is None)
    assert peak is None or live <= peak < live + BLOCK_BYTES


def test_an_emptied_cache_keeps_what_is_held_and_gives_the_rest_back(subject):
    device = subject.device
    device.empty_cache()
    at_rest = device.driver_bytes()
    kept, dropped = subject.allocate(), subject.allocate()
    live, full = device.live_bytes(), device.driver_bytes()
    subject.free(dropped)
    device.empty_cache()
    if live is not None:
        assert at_rest <= device.driver_bytes() < full
        assert device.live_bytes() == live - BLOCK_BYTES
    subject.free(kept)


def test_one_thread_that_is_not_the_main_one_may_own_it(subject):
    """Everything in one thread of its own, which is how a worker uses it."""

    def use():
        assert threading.current_thread() is not threading.main_thread()
        subject.device.describe()
        subject.device.reset_peak()
        subject.free(subject.allocate())
        subject.device.empty_cache()
        return subject.device.peak_bytes()

    with ThreadPoolExecutor(1) as owner:
        peak = owner.submit(use).result()
    assert peak is None or peak >= BLOCK_BYTES


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
