"""The recorder on a clock that is told the time; the thread without looking at any clock."""

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdperf.measure.resources.probe import ProcessSample, Reading
from sdperf.measure.resources.sampler import MAX_SAMPLES, ResourceRecorder, Sampler, compute_curve
from sdperf.record.json import format_record, parse_record
from sdperf.record.usage import COUNTERS, GAUGES, MAX_TIMELINE_POINTS, RATES, ResourceUsage


class FakeClock:
    def __init__(self):
        self.now_s = 100.0

    def __call__(self):
        return self.now_s


class FakeProbe:
    """Says the next reading each time, the last one for ever, and what is an error it raises."""

    def __init__(self, *readings, name="fake", period_s=0.0, takes_s=0.0, clock=None):
        self.name = name
        self.period_s = period_s
        self.readings = list(readings)
        self.takes_s = takes_s
        self.clock = clock
        self.asked = self.begun = 0

    def begin(self):
        self.begun += 1

    def read(self):
        reading = self.readings[min(self.asked, len(self.readings) - 1)]
        self.asked += 1
        if self.clock is not None:
            self.clock.now_s += self.takes_s
        if isinstance(reading, Exception):
            raise reading
        return reading

    def close(self):
        pass


def record(probes, steps_s, **options):
    """Tick once, and once more after each of the steps; the last tick is a border."""
    clock = FakeClock()
    recorder = ResourceRecorder(probes, clock=clock, cpu_clock=lambda: 0.0, **options)
    recorder.tick(border=True)
    for index, step_s in enumerate(steps_s):
        clock.now_s += step_s
        recorder.tick(border=index == len(steps_s) - 1)
    return recorder


def gauge(value):
    return Reading(gauges={"gpu_board_power_w": value})


def counter(name, value):
    return Reading(counters={name: value})


def test_what_looks_back_does_not_count_as_the_window_opens():
    readings = [
        Reading(gauges={"gpu_board_utilisation_percent": busy, "gpu_board_power_w": busy})
        for busy in (0.0, 100.0, 90.0)
    ]
    usage = record([FakeProbe(*readings)], [1.0, 1.0]).summarise()
    busy, power = usage.gpu_board_utilisation_percent, usage.gpu_board_power_w
    assert (busy.mean, busy.low, busy.samples, busy.times_s) == (95.0, 90.0, 2, (1.0, 2.0))
    assert (power.low, power.samples) == (0.0, 3)
    lone = ResourceRecorder([FakeProbe(*readings)], clock=FakeClock())
    lone.tick(border=True)
    assert lone.summarise().gpu_board_utilisation_percent.mean == 0.0  # better than nothing


def test_every_field_of_the_record_is_a_gauge_a_counter_or_about_the_window():
    about = {
        *("window_s", "images", "ticks", "interval_s", "watching_s", "watching_cpu_s"),
        *("probes", "faults", "processes"),
    }
    assert {*ResourceUsage.__dataclass_fields__} == about | {*GAUGES} | {*COUNTERS} | {*RATES}


def test_a_curve_by_hand():
    curve = compute_curve([0.0, 1.0, 2.0, 3.0], [1.0, 2.0, 3.0, 10.0])
    assert curve is not None
    assert (curve.mean, curve.peak, curve.low, curve.samples) == (4.0, 10.0, 1.0, 4)
    assert curve.p95 == pytest.approx(8.95)
    assert curve.times_s == (0.0, 1.0, 2.0, 3.0)
    assert curve.values == (1.0, 2.0, 3.0, 10.0)
    assert compute_curve([], []) is None


@given(st.lists(st.floats(-1e9, 1e9), min_size=1, max_size=900))
def test_a_timeline_is_bounded_and_keeps_the_order_and_the_range(values):
    curve = compute_curve([float(index) for index in range(len(values))], values)
    assert curve is not None
    assert len(curve.times_s) == len(curve.values) == min(len(values), MAX_TIMELINE_POINTS)
    assert list(curve.times_s) == sorted(curve.times_s)
    slack = 1e-6 * (1 + max(abs(value) for value in values))
    assert all(curve.low - slack <= value <= curve.peak + slack for value in curve.values)
    assert curve.low - slack <= curve.mean <= curve.peak + slack
    assert curve.low <= curve.p95 <= curve.peak


