"""Workers of a Dask cluster behind networks of their own, one of which is cut."""

import shutil
import subprocess
import sys
import time
import uuid

import pytest

from sdperf.errors import WorkerError
from sdperf.run.hosts.cluster import START_LEAD_S, Cluster
from sdperf.run.pool import WorkerPool
from tests.run.hosts.test_cluster import START_S, request, spec, unused_port
from tests.support.tiny_pipelines import tiny_folder

__all__ = ["spec", "tiny_folder", "unused_port"]

pytestmark = pytest.mark.long
dask = pytest.importorskip("dask")
distributed = pytest.importorskip(
    "distributed", reason="dask.distributed is not installed: pip install 'sdperf[cluster]'"
)
SILENT_S = 12
"""How long a connection may be silent before Dask calls it broken; 30 s unless it is told."""


def run(*words):
    subprocess.run(words, check=True, capture_output=True)


class Network:
    """A network namespace with one address, joined to this one by a cable that can be cut."""

    def __init__(self, number):
        mark = f"{uuid.uuid4().hex[:6]}{number}"
        self.name, self.here, self.there = f"sdperf-{mark}", f"sdh{mark}", f"sdt{mark}"
        self.gateway, self.address = f"10.213.{number}.1", f"10.213.{number}.2"

    def open(self):
        run("ip", "netns", "add", self.name)
        run("ip", "link", "add", self.here, "type", "veth", "peer", "name", self.there)
        run("ip", "link", "set", self.there, "netns", self.name)
        run("ip", "addr", "add", f"{self.gateway}/24", "dev", self.here)
        run("ip", "link", "set", self.here, "up")
        inside = ("ip", "-n", self.name)
        run(*inside, "addr", "add", f"{self.address}/24", "dev", self.there)
        run(*inside, "link", "set", self.there, "up")
        run(*inside, "link", "set", "lo", "up")

    def cut(self):
        run("ip", "link", "set", self.here, "down")

    def close(self):
        for words in (("link", "del", self.here), ("netns", "del", self.name)):
            subprocess.run(("ip", *words), check=False, capture_output=True)


@pytest.fixture
def networks():
    found = [Network(1), Network(2)]
    if shutil.which("ip") is None:
        pytest.skip("there is no ip command to make network namespaces with")
    try:
        for network in found:
            network.open()
    except subprocess.CalledProcessError as error:
        for network in found:
            network.close()
        words = error.stderr.decode().strip()
        pytest.skip(f"network namespaces cannot be made here (they take root): {words}")
    yield found
    for network in found:
        network.close()


@pytest.fixture
def cluster(networks, unused_port, tmp_path, monkeypatch):
    """A scheduler here, and a worker in each network, which knows it by another address."""
    monkeypatch.setenv("DASK_DISTRIBUTED__COMM__TIMEOUTS__TCP", f"{SILENT_S}s")
    own = (sys.executable, "-m")
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    options = ("--nthreads", "1", "--no-nanny", "--no-dashboard", "--local-directory", tmp_path)
    started = [
        subprocess.Popen(
            (*own, "distributed.cli.dask_scheduler", "--port", str(unused_port), "--no-dashboard"),
            **quiet,
        )
    ]
    for each in networks:
        worker = ("distributed.cli.dask_worker", f"tcp://{each.gateway}:{unused_port}")
        inside = ("ip", "netns", "exec", each.name)
        started.append(
            subprocess.Popen((*inside, *own, *worker, "--host", each.address, *options), **quiet)
        )
    monkeypatch.setitem(
        dask.config.config["distributed"]["comm"]["timeouts"], "tcp", f"{SILENT_S}s"
    )
    url = f"tcp://{networks[0].gateway}:{unused_port}"
    try:
        with distributed.Client(url, timeout=START_S, set_as_default=False) as client:
            client.wait_for_workers(2, timeout=START_S)
        cluster = Cluster(url)
        yield cluster
        cluster.close()
    finally:
        for process in started:
            process.kill()
        for process in started:
            process.wait()


def test_workers_of_two_networks_generate_together_until_a_cable_is_cut(cluster, networks, spec):
    pool = WorkerPool(cluster.make_host, timeout_s=60, start_lead_s=START_LEAD_S, is_elsewhere=True)
    pool.acquire(spec, 2)
    first, second = pool.run_round([request(), request()]).results
    assert first.images[0].png == second.images[0].png
    listed = cluster.list_workers()
    assert all(any(each.address in url for url in listed) for each in networks)

    networks[1].cut()
    pool.timeout_s = 3.0
    began_s = time.monotonic()
    with pytest.raises(WorkerError, match=r"outlived its time limit|was lost"):
        pool.run_round([request(), request()])
    pool.close()
    assert time.monotonic() - began_s < 25  # far below 30 s
