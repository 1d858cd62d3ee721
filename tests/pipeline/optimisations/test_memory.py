"""Freed memory is kept by glibc, and by nothing that only looks like it."""

import json
import subprocess
import sys
from types import SimpleNamespace

import pytest

from sdperf.device import DeviceInfo
from sdperf.errors import ConfigurationError
from sdperf.pipeline.optimisations import memory
from sdperf.pipeline.optimisations.catalogue import (
    check_device,
    check_library,
    find_c_library,
    refuse_unusable,
)
from sdperf.run.messages import WorkerSpec
from sdperf.run.worker.hosting import check_hostable

NAME = "keep_freed_memory"
ROUNDS, BLOCKS, BLOCK_BYTES = 40, 30, 1500 * 1024
"""Blocks that are smaller than those for which numpy asks for huge pages."""

COUNT_FAULTS = f"""
import json, resource, threading
import numpy as np
from sdperf.pipeline.optimisations.memory import give_freed_memory_back, keep_freed_memory

def fill():
    for _ in range({ROUNDS}):
        blocks = [np.ones({BLOCK_BYTES}, np.uint8) for _ in range({BLOCKS})]
        del blocks

def count(work):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

def kept():
    keep_freed_memory()
    fill()

found = [count(fill), count(kept)]
give_freed_memory_back(["{NAME}"])
print(json.dumps([*found, count(fill)]))
"""

needs_glibc = pytest.mark.skipif(find_c_library() != "glibc", reason="the C library is not glibc")


@needs_glibc
def test_pages_are_made_once_and_again_only_after_memory_is_given_back():
    run = subprocess.run(
        [sys.executable, "-c", COUNT_FAULTS], capture_output=True, text=True, check=True
    )
    plain, kept, given_back = json.loads(run.stdout)
    assert plain > ROUNDS * BLOCKS  # every block of every round, page by page
    assert kept < plain / 4  # those of the first round
    assert given_back > plain / 2


def fake_library(**changes):
    described = {
        "mallopt": lambda parameter, value: 1,
        "malloc": CFunction(lambda size: 1),
        "free": CFunction(lambda block: None),
        "mallinfo2": CFunction(lambda: SimpleNamespace(uordblks=0, hblks=0)),
        "malloc_trim": lambda pad: 1,
    }
    return SimpleNamespace(**(described | changes))


class CFunction:
    """A function that takes the notes of `ctypes` on its types."""

    def __init__(self, work):
        self._work = work

    def __call__(self, *given):
        return self._work(*given)


@pytest.fixture
def glibc(monkeypatch):
    monkeypatch.setattr(
        "sdperf.pipeline.optimisations.catalogue.platform.libc_ver", lambda: ("glibc", "2.36")
    )

    def put(library):
        monkeypatch.setattr(memory.ctypes, "CDLL", lambda name: library)

    return put


def test_an_allocator_in_the_place_of_glibcs_is_refused_and_glibcs_values_put_back(glibc):
    told = []
    glibc(fake_library(mallopt=lambda *pair: told.append(pair) or 1))
    with pytest.raises(ConfigurationError, match="another allocator in its place") as refusal:
        memory.keep_freed_memory()
    assert refusal.value.hint == f"leave {NAME} out, or run without LD_PRELOAD"
    assert told == [*memory._KEPT, *memory._GIVEN_BACK]


def test_a_block_that_the_system_gave_is_no_block_of_a_heap(glibc):
    blocks = iter((0, 1))

    def look():
        count = next(blocks)
        return SimpleNamespace(uordblks=count * 2**24, hblks=count)

    glibc(fake_library(mallinfo2=CFunction(look)))
    with pytest.raises(ConfigurationError, match="another allocator"):
        memory.keep_freed_memory()


def test_values_that_mallopt_does_not_take_are_refused(glibc):
    glibc(fake_library(mallopt=lambda parameter, value: 0))
    with pytest.raises(ConfigurationError, match="takes no such values"):
        memory.keep_freed_memory()


def test_before_glibc_2_33_values_that_are_taken_are_enough(glibc):
    library = fake_library()
    del library.mallinfo2
    glibc(library)
    memory.keep_freed_memory()


@pytest.mark.parametrize("library", ["musl", "Darwin"])
def test_another_c_library_is_refused_with_the_reason(library, monkeypatch):
    with pytest.raises(ConfigurationError) as refusal:
        check_library(["channels_last", NAME], library)
    assert f"{NAME} cannot be used here: it is a feature of glibc" in str(refusal.value)
    assert library in refusal.value.got
    check_library(["channels_last"], library)
    monkeypatch.setattr(
        "sdperf.pipeline.optimisations.catalogue.platform.libc_ver", lambda: (library, "")
    )
    with pytest.raises(ConfigurationError, match="a feature of glibc"):
        memory.keep_freed_memory()
    memory.give_freed_memory_back([NAME])  # nothing to give, and no call of a library that lacks it


@pytest.mark.parametrize("device", ["cuda", "mps"])
def test_devices_with_memory_of_their_own_are_refused(device):
    with pytest.raises(ConfigurationError, match=f"{NAME} cannot be used on {device}"):
        check_device([NAME], device)


def test_it_goes_with_every_engine():
    model = SimpleNamespace(is_as_stored=True)
    check_hostable(WorkerSpec(model, "fp32", "cpu", engine="onnx", optimisations=(NAME,)))


def test_a_session_refuses_another_c_library_before_it_loads_unless_workers_run_elsewhere(
    monkeypatch,
):
    def describe():
        return DeviceInfo("cpu", "", ("fp32",), None, None)

    monkeypatch.setattr(
        "sdperf.pipeline.optimisations.catalogue.platform.libc_ver", lambda: ("musl", "")
    )
    with pytest.raises(ConfigurationError, match="a feature of glibc"):
        refuse_unusable([(NAME,)], describe)
    refuse_unusable([(NAME,)], describe, is_here=False)
    refuse_unusable([("channels_last",)], describe)
