"""Workers in another interpreter: most with a stand-in for sdperf's worker, one with torch."""

import hashlib
import os
import re
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import psutil
import pytest

from sdperf.errors import ConfigurationError, GenerationError, SdperfError, WorkerError
from sdperf.record.workload import Workload
from sdperf.run import worker
from sdperf.run.hosts import remote
from sdperf.run.hosts.interpreter import InterpreterHost, Launch, staged_harness, summarise_words
from sdperf.run.messages import RoundRequest, WorkerSpec
from sdperf.run.pool import Worker, WorkerPool
from tests.run.test_pool import wait_until_gone
from tests.support.tiny_pipelines import resolve, tiny_folder

__all__ = ["tiny_folder"]

STAND_IN = """
    import os, subprocess, sys, time

    def load(spec):
        print("the code under test prints")
        sys.stdout.flush()
        os.write(1, b"and native code too\\n")
        return os.getpid()

    def run_round(request):
        if request == "die":
            print("last words", file=sys.stderr, flush=True)
            os._exit(3)
        if request == "crash":
            os.kill(os.getpid(), 11)
        if request == "hang":
            time.sleep(600)
        if request == "raise":
            raise KeyError("surprise")
        if request == "strange":
            return object()
        if request == "unknown error":
            class LaterError(Exception):
                what, got, expected, hint = "later", 1, None, None
            raise LaterError
        if request == "child":
            return subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"]).pid
        return request
"""


@pytest.fixture(scope="module")
def stage():
    with staged_harness() as folder:
        yield folder


@pytest.fixture
def make_host(tmp_path, stage):
    package = tmp_path / "code" / "sdperf" / "run"
    package.mkdir(parents=True)
    (package.parent / "__init__.py").touch()
    (package / "__init__.py").touch()
    (package / "worker.py").write_text(textwrap.dedent(STAND_IN))
    launch = Launch(Path(sys.executable), (str(tmp_path / "code"), str(stage)))
    hosts = []

    def make():
        hosts.append(InterpreterHost(launch))
        return hosts[-1]

    yield make
    for host in hosts:
        host.kill()


def test_prints_do_not_mix_with_answers_and_are_kept(make_host):
    host = make_host()
    pid = host.executor.submit(worker.load, None).result(20)
    assert pid != os.getpid()
    assert host.executor.submit(worker.run_round, (1, b"x")).result(20) == (1, b"x")
    host.kill()  # what a living worker printed may still be on its way
    assert "the code under test prints / and native code too" in host.last_words()
    assert not psutil.pid_exists(pid)


@pytest.fixture
def loaded(make_host):
    """A pool whose worker is loaded, as the pool sees it."""
    pool = WorkerPool(host_factory=make_host, timeout_s=30)
    host = make_host()
    pool._workers.append(Worker(host, host.executor.submit(worker.load, None).result(20)))
    return pool


def ask(pool, request):
    return pool._ask_first("a generation", worker.run_round, request)


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        ("die", r"exit code 3: .*it said: .*last words"),
        ("crash", r"exit code -11: SIGSEGV.*it said: .*worker.py"),
    ],
)
def test_a_death_is_told_with_its_code_and_last_words(loaded, request_, words):
    with pytest.raises(WorkerError, match="died during a generation") as error:
        ask(loaded, request_)
    assert re.search(words, error.value.got), error.value.got
    assert not loaded._workers


def test_a_worker_that_hangs_is_ended(loaded):
    pid = loaded._workers[0].report
    loaded.timeout_s = 0.05
    with pytest.raises(WorkerError, match="outlived its time limit"):
        ask(loaded, "hang")
    wait_until_gone(pid)


def test_a_dead_worker_answers_at_once(make_host):
    host = make_host()
    host.executor.submit(worker.load, None).result(20)
    host.kill()
    with pytest.raises(Exception, match="the worker is gone"):
        host.executor.submit(worker.load, None).result(20)
    assert host.exit_code() == -signal.SIGKILL


def test_what_a_worker_raises_unawares_is_one_error(loaded):
    with pytest.raises(WorkerError, match="KeyError: 'surprise'"):
        ask(loaded, "raise")


def test_an_answer_that_does_not_travel_is_a_difference_of_revisions(loaded):
    with pytest.raises(WorkerError, match="do not understand each other"):
        ask(loaded, "strange")


def test_an_error_class_that_only_the_other_sdperf_has_becomes_the_plain_one(loaded):
    with pytest.raises(SdperfError, match="later; got: 1"):
        ask(loaded, "unknown error")


def test_what_a_worker_started_ends_with_it(loaded):
    child = ask(loaded, "child")
    assert psutil.pid_exists(child)
    loaded.close()
    wait_until_gone(child)


def test_of_what_was_printed_the_place_of_a_crash_is_told_first():
    crash = ["x", "Fatal Python error: Aborted", "", "Current thread 0x1 (most recent call first):"]
    frames = [f'  File "{name}.py", line 1 in f' for name in "abcd"]
    assert summarise_words([*crash, *frames]) == (
        'Fatal Python error: Aborted / File "a.py", line 1 in f / File "b.py", line 1 in f'
    )
    assert summarise_words(["one", "", " two", "three", "four"]) == "two / three / four"
    assert summarise_words([]) == ""


