import dataclasses
import json
import math
from pathlib import Path

import numpy as np
import pytest

from sdperf.errors import RecordError
from sdperf.judging.session.limits import Limits
from sdperf.judging.session.saved import compare_sessions
from sdperf.record.guard import Guard
from sdperf.record.measurement import MemoryUsage, Start
from sdperf.record.verdict import Finding, Outcome, Verdict
from sdperf.record.workload import DEFAULT_PICTURE_SHA256, InputPicture
from sdperf.report.compare import (
    format_comparison_json,
    format_comparison_markdown,
    format_comparison_table,
)
from sdperf.store.runs import Acceptance, RunSummary, SavedCase, SavedRun
from tests.support.measurements import ENVIRONMENT, measurement
from tests.support.saved_runs import CASE


def make_sessions(count=9, cases=20, rises=None, machine="Linux x86_64 CPU"):
    """Eight bases and a head (as many as count) of one machine that repeats to 0.5 %."""
    rng = np.random.default_rng(0)
    base = np.linspace(0, 3, cases)
    sessions = []
    for number in range(count):
        logs = base + rng.normal(0, 0.005, cases)
        if number == count - 1:
            for case, factor in (rises or {}).items():
                logs[case] += math.log(factor)
        timed = {
            f"test_{case}": SavedCase(
                f"test_{case}",
                rounds_s=tuple((math.exp(logs[case]) * np.array([1, 1, 1.001])).tolist()),
                is_ours=False,
            )
            for case in range(cases)
        }
        sessions.append(SavedRun(Path(f"run{number}.json"), timed, machine=machine))
    return sessions[:-1], sessions[-1]


def outcomes(comparison):
    return {case.verdict.case: case.verdict.outcome for case in comparison.cases}


def without(session, name):
    cases = {key: case for key, case in session.cases.items() if key != name}
    return dataclasses.replace(session, cases=cases)


def accept(session, *level_changed):
    accepted = Acceptance("well", "2026-11-23T00:00:00+00:00", None, "0" * 64, level_changed)
    return dataclasses.replace(session, acceptance=accepted)


def unfit(session, *guards, void=None):
    failed = tuple(Guard(name, "fail", None, "so") for name in guards)
    return dataclasses.replace(session, summary=RunSummary({}, void=void, guards=failed))


def test_a_slower_case_fails_and_the_others_pass():
    comparison = compare_sessions(*make_sessions(rises={4: 1.06}))
    found = outcomes(comparison)
    assert found.pop("test_4") is Outcome.SLOWER
    assert set(found.values()) == {Outcome.PASS}
    assert comparison.is_failed()


def test_one_case_may_have_a_limit_of_its_own():
    sessions = make_sessions(rises={4: 1.06})
    comparison = compare_sessions(*sessions, Limits(own_slowdowns={"test_4": 0.2}))
    assert set(outcomes(comparison).values()) == {Outcome.PASS}


def test_a_base_that_changed_a_level_on_purpose_ends_what_was_before():
    bases, head = make_sessions(rises={4: 1.5})
    changed = accept(bases[-1], "test_4")
    found = {
        case.verdict.case: case for case in compare_sessions([*bases[:-1], changed], head).cases
    }
    assert found["test_4"].sessions == 1
    assert found["test_5"].sessions == len(bases)


def test_an_accepted_failure_is_compared_with_and_another_is_not():
    bases, head = make_sessions(count=2)
    failed = {
        name: dataclasses.replace(case, is_ours=True, outcome="SLOWER")
        for name, case in bases[0].cases.items()
    }
    base = dataclasses.replace(bases[0], cases=failed)
    assert set(outcomes(compare_sessions([base], head)).values()) == {Outcome.INCOMPARABLE}
    accepted = accept(base)
    assert set(outcomes(compare_sessions([accepted], head)).values()) == {Outcome.PASS}


def test_where_an_unchanged_session_would_fall_is_told_from_five_bases_on():
    comparison = compare_sessions(*make_sessions())
    low, high = comparison.cases[0].unchanged
    assert 0.9 < low < 1 < high < 1.1
    few = compare_sessions(*make_sessions(count=3))
    assert few.cases[0].unchanged is None


def test_nothing_changed_nothing_fails():
    comparison = compare_sessions(*make_sessions())
    assert not comparison.is_failed(strict=True)


