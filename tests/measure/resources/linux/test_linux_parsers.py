"""Linux' own files: documented shapes and any text."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdperf.measure.resources.linux import linux_parsers as linux
from sdperf.measure.resources.linux.cgroup import CgroupLimits, read_cgroup_limits
from sdperf.measure.resources.linux.linux_parsers import CpuTimes
from sdperf.measure.resources.linux.linux_swap import SwapTotals, read_linux_swap
from sdperf.measure.resources.numbers import (
    parse_amount,
    parse_count,
    parse_number,
    parse_percent,
    parse_positive,
    parse_whole,
)

PARSERS = (
    linux.parse_cpu_list,
    linux.parse_allowed_cpus,
    linux.parse_meminfo,
    linux.parse_os_release,
    linux.parse_chip,
    linux.parse_cpu_times,
    linux.parse_cgroup_paths,
    linux.parse_cpu_quota,
    linux.parse_key_counts,
    parse_count,
)


@pytest.mark.parametrize("parse", PARSERS)
@given(text=st.text(max_size=200))
def test_no_text_makes_a_parser_raise(parse, text):
    parse(text)


@pytest.mark.parametrize("text", ["0\x1f", "\x1c7\n", " 7 "])
def test_a_count_is_read_beside_whatever_counts_as_space(text):
    assert parse_count(text) == int(re.sub("[^0-9]", "", text))


def test_cpu_lists():
    assert linux.parse_cpu_list("0-2,5,7-8\n") == {0, 1, 2, 5, 7, 8}
    assert linux.parse_cpu_list("3-1") == frozenset()
    assert linux.parse_cpu_list("0-x") == frozenset()
    assert len(linux.parse_cpu_list("0-99999")) == 1 + (1 << 16)


def test_cpu_times_count_guests_once():
    stat = "cpu  100 10 50 800 20 5 5 10 90 9\ncpu0 1 2 3\n"
    assert linux.parse_cpu_times(stat) == CpuTimes(total=1000, stolen=10, idle=820)
    assert linux.parse_cpu_times("cpu  1 2 3\n") is None


def test_cpu_quota():
    assert linux.parse_cpu_quota("150000 100000\n") == 1.5
    assert linux.parse_cpu_quota("max 100000\n") is None
    assert linux.parse_cpu_quota("100 0\n") is None


def test_os_release_takes_quotes_off():
    assert linux.parse_os_release("ID='a'\nNAME=\"B c\"\n# ID=no\n") == {"ID": "a", "NAME": "B c"}


def test_limits_of_every_level(make_linux):
    files = {
        "/proc/self/cgroup": "0::/a/b\n",
        "/sys/fs/cgroup/a/b/cpu.max": "400000 100000\n",
        "/sys/fs/cgroup/a/cpu.max": "200000 100000\n",
        "/sys/fs/cgroup/a/b/cpu.stat": "nr_periods 9\nnr_throttled 7\n",
        "/sys/fs/cgroup/memory.max": "max\n",
    }
    limits = read_cgroup_limits(make_linux(files))
    assert limits == CgroupLimits(cpus=2.0, memory_bytes=None, throttled_periods=7)
    assert read_cgroup_limits(make_linux({"/proc/self/cgroup": None})) == CgroupLimits()


def test_swap_hidden_by_a_container_is_unknown(make_linux):
    assert read_linux_swap(make_linux()) == SwapTotals(None, None, None)
    files = {
        "/proc/meminfo": "SwapTotal: 10 kB\nSwapFree: 4 kB\n",
        "/proc/vmstat": "nr_free_pages 5\npswpin 0\npswpout 2\n",
    }
    swap = read_linux_swap(make_linux(files))
    assert (swap.used_bytes, swap.swapped_in_bytes) == (6 * 1024, 0)
    assert swap.swapped_out_bytes is not None
    assert swap.swapped_out_bytes > 0


def test_numbers_that_cannot_be_are_none():
    strange = (True, "1", None, float("nan"), float("inf"), 10**400, [1])
    for parse in (parse_number, parse_amount, parse_positive, parse_percent):
        assert [parse(value) for value in strange] == [None] * len(strange)
        assert parse(1) == 1.0
    assert [parse_whole(value) for value in (True, -1, 1.0, "1", 3)] == [None] * 4 + [3]
    assert (parse_amount(-1), parse_amount(0)) == (None, 0.0)
    assert parse_positive(0) is None
    assert (parse_percent(100.1), parse_percent(-0.1)) == (None, None)
    assert (parse_count(" 12\n"), parse_count("-1"), parse_count(None)) == (12, None, None)
