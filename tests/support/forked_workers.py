"""Workers that are real processes of their own, but need not import torch and diffusers again.

A spawned worker spends four seconds of a processor on imports. These are forked from a server that
has imported the same and run nothing; all else (pipes, limits, signals, exit codes) is as spawned.
What imports themselves do (threads, settings read at start, times of loading) needs a spawned one.
"""

import multiprocessing
import os
import threading
from multiprocessing import forkserver
from multiprocessing.context import ForkServerProcess
from multiprocessing.popen_forkserver import Popen
from pathlib import Path

import pytest

from sdperf.run.hosts.local import _RecordingContext

PRELOADED = ["tests.support.preloaded", "tests.support.killed"]


class _OneReader(Popen):
    """Lets one thread at a time ask for the exit code, which the server tells only once."""

    def __init__(self, process):
        self._asking = threading.Lock()
        super().__init__(process)

    def poll(self, flag=os.WNOHANG):
        if not self._asking.acquire(blocking=flag != os.WNOHANG):
            return None
        try:
            return super().poll(flag)
        finally:
            self._asking.release()


class ForkedWorker(ForkServerProcess):
    """A process with the environment of the one that starts it, as a spawned process has."""

    @staticmethod
    def _Popen(process):
        return _OneReader(process)

    def __init__(self, *arguments, **named):
        super().__init__(*arguments, **named)
        self._environment = dict(os.environ)

    def run(self):
        os.environ.clear()
        os.environ.update(self._environment)
        super().run()


def fork_preloaded():
    """Return a context whose processes are forked from the server that has imported everything."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    # From any folder: what the server cannot find it leaves out in silence.
    here = [str(Path(__file__).parents[2]), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("PYTHONPATH", os.pathsep.join(filter(None, here)))
        forkserver.ensure_running()
    return context


@pytest.fixture
def forked_workers(monkeypatch):
    """Workers of this test's pools are forked."""
    fork_preloaded()

    def start(context, *arguments, **named):
        process = ForkedWorker(*arguments, **named)
        context.started.append(process)
        return process

    monkeypatch.setattr(_RecordingContext, "Process", start)