def test_one_base_is_a_gross_gate():
    comparison = compare_sessions(*make_sessions(count=2, rises={1: 1.4, 2: 1.1}))
    found = outcomes(comparison)
    assert found["test_1"] is Outcome.SLOWER
    assert found["test_2"] is Outcome.INCONCLUSIVE


def test_a_session_against_itself_never_fails():
    _, head = make_sessions()
    comparison = compare_sessions([head], head)
    assert set(outcomes(comparison).values()) == {Outcome.PASS}
    assert all(case.ratio_beside_others == pytest.approx(1) for case in comparison.cases)


def test_the_ratio_of_the_json_is_that_of_its_seconds():
    bases, head = make_sessions(rises=dict.fromkeys(range(20), 1.1))
    document = json.loads(format_comparison_json(compare_sessions(bases, head)))
    assert document["format_version"] == 2
    for case in document["cases"]:
        assert case["ratio"] == pytest.approx(case["current_s"] / case["baseline_s"])
        assert case["ratio"] == pytest.approx(1.1, abs=0.05)
        assert case["ratio_beside_others"] == pytest.approx(1, abs=0.03)


def test_a_case_that_vanished_is_reported_and_fails_when_strict():
    bases, head = make_sessions()
    comparison = compare_sessions(bases, without(head, "test_3"))
    assert outcomes(comparison)["test_3"] is Outcome.INCOMPARABLE
    assert not comparison.is_failed()
    assert comparison.is_failed(strict=True)
    assert len(comparison.cases) == 20


def test_a_change_is_that_of_the_seconds_beside_it():
    """What all cases have in common is taken out of the judgement, not of the figures."""
    bases, head = make_sessions(rises=dict.fromkeys(range(20), 1.1))
    comparison = compare_sessions(bases, head)
    assert all(case.ratio_beside_others == pytest.approx(1, abs=0.03) for case in comparison.cases)
    table = [line.text.split() for line in format_comparison_table(comparison)]
    page = [line.split("|") for line in format_comparison_markdown(comparison).splitlines()]
    for case in comparison.cases:
        change = f"{100 * (case.current_s / case.baseline_s - 1):+.1f}"
        (row,) = [words for words in table if words[:1] == [case.verdict.case]]
        assert row[5:7] == [change, "%"]
        (cells,) = [cells for cells in page if f"`{case.verdict.case}`" in "".join(cells)]
        assert cells[4].strip() == f"{change} %"


def test_a_case_that_is_uglier_and_slower_tells_both():
    bases, head = make_sessions(rises={3: 1.2})
    comparison = compare_sessions(bases, head)
    (slower,) = [one for one in comparison.cases if one.verdict.outcome is Outcome.SLOWER]
    uglier = Finding(Outcome.DEGRADED, "image", "worst tile SSIM 0.44")
    verdict = Verdict(slower.verdict.case, (*slower.verdict.findings, uglier))
    both = dataclasses.replace(comparison, cases=(dataclasses.replace(slower, verdict=verdict),))
    text = "\n".join(line.text for line in format_comparison_table(both))
    for words in ("DEGRADED  test_3: worst tile SSIM 0.44", "SLOWER  test_3: "):
        assert words in text
    (row,) = [line for line in format_comparison_markdown(both).splitlines() if "`test_3`" in line]
    assert "**DEGRADED**: worst tile SSIM 0.44; **SLOWER**: " in row


def test_cases_that_were_not_run_are_named_so_that_they_differ():
    bases, head = make_sessions(cases=3)
    names = {f"test_{number}": f"b/{number}.py::test_speed[1w]" for number in range(2)}
    bases = [
        dataclasses.replace(
            one,
            cases={
                names.get(key, key): dataclasses.replace(case, name=names.get(key, key))
                for key, case in one.cases.items()
            },
        )
        for one in bases
    ]
    comparison = compare_sessions(bases, without(without(head, "test_0"), "test_1"))
    text = " ".join(line.text for line in format_comparison_table(comparison))
    assert "0.py::test_speed[1w], 1.py::test_speed[1w]" in text


