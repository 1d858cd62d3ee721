"""Workers on a Dask cluster: another place where the workers of `sdperf.run.pool` live.

Each worker of the pool is one worker process of the cluster, which nobody else uses meanwhile.
Requests go through Dask's executor. Times of other machines are converted to this machine's clock.

Everyone who can reach a Dask scheduler can run code on its workers, and the workers exchange
pickles: `docs/cluster.md` says which trust that needs.
"""

from __future__ import annotations

import contextlib
import dataclasses
import platform
import socket
import statistics
import threading
import time
import warnings
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import CancelledError, Executor, Future, InvalidStateError
from importlib import metadata
from typing import Any, Final, TypeVar, cast

from sdperf.errors import ConfigurationError, SdperfError, WorkerError
from sdperf.measure.clock import monotonic_clock
from sdperf.run import worker
from sdperf.run.messages import RoundRequest, RoundResult, WorkerSpec
from sdperf.settings import CLUSTER, WORKERS
from sdperf.waiting import run_within

T = TypeVar("T")

EXTRA: Final = "cluster"
CONNECT_S: Final = 10.0
START_LEAD_S: Final = 0.1
"""Seconds until the shared start of several workers: a message through the scheduler takes about
ten milliseconds."""

_CONNECT_SPARE_S: Final = 2.0
_PROBE_S: Final = 1.0
_PINGS: Final = 9
_POLL_S: Final = 0.5
_RESTART_S: Final = 30.0
_START: Final = "dask scheduler --port 8786, then: dask worker tcp://HOST:8786 --nworkers 2"
_EQUAL: Final = ("python", "sdperf", "distributed")
"""Packages whose versions have to be equal, since both sides exchange pickles."""


class Cluster:
    """A connection to a scheduler, with the list of its workers that are taken.

    Args:
        url: ``tcp://HOST:PORT`` or ``tls://HOST:PORT`` of the scheduler.
        connect_s: How long to wait for it.

    Raises:
        ConfigurationError: `distributed` is missing, nobody answers, there is no worker, or
            versions differ.
    """

    def __init__(self, url: str, connect_s: float = CONNECT_S) -> None:
        self._url = url
        self.client: Any = _connect(url, connect_s)
        self._taken: set[str] = set()
        self._lock = threading.Lock()
        try:
            self.threads = self._check()
        except BaseException:
            self.close()
            raise

    def list_workers(self) -> dict[str, int]:
        """Return the threads of each worker of the cluster by its address.

        Raises:
            WorkerError: The scheduler is gone.
        """
        try:
            found: dict[str, int] = self.client.nthreads()
        except (OSError, CancelledError, AttributeError) as error:  # AttributeError: it was closed
            raise WorkerError(
                "the scheduler of the cluster is gone", got=f"{self._url}: {error}", hint=_START
            ) from error
        return dict(sorted(found.items()))

    def make_host(self) -> ClusterHost:
        """Take a free worker of the cluster.

        Raises:
            ConfigurationError: All workers are taken.
        """
        with self._lock:
            there = self.list_workers()
            free = [address for address in there if address not in self._taken]
            if not free:
                raise ConfigurationError(
                    "the cluster has too few workers",
                    got=f"{len(there)} at {self._url}, all taken",
                    expected="one for each worker of a case, and of the plain side of a gain",
                    hint=f"start more (dask worker ... --nworkers N), or use fewer ({WORKERS} N)",
                )
            address = free[0]
            self._taken.add(address)
        return ClusterHost(self, address)

    def release(self, address: str) -> None:
        """Give a worker back."""
        with self._lock:
            self._taken.discard(address)

    def count_before(self, address: str) -> int:
        """Return a worker's slot: the number of earlier taken workers on the same machine."""
        with self._lock:
            machine = _machine_of(address)
            return sorted(one for one in self._taken if _machine_of(one) == machine).index(address)

    def close(self) -> None:
        """Leave the cluster; its workers keep running."""
        with contextlib.suppress(OSError, TimeoutError):
            self.client.close()

    def _check(self) -> int:
        """Check that workers have this machine's versions; return their fewest threads."""
        there = self.list_workers()
        if not there:
            raise ConfigurationError(
                "the cluster has no workers", got=self._url, hint=f"start some: {_START}"
            )
        own = read_versions()
        # Python comes first, since code cannot be sent between two of its versions.
        python = {
            address: {"python": found["host"]["python"]}
            for address, found in self.client.get_versions()["workers"].items()
        }
        check_versions(own, python)
        check_versions(own, self.client.run(_make_reader()))
        return min(there.values())


