"""The summary of a study: for `sdperf tune show`, for the report, and as a file."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sdperf.errors import RecordError
from sdperf.record.json import (
    check_format_version,
    decode_object,
    format_record,
    parse_record,
)
from sdperf.tune.confirming import (
    WinnerConfirmation,
    find_default_point,
    find_winner,
    list_candidates,
    read_confirmations,
)
from sdperf.tune.question.question import StudyQuestion
from sdperf.tune.study.front import Point, find_front
from sdperf.tune.study.trials import TrialRecord

if TYPE_CHECKING:
    from sdperf.tune.study.study import TuningStudy

SUMMARY_VERSION: Final = 1
_MAX_FILE_BYTES: Final = 64 << 20


@dataclass(frozen=True)
class StudySummary:
    """The present state of a study.

    Attributes:
        study: Its name.
        machine: The kind of machine whose times it holds.
        question: Its question.
        trials: All trials, in order; only the front and the default have small pictures.
        front: Numbers of the trials that no other dominates, the fastest first.
        default: The default's trial; ``None`` where it was not measured.
        importances: How much each dimension decides ``seconds`` and ``ssim``, as shares of 1.
        confirmations: The settings that were measured again beside the default.
        winner: The number of the winner's trial; ``None`` where nothing beat the default.
        candidates: How many settings could still be measured beside the default.
        format_version: Version of this record.
    """

    study: str
    machine: str
    question: StudyQuestion
    trials: tuple[TrialRecord, ...]
    front: tuple[int, ...]
    default: Point | None
    importances: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    confirmations: tuple[WinnerConfirmation, ...] = ()
    winner: int | None = None
    candidates: int = 0
    format_version: int = SUMMARY_VERSION

    def find_trial(self, number: int) -> TrialRecord:
        """Return a trial by its number."""
        return next(one for one in self.trials if one.number == number)

    def find_default_trial(self) -> TrialRecord | None:
        """Return the trial of the default; ``None`` before it was tried."""
        default = self.question.default
        return next((one for one in self.trials if one.setting == default), None)

    def find_winner(self) -> WinnerConfirmation | None:
        """Return the winner's confirmation."""
        return next((one for one in self.confirmations if one.number == self.winner), None)

    def count(self, ending: str) -> int:
        """Count the trials with one ending."""
        return sum(one.ending == ending for one in self.trials)


def summarise_study(study: TuningStudy, void: Sequence[WinnerConfirmation] = ()) -> StudySummary:
    """Compute a study's summary.

    Args:
        study: The study.
        void: Confirmations that were not kept, since the machine differed from itself.
    """
    question, trials = study.question, study.list_trials()
    front = list_front(trials)
    confirmations = (*read_confirmations(study), *void)
    candidates = list_candidates(question, trials)
    winner = find_winner(candidates, confirmations)
    known = {one.number for one in confirmations}
    pictured = {*front, *(one.number for one in trials if one.setting == question.default)}
    hosts = {host: at for at, host in enumerate(dict.fromkeys(one.host for one in trials), 1)}
    return StudySummary(
        study=study.name,
        machine=study.machine,
        question=question,
        trials=tuple(
            dataclasses.replace(
                one,
                host=None if one.host is None else f"host {hosts[one.host]}",
                tried=one.tried
                if one.tried is None or one.number in pictured
                else dataclasses.replace(one.tried, thumbnail=None),
            )
            for one in trials
        ),
        front=tuple(front),
        default=find_default_point(question, trials),
        importances=study.compute_importances(),
        confirmations=confirmations,
        winner=None if winner is None else winner.number,
        candidates=sum(one.number not in known for one in candidates),
    )


def list_front(trials: Sequence[TrialRecord]) -> list[int]:
    """Return the numbers of the trials that keep every limit and that no other dominates."""
    measured = [
        (one.number, point)
        for one in trials
        if one.tried is not None and (point := one.tried.point) is not None
    ]
    return [measured[at][0] for at in find_front([point for _, point in measured])]


def format_summary_json(summary: StudySummary) -> str:
    """Format a summary as JSON that `read_summary` reads."""
    return json.dumps(format_record(summary), indent=1, ensure_ascii=False) + "\n"


def read_summary(path: Path) -> StudySummary:
    """Read a summary from a file.

    Raises:
        RecordError: The file is missing, too large, not JSON, or not a summary.
    """
    try:
        if path.stat().st_size > _MAX_FILE_BYTES:
            raise RecordError(f"{path} is too large", expected=f"at most {_MAX_FILE_BYTES} bytes")
        content = path.read_bytes()
    except OSError as error:
        raise RecordError(f"{path} cannot be read", got=error.strerror) from error
    hint = "sdperf tune show --json FILE writes a study's summary"
    document = decode_object(content, str(path), hint)
    check_format_version(str(path), document.get("format_version"), SUMMARY_VERSION, hint)
    summary = parse_record(StudySummary, document)
    numbers = {one.number for one in summary.trials}
    confirmed = {one.number for one in summary.confirmations}
    named = {*summary.front, *confirmed} | ({summary.winner} - {None})
    if not named <= numbers or (summary.winner is not None and summary.winner not in confirmed):
        raise RecordError(f"{path} names trials that it does not hold")
    return summary
