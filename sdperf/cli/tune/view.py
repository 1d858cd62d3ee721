"""Shows the progress of ``sdperf tune``: a line per trial, and the present trial."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TextIO

from sdperf.cli.ab.view import TerminalView
from sdperf.units import format_score, format_seconds

if TYPE_CHECKING:
    from sdperf.tune.study.study import TuningStudy
    from sdperf.tune.study.trials import TrialRecord


@dataclass
class StudyView:
    """Shows the progress of a study on a stream.

    Attributes:
        stream: Usually standard error, so that results can be piped.
    """

    stream: TextIO
    _line: TerminalView = field(init=False)

    def __post_init__(self) -> None:
        self._line = TerminalView(self.stream, 0.0, "sdperf tune")

    def announce(self, what: str) -> None:
        """Show what begins now on the line that is rewritten; nothing where lines stay."""
        if self._line.is_live:
            self._line.announce(what)

    def say(self, what: str) -> None:
        """Write something that stays, wrapped like all output."""
        from sdperf.report.text.tune import wrap_settings

        self.finish()
        for line in wrap_settings(f"sdperf tune: {what}", "    "):
            self.stream.write(f"{line}\n")
        self.stream.flush()

    def show_trial(self, trial: TrialRecord, study: TuningStudy, trials: int) -> None:
        """Write what became of a trial, by its number in the study, with the best so far."""
        from sdperf.report.text.tune import describe_tried

        tried = trial.tried
        what = "cut off" if tried is None else describe_tried(tried)
        setting = "" if trial.setting is None else trial.setting.describe(study.question.default)
        left = max(trials - study.count_ended(), 0)
        self.say(f"#{trial.number} ({left} left): {what}: {setting}")
        self.say(f"    best so far: {describe_best(study)}")

    def finish(self) -> None:
        """Clear the line."""
        self._line.finish()


def describe_best(study: TuningStudy) -> str:
    """Describe the best setting so far, by the study alone."""
    from sdperf.tune.confirming import find_default_point, list_candidates

    trials = study.list_trials()
    default = find_default_point(study.question, trials)
    candidates = list_candidates(study.question, trials)
    if not candidates:
        return "the default"
    tried, setting = candidates[0].tried, candidates[0].setting
    if tried is None or setting is None or tried.seconds is None or tried.fidelity is None:
        return "the default"
    faster = "" if default is None else f" ({default.seconds / tried.seconds:.2f} x)"
    return (
        f"{format_seconds(tried.seconds)} an image{faster}, SSIM "
        f"{format_score(tried.fidelity.ssim)}: {setting.describe(study.question.default)}"
    )
