"""Processes that are started before they are wanted."""

import os
import signal
from concurrent.futures import Future

import psutil
import pytest

from sdperf.measure.ledger import Ledger
from sdperf.run import worker
from sdperf.run.hosts.local import InProcessHost, SpawnedHost
from sdperf.run.messages import WorkerSpec
from sdperf.run.pool import WorkerPool
from sdperf.run.stock import Stock, count_that_fit
from tests.run.test_pool import wait_until_gone
from tests.support.forked_workers import forked_workers
from tests.support.hosts import StandInHost
from tests.support.tiny_pipelines import resolve, tiny_folder

__all__ = ["forked_workers", "tiny_folder"]


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
def make(hosts):
    def make_host():
        hosts.append(Host())
        return hosts[-1]

    return make_host


@pytest.fixture
def stock(make):
    return Stock(make)


def test_processes_at_hand_are_taken_before_new_ones_are_started(stock, hosts):
    stock.fill(1, "model")
    stock.fill(2, "model")
    assert [[one[0] for one in host.asked] for host in hosts] == [[worker.import_ahead]] * 2
    assert stock.peek() is hosts[0]
    assert [stock.take() for _ in range(3)] == hosts
    assert len(hosts) == 3
    assert hosts[2].asked == []
    assert stock.peek() is None


def test_a_process_that_died_while_it_imported_is_not_taken(stock, hosts):
    stock.fill(1, "model")
    hosts[0].asked[0][2].set_exception(RuntimeError("gone"))
    assert stock.pids == frozenset()
    assert stock.take() is hosts[1]
    assert hosts[0].killed


def test_those_that_wait_are_known_by_their_ids(stock, hosts):
    stock.fill(2, "model")
    assert not stock.is_ready()
    for number, host in enumerate(hosts):
        host.asked[0][2].set_result(number)
    assert stock.is_ready()
    assert stock.pids == {0, 1}
    stock.take()
    assert stock.pids == {1}


def test_pools_beside_each_other_take_from_one_stock_that_the_first_ends(make, hosts):
    pool = WorkerPool(host_factory=make)
    beside = pool.make_beside("plain side")
    pool.stock.fill(2, "model")
    assert beside.stock.take() is hosts[0]
    beside.close()
    pool.start_afresh()
    assert not hosts[1].killed
    pool.close()
    assert hosts[1].killed
    assert beside.stock.take() is hosts[2]


def test_waiting_for_imports_is_counted_and_only_as_long_as_there_are_any(make, hosts):
    seconds = iter(range(100))
    pool = WorkerPool(host_factory=make, timeout_s=0.05, ledger=Ledger(lambda: next(seconds)))
    pool.settle()
    assert "process starts" not in pool.ledger.read().seconds
    pool.stock.fill(1, "model")
    pool.settle()
    assert pool.ledger.read().seconds["process starts"] > 0
    hosts[0].asked[0][2].set_result(1)
    before = pool.ledger.read().seconds["process starts"]
    pool.settle()
    assert pool.ledger.read().seconds["process starts"] == before


def test_what_the_device_is_a_process_at_hand_says_and_stays(make, hosts):
    pool = WorkerPool(host_factory=make, timeout_s=5)
    pool.stock.fill(1, "model")
    described = object()
    hosts[0].submit = lambda function, *arguments: _done(described)
    assert pool.describe_device("cpu") is described
    assert not hosts[0].killed
    assert pool.stock.take() is hosts[0]


def _done(result):
    future = Future()
    future.set_result(result)
    return future


@pytest.mark.parametrize("changes", [{"host_factory": InProcessHost}, {"is_elsewhere": True}])
def test_where_nothing_can_be_started_nothing_is(changes):
    pool = WorkerPool(**changes)
    pool.stock.fill(3, "model")
    assert pool.stock.peek() is None


@pytest.mark.parametrize(("gib", "count"), [(4, 1), (8, 2), (16, 4), (64, 18)])
def test_idle_processes_take_no_more_than_an_eighth_of_the_memory(gib, count):
    assert count_that_fit(gib * 2**30) == count


@pytest.mark.usefixtures("forked_workers")
def test_a_real_process_imports_first_and_loads_when_it_is_wanted(tiny_folder):
    model = resolve(tiny_folder("sd"))
    pool = WorkerPool(host_factory=SpawnedHost, timeout_s=120)
    try:
        pool.stock.fill(2, model)
        pool.settle()
        ahead = pool.stock.pids
        assert len(ahead) == 2
        first = pool.stock.peek().executor.submit(os.getpid).result(60)
        (other,) = ahead - {first}
        os.kill(other, signal.SIGKILL)
        (worker_,) = pool.acquire(WorkerSpec(model, "fp32", "cpu"), 1)
        assert worker_.report.pid == first
        assert worker.import_ahead(model) == os.getpid()
    finally:
        pool.close()
    for pid in ahead:
        wait_until_gone(pid)
        assert not psutil.pid_exists(pid)
