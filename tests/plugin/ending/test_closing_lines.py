from types import SimpleNamespace

import pytest

from sdperf.plugin.ending.summary import list_closing_lines

JUDGED = "plausibility (answers from memory, more than the device's peak)"


def close(measurement, **settings):
    log = SimpleNamespace(reports=(), repeated={})
    stored = SimpleNamespace(refused_save=None, no_run=None)
    live = SimpleNamespace(
        settings=SimpleNamespace(**{"unwatched": True, "cluster": None} | settings),
        log=log, stored=stored, interrupted=False,
    )  # fmt: skip
    verdict = SimpleNamespace(outcome=None)
    outcome = SimpleNamespace(
        comparison=SimpleNamespace(list_absent=lambda reports: []),
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
