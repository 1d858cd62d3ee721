"""A session that leaves all of its cases out is no success."""

import pytest

from sdperf.run.memory import Room

ALL_OUT = "nothing was measured, exit status 1: 2 cases skipped and none run; the line above says"


@pytest.fixture
def no_room(hosts, monkeypatch):
    """A machine whose memory holds no pipeline at all, asked about every one."""
    for module in ("sdperf.run.suite", "sdperf.plugin.live.skipping"):
        monkeypatch.setattr(f"{module}.FITS_EVERYWHERE_BYTES", 0)
    monkeypatch.setattr("sdperf.run.suite.find_room", lambda *_: Room(2**16, 0.7))
    return hosts


def words(done):
    return " ".join(done.stdout.str().split())


def test_what_the_memory_does_not_hold_fails_the_session(bench, no_room):
    done = bench(spawned=True, precision="auto", workers="1", mode="sync", device="cpu")
    said = words(done)
    assert done.ret == 1
    assert "fp32 takes" in said
    assert "in the 44.8 KiB that may be filled of 64.0 KiB; force with --sd-precision fp32" in said
    assert ALL_OUT.replace("2 cases", "6 cases") in said
    forced = bench(spawned=True, precision="fp32", workers="1", mode="sync", device="cpu")
    assert forced.ret == 0
    assert "nothing was measured" not in words(forced)


SOAK = """
def test_soak(sd_benchmark):
    sd_benchmark.soak()

def test_images(sd_quality):
    sd_quality.images()
"""


def test_a_strict_session_takes_no_other_reason_either(bench, pytester):
    pytester.makepyfile(test_bench=SOAK)
    for arguments, status in (((), 0), (("--sd-strict",), 1)):
        done = bench("-k", "soak", *arguments)
        assert done.ret == status
        assert ("nothing was measured, exit status 1: 1 case skipped" in words(done)) is bool(
            status
        )


def test_who_asks_for_no_benchmark_gets_none(bench):
    assert bench("--benchmark-skip", "--sd-strict").ret == 0
