"""A limit that this machine was calibrated not to support is refused, or leaves a pass open."""

import json
from functools import partial

import pytest

from sdperf.store.calibration import CalibratedCase, Calibration, write_calibration
from sdperf.store.runs import read_run
from tests.support.stories import accept_sessions

LATENCY = ("-k", "latency")


@pytest.fixture
def calibrate(bench, script, pytester, accept):
    """Accept five sessions, and let the machine be one on which each case moves so far."""
    accept_sessions(pytester, partial(bench, *LATENCY), accept)
    run = read_run(pytester.path / ".sdperf/last-run.json")
    (measured,) = (case.measurement for case in run.cases.values())

    def calibrate(width, **changes):
        case = CalibratedCase(width, measured.workload, measured.images_per_round)
        fields = {
            "fingerprint": measured.environment.fingerprint(),
            "measured_at": "2026-11-23T00:00:00+00:00",
            "command": "sdperf calibrate",
            "max_slowdown": 0.03,
            "supports_limit": width <= 0.03,
            "calibrated": dict.fromkeys(run.cases, case),
        }
        folder = pytester.path / "benchmarks/calibration"
        return write_calibration(folder, Calibration(**fields | changes), {})

    return calibrate


def test_the_default_limit_leaves_a_pass_open(bench, calibrate):
    calibrate(0.041)
    unsupported = bench(*LATENCY, "--benchmark-compare")
    assert unsupported.ret == 0
    said = " ".join(unsupported.stdout.str().split())
    assert (
        "limit +3.0 % cannot be supported here: this machine tells changes above +4.1 %, see "
        "benchmarks/calibration (0 sessions, 2026-11-23)"
    ) in said
    assert "next: use pytest --sd-max-slowdown 5%, or sdperf ab" in said
    unsupported.stdout.fnmatch_lines(["1 case: 1 INCONCLUSIVE"])
    assert bench(*LATENCY, "--benchmark-compare", "--sd-strict").ret == 1


def test_a_limit_of_an_ini_file_is_treated_alike(bench, calibrate, pytester):
    calibrate(0.041)
    pytester.makeini("[pytest]\nsd_max_slowdown = 4%\n")
    bench(*LATENCY, "--benchmark-compare").stdout.fnmatch_lines(["1 case: 1 INCONCLUSIVE"])
    pytester.makeini("[pytest]\nsd_max_slowdown = 5%\n")
    bench(*LATENCY, "--benchmark-compare").stdout.fnmatch_lines(["1 case: 1 PASS"])


def test_a_typed_limit_is_refused_before_anything_is_measured(bench, calibrate):
    calibrate(0.041)
    refused = bench(*LATENCY, "--benchmark-compare", max_slowdown="3%")
    assert refused.ret == 4
    refused.stderr.fnmatch_lines(
        [
            "ERROR: limit +3.0 % cannot be supported here: this machine tells changes above +4.1 %*"
            "the command line's limit of *use pytest --sd-max-slowdown 5%, or sdperf ab"
        ]
    )
    assert "passed" not in refused.stdout.str()
    wide = bench(*LATENCY, "--benchmark-compare", max_slowdown="5%")
    assert wide.ret == 0
    wide.stdout.fnmatch_lines(["1 case: 1 PASS"])
    assert bench(*LATENCY, max_slowdown="3%").ret == 0  # compares with nothing


def test_a_markers_limit_is_refused_with_its_test(bench, calibrate, pytester):
    calibrate(0.041)
    pytester.makepyfile(
        test_bench="""
        import pytest

        @pytest.mark.sd(max_slowdown="2%")
        def test_latency(sd_benchmark):
            sd_benchmark.latency()
        """
    )
    refused = bench(*LATENCY, "--benchmark-compare")
    assert refused.ret == 4
    refused.stderr.fnmatch_lines(["ERROR: limit +2.0 % cannot*its marker's limit of *latency*"])


def test_what_was_calibrated_of_other_work_says_nothing(bench, calibrate):
    calibrate(0.041)
    other = bench(*LATENCY, "--benchmark-compare", max_slowdown="3%", steps=3)
    assert other.ret == 1
    other.stdout.fnmatch_lines(["nothing was compared: *", "1 case: 1 INCOMPARABLE"])


def test_another_machines_calibration_says_nothing(bench, calibrate):
    calibrate(0.041, fingerprint="mps--another-chip")
    quiet = bench(*LATENCY, "--benchmark-compare", max_slowdown="3%")
    quiet.stdout.fnmatch_lines(["1 case: 1 PASS"])


def test_a_slowdown_beyond_the_noise_is_still_found(bench, calibrate, script):
    calibrate(0.041)
    script.seconds[1] = 1.5
    slower = bench(*LATENCY, "--benchmark-compare")
    assert slower.ret == 1
    slower.stdout.fnmatch_lines(["1 case: 1 SLOWER"])


def test_a_damaged_calibration_is_refused_before_anything_runs(bench, calibrate):
    path = calibrate(0.041)
    document = json.loads(path.read_text())
    path.write_text(json.dumps(document | {"calibrated": 3}))
    refused = bench(*LATENCY, "--benchmark-compare")
    assert refused.ret == 4
    refused.stderr.fnmatch_lines(["ERROR: *benchmarks/calibration/*is no calibration*"])
