import pytest

from sdperf.measure.clock import VirtualClock, timed


class Recorder:
    """A clock and a device that note who was called when."""

    def __init__(self):
        self.calls = []
        self.now_s = 10.0

    def clock(self):
        self.calls.append("clock")
        self.now_s += 1.5
        return self.now_s

    def synchronize(self):
        self.calls.append("synchronize")

    def work(self):
        self.calls.append("work")
        return "image"


def test_the_border_synchronises_before_each_reading():
    recorder = Recorder()
    interval = timed(recorder.work, synchronize=recorder.synchronize, clock=recorder.clock)
    assert recorder.calls == ["synchronize", "clock", "work", "synchronize", "clock"]
    assert interval.duration_s == 1.5
    assert interval.result == "image"


def test_an_error_in_the_work_passes_through_untimed():
    recorder = Recorder()

    def fail():
        raise ValueError("no image")

    with pytest.raises(ValueError, match="no image"):
        timed(fail, synchronize=recorder.synchronize, clock=recorder.clock)
    assert recorder.calls == ["synchronize", "clock"]


def test_the_virtual_clock_gives_back_exactly_what_it_was_told():
    clock = VirtualClock()
    for seconds in (0.1, 0.2, 1 / 3, 1e-9):
        clock.reset()
        before = clock.now()
        clock.show(seconds)
        assert clock.now() - before == seconds