def test_disk_counters_are_a_curve_too():
    totals = (0.0, 100.0, 100.0, 50.0, 80.0)
    probe = FakeProbe(*(counter("tree_disk_read_bytes", total) for total in totals))
    usage = record([probe], [0.5, 0.5, 0.5, 1.0]).summarise()
    curve = usage.tree_disk_read_bytes_per_s
    assert curve is not None
    assert curve.times_s == (0.25, 0.75, 2.0)
    assert curve.values == (200.0, 0.0, 30.0)
    assert usage.tree_disk_read_bytes == 80.0
    assert usage.tree_disk_written_bytes_per_s is None


def test_gauges_become_curves_and_counters_growth():
    probe = FakeProbe(
        Reading({"gpu_board_power_w": 100.0}, {"gpu_board_energy_j": 5000.0}),
        Reading({"gpu_board_power_w": 300.0}, {"gpu_board_energy_j": 5100.0}),
        Reading({"gpu_board_power_w": 200.0}, {"gpu_board_energy_j": 5400.0}),
    )
    usage = record([probe], [0.5, 1.5]).summarise(images=4)
    assert (usage.window_s, usage.ticks, usage.images) == (2.0, 3, 4)
    assert usage.gpu_board_power_w is not None
    assert usage.gpu_board_power_w.times_s == (0.0, 0.5, 2.0)
    assert usage.gpu_board_power_w.mean == 200.0
    assert usage.gpu_board_energy_j == 400.0
    assert usage.gpu_board_energy_per_image_j == 100.0
    assert usage.gpu_soc_energy_per_image_j is None
    assert usage.tree_cpu_percent is None
    assert usage.tree_cpu_s is None


def test_energy_per_image_is_unknown_without_images():
    probe = FakeProbe(counter("gpu_board_energy_j", 1.0), counter("gpu_board_energy_j", 2.0))
    recorder = record([probe], [1.0])
    assert recorder.summarise().gpu_board_energy_per_image_j is None
    assert recorder.summarise(images=0).gpu_board_energy_per_image_j is None


def test_a_window_that_never_began_is_empty():
    usage = ResourceRecorder([FakeProbe(gauge(1.0))]).summarise()
    assert (usage.window_s, usage.ticks, usage.watching_share) == (0.0, 0, None)
    assert usage.gpu_board_power_w is None


def test_a_counter_that_was_unknown_at_the_start_or_went_back_is_unknown():
    late = FakeProbe(Reading(), counter("tree_cpu_s", 5.0), counter("tree_cpu_s", 9.0))
    assert record([late], [1.0, 1.0]).summarise().tree_cpu_s is None
    reset = FakeProbe(counter("gpu_board_energy_j", 9.0), counter("gpu_board_energy_j", 1.0))
    assert record([reset], [1.0]).summarise().gpu_board_energy_j is None


def test_energy_needs_time_and_movement():
    def grown(name, last, seconds):
        probe = FakeProbe(counter(name, 10.0), counter(name, last))
        return getattr(record([probe], [seconds]).summarise(), name)

    assert grown("gpu_soc_energy_j", 15.0, 0.5) is None
    assert grown("gpu_soc_energy_j", 15.0, 2.0) == 5.0
    assert grown("gpu_soc_energy_j", 10.0, 2.0) == 0.0
    assert grown("cpu_soc_energy_j", 15.0, 5.0) is None
    assert grown("cpu_soc_energy_j", 15.0, 20.0) == 5.0
    assert grown("cpu_soc_energy_j", 10.0, 20.0) is None
    assert grown("gpu_board_energy_j", 22.0, 0.5) is None
    assert grown("gpu_board_energy_j", 22.0, 1.0) == 12.0
    assert grown("gpu_board_energy_j", 10.0, 2.0) is None


def test_the_first_probe_that_knows_a_number_is_believed():
    silent = FakeProbe(Reading(), name="silent")
    first = FakeProbe(gauge(1.0), name="first")
    second = FakeProbe(gauge(2.0), name="second")
    usage = record([silent, first, second], [1.0]).summarise()
    assert usage.gpu_board_power_w is not None
    assert usage.gpu_board_power_w.peak == 1.0
    assert usage.probes == ("silent", "first", "second")


