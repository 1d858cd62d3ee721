"""Whether the memory holds the workers that are planned, and what one of them is known to take."""

import pytest

from sdperf.device import DeviceInfo
from sdperf.record.measurement import MemoryUsage
from sdperf.record.workload import Variant
from sdperf.run.memory import Room, choose_widest, find_peak, find_room
from tests.run.test_suite import make_suite

GIB = 2**30
CPU = DeviceInfo("cpu", "", ("fp32",), None, None)
MAC = DeviceInfo("mps", "Apple GPU", ("fp32", "fp16", "bf16"), None, 16 * GIB)
TWO_GPUS = DeviceInfo("cuda", "", ("fp32", "fp16"), 1, 80 * GIB, count=2)


@pytest.mark.parametrize(
    ("device", "ram_bytes", "room"),
    [
        (CPU, 24 * GIB, Room(24 * GIB, 0.7)),
        (MAC, 24 * GIB, Room(16 * GIB, 0.85)),
        (TWO_GPUS, 24 * GIB, Room(80 * GIB, 0.85, 2)),
        (CPU, None, None),
        (DeviceInfo("mps", "", (), None, None), 24 * GIB, Room(24 * GIB, 0.7)),
    ],
)
def test_the_room_is_that_of_the_device(device, ram_bytes, room):
    assert find_room(device, ram_bytes) == room


@pytest.mark.parametrize(
    ("needs", "holds"),
    [([68 * GIB], True), ([69 * GIB], False), ([60 * GIB] * 2, True), ([40 * GIB] * 3, False)],
)
def test_workers_take_devices_in_turn(needs, holds):
    room = find_room(TWO_GPUS, None)
    assert room.holds(needs) is holds
    assert room.describe() == "the 68.0 GiB that may be filled of 80.0 GiB each on 2 devices"


def test_a_room_is_described_by_what_may_be_filled():
    assert Room(24 * GIB, 0.7).describe() == "the 16.8 GiB that may be filled of 24.0 GiB"


def test_the_peak_is_that_of_one_worker_where_room_is_short():
    memory = MemoryUsage(peak_rss_bytes=6 * GIB, peak_device_bytes=4 * GIB)
    assert find_peak(memory, 2, CPU) == 3 * GIB
    assert find_peak(memory, 2, MAC) == 2 * GIB
    assert find_peak(MemoryUsage(None), 2, CPU) is None


@pytest.fixture
def suite():
    made = make_suite(weights=5 * 10**9)
    made.pool.describe_device = lambda _: CPU
    return made


def test_before_anything_ran_a_worker_takes_what_its_weights_do(suite):
    assert suite.find_need_bytes(Variant("fp32")) == 20 * 10**9
    assert suite.find_need_bytes(Variant("bf16")) == 10 * 10**9
    assert suite.find_need_bytes(Variant("bf16", optimisations=("int8_weights",))) is None
    assert suite.find_need_bytes(Variant("fp32", engine="onnx")) == 20 * 10**9, "it is loaded first"


def test_what_was_seen_to_be_taken_counts_then(suite):
    suite.note_memory(Variant("fp32", workers=2), MemoryUsage(peak_rss_bytes=50 * 10**9))
    suite.note_memory(Variant("fp32"), MemoryUsage(peak_rss_bytes=24 * 10**9))
    assert suite.find_need_bytes(Variant("fp32", mode="async")) == 25 * 10**9
    assert suite.find_need_bytes(Variant("bf16")) == 10 * 10**9


def test_a_model_whose_weights_nobody_counted_is_not_judged_before_it_ran():
    assert make_suite().find_need_bytes(Variant("fp32")) is None


def test_the_widest_precision_that_fits_is_what_others_are_compared_with():
    room, native = Room(24 * GIB, 0.5), ("fp32", "fp16", "bf16")
    assert choose_widest(2 * GIB, room, native) == "fp32"
    assert choose_widest(4 * GIB, room, native) == "bf16"
    assert choose_widest(4 * GIB, room, ("fp32", "fp16")) == "fp16"
    assert choose_widest(40 * GIB, room, native) == "fp16", "what is narrowest is tried"
    assert choose_widest(None, room, native) == choose_widest(40 * GIB, None, native) == "fp32"
