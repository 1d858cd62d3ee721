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
from sdperf.run import worker
from sdperf.run.messages import WorkerSpec
from sdperf.run.worker.hosting import check_hostable
from tests.support.tiny_pipelines import resolve

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

def count():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    fill()
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

def count_all():
    found.append(count())
    keep_freed_memory()
    found.append(count())
    give_freed_memory_back()
    found.append(count())

found = []
thread = threading.Thread(target=count_all)  # one, since each may get a heap of its own
thread.start()
thread.join()
print(json.dumps(found))
"""


@pytest.fixture(autouse=True)
def process(monkeypatch):
    """What this process is thought to be; the real one is changed in no test."""
    monkeypatch.setattr(memory, "_process", memory._Process())
    return memory._process


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
    glibc(Heap(own=False))
    with pytest.raises(ConfigurationError, match="another allocator"):
        memory.keep_freed_memory()


@pytest.mark.parametrize("others_bytes", [-(2**23), 2**23, 2**25])
def test_what_other_threads_take_and_free_meanwhile_is_not_taken_for_the_block(glibc, others_bytes):
    glibc(Heap(own=True, others_bytes=[others_bytes] * 10 + [0] * 20))
    memory.keep_freed_memory()
    glibc(Heap(own=False, others_bytes=[others_bytes] * 40))
    with pytest.raises(ConfigurationError, match="another allocator"):
        memory.keep_freed_memory()


class Heap:
    """glibc's heaps as it counts them, while other threads use them too.

    Args:
        own: Whether blocks come out of them.
        others_bytes: What other threads take while a block is made, block by block.
    """

    def __init__(self, own, others_bytes=()):
        self._used_bytes, self._own, self._others_bytes = 0, own, iter(others_bytes)
        self.mallopt = lambda parameter, value: 1
        self.malloc_trim = lambda pad: 1
        self.malloc, self.free = CFunction(self._take), CFunction(lambda block: None)
        self.mallinfo2 = CFunction(lambda: SimpleNamespace(uordblks=self._used_bytes, hblks=0))

    def _take(self, size_bytes):
        self._used_bytes += (size_bytes + 16 if self._own else 0) + next(self._others_bytes, 0)
        return 1


def test_values_that_mallopt_does_not_take_are_refused_and_those_that_it_took_put_back(glibc):
    told = []

    def mallopt(parameter, value):
        told.append((parameter, value))
        return parameter != memory._KEPT[1][0]

    glibc(fake_library(mallopt=mallopt))
    with pytest.raises(ConfigurationError, match="takes no such values"):
        memory.keep_freed_memory()
    assert told == [*memory._KEPT[:2], *memory._GIVEN_BACK]


def test_a_process_that_kept_memory_once_takes_no_case_that_does_not(glibc, tiny_folder):
    spec = WorkerSpec(resolve(tiny_folder("sd")), "fp32", "cpu")
    glibc(Heap(own=True))
    memory.keep_freed_memory()
    memory.give_freed_memory_back()
    with pytest.raises(ConfigurationError, match="cannot be undone") as refusal:
        worker.load(spec)
    assert "--sd-in-process" in refusal.value.hint
    memory.refuse_changed_process((NAME, "device_loop"))


def test_memory_is_given_back_when_loading_fails(glibc, tiny_folder, monkeypatch):
    told = []
    library = Heap(own=True)
    library.mallopt = lambda *pair: told.append(pair) or 1
    glibc(library)

    def fail(spec):
        memory.keep_freed_memory()
        raise ZeroDivisionError

    monkeypatch.setattr(worker, "LoadedPipeline", fail)
    spec = WorkerSpec(resolve(tiny_folder("sd")), "fp32", "cpu", optimisations=(NAME,))
    with pytest.raises(ZeroDivisionError):
        worker.load(spec)
    assert told == [*memory._KEPT, *memory._GIVEN_BACK]
    worker.unload()
    assert len(told) == 6, "given back once"


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
    memory.give_freed_memory_back()  # nothing to give, and no call of a library that lacks it


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
