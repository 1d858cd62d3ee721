"""One trial of a study as it stands."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from sdperf.tune.question.setting import TrialSetting
from sdperf.tune.trial.trying import Tried

Ending = Literal["complete", "pruned", "infeasible", "running", "cut off", "waiting"]


@dataclass(frozen=True)
class TrialRecord:
    """One trial as it stands.

    Attributes:
        number: Its number in the study.
        ending: What became of it; ``cut off`` died with its process or was interrupted.
        setting: What was tried; ``None`` where it was cut off before that was known.
        tried: What was seen; ``None`` unless it ended.
        began: When, UTC, ISO 8601.
        duration_s: How long it took.
        host: Where.
    """

    number: int
    ending: Ending
    setting: TrialSetting | None
    tried: Tried | None
    began: str | None
    duration_s: float | None
    host: str | None
