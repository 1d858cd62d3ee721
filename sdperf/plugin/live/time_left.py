"""Estimates how long a session's cases still take, from the seconds of earlier cases. Pure."""

from __future__ import annotations

import statistics
from dataclasses import dataclass, field


@dataclass
class TimeLeft:
    """The seconds of finished cases, and the cases that are left.

    Attributes:
        planned: Ids of all cases, in order.
        took_s: Seconds of each finished case, by its id.
    """

    planned: tuple[str, ...]
    took_s: dict[str, float] = field(default_factory=dict)

    def note(self, node_id: str, seconds: float) -> None:
        """Note that a case is done; a case that runs again counts once."""
        self.took_s[node_id] = seconds

    def estimate_s(self, running: str, spent_s: float) -> float | None:
        """Estimate the seconds until the last case is done.

        A case is estimated by the mean of its test's cases, else by the mean of all cases.

        Args:
            running: Id of the running case; empty between two cases.
            spent_s: Seconds since it began.

        Returns:
            The seconds; ``None`` before the first case is done.
        """
        done = {name: seconds for name, seconds in self.took_s.items() if name != running}
        if not done:
            return None
        of_all_s = statistics.fmean(done.values())
        by_test: dict[str, list[float]] = {}
        for name, seconds in done.items():
            by_test.setdefault(_name_test(name), []).append(seconds)
        left_s = 0.0
        for name in self.planned:
            if name in done:
                continue
            alike_s = by_test.get(_name_test(name))
            expected_s = of_all_s if alike_s is None else statistics.fmean(alike_s)
            left_s += max(0.0, expected_s - spent_s) if name == running else expected_s
        return left_s


def _name_test(node_id: str) -> str:
    """Return a case's test without its parameters."""
    return node_id.partition("[")[0]
