"""Which threads of this process call operators of torch: all of them are seen, also foreign ones.

A dispatch mode sees its own thread only. torch's profiler can follow all threads of a process.
"""

import contextlib
from collections import defaultdict

import torch
from torch._C._profiler import _ExperimentalConfig

MARK = "sdperf::device thread"


class TorchThreads:
    """Operators by thread, once the profile has ended."""

    def __init__(self):
        self.operators = defaultdict(set)
        self.device_thread = None

    def elsewhere(self):
        """Return the operators that ran on other threads than the device's, by thread."""
        return {
            thread: sorted(names)
            for thread, names in self.operators.items()
            if thread != self.device_thread
        }


@contextlib.contextmanager
def torch_threads(on_device_thread):
    """Record every operator that runs inside, on whatever thread.

    Args:
        on_device_thread: Calls a function on the thread that may call torch, and waits for it.
    """
    seen = TorchThreads()
    profile = torch.profiler.profile(
        activities=[torch.profiler.ProfilerActivity.CPU],
        acc_events=True,
        experimental_config=_ExperimentalConfig(profile_all_threads=True),
    )

    def leave_a_mark():
        with torch.profiler.record_function(MARK):
            pass

    with profile:
        on_device_thread(leave_a_mark)
        yield seen
    for event in profile.profiler.kineto_results.events():
        if event.name() == MARK:
            seen.device_thread = event.start_thread_id()
        elif event.name().startswith("aten::"):
            seen.operators[event.start_thread_id()].add(event.name())
