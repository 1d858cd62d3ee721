import dataclasses

import pytest

from sdperf.judging.session.confirmation import Confirmation
from sdperf.plugin.ending.confirming import describe_done, estimate_blocks_s, explain_unpaired
from sdperf.record.verdict import Finding, Outcome
from sdperf.store.controls import NullControl
from tests.support.measurements import ENVIRONMENT, measurement

COMMITTED = dataclasses.replace(ENVIRONMENT, commit="a" * 40)


def saved(**changes):
    environment = dataclasses.replace(COMMITTED, **changes.pop("environment", {}))
    return measurement(**{"subject": "mine:make", "environment": environment} | changes)


def test_the_same_but_for_the_subjects_module_can_be_paired():
    assert explain_unpaired(saved(), saved(environment={"commit": "b" * 40})) is None


@pytest.mark.parametrize(
    ("before", "reason"),
    [
        (saved(subject=None), "no --sd-subject"),
        (saved(environment={"commit": None}), "commit is unknown"),
        (saved(environment={"commit": "a" * 40 + "-dirty"}), "uncommitted changes"),
        (saved(environment={"packages": {"torch": "2.12.0"}}), "other versions of torch"),
        (saved(environment={"variables": {"OMP_NUM_THREADS": "1"}}), "environment variables"),
        (saved(model_hash="d" * 64), "other weights"),
    ],
)
def test_whatever_else_changed_would_be_hidden_by_pairing(before, reason):
    assert reason in explain_unpaired(before, saved())


def test_blocks_are_estimated_from_what_the_session_took():
    known = measurement(rounds_s=(2.0, 2.0, 9.0), load_s=3.0, first_call_s=5.0)
    assert estimate_blocks_s(known, starts=4, warmup=1, rounds=16) == 4 * (3 + 5 + 2) + 16 * 2
    unknown = measurement(rounds_s=(2.0,), load_s=None, first_call_s=None)
    assert estimate_blocks_s(unknown, starts=4, warmup=0, rounds=16) == 4 * 2 + 16 * 2


@pytest.mark.parametrize(
    ("settled", "suspects", "was_interrupted", "said"),
    [
        (0, 0, False, "null control"),
        (0, 0, True, "null control, interrupted"),
        (2, 2, False, "measured 2 suspects again"),
        (1, 3, False, "measured 1 of 3 suspects again"),
        (1, 3, True, "measured 1 of 3 suspects again, interrupted"),
    ],
)
def test_what_was_measured_again_is_what_was_settled(settled, suspects, was_interrupted, said):
    findings = {str(number): Finding(Outcome.PASS, "latency", "") for number in range(settled)}
    done = Confirmation(findings=findings, was_interrupted=was_interrupted)
    assert describe_done(done, suspects) == said


def test_a_control_that_ended_without_an_answer_is_said_to_have():
    def done(is_sound):
        return describe_done(
            Confirmation(null_control=NullControl("a", "2026", 0.03, (), is_sound)), 0
        )

    assert done(True) == "null control"
    assert done(None) == "null control, without an answer"
