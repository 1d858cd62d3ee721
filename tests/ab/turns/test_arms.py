from sdperf.ab.turns.arms import LifePool, merge_peaks, sum_peaks
from sdperf.record.measurement import MemoryUsage


def test_peaks_of_a_worker_grow_and_those_of_workers_add_up():
    one, other = MemoryUsage(5, 3, False, 1, 9), MemoryUsage(4, 7, True, None, 9)
    assert merge_peaks(one, other) == MemoryUsage(5, 7, True, None, 9)
    assert sum_peaks([one, other]) == MemoryUsage(9, 10, True, None, 18)
    assert LifePool().lives == ()
