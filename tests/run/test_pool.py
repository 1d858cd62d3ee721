"""The pool with real workers of the tiny pipeline: reuse, crashes, limits, clean ends.

Two tests spawn theirs; the others fork them, which differs in what it costs.
"""

import concurrent.futures
import dataclasses
import multiprocessing
import os
import signal
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import psutil
import pytest

from sdperf.errors import ConfigurationError, GenerationError, ModelError, WorkerError
from sdperf.record.workload import Workload
from sdperf.run.hosts.local import (
    InProcessHost,
    SpawnedHost,
    _RecordingContext,
    explain_exit,
    suggest_after,
)
from sdperf.run.messages import RoundRequest, WorkerSpec
from sdperf.run.pool import WorkerPool
from tests.support.forked_workers import fork_preloaded, forked_workers
from tests.support.tiny_pipelines import resolve, tiny_folder

__all__ = ["forked_workers", "tiny_folder"]

FORKED = pytest.mark.usefixtures("forked_workers")

WORKLOAD = Workload(
    model="tiny",
    prompts=("red apple", "house"),
    num_inference_steps=2,
    guidance_scale=5.0,
    height=32,
    width=32,
)


def request(count=1, mode="sync", workload=WORKLOAD):
    return RoundRequest(workload, tuple(workload.image(i) for i in range(count)), mode, 1)


@pytest.fixture(scope="module")
def spec(tiny_folder):
    return WorkerSpec(resolve(tiny_folder("smallest-sd")), "fp32", "cpu")


@pytest.fixture(scope="module")
def pool():
    pool = WorkerPool(timeout_s=120)
    yield pool
    pool.close()


def pids(workers):
    return [worker.report.pid for worker in workers]


def wait_until_gone(pid):
    try:
        psutil.Process(pid).wait(timeout=20)
    except psutil.NoSuchProcess:
        return


def test_forked_workers_have_imported_what_a_spawned_one_has_not(request, monkeypatch, tmp_path):
    def has_diffusers():
        host = SpawnedHost()
        try:
            return host.executor.submit(eval, "'diffusers' in __import__('sys').modules").result(60)
        finally:
            host.kill()

    assert not has_diffusers()
    monkeypatch.chdir(tmp_path)
    request.getfixturevalue("forked_workers")
    assert has_diffusers()


def test_workers_are_reused_and_deliver_equal_bytes_in_both_modes(pool, spec):
    first = pids(pool.acquire(spec, 1))
    assert pids(pool.acquire(spec, 1)) == first
    assert os.getpid() not in first
    sync = pool.run_round([request(2)])
    asynchronous = pool.run_round([request(2, "async")])
    assert [image.png for image in sync.results[0].images] == [
        image.png for image in asynchronous.results[0].images
    ]
    assert sync.duration_s == sync.results[0].duration_s
    assert all(image.latency_s > 0 for image in sync.results[0].images)
    assert sync.results[0].memory.peak_rss_bytes > 2**20


@FORKED
def test_what_a_subject_keeps_of_each_picture_shows_in_the_workers_memory(pool, spec):
    pool.acquire(dataclasses.replace(spec, subject="tests.support.leaking_subjects:memory"), 1)
    short = request(workload=dataclasses.replace(WORKLOAD, num_inference_steps=1))
    held = [pool.run_round([short]).results[0].resident_bytes for _ in range(24)]
    assert 0.9 < (held[-1] - held[8]) / 15 / 2**20 < 1.5


