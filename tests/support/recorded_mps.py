"""An Apple GPU that is not here: records every call, keeps accounts, and dies of a second thread.

It stands in for ``torch`` inside `sdperf.device.mps` and nowhere else. Its tensors are the CPU's,
so that a whole pipeline can run "on" it; memory is what a test says was allocated.
"""

import threading
from types import SimpleNamespace

import torch

RECOMMENDED_BYTES = 2**34


class SecondThreadError(AssertionError):
    """A second thread touched the GPU; on a Mac the process would have aborted."""


class RecordedMps:
    """What ``torch.mps`` and ``torch.accelerator`` do, as far as their documents tell.

    Attributes:
        log: Names of calls in order; tests add events of their own with `note`.
        live_bytes: Held by tensors.
        driver_bytes: Held by the process, cache included.
    """

    def __init__(self, version="2.13.0", *, recommends=True, counts_peaks=None):
        self.log = []
        self.threads = set()
        self.live_bytes = self.driver_bytes = self.counted_peak_bytes = 0
        self._counts_peaks = version >= "2.13" if counts_peaks is None else counts_peaks
        self.torch = SimpleNamespace(
            __version__=version,
            backends=SimpleNamespace(mps=SimpleNamespace(is_available=lambda: True)),
            mps=SimpleNamespace(
                synchronize=self._call("synchronize"),
                empty_cache=self._call("empty_cache", self._empty),
                current_allocated_memory=self._call("current", lambda: self.live_bytes),
                driver_allocated_memory=self._call("driver", lambda: self.driver_bytes),
                Event=self._call("Event"),
            ),
            accelerator=SimpleNamespace(synchronize=self._call("accelerator.synchronize")),
            device=lambda _: torch.device("cpu"),
        )
        if recommends:
            self.torch.mps.recommended_max_memory = self._call(
                "recommended", lambda: RECOMMENDED_BYTES
            )
        if self._counts_peaks:
            self.torch.accelerator.max_memory_allocated = self._call(
                "max", lambda: self.counted_peak_bytes
            )
            self.torch.accelerator.reset_peak_memory_stats = self._call("reset", self._reset)

    def note(self, event):
        """Add an event to the log; an event on a second thread is an error, as a call is."""
        self.log.append(event)
        self.threads.add(threading.get_ident())
        if len(self.threads) > 1:
            raise SecondThreadError(f"{event} on a second thread; so far: {self.log[-8:]}")

    def allocate(self, size_bytes):
        self.live_bytes += size_bytes
        self.driver_bytes = max(self.driver_bytes, self.live_bytes)
        self.counted_peak_bytes = max(self.counted_peak_bytes, self.live_bytes)

    def free(self, size_bytes):
        self.live_bytes -= size_bytes

    def _call(self, name, answer=lambda: None):
        def call(*_arguments, **_named):
            self.note(name)
            return answer()

        return call

    def _empty(self):
        self.driver_bytes = self.live_bytes

    def _reset(self):
        self.counted_peak_bytes = self.live_bytes