def test_a_slow_probe_is_asked_less_often_but_at_both_borders():
    slow = FakeProbe(gauge(1.0), period_s=1.0)
    quick = FakeProbe(gauge(1.0), name="quick")
    record([slow, quick], [0.25] * 9)
    assert (slow.asked, quick.asked) == (4, 10)
    assert (slow.begun, quick.begun) == (1, 1)


def test_a_probe_that_breaks_is_named_and_the_others_go_on():
    broken = FakeProbe(gauge(1.0), OSError("device lost"), name="broken")
    sound = FakeProbe(counter("tree_cpu_s", 1.0), counter("tree_cpu_s", 2.0), name="sound")
    usage = record([broken, sound], [1.0, 1.0]).summarise()
    assert usage.faults == ("broken: OSError: device lost",)
    assert broken.asked == 2
    assert usage.tree_cpu_s == 1.0
    assert usage.gpu_board_power_w is not None
    assert usage.gpu_board_power_w.samples == 1


def test_its_own_cost_is_measured():
    clock = FakeClock()
    spent = iter([0.0, 0.125, 0.5, 0.75])
    probe = FakeProbe(gauge(1.0), takes_s=0.25, clock=clock)
    recorder = ResourceRecorder([probe], clock=clock, cpu_clock=lambda: next(spent))
    recorder.tick(border=True)
    clock.now_s += 0.75
    recorder.tick(border=True)
    usage = recorder.summarise()
    assert (usage.window_s, usage.watching_s, usage.watching_cpu_s) == (1.0, 0.5, 0.375)
    assert usage.watching_share == 0.375


def test_memory_is_bounded_however_long_a_window_lasts():
    quick, slow = FakeProbe(gauge(1.0)), FakeProbe(counter("tree_cpu_s", 1.0), name="slow")
    recorder = record([quick, slow], [0.5] * (MAX_SAMPLES + 100), interval_s=0.5)
    usage = recorder.summarise()
    assert usage.interval_s == 1.0
    assert usage.gpu_board_power_w is not None
    assert MAX_SAMPLES // 2 <= usage.gpu_board_power_w.samples < MAX_SAMPLES
    assert len(usage.gpu_board_power_w.values) == MAX_TIMELINE_POINTS


def process(pid, cpu_s, rss, started_s=1.0, footprint=None):
    return ProcessSample(pid, started_s, f"p{pid}", cpu_s, rss, footprint)


def test_processes_busiest_first_with_what_they_used_in_the_window():
    probe = FakeProbe(
        Reading(processes=(process(1, 50.0, 10, footprint=5), process(2, 3.0, 10))),
        Reading(processes=(process(1, 51.0, 30, footprint=9), process(3, 0.5, 7, 2.0))),
        Reading(processes=(process(1, 51.0, 20), process(3, 3.0, 9, 2.0))),
    )
    usage = record([probe], [2.0, 2.0]).summarise()
    assert [one.pid for one in usage.processes] == [3, 1, 2]
    third, first, second = usage.processes
    assert (third.cpu_s, third.cpu_percent, third.rss_peak_bytes) == (3.0, 75.0, 9)
    assert (first.cpu_s, first.rss_peak_bytes, first.footprint_peak_bytes) == (1.0, 30, 9)
    assert (second.cpu_s, second.footprint_peak_bytes) == (0.0, None)


def test_the_record_round_trips():
    probe = FakeProbe(Reading({"tree_rss_bytes": 5.0}, {"tree_cpu_s": 1.0}, (process(1, 1.0, 5),)))
    usage = record([probe], [1.0]).summarise(images=2)
    assert parse_record(ResourceUsage, format_record(usage)) == usage


def test_the_thread_ticks_beside_the_work_and_ends_with_it():
    thrice = threading.Event()

    class Counting(FakeProbe):
        def read(self):
            if self.asked >= 3:
                thrice.set()
            return super().read()

    probe = Counting(counter("tree_cpu_s", 1.0))
    with Sampler([probe], interval_s=0.001) as sampler:
        assert thrice.wait(timeout=60)
    usage = sampler.stop(images=1)
    asked = probe.asked
    assert usage.ticks == asked >= 4
    assert sampler.stop().ticks == asked
    assert not any(thread.name == "sdperf-sampler" for thread in threading.enumerate())


def test_the_window_ends_when_the_work_fails():
    with pytest.raises(KeyError), Sampler([FakeProbe(gauge(1.0))]) as sampler:
        raise KeyError("work")
    assert sampler.stop().ticks >= 2
