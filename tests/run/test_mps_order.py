"""A worker on a recorded Apple GPU: in which order, and from which thread, it is touched.

The pipeline computes on the CPU; every call of ``torch.mps``, every network's forward and every
reading of a border's clock goes into one log. Each proof is damaged once and must then fail.
"""

import weakref
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from sdperf.device import mps as mps_module
from sdperf.device.mps import MpsDevice
from sdperf.errors import GenerationError
from sdperf.measure import clock as clock_module
from sdperf.measure.clock import Interval, monotonic_clock
from sdperf.measure.fitness.conditions import read_conditions
from sdperf.record.workload import Workload
from sdperf.run import worker
from sdperf.run.fitness import GuardedRounds
from sdperf.run.messages import RoundRequest, WorkerSpec
from sdperf.run.pool import PoolRound
from sdperf.run.worker import profiler, separate
from tests.support.recorded_mps import RecordedMps, SecondThreadError
from tests.support.systems import make_mac
from tests.support.tiny_pipelines import resolve, tiny_folder

__all__ = ["tiny_folder"]

WORKLOAD = Workload(
    model="tiny",
    prompts=("red apple", "house"),
    num_inference_steps=2,
    guidance_scale=5.0,
    height=32,
    width=32,
)
HOW = {
    "sync": {"mode": "sync"},
    "async": {"mode": "async"},
    "stage": {"mode": "sync", "stage": "denoise"},
    "profile": {"mode": "sync"},
}


def request(how, count=1):
    images = tuple(WORKLOAD.image(index) for index in range(count))
    return RoundRequest(WORKLOAD, images, threads=1, **HOW[how])


def find_faults(log):
    """Say what of the order is not kept, in a log that holds one round or profile."""
    faults = []
    borders = [index for index, event in enumerate(log) if event == "border"]
    for index in borders:
        earlier = [event for event in log[:index] if event in ("work", "synchronize")]
        if earlier[-1:] != ["synchronize"]:
            faults.append(f"border {borders.index(index)} is read while work may be queued")
    if len(borders) < 2 or "work" not in log[borders[0] : borders[-1]]:
        faults.append("no work between two borders")
    if "Event" in log:
        faults.append("an event of torch.mps is used")
    return faults


def find_peak_faults(log):
    """Say what is wrong with the peak of one round."""
    first, last = log.index("border"), len(log) - log[::-1].index("border")
    faults = []
    if "reset" not in log[:first]:
        faults.append("the peak goes on from the round before")
    if "reset" in log[first:last] or "max" in log[first:last]:
        faults.append("memory is asked for inside the borders")
    if "max" not in log[last:]:
        faults.append("the peak is not read after the round")
    return faults


@pytest.fixture
def recorded(monkeypatch):
    recorded = RecordedMps()
    monkeypatch.setattr(mps_module, "torch", recorded.torch)
    monkeypatch.setattr(worker.loaded, "select_device", lambda *_: MpsDevice())

    def read_border():
        recorded.log.append("border")
        return monotonic_clock()

    monkeypatch.setitem(clock_module.timed.__kwdefaults__, "clock", read_border)
    recorded.read_border = read_border
    yield recorded
    monkeypatch.undo()
    worker._loaded = None


def load(recorded, folder):
    worker.load(WorkerSpec(resolve(folder), "fp32", "mps"))
    pipeline = worker._loaded._pipeline
    for network in (pipeline.text_encoder, pipeline.unet, pipeline.vae.decoder):
        network.register_forward_pre_hook(lambda *_: recorded.note("work"))
    recorded.log.clear()
    return pipeline


def run(recorded, how, monkeypatch, count=1):
    """Run once; where the worker hands its clock on, that clock is the borders'."""
    recorded.log.clear()
    if how == "profile":
        monkeypatch.setattr(worker.loaded, "monotonic_clock", recorded.read_border)
        return worker.profile_round(request(how, count))
    if how == "stage":
        monkeypatch.setattr(worker.loaded, "monotonic_clock", recorded.read_border)
    return worker.run_round(request(how, count))


@pytest.mark.parametrize("how", HOW)
def test_the_queue_is_empty_at_every_timed_border(recorded, tiny_folder, monkeypatch, how):
    load(recorded, tiny_folder("smallest-sd"))
    for _ in range(2):
        run(recorded, how, monkeypatch)
        assert find_faults(recorded.log) == []
    if how == "profile":  # every stage and every step has borders of its own
        assert recorded.log.count("border") > 8


def forgetful(first, last):
    """Make a border that forgets to synchronise."""

    def timed(work, *, synchronize, clock=None):
        read = clock or clock_module.timed.__kwdefaults__["clock"]
        if first:
            synchronize()
        start_s = read()
        result = work()
        if last:
            synchronize()
        return Interval(start_s, read(), result)

    return timed


