"""Durations by script: real images of the tiny pipeline, times that a test decides."""

import dataclasses

from pytest_benchmark import plugin as host

from sdperf.run import worker
from sdperf.run.case import Case
from sdperf.run.suite import Suite


class Script:
    """Seconds of the next rounds, by images in a round.

    Attributes:
        seconds: Seconds of a round by its number of images.
        drift: Called with how many rounds came before; returns a factor.
        rounds: Rounds so far, first calls and warm-ups included.
    """

    def __init__(self):
        self.seconds = {1: 1.0, 2: 2.0}
        self.drift = lambda _: 1.0
        self.rounds = 0

    def next_s(self, request):
        self.rounds += 1
        return self.seconds[len(request.images)] * self.drift(self.rounds)

    def install(self, monkeypatch):
        """Replace what the in-process worker measures, and what is not timed anyway."""
        run_round = worker._Loaded.run_round

        def scripted(loaded, request):
            result = run_round(loaded, request)
            return dataclasses.replace(result, start_s=0.0, end_s=self.next_s(request))

        monkeypatch.setattr(worker._Loaded, "run_round", scripted)
        monkeypatch.setattr(host, "get_cpu_info", dict)
        monkeypatch.setattr(Case, "_watch", lambda _: None)
        monkeypatch.setattr(Suite, "profile", lambda *_: None)
        monkeypatch.setattr(Suite, "limits", lambda *_: None)