def test_the_server_of_forked_workers_finds_the_stand_ins_from_any_folder(monkeypatch, tmp_path):
    seen = []
    monkeypatch.setattr(
        "multiprocessing.forkserver.ensure_running", lambda: seen.append(os.environ["PYTHONPATH"])
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", "elsewhere")
    fork_preloaded()
    (path,) = (value.split(os.pathsep) for value in seen)
    assert (Path(path[0]) / "tests" / "support" / "preloaded.py").is_file()
    assert path[1:] == ["elsewhere"]
    assert os.environ["PYTHONPATH"] == "elsewhere"


@FORKED
def test_two_workers_start_together_and_the_round_spans_both(pool, spec):
    pool.acquire(spec, 2)
    done = pool.run_round([request(), request()])
    starts = [result.start_s for result in done.results]
    ends = [result.end_s for result in done.results]
    assert done.duration_s == max(ends) - min(starts)
    assert done.results[0].images[0].png == done.results[1].images[0].png


@FORKED
def test_stages_of_a_profiled_image_are_known_and_add_up(pool, tiny_folder):
    pool.acquire(WorkerSpec(resolve(tiny_folder("sd")), "fp32", "cpu"), 1)
    stages = pool.profile(request())
    parts = (
        stages.tokenise_s
        + stages.encode_prompt_s
        + stages.denoise_s
        + stages.decode_latents_s
        + stages.deliver_s
    )
    assert parts <= stages.total_s
    assert len(stages.steps_s) == 3  # PNDM takes one step more than it is asked for
    assert sum(stages.steps_s) <= stages.denoise_s


@FORKED
def test_a_spawned_worker_counts_measures_the_device_and_traces(pool, spec, tmp_path):
    (worker,) = pool.acquire(spec, 1)
    assert (worker.report.pipeline, worker.report.is_separable) == ("StableDiffusionPipeline", True)
    costs = {cost.stage: cost for cost in pool.count(request())}
    assert costs["denoise"].flop > costs["encode_prompt"].flop > 0
    speed = pool.measure_speed(request())
    assert speed.peak.format == "fp32"
    assert speed.operator_s > 0
    path = tmp_path / "trace.json.gz"
    pool.trace(request(), path)
    assert path.stat().st_size > 0


@FORKED
def test_a_trace_that_cannot_be_written_is_an_error_and_the_worker_lives(pool, spec, tmp_path):
    (worker,) = pool.acquire(spec, 1)
    with pytest.raises(GenerationError, match="trace cannot be written"):
        pool.trace(request(), tmp_path / "absent" / "trace.json")
    assert pids(pool.acquire(spec, 1)) == [worker.report.pid]


@FORKED
def test_a_stage_alone_delivers_the_image_of_the_plain_call(pool, spec):
    pool.acquire(spec, 1)
    (plain,) = pool.run_round([request()]).results[0].images
    alone = pool.run_round([dataclasses.replace(request(), stage="decode_latents")])
    (image,) = alone.results[0].images
    assert image.png == plain.png
    assert image.latency_s == pytest.approx(alone.duration_s)


@FORKED
def test_a_killed_worker_is_a_named_error_and_the_next_case_gets_a_fresh_one(pool, spec):
    (worker,) = pool.acquire(spec, 1)
    os.kill(worker.report.pid, signal.SIGKILL)
    with pytest.raises(WorkerError, match=r"died.*exit code -9: SIGKILL.*out-of-memory"):
        pool.run_round([request()])
    (fresh,) = pool.acquire(spec, 1)
    assert fresh.report.pid != worker.report.pid
    assert pool.run_round([request()]).results[0].images


@FORKED
def test_a_worker_that_aborts_is_a_named_error(tmp_path, monkeypatch, tiny_folder):
    (tmp_path / "aborting.py").write_text("import os\ndef build(request):\n    os.abort()\n")
    monkeypatch.syspath_prepend(tmp_path)
    pool = WorkerPool(timeout_s=60)
    with pytest.raises(WorkerError, match=r"loading.*SIGABRT.*two threads"):
        pool.acquire(
            WorkerSpec(resolve(tiny_folder("smallest-sd")), "fp32", "cpu", "aborting:build"), 1
        )


TWO_THREADS = """
import os, threading
from concurrent.futures import ThreadPoolExecutor

def build(request):
    pipeline = request.load()
    forward, calls, users = pipeline.unet.forward, [], set()

    def run_on_the_gpu(*arguments, **named):
        users.add(threading.get_ident())
        if len(users) > 1:
            os.abort()  # what the second thread does to a process on MPS
        return forward(*arguments, **named)

    def denoise(*arguments, **named):
        calls.append(1)
        if len(calls) <= 3:
            return run_on_the_gpu(*arguments, **named)
        with ThreadPoolExecutor(1) as another:
            return another.submit(run_on_the_gpu, *arguments, **named).result()

    pipeline.unet.forward = denoise
    return pipeline
"""


@FORKED
def test_a_second_thread_on_the_gpu_ends_as_a_named_result(tmp_path, monkeypatch, tiny_folder):
    (tmp_path / "two_threads.py").write_text(TWO_THREADS)
    monkeypatch.syspath_prepend(tmp_path)
    spec = WorkerSpec(resolve(tiny_folder("smallest-sd")), "fp32", "cpu", "two_threads:build")
    pool = WorkerPool(timeout_s=60)
    try:
        (worker,) = pool.acquire(spec, 1)
        assert pool.run_round([request()]).results[0].images
        with pytest.raises(WorkerError, match=r"generation.*code -6: SIGABRT.*on MPS two threads"):
            pool.run_round([request()])
        assert not psutil.pid_exists(worker.report.pid)
    finally:
        pool.close()


@FORKED
def test_a_hanging_generation_hits_its_limit_and_its_worker_is_ended(
    tmp_path, monkeypatch, tiny_folder
):
    (tmp_path / "hanging.py").write_text(
        textwrap.dedent("""
        import time
        def build(request):
            pipeline = request.load()
            pipeline.unet.forward = lambda *a, **k: time.sleep(600)
            return pipeline
        """)
    )
    monkeypatch.syspath_prepend(tmp_path)
    pool = WorkerPool(timeout_s=60)
    hanging = WorkerSpec(resolve(tiny_folder("smallest-sd")), "fp32", "cpu", "hanging:build")
    (worker,) = pool.acquire(hanging, 1)
    pool.timeout_s = 0.5
    with pytest.raises(WorkerError, match=r"outlived its time limit.*0\.5 s.*--sd-timeout"):
        pool.run_round([request()])
    wait_until_gone(worker.report.pid)
    assert not psutil.pid_exists(worker.report.pid)


@FORKED
def test_the_longest_limit_times_many_images_is_no_longer_than_a_thread_can_wait(
    pool, spec, monkeypatch
):
    pool.acquire(spec, 1)
    monkeypatch.setattr(pool, "timeout_s", 1e9)
    monkeypatch.setattr(threading, "TIMEOUT_MAX", 2e9)
    waited, wait = [], concurrent.futures.wait

    def note(futures, timeout):
        waited.append(timeout)
        return wait(futures, 60)

    monkeypatch.setattr("sdperf.run.pool.wait", note)
    pool.run_round([request(count=3)])
    assert waited == [2e9]


@FORKED
def test_an_error_in_the_pipeline_leaves_the_worker_alive(pool, spec):
    (worker,) = pool.acquire(spec, 1)
    broken = Workload(
        model="tiny",
        prompts=("x",),
        num_inference_steps=1,
        guidance_scale=1.0,
        scheduler="NoSuchScheduler",
    )
    with pytest.raises(ConfigurationError, match="NoSuchScheduler"):
        pool.run_round([request(workload=broken)])
    assert pids(pool.acquire(spec, 1)) == [worker.report.pid]
    assert pool.run_round([request()]).results[0].images


@FORKED
def test_damaged_weights_are_a_model_error_and_leave_no_process(tmp_path, tiny_folder):
    import shutil

    folder = tmp_path / "model"
    shutil.copytree(tiny_folder("smallest-sd"), folder)
    resolved = resolve(folder)
    weights = folder / "unet" / "diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    before = set(psutil.Process().children(recursive=True))
    with pytest.raises(ModelError):
        WorkerPool(timeout_s=60).acquire(WorkerSpec(resolved, "fp32", "cpu"), 1)
    assert not {
        child for child in psutil.Process().children(recursive=True) if child not in before
    } - {
        child for child in psutil.Process().children() if "resource_tracker" in str(child.cmdline())
    }


@FORKED
def test_another_precision_replaces_the_workers(pool, spec):
    (old,) = pool.acquire(spec, 1)
    (new,) = pool.acquire(WorkerSpec(spec.model, "bf16", "cpu"), 1)
    wait_until_gone(old.report.pid)
    assert new.report.pid != old.report.pid
    assert not psutil.pid_exists(old.report.pid)


def test_a_device_is_described_without_a_model():
    pool = WorkerPool(host_factory=InProcessHost)
    assert pool.describe_device("cpu").kind == "cpu"
    with pytest.raises(ConfigurationError, match="sees no mps"):
        pool.describe_device("mps")


def test_in_process_runs_here_and_reports_errors_alike(spec):
    pool = WorkerPool(host_factory=InProcessHost)
    try:
        (worker,) = pool.acquire(spec, 1)
        assert worker.report.pid == os.getpid()
        assert pool.run_round([request()]).results[0].images
    finally:
        pool.close()
    with pytest.raises(IndexError):
        pool.profile(request())


STARTED = """
import os, time
from sdperf.run.hosts.local import SpawnedHost

if __name__ == "__main__":
    host = SpawnedHost()
    print(host.executor.submit(os.getpid).result(), flush=True)
    time.sleep(600)
"""


def test_a_started_worker_goes_when_its_parent_is_ended(tmp_path):
    script = tmp_path / "parent.py"
    script.write_text(STARTED)
    with subprocess.Popen(
        [sys.executable, script],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(["."])},
    ) as parent:
        pid = int(parent.stdout.readline())
        assert psutil.pid_exists(pid)
        parent.send_signal(signal.SIGTERM)
    wait_until_gone(pid)
    assert not psutil.pid_exists(pid)


