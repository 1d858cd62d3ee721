"""Processes that are started before they are wanted."""

import os
import signal
from concurrent.futures import Future

import psutil
import pytest

from sdperf.measure.ledger import Ledger
from sdperf.run import worker
from sdperf.run.messages import WorkerSpec
from sdperf.run.pool import InProcessHost, SpawnedHost, WorkerPool
from tests.hosts import StandInHost
from tests.run.test_pool import wait_until_gone
from tests.tiny_pipelines import resolve, tiny_folder

__all__ = ["tiny_folder"]


class Host(StandInHost):
    """A host whose calls end when the test says so."""

    def __init__(self):
        super().__init__()
        self.asked = []

    def submit(self, function, *arguments):
        future = Future()
        self.asked.append((function, arguments, future))
        return future


@pytest.fixture
def hosts():
    return []


@pytest.fixture
def pool(hosts):
    def make():
        hosts.append(Host())
        return hosts[-1]

    return WorkerPool(host_factory=make, timeout_s=0.05)


def test_processes_at_hand_are_taken_before_new_ones_are_started(pool, hosts):
    pool.stock(1, "model")
    pool.stock(2, "model")
    assert [[one[0] for one in host.asked] for host in hosts] == [[worker.import_ahead]] * 2
    first = pool._take_host()
    assert first is hosts[0]
    assert pool._take_host() is hosts[1]
    assert pool._take_host() is hosts[2]
    assert hosts[2].asked == []


def test_a_process_that_died_while_it_imported_is_not_taken(pool, hosts):
    pool.stock(1, "model")
    hosts[0].asked[0][2].set_exception(RuntimeError("gone"))
    assert pool._take_host() is hosts[1]
    assert hosts[0].killed


def test_ending_workers_keeps_what_is_at_hand_and_closing_ends_it(pool, hosts):
    pool.stock(1, "model")
    pool.start_afresh()
    assert not hosts[0].killed
    pool.close()
    assert hosts[0].killed
    assert pool._take_host() is hosts[1]


def test_what_is_timed_waits_for_imports_and_the_wait_is_counted(hosts, pool):
    seconds = iter(range(100))
    pool.ledger = Ledger(lambda: next(seconds))
    pool.settle()
    assert "process starts" not in pool.ledger.read().seconds
    pool.stock(1, "model")
    pool.settle()
    assert pool.ledger.read().seconds["process starts"] > 0
    hosts[0].asked[0][2].set_result(None)
    before = pool.ledger.read().seconds["process starts"]
    pool.settle()
    assert pool.ledger.read().seconds["process starts"] == before


@pytest.mark.parametrize("changes", [{"host_factory": InProcessHost}, {"is_elsewhere": True}])
def test_where_nothing_can_be_started_nothing_is(changes):
    pool = WorkerPool(**changes)
    pool.stock(3, "model")
    assert pool._spares == []


def test_a_real_process_imports_first_and_loads_when_it_is_wanted(tiny_folder):
    model = resolve(tiny_folder("sd"))
    pool = WorkerPool(host_factory=SpawnedHost, timeout_s=120)
    try:
        pool.stock(2, model)
        pool.settle()
        ahead = [host.executor.submit(os.getpid).result(60) for host, _ in pool._spares]
        os.kill(ahead[1], signal.SIGKILL)
        (worker_,) = pool.acquire(WorkerSpec(model, "fp32", "cpu"), 1)
        assert worker_.report.pid == ahead[0]
    finally:
        pool.close()
    for pid in ahead:
        wait_until_gone(pid)
        assert not psutil.pid_exists(pid)
