"""On a host with several GPUs workers take them in turn; torch's count and choice are faked."""

from types import SimpleNamespace

import pytest
import torch

from sdperf.device import choose_index, select_device


@pytest.fixture
def gpus(monkeypatch):
    """Two GPUs; notes which one was made current."""
    chosen = []
    properties = SimpleNamespace(
        name="Fake GPU", major=9, minor=0, multi_processor_count=4, total_memory=2**30
    )
    fakes = {
        "is_available": lambda: True,
        "device_count": lambda: 2,
        "set_device": chosen.append,
        "current_device": lambda: chosen[-1],
        "get_device_properties": lambda device: properties,
    }
    for name, fake in fakes.items():
        monkeypatch.setattr(torch.cuda, name, fake)
    return chosen


def test_workers_are_pinned_in_turn(gpus):
    for slot, index in enumerate([0, 1, 0, 1, 0]):
        device = select_device("cuda", slot)
        assert gpus[-1] == index
        assert device.torch_device == torch.device("cuda", index)
        assert device.describe().index == index
        assert device.describe().count == 2


def test_one_gpu_or_none_leaves_nothing_to_choose():
    assert [choose_index(slot, 1) for slot in range(3)] == [0, 0, 0]
    assert choose_index(3, 0) == 0


def test_a_slot_means_nothing_to_a_processor():
    assert select_device("cpu", 3).describe().index is None
