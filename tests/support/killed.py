"""A session that is killed like a loss of power would end it, at a moment that a test chooses."""

import os
import signal
from pathlib import Path

import pytest

import sdperf.run.suite
from sdperf.run.case import Case
from sdperf.store import files, journal
from tests.support.scripted import Script

PRINTED = "printed.txt"


class Killing:
    """A plugin that notes what finished, and kills its process at a moment.

    Args:
        path: Where to note the ids of tests that passed.
        moment: How many calls that sync something or measure a round to let begin.
    """

    def __init__(self, path, moment):
        self.path, self.left = path, moment

    def pytest_runtest_logreport(self, report):
        if report.when == "call" and report.passed:
            with self.path.open("a") as file:
                file.write(f"{report.nodeid}\n")

    def count_down(self, work):
        def counted(*arguments, **named):
            self.left -= 1
            if self.left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return work(*arguments, **named)

        return counted


def run_session(folder, arguments, moment):
    """Run pytest in a folder, on scripted times, printing into a file; killed at a moment."""
    os.chdir(folder)
    printed = os.open(PRINTED, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for descriptor in (1, 2):
        os.dup2(printed, descriptor)
    with pytest.MonkeyPatch.context() as monkeypatch:
        Script().install(monkeypatch)
        monkeypatch.setattr(sdperf.run.suite, "count_cpu_threads", lambda: 1)
        killing = Killing(Path(folder) / "finished.txt", moment)
        for module in (files, journal):
            module.sync_to_disk = killing.count_down(module.sync_to_disk)
        Case.measure_round = killing.count_down(Case.measure_round)
        os._exit(int(pytest.main(arguments, plugins=[killing])))
