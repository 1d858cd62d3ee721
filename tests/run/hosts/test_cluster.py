"""Workers on a Dask cluster: a real scheduler and two worker processes on loopback."""

import contextlib
import dataclasses
import importlib
import os
import socket
import sys
import threading

import pytest

from sdperf.errors import ConfigurationError, ModelError, WorkerError
from sdperf.measure.clock import monotonic_clock
from sdperf.record.workload import Workload
from sdperf.run.hosts.cluster import START_LEAD_S, Cluster, check_versions, read_versions
from sdperf.run.messages import RoundRequest, WorkerSpec
from sdperf.run.pool import WorkerPool
from tests.support.forked_workers import fork_preloaded
from tests.support.tiny_pipelines import resolve, tiny_folder

__all__ = ["tiny_folder"]

distributed = pytest.importorskip(
    "distributed", reason="dask.distributed is not installed: pip install 'sdperf[cluster]'"
)
WORKLOAD = Workload(
    model="tiny",
    prompts=("red apple", "house"),
    num_inference_steps=2,
    guidance_scale=5.0,
    height=32,
    width=32,
)
START_S = 60.0


def request(count=1):
    return RoundRequest(WORKLOAD, tuple(WORKLOAD.image(i) for i in range(count)), "sync", 1)


def run_command(name, arguments):
    """Be a process of Dask: its own command, in a process that imports torch no more."""
    for descriptor in (1, 2):
        os.dup2(os.open(os.devnull, os.O_WRONLY), descriptor)
    importlib.import_module(f"distributed.cli.{name}").main(arguments)


def start(name, *arguments):
    process = fork_preloaded().Process(target=run_command, args=(name, arguments))
    process.start()
    return process


class Dask:
    """A scheduler and two workers of one thread, which a test may end."""

    def __init__(self, port, folder):
        self.url, self._folder = f"tcp://127.0.0.1:{port}", folder
        self._scheduler = start(
            "dask_scheduler", "--host", "127.0.0.1", "--port", str(port), "--no-dashboard"
        )
        self.workers = []

    def start_missing(self):
        """Start workers in the place of those that were ended."""
        self.workers = [worker for worker in self.workers if worker.is_alive()]
        missing = range(2 - len(self.workers))
        self.workers += [self._start_worker() for _ in missing]
        if missing:
            with distributed.Client(self.url, timeout=START_S, set_as_default=False) as client:
                client.wait_for_workers(2, timeout=START_S)

    def _start_worker(self):
        here = ("--host", "127.0.0.1", "--local-directory", self._folder)
        return start(
            "dask_worker", self.url, *here, "--nthreads", "1", "--no-nanny", "--no-dashboard"
        )

    def end(self):
        started = [self._scheduler, *self.workers]
        for process in started:
            process.kill()
        for process in started:
            process.join()


@pytest.fixture(scope="module")
def running(tmp_path_factory, unused_port):
    dask = Dask(unused_port, str(tmp_path_factory.mktemp("dask")))
    try:
        dask.start_missing()
        yield dask
    finally:
        dask.end()


@pytest.fixture
def dask(running):
    """Dask with both workers, whatever an earlier test ended."""
    running.start_missing()
    return running


@pytest.fixture(scope="module")
def unused_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@pytest.fixture(scope="module")
def spec(tiny_folder):
    return WorkerSpec(resolve(tiny_folder("smallest-sd")), "fp32", "cpu")


@pytest.fixture(scope="module")
def cluster(running):
    cluster = Cluster(running.url)
    yield cluster
    cluster.close()


@pytest.fixture(scope="module")
def one_pool(cluster):
    pool = WorkerPool(
        cluster.make_host, timeout_s=120, start_lead_s=START_LEAD_S, is_elsewhere=True
    )
    yield pool
    pool.close()


@pytest.fixture
def pool(one_pool, dask):
    return one_pool


@pytest.mark.long
def test_two_workers_of_the_cluster_preload_and_generate_together(pool, cluster, spec):
    workers = pool.acquire(spec, 2)
    assert len({worker.report.pid for worker in workers}) == 2
    assert all(worker.report.pipeline == "StableDiffusionPipeline" for worker in workers)

    before_s = monotonic_clock()
    done = pool.run_round([request(), request()])
    after_s = monotonic_clock()

    first, second = done.results
    assert first.images[0].png == second.images[0].png
    assert done.duration_s >= max(first.duration_s, second.duration_s)
    # One machine has one clock: what is translated lies between this side's readings of it,
    # however long a busy machine takes.
    for result in done.results:
        assert before_s <= result.start_s <= result.end_s <= after_s
    assert pool.collect_environment(workers[0].report.device).device_kind == "cpu"


def test_an_error_of_a_request_leaves_the_worker_fit(pool, spec):
    pool.acquire(spec, 1)
    impossible = dataclasses.replace(WORKLOAD, scheduler="NoSuchScheduler")
    with pytest.raises(ConfigurationError, match="NoSuchScheduler"):
        pool.run_round([dataclasses.replace(request(), workload=impossible)])
    assert pool.run_round([request()]).results[0].images


