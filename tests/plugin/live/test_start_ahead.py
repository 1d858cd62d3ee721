"""What a session says and does before its first pipeline loads, with stand-in processes."""

from types import SimpleNamespace

import pytest

from sdperf.plugin.live.ahead import ExpectedWork, Plan
from sdperf.plugin.live.suites import SessionSuites
from sdperf.record.workload import Variant


class Standin(SessionSuites):
    """Notes the order of what takes time; two cases of one pipeline and one of another."""

    def __init__(self, *, is_open):
        plan = Plan(
            [ExpectedWork("one", Variant("fp32")), ExpectedWork("two", Variant("fp32", workers=2))]
        )
        super().__init__(SimpleNamespace(images=4), None, None, None, plan)
        self.done = []
        self.stock = SimpleNamespace(is_open=is_open, fill=lambda *_: self.done.append("start"))
        self.pool = SimpleNamespace(stock=self.stock, settle=lambda: self.done.append("wait"))

    def own(self):
        return SimpleNamespace(pool=self.pool, guards="off", model=None)

    def is_skipped(self, variant):
        return False

    def _plan_references(self, plan=None):
        return 0


@pytest.mark.parametrize(
    ("is_open", "order"), [(True, ["start", "cost", "start", "wait"]), (False, ["cost"])]
)
def test_what_a_session_costs_is_said_before_its_processes_are_waited_for(is_open, order):
    suites = Standin(is_open=is_open)
    suites.start_ahead("one", lambda: suites.done.append("cost"))
    assert suites.done == order


def test_a_session_that_times_nothing_says_nothing_of_its_cost():
    suites = Standin(is_open=True)
    suites.start_ahead("one", None)
    assert suites.done == ["start", "start", "wait"]
