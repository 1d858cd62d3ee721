"""One trial of a study in its present state."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from sdperf.tune.question.setting import TrialSetting
from sdperf.tune.trial.trying import Tried

Ending = Literal["complete", "pruned", "infeasible", "running", "cut off", "waiting"]


@dataclass(frozen=True)
class TrialRecord:
    """One trial in its present state.

    Attributes:
        number: Its number in the study.
        ending: How it ended; a ``cut off`` trial died with its process or was interrupted.
        setting: The tried setting; ``None`` where it was cut off before that was known.
        tried: The result; ``None`` before its end.
        began: When it began, ISO 8601, UTC.
        duration_s: Seconds that it took.
        host: Name of the machine.
    """

    number: int
    ending: Ending
    setting: TrialSetting | None
    tried: Tried | None
    began: str | None
    duration_s: float | None
    host: str | None
