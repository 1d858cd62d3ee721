import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdperf.judging.resources.memory import MemoryLimits, judge_memory
from sdperf.record.measurement import MemoryUsage
from sdperf.record.verdict import Outcome

MIB = 2**20


def rss(*peaks):
    return [MemoryUsage(peak_rss_bytes=peak * MIB) for peak in peaks]


@pytest.mark.parametrize(
    ("current", "history", "outcome"),
    [
        (1200, (1000, 1010, 990), Outcome.HEAVIER),
        (1090, (1000, 1010, 990), Outcome.PASS),  # 90 MiB, but only 9 %
        (150, (100, 100, 100), Outcome.PASS),  # 50 %, but only 50 MiB
        (1200, (1000, 1010, 1250), Outcome.PASS),  # was reached before
        (500, (1000,), Outcome.PASS),
    ],
)
def test_both_limits_must_be_exceeded(current, history, outcome):
    assert judge_memory(*rss(current), rss(*history)).outcome is outcome


def test_device_memory_is_judged_by_itself():
    before = MemoryUsage(peak_rss_bytes=1000 * MIB, peak_device_bytes=2000 * MIB)
    after = MemoryUsage(peak_rss_bytes=1000 * MIB, peak_device_bytes=3000 * MIB)
    finding = judge_memory(after, [before])
    assert finding.outcome is Outcome.HEAVIER
    assert finding.reason.startswith("peak device memory 2.93 GiB against 1.95 GiB (+50.0 %)")


def test_sampled_and_tracked_peaks_are_never_compared():
    before = MemoryUsage(peak_device_bytes=2000 * MIB, peak_device_sampled=True)
    finding = judge_memory(MemoryUsage(peak_device_bytes=3000 * MIB), [before])
    assert finding.outcome is Outcome.INCOMPARABLE


def test_a_peak_that_vanished_is_not_fine():
    assert judge_memory(MemoryUsage(), rss(1000)).outcome is Outcome.INCONCLUSIVE
    before = MemoryUsage(peak_device_bytes=2000 * MIB, peak_device_sampled=True)
    assert judge_memory(MemoryUsage(), [before]).outcome is Outcome.INCONCLUSIVE


def test_nothing_to_compare_with():
    assert judge_memory(*rss(1000), []).outcome is Outcome.NO_BASELINE
    assert judge_memory(*rss(1000), [MemoryUsage()]).outcome is Outcome.NO_BASELINE


def test_limits_can_be_set():
    strict = MemoryLimits(max_growth=0.01, max_growth_bytes=MIB)
    assert judge_memory(*rss(1020), rss(1000), strict).outcome is Outcome.HEAVIER


peaks = st.none() | st.integers(0, 2**40)
usages = st.builds(
    MemoryUsage, peak_rss_bytes=peaks, peak_device_bytes=peaks, peak_device_sampled=st.booleans()
)


@given(usages, st.lists(usages, max_size=5))
def test_a_peak_that_was_accepted_is_never_heavier(current, history):
    assert judge_memory(current, [*history, current]).outcome is not Outcome.HEAVIER
    assert judge_memory(current, history).gate == "memory"
