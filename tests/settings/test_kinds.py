"""Kinds of values: what they say is what they take, and what they write is read back."""

import math

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sdperf.settings import (
    BUDGET,
    CONFIRM,
    GUIDANCE,
    MAX_FIRST_CALL,
    MAX_LOAD,
    OPTIMISATIONS,
    OPTIONS,
    SEED,
    SIZE,
    SOAK,
    STEPS,
    THREADS,
    TIMEOUT,
    kinds,
)

MAYBE = kinds.duration(takes_zero=True)
MEANT = [
    (kinds.whole(1, 10), " 7 ", 7),
    (kinds.EDGE, "64", 64),
    (kinds.number(0, 1000), "2.5", 2.5),
    (kinds.positive("seconds"), "1e-3", 0.001),
    (kinds.choice(("a", "b")), "b", "b"),
    (kinds.listed(kinds.whole(1, 9)), "2, 1,2", (2, 1)),
    (kinds.optional(kinds.JOULES), "", None),
    (kinds.optional(kinds.JOULES), "1.5kJ", 1500.0),
    (kinds.PIXELS, " 512 x 64", (512, 64)),
    (kinds.SHARE, "3%", 0.03),
    (kinds.SHARE, "3", 0.03),
    (kinds.SHARE, "0.3%", 0.003),
    (kinds.BYTES, "256KiB", 2**18),
    (kinds.DURATION, "10m", 600.0),
    (kinds.DURATION, "90", 90.0),
    (kinds.DURATION, "90s", 90.0),
    (kinds.DURATION, "2.5 h", 9000.0),
    (kinds.DURATION, "1e-3", 0.001),
    (kinds.DURATION, "10000h", 3.6e7),
    (MAYBE, "0", 0.0),
    (MAYBE, "0s", 0.0),
    (MAYBE, "60s", 60.0),
    (kinds.GROWTH, "10% + 64MiB", (0.1, 2**26)),
    (kinds.START, "50%+2s", (0.5, 2.0)),
    (kinds.START, "50% + 2", (0.5, 2.0)),
    (kinds.START, "50%+1m", (0.5, 60.0)),
    (kinds.text(), " as it is ", " as it is "),
    (kinds.CLUSTER, "tls://host:8786", "tls://host:8786"),
    (kinds.HISTORY, "off", "off"),
    (kinds.PAGE, "/tmp/x.html", kinds.Path("/tmp/x.html")),
    (GUIDANCE.kind, "none", "none"),
]
REFUSED = [
    (kinds.whole(1, 10), ("0", "11", "1.0", "-1", "", "1e1", "9" * 5000, "\u0663")),
    (kinds.EDGE, ("0", "4", "65", "65544")),
    (kinds.number(0, 1000), ("nan", "inf", "-0.1", "1001", "x", "")),
    (kinds.positive("seconds"), ("0", "-1", "inf", "nan")),
    (kinds.choice(("a", "b")), ("c", "A", "")),
    (kinds.listed(kinds.whole(1, 9)), ("", "1,,2", "1,10", "auto,2")),
    (kinds.PIXELS, ("512", "512x", "x64", "1234567x8")),
    (kinds.SHARE, ("0", "-3%", "nan", "many", "inf", "3%%", "0.03")),
    (kinds.BYTES, ("6", "0KiB", "1.2.3MiB", "5MB")),
    (kinds.JOULES, ("300", "0J", "J")),
    (kinds.DURATION, ("0", "0s", "-1", "-1s", "nan", "inf", "10d", "", "s", "10001h", "\u0663")),
    (MAYBE, ("-1", "nan", "inf", "1e10", "10d", "999999h", "")),
    (kinds.GROWTH, ("10%", "0%+64MiB", "10%+0MiB", "10+64MiB")),
    (kinds.START, ("50%", "50%+", "50%+0s", "50%+2d", "0%+2s", "50+2s")),
    (kinds.text(), ("", "  ", "a\nb", "a" * 4097)),
    (kinds.CLUSTER, ("host:8786", "tcp://host", "tcp://a/b:1")),
    (kinds.HISTORY, ("mysql://x/y", "-x")),
    (kinds.PAGE, ("report", "report.txt")),
    (kinds.file_such_as("x.json"), ("", "/nowhere/at/all/x.json", "/tmp")),
    (GUIDANCE.kind, ("nan", "-1", "None")),
    (SEED.kind, ("-1", str(2**63 - 2**16))),
]


@pytest.mark.parametrize(("kind", "text", "value"), MEANT)
def test_what_is_meant_is_read(kind, text, value):
    assert kind.parse(text) == value


@pytest.mark.parametrize(
    ("kind", "text"), [(kind, text) for kind, texts in REFUSED for text in texts]
)
def test_what_cannot_be_meant_is_refused_with_what_is_expected(kind, text):
    with pytest.raises(ValueError, match=r"\w") as caught:
        kind.parse(text)
    assert str(caught.value) == kind.expected or not kind.expected


@given(st.integers(1, 10_000), st.floats(0, 1000, allow_nan=False))
def test_what_is_written_is_read_back(steps, scale):
    assert STEPS.parse(STEPS.format(steps)) == steps
    assert math.isclose(GUIDANCE.parse(GUIDANCE.format(scale)), scale, abs_tol=1e-9)
    size = (8 * (1 + steps % 4096), 8 * (1 + steps % 77))
    assert SIZE.parse(SIZE.format(size)) == size
    assert kinds.DURATION.parse(kinds.DURATION.format(steps / 8)) == steps / 8
    assert kinds.SHARE.parse(kinds.SHARE.format(steps / 10_000)) == pytest.approx(steps / 10_000)


@given(st.floats(0, kinds.MOST_SECONDS, exclude_min=True))
@example(5e-324)
@example(1e-12)
@example(1.23456789012e-5)
@example(kinds.DURATION.parse(".18m"))
def test_a_duration_that_is_told_can_be_typed_and_is_the_same(duration_s):
    told = kinds.format_duration(duration_s)
    assert math.isclose(kinds.DURATION.parse(told), duration_s, rel_tol=1e-9)


def test_every_option_that_takes_a_duration_takes_seconds_without_a_unit_and_with_one():
    timed = [one for one in OPTIONS if "DURATION" in one.metavar]
    assert {BUDGET, CONFIRM, MAX_FIRST_CALL, MAX_LOAD, SOAK, TIMEOUT} == set(timed)
    for one in timed:
        share = "50%+" if one in (MAX_FIRST_CALL, MAX_LOAD) else ""
        assert one.parse(f"{share}90") == one.parse(f"{share}90s") == one.parse(f"{share}1.5m")


def test_settings_are_spelled_for_each_of_their_readers():
    assert (str(STEPS), STEPS.flag, STEPS.ini) == ("--sd-steps", "--steps", "sd_steps")
    assert STEPS.assign(20) == "steps=20"
    assert THREADS.assign(None) == "threads=auto"
    assert OPTIMISATIONS.format(()) == "none"
    assert OPTIMISATIONS.format(("compile", "batch2")) == "compile+batch2"
    assert STEPS.parse_or_auto("auto") is None