def test_cases_that_were_not_run_share_a_line_and_are_not_judged_one_by_one():
    bases, head = make_sessions()
    for number in range(3, 20):
        head = without(head, f"test_{number}")
    comparison = compare_sessions(bases, head)
    text = "\n".join(line.text for line in format_comparison_table(comparison))
    assert "INCOMPARABLE" not in text
    said = "17 cases of the baseline were not run: test_3, test_4, test_5 and 14 more; deselected,"
    assert said in " ".join(text.split())
    assert text.endswith("3 cases: 3 PASS; 17 of the baseline not run")
    page = format_comparison_markdown(comparison)
    assert page.count("| `test_") == 3
    assert "17 cases of the baseline were not run" in page
    assert len(json.loads(format_comparison_json(comparison))["cases"]) == 20


def test_a_case_that_the_head_ran_and_could_not_time_keeps_its_line():
    bases, head = make_sessions()
    head = dataclasses.replace(without(head, "test_3"), summary=RunSummary({"test_3": "BROKEN"}))
    comparison = compare_sessions(bases, head)
    assert outcomes(comparison)["test_3"] is Outcome.BROKEN
    text = "\n".join(line.text for line in format_comparison_table(comparison))
    assert "not run" not in text
    assert "BROKEN  test_3: " in text


def test_a_new_case_has_no_baseline():
    bases, head = make_sessions()
    comparison = compare_sessions([without(base, "test_3") for base in bases], head)
    assert outcomes(comparison)["test_3"] is Outcome.NO_BASELINE


def test_no_common_case_is_refused():
    bases, head = make_sessions(cases=1)
    with pytest.raises(RecordError, match="no case in common"):
        compare_sessions([without(base, "test_0") for base in bases], head)


def test_another_machine_is_incomparable():
    bases, _ = make_sessions(machine="Darwin arm64 Apple M1")
    _, head = make_sessions(machine="Darwin arm64 Apple M4", rises={1: 2.0})
    comparison = compare_sessions(bases, head)
    assert set(outcomes(comparison).values()) == {Outcome.INCOMPARABLE}
    assert "Apple M1" in comparison.cases[0].verdict.findings[0].reason


def test_another_workload_is_told_to_be_asked_for_or_accepted_not_another_machine():
    now = measurement()
    asked = dataclasses.replace(
        now.workload, picture=InputPicture(DEFAULT_PICTURE_SHA256, strength=0.8)
    )
    base, head = (
        SavedRun(Path(name), {CASE: SavedCase(CASE, one, rounds_s=one.rounds_s)})
        for name, one in (("then", dataclasses.replace(now, workload=asked)), ("now", now))
    )
    finding = compare_sessions([base], head).cases[0].verdict.findings[0]
    assert finding.outcome is Outcome.INCOMPARABLE
    assert "it was drawn from the default picture, strength 0.8" in finding.reason
    assert "this machine" not in finding.next_step
    assert "sdperf baseline accept" in finding.next_step


def test_a_case_that_failed_in_its_own_run_is_no_baseline():
    bases, head = make_sessions(count=2)
    (base,) = bases
    failed = dataclasses.replace(base.cases["test_1"], is_ours=True, outcome="SLOWER")
    base = dataclasses.replace(base, cases={**base.cases, "test_1": failed})
    comparison = compare_sessions([base], head)
    assert outcomes(comparison)["test_1"] is Outcome.INCOMPARABLE
    assert outcomes(comparison)["test_2"] is Outcome.PASS


def test_what_the_run_said_of_its_images_is_repeated():
    bases, head = make_sessions()
    broken = dataclasses.replace(head.cases["test_1"], is_ours=True, outcome="BROKEN")
    head = dataclasses.replace(head, cases={**head.cases, "test_1": broken})
    comparison = compare_sessions(bases, head)
    assert outcomes(comparison)["test_1"] is Outcome.BROKEN
    assert comparison.is_failed()


def recorded(commit, seconds, number):
    environment = dataclasses.replace(ENVIRONMENT, commit=commit)
    measured = measurement(environment=environment, rounds_s=(seconds,) * 3)
    case = SavedCase(CASE, measured, "PASS", rounds_s=measured.rounds_s)
    return SavedRun(Path(f"run{number}.json"), {CASE: case})