def forgetful_block(first, last):
    """Make the border around a block that forgets to synchronise."""

    @contextmanager
    def timed_block(note, *, synchronize, clock):
        if first:
            synchronize()
        start_s = clock()
        yield
        if last:
            synchronize()
        note(start_s, clock())

    return timed_block


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize(("first", "last"), [(False, True), (True, False)])
def test_a_border_that_forgets_to_synchronise_is_seen(
    recorded, tiny_folder, monkeypatch, how, first, last
):
    load(recorded, tiny_folder("smallest-sd"))
    for module in (worker.loaded, separate):
        monkeypatch.setattr(module, "timed", forgetful(first, last))
    monkeypatch.setattr(profiler, "timed_block", forgetful_block(first, last))
    run(recorded, how, monkeypatch)
    assert any("queued" in fault for fault in find_faults(recorded.log))


def test_an_event_is_seen(recorded, tiny_folder, monkeypatch):
    load(recorded, tiny_folder("smallest-sd"))

    def synchronize(self):
        mps_module.torch.mps.Event(enable_timing=True)
        mps_module.torch.mps.synchronize()

    monkeypatch.setattr(MpsDevice, "synchronize", synchronize)
    run(recorded, "sync", monkeypatch)
    assert find_faults(recorded.log) == ["an event of torch.mps is used"]


@pytest.mark.parametrize("how", HOW)
def test_one_thread_touches_the_gpu(recorded, tiny_folder, monkeypatch, how):
    load(recorded, tiny_folder("smallest-sd"))
    for count in (1, 2) if how != "stage" else (1,):
        run(recorded, how, monkeypatch, count)
    assert len(recorded.threads) == 1


def test_a_second_thread_is_seen(recorded, tiny_folder, monkeypatch):
    load(recorded, tiny_folder("smallest-sd"))
    with ThreadPoolExecutor(1) as other:
        monkeypatch.setattr(worker._loaded, "_device_thread", other)
        with pytest.raises((SecondThreadError, GenerationError), match="a second thread"):
            run(recorded, "async", monkeypatch)


@pytest.mark.parametrize("how", ["sync", "async", "stage"])
def test_each_round_has_a_peak_of_its_own(recorded, tiny_folder, monkeypatch, how):
    pipeline = load(recorded, tiny_folder("smallest-sd"))
    size = {"bytes": 2**20}

    def use_memory(*_):
        recorded.allocate(size["bytes"])
        recorded.free(size["bytes"])

    pipeline.unet.register_forward_pre_hook(use_memory)
    assert run(recorded, how, monkeypatch).memory.peak_device_bytes == 2**20
    assert find_peak_faults(recorded.log) == []
    size["bytes"] = 2**10
    assert run(recorded, how, monkeypatch).memory.peak_device_bytes == 2**10


def test_a_peak_that_is_not_reset_is_seen(recorded, tiny_folder, monkeypatch):
    load(recorded, tiny_folder("smallest-sd"))
    monkeypatch.setattr(MpsDevice, "reset_peak", lambda _: None)
    run(recorded, "sync", monkeypatch)
    assert find_peak_faults(recorded.log) == ["the peak goes on from the round before"]


def watch_emptying(recorded, pipeline):
    """Note, each time the cache is emptied, whether the old network was still held."""
    network, seen = weakref.ref(pipeline.unet), []
    empty = recorded.torch.mps.empty_cache

    def note():
        seen.append("held" if network() is not None else "gone")
        empty()

    recorded.torch.mps.empty_cache = note
    return seen


def test_the_cache_is_emptied_between_models_when_the_old_one_is_gone(recorded, tiny_folder):
    pipeline = load(recorded, tiny_folder("smallest-sd"))
    worker.run_round(request("sync"))
    seen = watch_emptying(recorded, pipeline)
    del pipeline
    worker.load(WorkerSpec(resolve(tiny_folder("smallest-sd")), "fp32", "mps"))
    assert seen == ["gone"]


def test_a_model_that_somebody_holds_is_seen_when_the_cache_is_emptied(recorded, tiny_folder):
    pipeline = load(recorded, tiny_folder("smallest-sd"))
    seen = watch_emptying(recorded, pipeline)
    worker.unload()
    assert seen == ["held"]


def mac_that_swapped_out(pages):
    vm_stat = f"(page size of 16384 bytes)\nSwapins: 7.\nSwapouts: {pages}.\n"
    return make_mac({"/usr/bin/vm_stat": vm_stat})


@pytest.mark.parametrize(("pages", "excluded"), [((3, 5, 5), 1), ((3, 3), 0)])
def test_a_round_in_which_a_mac_swapped_out_is_invalid(pages, excluded):
    systems = map(mac_that_swapped_out, pages)
    rounds = GuardedRounds(
        lambda: read_conditions("mps", system=next(systems), thorough=False), budget=2
    )
    assert rounds.measure(lambda: PoolRound(1.0, ())).duration_s == 1.0
    assert len(rounds.excluded) == excluded
    assert all("swapped out" in one.reason for one in rounds.excluded)
