"""Pictures on all cores: all of them, in order, in bounded memory, and nothing left running."""

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdperf.images import cores, map_on_all_cores
from sdperf.images.cores import PEAK_BYTES_PER_PIXEL, count_at_once


@pytest.fixture
def four_cores(monkeypatch):
    monkeypatch.setattr(cores, "count_usable_cores", lambda: 4)


def test_results_keep_the_order_of_the_items(four_cores):
    assert map_on_all_cores(lambda item: item * item, range(40)) == [n * n for n in range(40)]
    assert map_on_all_cores(str, []) == []


def test_as_many_work_at_once_as_there_are_cores(four_cores):
    together = threading.Barrier(4, timeout=30)  # a single thread would wait here for ever
    map_on_all_cores(lambda _: together.wait(), range(4))


def test_no_thread_is_left_when_it_returns(four_cores):
    before = threading.active_count()
    map_on_all_cores(lambda item: item, range(8))
    assert threading.active_count() == before


def test_an_error_is_raised_and_leaves_no_thread(four_cores):
    def fail(item):
        if item == 5:
            raise ValueError("not this one")
        return item

    before = threading.active_count()
    with pytest.raises(ValueError, match="not this one"):
        map_on_all_cores(fail, range(8))
    assert threading.active_count() == before


def test_large_pictures_wait_for_memory():
    free_bytes = 8 * 1024**2 * PEAK_BYTES_PER_PIXEL
    assert count_at_once(16, 1024**2, cores=16, free_bytes=free_bytes) == 2
    assert count_at_once(16, 1024**2, cores=16, free_bytes=0) == 1


@given(st.integers(0, 100), st.integers(0, 10**8), st.integers(1, 256), st.integers(0, 2**40))
def test_at_least_one_and_never_more_than_there_are(items, pixels, usable, free_bytes):
    count = count_at_once(items, pixels, cores=usable, free_bytes=free_bytes)
    assert 1 <= count <= max(1, min(items, usable))
