"""A failing verdict is a failed test wherever tools look."""

import json
import xml.etree.ElementTree as ET

import pytest

from sdperf.report.text.wrapping import WIDTH

SLOW = """
def test_fast(sd_benchmark):
    sd_benchmark.latency()

def test_mine():
    pass
"""


@pytest.fixture
def slowed(bench, script, accept, pytester):
    """Run once, accept, and run the same twice as slow; returns what makes the second run."""
    pytester.makepyfile(test_bench=SLOW)
    assert bench().ret == 0
    assert accept() == 0
    script.seconds = {1: 3.0, 2: 6.0}

    def again(*arguments):
        return bench("--benchmark-compare", *arguments)

    return again


def test_a_slower_case_is_failed_in_the_counts_and_in_junit(slowed, pytester):
    result = slowed("--junitxml=report.xml", "-rf", "-x")
    assert result.ret == 1
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["FAILED test_bench.py::test_fast*SLOWER*"])
    (suite,) = ET.parse(pytester.path / "report.xml").getroot()
    assert (suite.get("tests"), suite.get("failures")) == ("2", "1")
    cases = {case.get("name"): case for case in suite.iter("testcase")}
    assert len(list(suite.iter("testcase"))) == 2
    (failure,) = next(one for name, one in cases.items() if "fast" in name).iter("failure")
    assert "SLOWER" in failure.get("message")
    assert not list(cases["test_mine"].iter("failure"))
    assert "drift of the machine is not excluded\nnext: pytest" in failure.get("message")


def test_what_pytest_prints_of_a_slower_case_fits_the_terminal(slowed):
    lines = slowed("--tb=short").outlines
    shown = lines[lines.index(next(one for one in lines if "= FAILURES =" in one)) :]
    shown = shown[: next(index for index, one in enumerate(shown) if "= sdperf =" in one)]
    assert any(one.startswith("next: pytest") for one in shown)
    assert max(map(len, shown)) <= WIDTH


def test_one_line_a_failure_names_the_test_of_the_verdict(slowed):
    slowed("--tb=line").stdout.fnmatch_lines(["test_bench.py:1: SLOWER: *"])


def test_last_failed_runs_a_slower_case_again(slowed, pytester):
    assert slowed("-p", "cacheprovider").ret == 1
    last = json.loads((pytester.path / ".pytest_cache/v/cache/lastfailed").read_text())
    assert [name.partition("[")[0] for name in last] == ["test_bench.py::test_fast"]


@pytest.mark.long
def test_under_xdist_every_case_is_an_error_in_the_counts(bench, pytester):
    pytester.makepyfile(test_bench=SLOW)
    result = bench("-n1", workers="1", in_process=False)
    assert result.ret == 1
    result.assert_outcomes(passed=1, errors=1)
