"""A soak: off unless asked for, red for a leak, and says how seconds drift."""

from pathlib import Path

import pytest


@pytest.fixture
def soak(bench, hosts, pytester):
    pytester.makepyfile(
        test_soak=(Path(__file__).parents[2] / "benchmarks/test_soak.py").read_text()
    )

    def soak(*arguments, **options):
        result = bench("test_soak.py", *arguments, spawned=True, **options)
        return result, " ".join(result.stdout.str().split())

    return soak


def test_a_leak_of_a_mebibyte_a_picture_fails_within_a_hundred_pictures(soak, hosts):
    hosts.resident_bytes = lambda number: 2**30 + number * 2**20
    result, said = soak(soak="100s")
    assert result.ret == 1
    assert "HEAVIER soak[fp32]: resident memory grows by 1.0" in said
    assert "100 pictures); limit 256 KiB" in said


def test_an_honest_pipeline_passes_and_its_drift_is_told(soak, hosts):
    hosts.drift = lambda number: 1 + number / 1000
    result, said = soak(soak="60s")
    assert result.ret == 0
    assert "a round's seconds drift by +5." in said
    assert "over 60 rounds" in said
    assert "HEAVIER" not in said


def test_a_soak_is_off_unless_asked_for(soak):
    result, said = soak()
    result.assert_outcomes(skipped=1)
    assert "a soak takes minutes: --sd-soak 10m" in said


def test_a_soak_that_is_too_short_for_a_slope_is_longer(soak):
    result, said = soak(soak="1s")
    assert result.ret == 0
    assert "over 48 rounds" in said


@pytest.mark.parametrize("given", ["0", "0m", "ten minutes", "1d"])
def test_what_is_no_duration_above_zero_is_refused(soak, given):
    result, _ = soak(soak=given)
    assert result.ret == 4
    result.stderr.fnmatch_lines(["*--sd-soak cannot be used*"])