def load_and_wait(spec, sending):
    """Load a pipeline into a worker that is forked from this process, and wait."""
    fork = multiprocessing.get_context("fork").Process
    _RecordingContext.Process = lambda _, *arguments, **named: fork(*arguments, **named)
    (worker,) = WorkerPool().acquire(spec, 1)
    sending.send(worker.report.pid)
    signal.pause()


def test_a_worker_with_a_pipeline_goes_when_its_parent_is_killed(spec):
    receiving, sending = multiprocessing.Pipe(duplex=False)
    with receiving, sending:
        parent = fork_preloaded().Process(target=load_and_wait, args=(spec, sending))
        parent.start()
        sending.close()
        pid = receiving.recv()
    assert psutil.Process(pid).ppid() == parent.pid
    parent.kill()
    parent.join()
    wait_until_gone(pid)
    assert not psutil.pid_exists(pid)


@pytest.mark.parametrize(
    ("code", "words"),
    [(None, "unknown"), (3, "ended itself"), (-9, "SIGKILL"), (-11, "memory fault"), (-99, "99")],
)
def test_exit_codes_are_explained(code, words):
    assert words in explain_exit(code)


def test_a_pool_may_load_another_pipeline_into_its_processes(spec):
    pool = WorkerPool(host_factory=InProcessHost, timeout_s=120, keeps_processes=True)
    try:
        (first,) = pool.acquire(spec, 1)
        other = dataclasses.replace(spec, optimisations=("device_loop",))
        (second,) = pool.acquire(other, 1)
        assert second.host is first.host
        assert second.first_call_s is None
        assert len(pool.run_round([request()]).results[0].images) == 1
    finally:
        pool.close()


def test_a_process_that_kept_freed_memory_is_not_reused_without_it(spec, monkeypatch):
    monkeypatch.setattr("sdperf.pipeline.optimisations.networks.keep_freed_memory", lambda: None)
    pool = WorkerPool(host_factory=InProcessHost, timeout_s=120, keeps_processes=True)
    kept, both = (
        dataclasses.replace(spec, optimisations=names)
        for names in (("keep_freed_memory",), ("device_loop", "keep_freed_memory"))
    )
    try:
        hosts = [pool.acquire(one, 1)[0].host for one in (spec, kept, both, spec)]
    finally:
        pool.close()
    assert hosts[0] is hosts[1] is hosts[2]
    assert hosts[3] is not hosts[2]


def test_a_killed_worker_is_told_to_take_less_and_a_crashed_one_to_be_looked_at():
    assert "--sd-precision bf16, --sd-workers 1 or a smaller --sd-size" in suggest_after(-9)
    assert "--sd-in-process" in suggest_after(-11)
    assert suggest_after(None) == suggest_after(1) == suggest_after(-11)