class ClusterHost:
    """One worker process of the cluster, in the form of `sdperf.run.hosts.local.WorkerHost`."""

    def __init__(self, cluster: Cluster, address: str) -> None:
        self._cluster = cluster
        self._address = address
        self._requests = ClusterExecutor(cluster, address)
        self.executor: Executor = self._requests

    def exit_code(self) -> int | None:
        """Return ``None``: exit codes of another machine are unknown."""
        return None

    def last_words(self) -> str:
        """Return an empty text: the worker prints to its own terminal."""
        return ""

    def kill(self) -> None:
        """Free the pipeline, and restart the process where it is still computing."""
        self._requests.end()
        self._cluster.release(self._address)


class ClusterExecutor(Executor):
    """Sends requests to one worker of a cluster; requests fail where the worker is lost.

    Args:
        cluster: The connection.
        address: The worker.
    """

    def __init__(self, cluster: Cluster, address: str) -> None:
        self._cluster = cluster
        self._address = address
        self._dask = cluster.client.get_executor(
            workers=[address], allow_other_workers=False, pure=False, retries=0
        )
        self._pending: set[Future[Any]] = set()
        self._lock = threading.Lock()
        self._offset_s = 0.0
        self._plugin = f"sdperf-{address}"
        self._has_plugin = False

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        """Request a call; loading goes through a plugin of the worker."""
        if fn is worker.load:
            return self._watched(lambda: self._load(*args))
        if fn is worker.run_round:
            return self._watched(lambda: cast("T", self._run_round(*args)))
        return self._watched(lambda: self._call(fn, *args, **kwargs))

    def end(self) -> None:
        """Drop the worker's pipeline; a worker that is busy is restarted, if it has a nanny."""
        client = self._cluster.client
        with self._lock:
            abandoned, self._pending = self._pending, set()
        is_busy = any(not future.done() for future in abandoned)
        for future in abandoned:
            _settle(future, self._lost())
        with contextlib.suppress(OSError, TimeoutError, ValueError, CancelledError, RuntimeError):
            if is_busy and self._address in self._cluster.list_workers():
                client.restart_workers([self._address], timeout=_RESTART_S, raise_for_error=False)
            if self._has_plugin:
                client.unregister_worker_plugin(self._plugin)
        self._has_plugin = False

    def _load(self, spec: WorkerSpec) -> Any:
        from sdperf.run.hosts.cluster_plugin import PreloadPipeline, take_report

        spec = dataclasses.replace(spec, slot=self._cluster.count_before(self._address))
        self._has_plugin = True
        self._cluster.client.register_plugin(
            PreloadPipeline(spec, self._address), name=self._plugin
        )
        self._offset_s = self._measure_offset_s()
        return self._call(take_report)

    def _run_round(self, request: RoundRequest) -> RoundResult:
        """Run a round, with times of this machine's clock in both directions."""
        if request.start_at_s is not None:
            request = dataclasses.replace(request, start_at_s=request.start_at_s + self._offset_s)
        done: RoundResult = self._call(worker.run_round, request)
        return dataclasses.replace(
            done, start_s=done.start_s - self._offset_s, end_s=done.end_s - self._offset_s
        )

    def _measure_offset_s(self) -> float:
        """Measure how far the worker's clock is ahead, within half of the fastest round trip."""
        pings = []
        for _ in range(_PINGS):
            before_s = monotonic_clock()
            there_s = self._call(monotonic_clock)
            after_s = monotonic_clock()
            pings.append((after_s - before_s, there_s - (before_s + after_s) / 2))
        return statistics.median(offset_s for _, offset_s in sorted(pings)[: _PINGS // 3])

    def _call(self, fn: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        result: T = self._dask.submit(fn, *args, **kwargs).result()
        return result

    def _watched(self, work: Callable[[], T]) -> Future[T]:
        """Run a function that waits for the worker, in a thread; end early where it is lost."""
        future: Future[T] = Future()
        future.set_running_or_notify_cancel()
        with self._lock:
            self._pending.add(future)

        def finish() -> None:
            try:
                result = work()
            except SdperfError as error:
                _settle(future, error)
            except (Exception, CancelledError) as error:  # noqa: BLE001  crosses to who waits
                _settle(future, self._explain(error))
            else:
                with contextlib.suppress(InvalidStateError):
                    future.set_result(result)
            with self._lock:
                self._pending.discard(future)

        def watch() -> None:
            while not future.done():
                time.sleep(_POLL_S)
                try:
                    is_there = self._address in self._cluster.list_workers()
                except WorkerError as error:
                    _settle(future, error)
                    return
                if not is_there:
                    _settle(future, self._lost())

        for name, target in (("call", finish), ("watch", watch)):
            threading.Thread(target=target, name=f"sdperf-cluster-{name}", daemon=True).start()
        return future

    def _explain(self, error: BaseException) -> SdperfError:
        if isinstance(error, CancelledError) or type(error).__name__ == "KilledWorker":
            return self._lost()
        return WorkerError(
            "the cluster's worker could not do what it was asked",
            got=f"{self._address}: {type(error).__name__}: {error}",
            hint="look at what that worker printed",
        )

    def _lost(self) -> WorkerError:
        return WorkerError(
            "a worker of the cluster was lost",
            got=f"{self._address} left while it was asked something",
            hint="look at what it printed: out of memory, or ended by somebody; start it again",
        )


def read_versions() -> dict[str, str | None]:
    """Return this machine's versions of the packages that have to be equal on both sides."""
    return _make_reader()()


def check_versions(
    own: Mapping[str, str | None], others: Mapping[str, Mapping[str, str | None]]
) -> None:
    """Check that all workers run the versions of this machine. Pure.

    Args:
        own: Version by package on this machine.
        others: Version by package of each worker, by its address; packages that a worker does not
            name are not compared.

    Raises:
        ConfigurationError: A version differs; the message names the first and counts the rest.
    """
    wrong = [
        (name, address, found[name])
        for address, found in others.items()
        for name in _EQUAL
        if name in found and _comparable(name, found[name]) != _comparable(name, own[name])
    ]
    if not wrong:
        return
    name, address, version = wrong[0]
    count = Counter(address for _, address, _ in wrong)
    raise ConfigurationError(
        f"the cluster runs another {name} than this machine",
        got=f"{version or 'none'} on {address}; {len(count)} of {len(others)} workers differ",
        expected=f"{own[name]}, because pickle travels between them",
        hint=f"install the same on every machine: {name}=={own[name]}",
    )


def _comparable(name: str, version: str | None) -> str | None:
    if name == "python" and version is not None:
        return ".".join(version.split(".")[:2])
    return version


def _make_reader() -> Callable[[], dict[str, str | None]]:
    """Make a function that is sent by value, since the other side may not have sdperf."""
    names, python = [name for name in _EQUAL if name != "python"], platform.python_version

    def read() -> dict[str, str | None]:
        found: dict[str, str | None] = {"python": python()}
        for name in names:
            try:
                found[name] = metadata.version(name)
            except metadata.PackageNotFoundError:
                found[name] = None
        return found

    return read


def _connect(url: str, connect_s: float) -> Any:
    try:
        from distributed import Client
    except ImportError as error:
        raise ConfigurationError(
            f"{CLUSTER} needs dask.distributed, which is not installed",
            hint=f"pip install 'sdperf[{EXTRA}]'",
        ) from error
    client: Any = Client.__new__(Client)
    begin: Callable[..., None] = client.__init__
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of versions; sdperf checks them with a message
            run_within(  # dask's handshake with a silent port has no limit of its own
                connect_s + _CONNECT_SPARE_S,
                lambda: begin(url, timeout=connect_s, set_as_default=False),
                "sdperf-cluster-connect",
            )
        return client
    except BaseException as error:  # for any reason: a wrong certificate, another protocol
        # Else it says goodbye when it is collected, to nobody, for twice the time limit.
        client.status = "closed"
        if not isinstance(error, Exception):
            raise
        raise ConfigurationError(
            "no Dask scheduler answers",
            got=f"{url}: {_name_cause(url, error)}{_explain_tls(url)}",
            expected=f"an answer within {connect_s:g} s",
            hint=f"start one: {_START}",
        ) from error


def _name_cause(url: str, error: BaseException) -> str:
    """Say what lies at an address, since dask's last try seldom tells why the first one failed."""
    host, _, port = url.partition("://")[2].rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), _PROBE_S).close()
    except OSError as refused:
        return refused.strerror or str(refused)
    except UnicodeError:  # an empty label, or one of more than 63 letters
        return "no name of a machine has this form"
    return f"what takes the connection answers as no scheduler does ({type(error).__name__})"


def _explain_tls(url: str) -> str:
    if not url.startswith("tls://"):
        return ""
    return "; tls needs certificates: DASK_DISTRIBUTED__COMM__TLS__CA_FILE, ...CLIENT__CERT, ..."


def _machine_of(address: str) -> str:
    return address.rpartition("://")[2].rpartition(":")[0]


def _settle(future: Future[Any], error: BaseException) -> None:
    with contextlib.suppress(InvalidStateError):
        future.set_exception(error)
