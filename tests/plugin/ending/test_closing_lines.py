from collections import Counter
from types import SimpleNamespace

import pytest

from sdperf.plugin.ending.summary import list_closing_lines

JUDGED = "plausibility (answers from memory, more than the device's peak)"


def close(measurement, absent=(), repeated=(), **settings):
    log = SimpleNamespace(reports=(), repeated=Counter(repeated))
    stored = SimpleNamespace(refused_save=None, no_run=None)
    live = SimpleNamespace(
        settings=SimpleNamespace(**{"unwatched": True, "cluster": None} | settings),
        log=log, stored=stored, interrupted=False,
    )  # fmt: skip
    verdict = SimpleNamespace(outcome=None)
    outcome = SimpleNamespace(
        comparison=SimpleNamespace(list_absent=lambda reports: absent),
        rows=[SimpleNamespace(verdict=verdict, measurement=measurement)],
        nothing_ran=None,
        void=None,
    )
    return list_closing_lines(live, outcome)


@pytest.mark.parametrize(("cluster", "why"), [(None, "--sd-unwatched"), ("grid", "a cluster")])
def test_an_unwatched_session_says_what_it_did_not_judge(cluster, why):
    assert close("measured", cluster=cluster) == [f"not judged for {why}: {JUDGED}"]


def test_what_was_watched_or_never_measured_needs_no_such_line():
    assert close("measured", unwatched=False) == []
    assert close(None) == []


def test_the_cases_of_a_list_differ():
    names = [f"b/{file}.py::test_speed[1w]" for file in ("one", "two")]
    absent, repeated = close(None, absent=names, repeated=names)
    shown = "one.py::test_speed[1w], two.py::test_speed[1w]"
    assert absent == f"in the baseline, but not run now: {shown}"
    assert f"({shown})" in repeated