def test_a_worker_serves_one_at_a_time_and_is_given_back(pool, cluster, spec):
    pool.acquire(spec, 2)
    with pytest.raises(ConfigurationError, match="the cluster has too few workers") as caught:
        cluster.make_host()
    assert "2 at tcp://127.0.0.1" in str(caught.value)
    pool.close()
    pool.acquire(spec, 2)
    assert pool.run_round([request(2)]).results[0].images


def test_other_weights_on_the_cluster_are_refused(spec):
    from sdperf.run.hosts.cluster_plugin import localise

    other = dataclasses.replace(spec.model, model_hash="0" * 64)
    with pytest.raises(ModelError, match="has other weights"):
        localise(dataclasses.replace(spec, model=other))


def test_other_versions_are_one_message():
    own = read_versions()
    check_versions(own, {"tcp://a:1": own, "tcp://b:1": {**own, "torch": "1"}})
    patch = own["python"].rpartition(".")[0] + ".99"
    check_versions(own, {"tcp://a:1": {"python": patch}})
    with pytest.raises(ConfigurationError) as caught:
        check_versions(own, {"tcp://a:1": own, "tcp://b:1": {**own, "sdperf": "0.0.1"}})
    assert "runs another sdperf" in str(caught.value)
    assert "0.0.1 on tcp://b:1; 1 of 2 workers differ" in str(caught.value)
    with pytest.raises(ConfigurationError, match="runs another python"):
        check_versions(own, {"tcp://a:1": {"python": "3.9.1"}})
    with pytest.raises(ConfigurationError, match="got: none on tcp://a:1"):
        check_versions(own, {"tcp://a:1": {**own, "sdperf": None}})


def test_no_scheduler_is_one_message():
    with socket.socket() as listener:  # bound, and nobody listens
        listener.bind(("127.0.0.1", 0))
        url = f"tcp://127.0.0.1:{listener.getsockname()[1]}"
        with pytest.raises(ConfigurationError, match="no Dask scheduler answers") as caught:
            Cluster(url, connect_s=1)
    assert f"{url}: Connection refused" in str(caught.value)
    assert "dask scheduler" in str(caught.value)


@pytest.mark.parametrize("host", ["a..b", "a" * 64 + ".example"])
def test_what_cannot_be_the_name_of_a_machine_is_one_message(host):
    with pytest.raises(ConfigurationError, match="no Dask scheduler answers") as caught:
        Cluster(f"tcp://{host}:8786", connect_s=0.1)
    assert f"tcp://{host}:8786: no name of a machine has this form" in str(caught.value)


@pytest.mark.parametrize("answer", [b"HTTP/1.1 400 Bad Request\r\n\r\n" * 9, None])
def test_what_is_no_scheduler_is_one_message_and_nobody_says_goodbye_to_it(answer, monkeypatch):
    made, begin = [], distributed.Client.__init__

    def note(client, *arguments, **options):
        made.append(client)
        begin(client, *arguments, **options)

    monkeypatch.setattr(distributed.Client, "__init__", note)
    accepted, ended = [], threading.Event()

    def serve():
        while not ended.is_set():
            with contextlib.suppress(OSError):  # nobody came, or who came left
                accepted.append(listener.accept()[0])
                if answer is not None:
                    accepted[-1].sendall(answer)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.02)
        server = threading.Thread(target=serve)
        server.start()
        url = f"tcp://127.0.0.1:{listener.getsockname()[1]}"
        try:
            with pytest.raises(ConfigurationError, match="no Dask scheduler answers") as caught:
                Cluster(url, connect_s=0.2)
        finally:
            ended.set()
            server.join()
            for one in accepted:
                one.close()
    assert f"{url}: what takes the connection answers as no scheduler does" in str(caught.value)
    # When one is collected that is not closed, it says goodbye for twice the time limit.
    assert [one.status for one in made] == ["closed"]


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(ConfigurationError, match=r"needs dask\.distributed") as caught:
        Cluster("tcp://127.0.0.1:1")
    assert "pip install 'sdperf[cluster]'" in str(caught.value)


def test_a_lost_worker_is_one_message(pool, cluster, dask, spec):
    """It ends both workers, once one is busy."""
    pool.acquire(spec, 1)
    long = RoundRequest(
        Workload("tiny", ("house",), num_inference_steps=900, guidance_scale=5.0),
        (WORKLOAD.image(0),) * 50,
        "sync",
        1,
    )

    def end_workers():
        while not any(cluster.client.processing().values()):
            threading.Event().wait(0.02)
        for process in dask.workers:
            process.kill()

    threading.Thread(target=end_workers).start()
    with pytest.raises(WorkerError, match="a worker of the cluster was lost") as caught:
        pool.run_round([long])
    assert "left while it was asked something" in str(caught.value)
    pool.close()
    with pytest.raises(ConfigurationError, match=r"too few workers"):
        pool.acquire(spec, 1)
