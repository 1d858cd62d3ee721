"""``--sd-cluster``: where the workers come from, and what cannot go with it."""

import json

import pytest

import sdperf.run.hosts.cluster
import sdperf.run.pool
from sdperf.errors import ConfigurationError


class FakeCluster:
    """Two workers of three threads; hosts come from the scripted pool."""

    threads = 3
    made = closed = 0

    def __init__(self, url):
        if url == "tcp://10.0.0.9:8786":
            raise ConfigurationError("no Dask scheduler answers", got=url)

    def list_workers(self):
        return {"tcp://a:1": 3, "tcp://b:1": 3}

    def make_host(self):
        FakeCluster.made += 1
        return sdperf.run.hosts.local.SpawnedHost()

    def close(self):
        FakeCluster.closed += 1


@pytest.fixture
def cluster(hosts, monkeypatch):
    FakeCluster.made = FakeCluster.closed = 0
    monkeypatch.setattr(sdperf.run.hosts.cluster, "Cluster", FakeCluster)
    return FakeCluster


def test_workers_of_the_cluster_run_the_cases(bench, cluster, pytester):
    done = bench("--sd-cluster=tcp://10.0.0.1:8786", "-k", "latency", spawned=True, guards="strict")
    done.stdout.fnmatch_lines(
        ["3 cases: 1 NO BASELINE, 1 PASS, 1 skipped", "skipped: 4 workers in a cluster of 2"]
    )
    assert cluster.made == 2
    assert cluster.closed >= 1
    document = json.loads((pytester.path / ".sdperf/last-run.json").read_text())
    for benchmark in document["benchmarks"]:
        record = benchmark["extra_info"]["sdperf"]
        assert record["worker_threads"] == 3  # not divided: they are the worker's own
        assert record["guards"]["policy"] == "off"
        assert record["resources"] is None


@pytest.mark.parametrize(
    ("url", "more", "complaint"),
    [
        ("localhost:8786", (), "tcp://HOST:PORT or tls://HOST:PORT"),
        ("tcp://localhost", (), "tcp://HOST:PORT or tls://HOST:PORT"),
        ("tcp://a:8786", ("--sd-in-process",), "neither --sd-in-process nor --sd-trace"),
        ("tcp://a:8786", ("--sd-threads=2",), "--sd-threads cannot be used; got: '2'"),
        ("tcp://10.0.0.9:8786", (), "no Dask scheduler answers; got: tcp://10.0.0.9:8786"),
    ],
)
def test_what_cannot_be_meant_is_one_message(bench, cluster, url, more, complaint):
    done = bench(f"--sd-cluster={url}", *more, spawned=True)
    assert done.ret == 4
    assert complaint in done.stderr.str()
    assert "Traceback" not in done.stderr.str()


def test_without_the_option_no_cluster_is_looked_for(bench, cluster):
    bench("-k", "latency", spawned=True, workers=1)
    assert cluster.made == cluster.closed == 0