def test_only_worker_functions_are_called():
    assert remote.answer({"id": 1, "call": "os:getcwd", "arguments": []})["failure"] == "WireError"
    assert remote.answer({"id": 1, "call": "sdperf.run.worker:no", "arguments": []})["failure"]
    assert remote.answer({})["failure"] == "KeyError"


def test_modules_that_came_from_a_folder_are_listed():
    here = Path(__file__)
    found = remote.list_modules_in([str(here.parent)])
    assert found[__name__] == hashlib.sha256(here.read_bytes()).hexdigest()[:16]
    assert "tests.support.installed" not in found
    assert not [name for name in remote.list_modules_in(["/"]) if name.startswith("pytest")]


def test_a_program_that_is_not_there_is_refused(stage):
    with pytest.raises(ConfigurationError, match=r"no-python: No such file"):
        InterpreterHost(Launch(Path("/nowhere/no-python"), (str(stage),)))


def test_a_worker_leaves_when_its_parent_is_killed(tmp_path, make_host, stage):
    script = f"""
        import sys, time
        from pathlib import Path
        from sdperf.run import worker
        from sdperf.run.hosts.interpreter import InterpreterHost, Launch
        launch = Launch(Path(sys.executable), ({str(tmp_path / "code")!r}, {str(stage)!r}))
        host = InterpreterHost(launch)
        print(host.executor.submit(worker.load, None).result(20), flush=True)
        host.executor.submit(worker.run_round, "hang")
        time.sleep(600)
    """
    command = [sys.executable, "-c", textwrap.dedent(script)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        pid = int(parent.stdout.readline())
        assert psutil.pid_exists(pid)
        parent.kill()
    wait_until_gone(pid)


def test_other_interpreters_do_not_see_this_ones_packages(stage):
    launch = Launch(Path("python"), ("/code", str(stage)))
    base = {"PYTHONPATH": "/ours", "PYTHONHOME": "/ours", "PATH": "/bin"}
    assert launch.environment(base) == {"PATH": "/bin", "PYTHONPATH": f"/code:{stage}"}


def test_the_stage_holds_sdperf_only_and_is_removed():
    with staged_harness() as folder:
        assert sorted(entry.name for entry in folder.iterdir()) == [
            ".sdperf-lock",
            "sdperf",
            "sdperf_remote",
        ]
        assert (folder / "sdperf" / "models" / "embedded" / "model_index.json").is_file()
        assert not list(folder.rglob("*.pyc"))
    assert not folder.exists()
    assert Path(worker.__file__).is_file()


BLOCKER = """
    import sys
    from importlib.machinery import PathFinder

    class Blocker(PathFinder):
        @classmethod
        def find_spec(cls, name, path=None, target=None):
            if name.split(".")[0] in {"skimage", "pytest", "pytest_benchmark", "pynvml"}:
                return None  # as where it is not installed, also for those who only ask
            return super().find_spec(name, path, target)

    sys.meta_path[sys.meta_path.index(PathFinder)] = Blocker
"""
WORKLOAD = Workload("tiny", ("red apple", "house"), 2, 5.0, height=32, width=32)


def test_a_worker_needs_torch_and_diffusers_only(tmp_path, stage, tiny_folder):
    (tmp_path / "sitecustomize.py").write_text(textwrap.dedent(BLOCKER))
    launch = Launch(Path(sys.executable), (str(stage), str(tmp_path)))
    pool = WorkerPool(host_factory=lambda: InterpreterHost(launch), timeout_s=120)
    spec = WorkerSpec(resolve(tiny_folder("smallest-sd")), "fp32", "cpu")
    images = (WORKLOAD.image(0), WORKLOAD.image(1))
    try:
        pool.acquire(spec, 1)
        done = {
            mode: pool.run_round([RoundRequest(WORKLOAD, images, mode, 1)]).results[0].images
            for mode in ("sync", "async")
        }
        assert [one.png for one in done["sync"]] == [one.png for one in done["async"]]
        assert pool.profile(RoundRequest(WORKLOAD, images[:1], "sync", 1)).denoise_s > 0
        host = pool._workers[0].host
        modules = host.executor.submit(remote.list_modules_in, (str(stage),)).result(20)
        assert "sdperf.pipeline.stages" in modules
        # psutil is there for accelerate's sake; nothing that imports it may be loaded.
        assert not [name for name in modules if "resources" in name or "plugin" in name]
        with pytest.raises(GenerationError):
            pool.run_round([RoundRequest(WORKLOAD, images, "sync", 1, stage="nothing")])
    finally:
        pool.close()


def test_the_default_picture_lies_beside_the_copied_modules():
    with staged_harness() as folder:
        picture = folder / "sdperf" / "images" / "input" / "picture.png"
        assert picture.read_bytes().startswith(b"\x89PNG")
