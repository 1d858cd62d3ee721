import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdperf.units import (
    UNKNOWN,
    format_bytes,
    format_change,
    format_score,
    format_seconds,
    shorten_apart,
    shorten_middle,
)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0 ns"),
        (5e-7, "500 ns"),
        (0.00123, "1.23 ms"),
        (0.9999, "1000 ms"),
        (1.2345, "1.23 s"),
        (99.96, "100 s"),
        (125.0, "2 min 05 s"),
        (None, UNKNOWN),
        (float("nan"), UNKNOWN),
    ],
)
def test_seconds_have_three_digits_and_a_unit(seconds, text):
    assert format_seconds(seconds) == text


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 B"), (1023, "1023 B"), (1536, "1.50 KiB"), (5 * 2**40, "5.00 TiB"), (None, UNKNOWN)],
)
def test_bytes_are_binary(size, text):
    assert format_bytes(size) == text


def test_a_change_is_signed():
    assert format_change(1.25) == "+25.0 %"
    assert format_change(0.9) == "-10.0 %"
    assert format_change(None) == UNKNOWN


@given(st.floats(0, 0.99999999))
def test_a_score_below_one_never_reads_as_one(score):
    assert format_score(score) != "1.0000" or score > 0.999999998


@given(st.lists(st.text("ab[-]", max_size=30), max_size=8), st.integers(8, 20), st.booleans())
def test_what_is_cut_fits_and_what_differs_still_does(texts, most, keeps_end):
    cut = shorten_apart(texts, most, keeps_end=keeps_end)
    assert all(len(text) <= most for text in cut)
    assert len(set(cut)) == len(set(texts))
    assert [short for short, text in zip(cut, texts, strict=True) if len(text) <= most] == [
        text for text in texts if len(text) <= most
    ]


def test_a_difference_is_kept_wherever_it_is():
    assert shorten_apart(["aaaaaaaaaa-one-b", "aaaaaaaaaa-two-b"], 13) == [
        "aaaaa...one-b",
        "aaaaa...two-b",
    ]
    ids = [
        f"latency[fp32-{mode}-1w-1t-{engine}-{one}]"
        for mode in ("sync", "async")
        for engine in ("torch", "openvino")
        for one in ("none", "keep_freed_memory")
    ]
    assert shorten_apart(ids, 34) == [
        "latency[...sync...torch-none]",
        "latency[...sync...torch-keep...]",
        "latency[...sync...open...none]",
        "latency[...sync...open...keep...]",
        "latency[...async...torch-none]",
        "latency[...async...torch-keep...]",
        "latency[...async...open...none]",
        "latency[...async...open...keep...]",
    ]
    same_ends = [f"{'a' * 20}{middle}{'b' * 20}" for middle in "xy"]
    assert shorten_apart(same_ends, 12) == ["aaaaaaaa...1", "aaaaaaaa...2"]
    assert shorten_middle("abc", 3) == "abc"


def test_a_score_that_is_none_is_unknown():
    assert format_score(1e308) == UNKNOWN