def test_an_open_question_comes_with_the_command_that_would_settle_it():
    bases = [recorded("a" * 40, 1 + 0.01 * number, number) for number in range(6)]
    head = recorded("b" * 40, 1.09, 6)
    (case,) = compare_sessions(bases, head).cases
    assert case.verdict.outcome is Outcome.INCONCLUSIVE
    (finding,) = case.verdict.decisive
    assert finding.next_step == (
        "sdperf ab aaaaaaaaaaaa bbbbbbbbbbbb --cases 'latency[fp32-sync-1w]' --both guidance=5 "
        "(add the session's prompts: --both prompts=FILE)"
    )
    (few,) = compare_sessions(bases[:1], head).cases
    assert few.verdict.decisive[0].next_step.startswith(
        "4 more sessions for the limit to bind (+3.0 %; until then only +25.0 % fails); "
        "or, at once: sdperf ab aaaaaaaaaaaa"
    )


def latency(comparison):
    (case,) = comparison.cases
    return next(one for one in case.verdict.findings if one.gate == "latency")


def test_seconds_of_a_base_whose_machine_was_not_fit_are_left_out_beside_fit_ones():
    fit = [recorded("a" * 40, 1.0, number) for number in range(2)]
    ill = unfit(fit[0], "power source")
    head = recorded("b" * 40, 1.0, 9)
    assert compare_sessions([ill, fit[1]], head).cases[0].sessions == 1
    alike = unfit(head, "power source")
    assert compare_sessions([ill], alike).cases[0].verdict.outcome is Outcome.PASS


@pytest.mark.parametrize("seconds", [0.5, 1.0, 1.6])
def test_speed_is_open_whichever_side_was_not_fit(seconds):
    base, head = recorded("a" * 40, 1.0, 0), recorded("b" * 40, seconds, 1)
    plain = latency(compare_sessions([base], head))
    assert plain.outcome is (Outcome.SLOWER if seconds > 1 else Outcome.PASS)
    found = [
        latency(compare_sessions([unfit(base, "load")], head)),
        latency(compare_sessions([base], unfit(head, "load"))),
    ]
    for number, one in enumerate(found):
        assert one.outcome is Outcome.INCONCLUSIVE
        reason = f"the machine was not fit when run{number}.json was measured (guard load)"
        assert one.reason == f"{plain.reason}; {reason}"
    assert found[0].next_step == found[1].next_step


@pytest.mark.parametrize("side", [0, 1])
def test_pictures_and_memory_are_judged_whichever_side_was_not_fit(side):
    sides = [recorded("a" * 40, 1.0, 0), recorded("b" * 40, 1.0, 1)]
    for number, peak_bytes in enumerate((2**30, 2**33)):
        measured = dataclasses.replace(
            sides[number].cases[CASE].measurement, memory=MemoryUsage(peak_rss_bytes=peak_bytes)
        )
        cases = {CASE: dataclasses.replace(sides[number].cases[CASE], measurement=measured)}
        sides[number] = dataclasses.replace(sides[number], cases=cases)
    sides[side] = unfit(sides[side], "load")
    (case,) = compare_sessions([sides[0]], sides[1]).cases
    assert case.verdict.outcome is Outcome.HEAVIER


@pytest.mark.parametrize("side", [0, 1])
def test_a_slow_start_is_no_news_whichever_side_was_not_fit(side):
    sides = [recorded("a" * 40, 1.0, 0), recorded("b" * 40, 1.0, 1)]
    for number, seconds in enumerate((1.0, 30.0)):
        measured = dataclasses.replace(
            sides[number].cases[CASE].measurement, load_s=seconds, start=Start(True, "warm")
        )
        cases = {CASE: dataclasses.replace(sides[number].cases[CASE], measurement=measured)}
        sides[number] = dataclasses.replace(sides[number], cases=cases)
    (plain,) = compare_sessions([sides[0]], sides[1]).cases
    assert "load" in {one.gate for one in plain.verdict.decisive}
    sides[side] = unfit(sides[side], "load")
    (case,) = compare_sessions([sides[0]], sides[1]).cases
    assert "load" not in {one.gate for one in case.verdict.findings}


def test_a_case_that_only_an_unfit_base_holds_is_open_and_names_it():
    bases = [recorded("a" * 40, 1.0, 0), recorded("a" * 40, 1.0, 1)]
    other = "test_bench.py::test_other"
    cases = {**bases[0].cases, other: dataclasses.replace(bases[0].cases[CASE], name=other)}
    ill = unfit(dataclasses.replace(bases[0], cases=cases), "load")
    head = dataclasses.replace(recorded("b" * 40, 1.0, 2), cases=cases)
    found = outcomes(compare_sessions([ill, bases[1]], head))
    assert found == {CASE: Outcome.PASS, other: Outcome.INCONCLUSIVE}


