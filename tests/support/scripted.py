"""Durations by script: real images of the tiny pipeline, times that a test decides.

`ScriptedHost` stands for a spawned worker: a pipeline of its own and fresh imports of the subject,
in the test's process, so that several can live at once.
"""

import dataclasses
import sys
from concurrent.futures import Executor, Future

from pytest_benchmark import plugin as host

from sdperf.run import worker
from sdperf.run.case import Case
from sdperf.run.profiles import SessionProfiles
from tests.support.hosts import StandInHost


class Script:
    """Seconds of the next rounds, by images in a round.

    Attributes:
        seconds: Seconds of a round by its number of images.
        drift: Called with how many rounds came before; returns a factor.
        rounds: Rounds so far, first calls and warm-ups included.
        unet_call_s: Seconds of one evaluation of the denoiser; where given, a round takes as long
            as all that it made, whatever ``seconds`` says.
        host_factor: Called with the number of the host (from 1) that a round runs on.
        hosts: Hosts that loaded a pipeline so far.
        rss_bytes: Peak memory that every host reports.
        resident_bytes: Called with how many rounds came before; what a host holds then. This
            process frees what earlier tests held at any moment.
        load_s: Seconds in which a host loads, called with its number; a tenth unless a test says.
        first_factor: Factor of each host's first round.
    """

    def __init__(self):
        self.seconds = {1: 1.0, 2: 2.0}
        self.drift = lambda _: 1.0
        self.rounds = 0
        self.unet_call_s = None
        self.host_factor = lambda _: 1.0
        self.hosts = 0
        self.rss_bytes = 2**30
        self.resident_bytes = lambda _: 2**30
        self.load_s = lambda _number: 0.1
        self.first_factor = 1.0
        self.called = set()
        self.drawn = {}
        self.running = None

    def next_s(self, request, unet_calls):
        self.rounds += 1
        seconds = self.seconds[len(request.images)]
        if self.unet_call_s is not None:
            seconds = max(self.unet_call_s * unet_calls, 1e-3)  # nothing takes no time
        factor = 1.0 if self.running is None else self.host_factor(self.running)
        if self.running not in self.called:
            self.called.add(self.running)
            factor *= self.first_factor
        return seconds * self.drift(self.rounds) * factor

    def draw(self, loaded, request, run_round):
        """Draw a request, or take what an equal pipeline without a subject drew of it before.

        A pipeline's first round is always its own: it tells what it executes.

        Returns:
            The result and the number of evaluations of the denoiser.
        """
        key = loaded.spec, dataclasses.replace(request, start_at_s=0.0)
        is_first = loaded._execution is None
        if key in self.drawn and not is_first:
            return self.drawn[key]
        with counted(loaded._pipeline) as calls:
            result = run_round(loaded, request)
        if loaded.spec.subject is None and not is_first:
            self.drawn[key] = result, len(calls)
        return result, len(calls)

    def install(self, monkeypatch):
        """Replace what the worker measures, and what is not timed anyway."""
        load, run_round = (
            worker.loaded.LoadedPipeline.__init__,
            worker.loaded.LoadedPipeline.run_round,
        )

        def noted(loaded, spec):
            loaded.spec = spec
            load(loaded, spec)

        def scripted(loaded, request):
            result, unet_calls = self.draw(loaded, request, run_round)
            seconds = self.next_s(request, unet_calls)
            return dataclasses.replace(
                result,
                start_s=0.0,
                end_s=seconds,
                cpu_s=None,
                memory=dataclasses.replace(result.memory, peak_rss_bytes=self.rss_bytes),
                resident_bytes=self.resident_bytes(self.rounds),
            )

        monkeypatch.setattr(worker.loaded.LoadedPipeline, "__init__", noted)
        monkeypatch.setattr(worker.loaded.LoadedPipeline, "run_round", scripted)
        monkeypatch.setattr(host, "get_cpu_info", dict)
        monkeypatch.setattr(Case, "_watch", lambda _: None)
        monkeypatch.setattr(SessionProfiles, "profile", lambda *_: None)
        monkeypatch.setattr(SessionProfiles, "limits", lambda *_: None)

    def install_hosts(self, monkeypatch):
        """Put hosts of this script in the place of spawned processes."""
        monkeypatch.setattr("sdperf.run.hosts.local.SpawnedHost", lambda: ScriptedHost(self))


class counted:
    """Notes every evaluation of a pipeline's denoiser, also those a subject makes beside."""

    def __init__(self, pipeline):
        self.first = getattr(pipeline.unet, "conv_in", pipeline.unet)

    def __enter__(self):
        calls = []
        self.handle = self.first.register_forward_hook(lambda *_: calls.append(1))
        return calls

    def __exit__(self, *_):
        self.handle.remove()


class ScriptedHost(StandInHost):
    """One worker with a pipeline of its own, as `sdperf.run.hosts.local.SpawnedHost` is."""

    def __init__(self, script):
        super().__init__()
        self.executor = _OwnWorker(script)

    def kill(self):
        super().kill()
        self.executor.submit(worker.unload)


class _OwnWorker(Executor):
    def __init__(self, script):
        self.script, self.number, self.loaded = script, None, None

    def submit(self, function, *arguments):
        future = Future()
        others, worker._loaded = worker._loaded, self.loaded
        path = list(sys.path)
        if function is worker.load:
            self.script.hosts += 1
            self.number = self.script.hosts
            subject = arguments[0].subject or ""
            sys.modules.pop(subject.partition(":")[0], None)
        self.script.running = self.number
        try:
            result = function(*arguments)
            if function is worker.load:
                seconds = self.script.load_s(self.number)
                result = dataclasses.replace(result, load_s=seconds, page_cache="warm")
            future.set_result(result)
        except Exception as error:  # noqa: BLE001  # as a future does
            future.set_exception(error)
        finally:
            self.loaded, worker._loaded = worker._loaded, others
            self.script.running = None
            sys.path[:] = path
        return future
