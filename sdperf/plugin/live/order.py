"""The guard `order`: a pipeline's first case is measured again once its other cases are done."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sdperf.errors import SdperfError
from sdperf.judging.doubts.order import ROUNDS_AGAIN, describe_leftovers, judge_order
from sdperf.record.guard import Guard
from sdperf.record.verdict import Finding, Outcome, shorten_case

if TYPE_CHECKING:
    from sdperf.plugin.live.session import LiveSession
    from sdperf.run.case import Case


@dataclass
class OrderWatch:
    """The cases of the pipeline that is loaded, in their order.

    Attributes:
        void: Why each case does not count, by id, where the policy is strict and order mattered.
    """

    void: dict[str, str] = field(default_factory=dict)
    _pipeline: tuple[object, ...] | None = None
    _cases: dict[str, Case] = field(default_factory=dict)

    def note(self, session: LiveSession, node_id: str, case: Case) -> None:
        """Note a case that was just measured, and report the changes that its rounds left."""
        pipeline = case.variant.pipeline
        if pipeline != self._pipeline:
            self._pipeline, self._cases = pipeline, {}
        self._cases[node_id] = case
        left = describe_leftovers(case.leftovers)
        if left is not None:
            _add_guard(session, node_id, left)

    def forget(self, node_id: str) -> None:
        """Drop a case that is run again."""
        self._cases.pop(node_id, None)
        self.void.pop(node_id, None)

    def measure_first_again(self, session: LiveSession) -> None:
        """Measure the pipeline's first case again, where others came after it."""
        cases, self._cases, self._pipeline = self._cases, {}, None
        if len(cases) < 2 or session.suites.own().guards == "off":
            return
        first_id, case = next(iter(cases.items()))
        try:
            session.live_line.say(f"measuring {shorten_case(first_id)} again")
            rounds = case.measure_again(ROUNDS_AGAIN)
        except SdperfError:
            return  # the worker's own next case says what became of it
        finally:
            session.live_line.wipe()
        if rounds is None:
            return
        is_strict = session.suites.own().guards == "strict"
        guard = judge_order(
            shorten_case(first_id),
            session.log.results[first_id].measurement,
            [one.duration_s for one in rounds],
            [one.cpu_s for one in rounds if one.cpu_s is not None],
            is_strict=is_strict,
        )
        for node_id in cases:
            _add_guard(session, node_id, guard)
            if guard.state == "fail" and node_id != first_id:
                self.void[node_id] = guard.sentence

    def judge(self, node_id: str) -> Finding | None:
        """Leave a case open that was measured while the order of cases had an effect."""
        reason = self.void.get(node_id)
        if reason is None:
            return None
        return Finding(Outcome.INCONCLUSIVE, "machine", f"void: {reason}", "measure it alone: -k")


def _add_guard(session: LiveSession, node_id: str, guard: Guard) -> None:
    result = session.log.results[node_id]
    log = result.measurement.guards
    if log is not None and log.policy != "off":
        log = dataclasses.replace(log, after=(*log.after, guard))
        measurement = dataclasses.replace(result.measurement, guards=log)
        session.log.results[node_id] = dataclasses.replace(result, measurement=measurement)