@pytest.mark.parametrize("outcome", [Outcome.BROKEN, Outcome.DEGRADED, Outcome.PASS])
def test_a_virtual_machine_leaves_speed_open_and_lets_verdicts_on_pictures_stand(outcome):
    base = recorded("a" * 40, 1.0, 0)
    slow = unfit(recorded("b" * 40, 1.6, 1), "virtual machine")
    saved = dataclasses.replace(slow.cases[CASE], outcome=outcome.value)
    head = dataclasses.replace(slow, cases={CASE: saved})
    (case,) = compare_sessions([base], head).cases
    assert Outcome.SLOWER not in {finding.outcome for finding in case.verdict.findings}
    expected = Outcome.INCONCLUSIVE if outcome is Outcome.PASS else outcome
    assert case.verdict.outcome is expected


def test_a_void_run_is_neither_base_nor_judged():
    base, head = recorded("a" * 40, 1.0, 0), recorded("b" * 40, 1.0, 1)
    void = unfit(head, void="the same code differs from itself by +9.0 %")
    (judged,) = compare_sessions([base], void).cases
    assert judged.verdict.outcome is Outcome.INCONCLUSIVE
    assert "run1.json is void: the same code" in judged.verdict.findings[0].reason
    (held,) = compare_sessions([unfit(base, void="unfit")], head).cases
    assert held.verdict.outcome is Outcome.INCOMPARABLE


def test_the_table_fits_a_terminal():
    bases = [recorded("a" * 40, 1 + 0.01 * number, number) for number in range(6)]
    table = format_comparison_table(compare_sessions(bases, recorded("b" * 40, 1.09, 6)))
    assert max(len(line.text) for line in table) <= 100
    one = compare_sessions(bases[:1], recorded("b" * 40, 1.09, 6))
    assert " against 1 saved session\n" in format_comparison_markdown(one)
    assert "sdperf ab aaaaaaaaaaaa" in " ".join(line.text for line in table)


def test_the_table_names_what_failed_and_counts_every_case():
    comparison = compare_sessions(*make_sessions(rises={4: 1.06}))
    text = "\n".join(line.text for line in format_comparison_table(comparison))
    assert text.startswith("run8.json against 8 saved sessions")
    assert "SLOWER  test_4:" in text
    assert "suite: PASS" in text
    assert text.endswith("20 cases: 1 SLOWER, 19 PASS")


def test_markdown_keeps_hostile_names_in_their_cell():
    bases, head = make_sessions()
    evil = "test[a|b]<script>\n# x"
    sessions = [
        dataclasses.replace(
            s, cases={**s.cases, evil: SavedCase(evil, rounds_s=(1.0, 1.0), is_ours=False)}
        )
        for s in (*bases, head)
    ]
    page = format_comparison_markdown(compare_sessions(sessions[:-1], sessions[-1]))
    assert "| `test[a\\|b]<script> # x` |" in page
    assert "**PASS**" in page


def test_json_is_strict_and_complete():
    bases, head = make_sessions(rises={4: 1.06})
    document = json.loads(
        format_comparison_json(compare_sessions(bases, without(head, "test_3"))),
        parse_constant=pytest.fail,
    )
    assert document["head"] == "run8.json"
    assert len(document["cases"]) == 20
    gone = document["cases"][-1]
    assert (gone["case"], gone["outcome"], gone["current_s"]) == ("test_3", "INCOMPARABLE", None)
    assert document["suite"]["outcome"] == "PASS"


def test_that_a_run_compared_with_nothing_is_not_repeated_where_it_is_compared():
    bases, head = make_sessions()
    nothing = Finding(Outcome.NO_BASELINE, "image", "nothing to compare the images with")
    alone = {
        name: dataclasses.replace(case, findings=(nothing,)) for name, case in head.cases.items()
    }
    head = dataclasses.replace(head, cases=alone)
    assert set(outcomes(compare_sessions(bases, head)).values()) == {Outcome.PASS}
