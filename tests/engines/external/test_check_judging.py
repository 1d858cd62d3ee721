"""The clauses of the contract, from figures alone."""

import dataclasses

import pytest

from sdperf.engines.external.check.judging import Trial, Trials, judge_trials


def trial(number, seconds=1.0, steps=4, **changes):
    return Trial("fox", number, steps, f"{number}-{steps}", 64, 64, seconds, **changes)


def trials(**changes):
    found = Trials(
        fresh=[trial(n, cpu_s=1.0) for n in range(4)],
        again=[trial(n) for n in range(4)],
        anew=trial(0),
        more_steps=[trial(0, steps=4 + more) for more in (1, 2, 3)],
        tripled=[trial(20, 3.0, steps=12)],
        halved=[],
        rested=[trial(60 + n, cpu_s=1.0) for n in range(3)],
        other_prompt=dataclasses.replace(trial(0), prompt="other", sha256="other"),
        afterwards_cpu_s=0.0,
    )
    return dataclasses.replace(found, **changes)


def states(**changes):
    return {one.name: one.state for one in judge_trials(trials(**changes))}


def test_what_cannot_be_told_is_unknown_and_no_lie():
    assert states()["its own time is honest"] == "unknown"
    assert states(afterwards_cpu_s=None)["the work ends before the answer"] == "unknown"
    short = [trial(20, 1.05, steps=12)]
    assert states(tripled=short, is_started_each=True)["steps are executed"] == "unknown"


@pytest.mark.parametrize(
    ("clause", "changes"),
    [
        ("a seed repeats", {"anew": dataclasses.replace(trial(0), sha256="x")}),
        ("seeds and prompts differ", {"other_prompt": trial(0)}),
        ("every picture is drawn", {"again": [trial(n, 0.4) for n in range(4)]}),
        ("steps are executed", {"tripled": [trial(20, 1.05, steps=12)]}),
        ("pictures are drawn in their size", {"asked_size": (128, 64)}),
        ("the work ends before the answer", {"rested": [trial(60, 0.5, cpu_s=1.0)]}),
        ("the work ends before the answer", {"afterwards_cpu_s": 0.3}),
        ("its own time is honest", {"tripled": [trial(20, 3.0, steps=12, told_s=3.3)]}),
        ("it ends when it is told", {"exit_code": None}),
        ("it ends when it is told", {"leftovers": 1}),
    ],
)
def test_each_clause_can_be_broken_alone(clause, changes):
    found = states(**changes)
    assert [name for name, state in found.items() if state == "broken"] == [clause]


def test_one_picture_of_many_may_look_scaled_up():
    one = [trial(0, enlarged="32 x 32 px by nearest"), trial(1), trial(2), trial(3)]
    assert states(fresh=one)["pictures are drawn in their size"] == "kept"
