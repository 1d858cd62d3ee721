"""Each worker of a pool is told which of several it is; where they live is passed on."""

from concurrent.futures import Future
from pathlib import Path

import pytest

from sdperf.device import DeviceInfo
from sdperf.measure.ledger import Ledger
from sdperf.models.loader import ResolvedModel
from sdperf.run.messages import WorkerReport, WorkerSpec
from sdperf.run.pool import WorkerPool
from tests.support.hosts import StandInHost

SPEC = WorkerSpec(ResolvedModel("tiny", Path("tiny"), "0" * 64, "Pipeline", ()), "fp32", "cuda")


class NotedHost(StandInHost):
    """A worker that only notes which slot it was given, and took two seconds to load."""

    slots: list[int] = []  # noqa: RUF012

    def submit(self, function, spec):
        self.slots.append(spec.slot)
        future = Future()
        device = DeviceInfo("cuda", "GPU", (), None, None, index=spec.slot % 2)
        future.set_result(WorkerReport(1, device, load_s=2.0))
        return future


@pytest.fixture
def pool():
    NotedHost.slots.clear()
    return WorkerPool(NotedHost)


def test_workers_are_numbered_also_those_that_join_later(pool):
    pool.acquire(SPEC, 2)
    workers = pool.acquire(SPEC, 3)
    assert NotedHost.slots == [0, 1, 2]
    assert [worker.report.device.index for worker in workers] == [0, 1, 0]
    pool.close()
    pool.acquire(SPEC, 1)
    assert NotedHost.slots == [0, 1, 2, 0]


def test_loads_are_noted_by_worker_and_precision(pool):
    pool.acquire(SPEC, 2)
    pool.close()
    pool.acquire(SPEC, 1)
    found = pool.ledger.read()
    assert found.loads == {"fp32, worker 1": 2, "fp32, worker 2": 1}
    assert found.reloads == ("fp32, worker 1",)
    pool.start_afresh()
    pool.acquire(SPEC, 1)
    assert pool.ledger.read().reloads == ("fp32, worker 1",)


def test_a_pool_beside_lives_in_the_same_place_and_counts_apart(pool):
    pool.is_elsewhere, pool.start_lead_s = True, 0.1
    beside, ledger = pool.make_beside(), Ledger()
    assert beside.host_factory is NotedHost
    assert (beside.is_elsewhere, beside.start_lead_s) == (True, 0.1)
    assert beside.ledger is not pool.ledger
    named = pool.make_beside("plain side", ledger)
    named.acquire(SPEC, 1)
    assert ledger.read().loads == {"plain side+fp32, worker 1": 1}
