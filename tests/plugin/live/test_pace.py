"""Beside the pace of a session stands what about the machine may slow it down."""

import pytest

from sdperf.plugin.live.pace import explain_machine
from sdperf.record.guard import Guard

BUSY = Guard("load", "fail", "4.19 per core", "other work takes processors", "end other work")
QUIET = Guard("load", "ok", "0.02 per core", "nothing else runs")
SLOW = Guard("clock governor", "warn", "powersave", "clocks follow the load")
UNREAD = Guard("power mode", "unknown", None, "this model shows no energy mode")
SPINNING = "OMP_WAIT_POLICY=PASSIVE before the command"


def test_guards_that_fail_come_before_those_that_warn_and_others_are_not_told():
    told = explain_machine([UNREAD, SLOW, QUIET, BUSY], "mps", 8, {})
    assert told == [
        "guard fail  load: 4.19 per core: other work takes processors; do: end other work",
        "guard warn  clock governor: powersave: clocks follow the load",
    ]


def test_on_a_quiet_machine_nothing_is_told():
    assert explain_machine([QUIET, UNREAD], "cpu", 8, {}) == []


def test_on_a_busy_processor_threads_that_wait_are_told_with_what_to_type():
    told = explain_machine([BUSY], "cpu", 2, {})
    assert len(told) == 2
    assert SPINNING in told[1]


@pytest.mark.parametrize(
    ("guard", "device", "threads", "environ"),
    [
        (BUSY, "cuda", 8, {}),
        (BUSY, "cpu", 1, {}),
        (BUSY, "cpu", 8, {"OMP_WAIT_POLICY": "ACTIVE"}),
        (SLOW, "cpu", 8, {}),
    ],
)
def test_threads_are_not_told_where_they_do_not_spin_or_the_user_chose(
    guard, device, threads, environ
):
    assert SPINNING not in " ".join(explain_machine([guard], device, threads, environ))
