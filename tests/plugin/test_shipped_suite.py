"""``pytest --pyargs sdperf.suite`` runs the suite also where no wheel holds its files."""

import pytest

from sdperf.suite import find_suite, list_suite_files


@pytest.mark.parametrize(
    ("word", "files"),
    [
        ("sdperf.suite", {one.name for one in list_suite_files()}),
        ("sdperf.suite.test_latency", {"test_latency.py"}),
        ("sdperf.suite.test_latency::test_latency", {"test_latency.py"}),
    ],
)
def test_its_cases_are_named_as_those_of_a_copied_folder(word, files, pytester):
    run = pytester.runpytest_inprocess(
        *("--collect-only", "-q", "-p", "no:cacheprovider"), "--pyargs", word
    )
    assert run.ret == 0
    found = {line.partition("::")[0] for line in run.outlines if "::" in line}
    assert found == {f"benchmarks/{name}" for name in files}


@pytest.mark.parametrize(
    "word", ["sdperf", "sdperf.suites", "sdperf.suite.gone", "./benchmarks", "benchmarks::test_it"]
)
def test_what_names_no_part_of_it_stays(word):
    assert find_suite(word) == word


def test_the_files_of_a_wheel_stay_a_package(monkeypatch):
    folder = list_suite_files()[0].parent
    assert find_suite("sdperf.suite") == str(folder)
    monkeypatch.setattr("sdperf.suite._HERE", folder)
    assert find_suite("sdperf.suite") == "sdperf.suite"
