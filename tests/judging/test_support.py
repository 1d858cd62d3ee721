import pytest

from sdperf.judging.support import CaseNoise, explain_unsupported, judge_support, suggest_limit
from sdperf.record.verdict import Finding, Outcome

NOISE = CaseNoise(0.041, "benchmarks/calibration (8 sessions, 2026-11-23)")
PASSED = Finding(Outcome.PASS, "latency", "1.00 s against 1.00 s")


def test_a_limit_above_the_noise_is_supported():
    assert explain_unsupported(0.05, NOISE) is None
    assert explain_unsupported(0.041, NOISE) is None
    assert judge_support(PASSED, 0.05, NOISE) is PASSED
    assert judge_support(PASSED, 0.03, None) is PASSED


def test_a_pass_below_the_noise_is_open():
    finding = judge_support(PASSED, 0.03, NOISE)
    assert finding.outcome is Outcome.INCONCLUSIVE
    assert finding.reason == (
        "1.00 s against 1.00 s; limit +3.0 % cannot be supported here: this machine tells changes "
        "above +4.1 %, see benchmarks/calibration (8 sessions, 2026-11-23)"
    )
    assert finding.next_step == "use pytest --sd-max-slowdown 5%, or sdperf ab"


@pytest.mark.parametrize("outcome", [Outcome.SLOWER, Outcome.FASTER, Outcome.INCONCLUSIVE])
def test_what_was_found_in_spite_of_the_noise_stands(outcome):
    found = Finding(outcome, "latency", "seen")
    assert judge_support(found, 0.03, NOISE) is found


@pytest.mark.parametrize(("width", "percent"), [(0.041, 5), (0.05, 5), (0.0500001, 6), (0.57, 57)])
def test_the_suggested_limit_is_the_next_whole_percent(width, percent):
    assert suggest_limit(CaseNoise(width, "x")).startswith(f"pytest --sd-max-slowdown {percent}%")
