"""Runs trials until the study has the requested number."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final, Protocol

from sdperf.errors import ImageError, SdperfError
from sdperf.record.workload import Workload
from sdperf.tune.question.question import StudyQuestion
from sdperf.tune.question.setting import TrialSetting
from sdperf.tune.study.front import Point
from sdperf.tune.study.trials import TrialRecord
from sdperf.tune.trial.rig import Rig
from sdperf.tune.trial.scoring import find_faults
from sdperf.tune.trial.trying import Tried, try_setting

if TYPE_CHECKING:
    from sdperf.tune.study.sampling import SamplerName
    from sdperf.tune.study.study import TuningStudy

MOST_REPEATS: Final = 3
"""How many known proposals in a row mean that no new setting is left."""


class TuneView(Protocol):
    """A view that shows the progress of a study."""

    def announce(self, what: str) -> None:
        """Show what begins now."""

    def show_trial(self, trial: TrialRecord, study: TuningStudy, trials: int) -> None:
        """Show the result of a trial, and the best one so far."""


def draw_references(
    question: StudyQuestion, rig: Rig, workload: Workload | None = None
) -> list[bytes]:
    """Draw the images that all others are compared with.

    Args:
        question: The study's question.
        rig: Draws the images.
        workload: A workload with other seeds; the question's by default.

    Returns:
        PNG bytes, one for each prompt.

    Raises:
        SdperfError: The images cannot be drawn here, or are broken.
    """
    chosen = question.workload if workload is None else workload
    images = [chosen.image(index) for index in range(question.images)]
    rig.load(chosen, question.reference)
    drawn = rig.draw(chosen, question.reference, images)
    faults = find_faults(drawn.images)
    if faults:
        raise ImageError(
            "the reference images are broken, so that nothing can be held to them",
            got="; ".join(faults),
            hint="look at one: sdperf generate",
        )
    return [image.png for image in drawn.images]


def run_trials(
    study: TuningStudy,
    rig: Rig,
    references: Sequence[bytes],
    *,
    trials: int,
    sampler: SamplerName,
    seed: int | None,
    view: TuneView,
    spell: Callable[[SdperfError], str] = str,
) -> None:
    """Run trials until the study has a number of them, including those of other machines.

    The default comes first: everything is compared with it. Trials that died with their process
    come next. A Ctrl-C leaves everything that was measured in the study.

    Args:
        study: The study that keeps them.
        rig: Runs them.
        references: The reference images from `draw_references`.
        trials: The number of trials that the study should have.
        sampler: Proposes settings.
        seed: Seed of the sampler.
        view: Shows the progress.
        spell: Formats an error with the options of the command that the user typed.

    Raises:
        RecordError: The storage failed.
    """
    question = study.question
    cut_off = study.take_up_cut_off()
    if cut_off:
        view.announce(f"{cut_off} cut off by a process that is gone: tried again")
    is_waiting = any(one.ending == "waiting" for one in study.list_trials())
    if question.default not in study.list_tried() and not is_waiting:
        study.enqueue(question.default)

    def attempt(setting: TrialSetting, points: Sequence[Point]) -> Tried:
        view.announce(f"trying {setting.describe(question.default)}")
        may_prune = setting != question.default
        return try_setting(
            question, setting, rig, references, points, may_prune=may_prune, spell=spell
        )

    while study.count_begun() < trials:
        done = study.run_trial(sampler, seed, attempt)
        if done is not None:
            view.show_trial(done, study, trials)
        elif study.repeats >= MOST_REPEATS:
            view.announce("every setting of the search was tried")
            return
