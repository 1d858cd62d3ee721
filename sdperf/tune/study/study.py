"""A study: trials in a storage that several machines share and that outlives a kill.

Optuna keeps parameters, values and constraints; what was seen of a setting is kept beside them as
a record of our own, from which everything else is computed.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from optuna.exceptions import ExperimentalWarning, TrialPruned
from optuna.trial import TrialState

from sdperf.record.json import format_record, parse_record
from sdperf.tune.question.question import StudyQuestion
from sdperf.tune.question.setting import TrialSetting
from sdperf.tune.study.front import Point
from sdperf.tune.study.sampling import SamplerName, find_parameters, make_sampler, suggest
from sdperf.tune.study.storage import (
    OWNER,
    RETRY_OF,
    close_storage,
    describe_owner,
    explaining,
    is_gone,
)
from sdperf.tune.study.trials import Ending, TrialRecord
from sdperf.tune.trial.trying import Tried

if TYPE_CHECKING:
    from optuna.storages import RDBStorage
    from optuna.study import Study
    from optuna.trial import FrozenTrial, Trial
    from sqlalchemy import URL

SETTING: Final = "sdperf:setting"
TRIED: Final = "sdperf:tried"

_LARGEST: Final = 1e9
"""Violation and value bounds that every database stores."""


class _KnownError(Exception):
    """The setting was tried before."""


@dataclass
class TuningStudy:
    """A study that is open.

    Attributes:
        study: Optuna's.
        url: Where it is kept.
        question: What it asks.
        machine: The kind of machine whose times it holds.
        storage: Where it is kept, open.
        repeats: Proposals in a row that were known.
    """

    study: Study
    url: URL
    question: StudyQuestion
    machine: str
    storage: RDBStorage
    repeats: int = 0
    _known: dict[int, TrialRecord] = field(default_factory=dict)

    def close(self) -> None:
        """Let go of the storage's connections."""
        close_storage(self.storage)

    @property
    def name(self) -> str:
        """Its name in the storage."""
        return str(self.study.study_name)

    def list_trials(self) -> list[TrialRecord]:
        """Return all trials in order.

        Raises:
            RecordError: The storage failed, or holds a record that is none of ours.
        """
        with explaining(self.url):
            frozen = self.study.get_trials(deepcopy=False)
        for one in frozen:
            known = self._known.get(one.number)
            if known is None or known.ending in ("running", "waiting"):
                self._known[one.number] = read_trial(one)
        return [self._known[one.number] for one in frozen]

    def list_points(self) -> list[Point]:
        """Return where the settings stand that were measured in full and keep every limit."""
        points = (one.tried.point for one in self.list_trials() if one.tried is not None)
        return [point for point in points if point is not None]

    def list_tried(self, before: int | None = None) -> set[TrialSetting]:
        """Return the settings that need no second try: those that ended, and those under way.

        Args:
            before: Only of trials with a lower number.
        """
        return {
            one.setting
            for one in self.list_trials()
            if one.setting is not None
            and one.ending != "cut off"
            and (before is None or one.number < before)
        }

    def count_ended(self) -> int:
        """Return how many trials say something, whatever they say."""
        return sum(one.tried is not None for one in self.list_trials())

    def count_running(self) -> int:
        """Return how many trials are under way, here or elsewhere."""
        return sum(one.ending == "running" for one in self.list_trials())

    def enqueue(self, setting: TrialSetting, **attributes: Any) -> None:
        """Have a setting tried next."""
        with explaining(self.url):
            space = self.question.space
            parameters = find_parameters(space, space.find_point(setting))
            self.study.enqueue_trial(parameters, attributes)

    def take_up_cut_off(self) -> int:
        """End the trials of processes of this machine that are gone; try their settings again.

        A setting whose process died twice is left alone: it may have killed it.

        Returns:
            How many there were.
        """
        count = 0
        with explaining(self.url):
            for one in self.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
                if not is_gone(one.user_attrs.get(OWNER)):
                    continue
                with contextlib.suppress(ValueError):  # another process ended it meanwhile
                    self.study.tell(one.number, state=TrialState.FAIL)
                    retry(self.study, one)
                    count += 1
        return count

    def run_trial(
        self,
        sampler: SamplerName,
        seed: int | None,
        attempt: Callable[[TrialSetting, Sequence[Point]], Tried],
    ) -> TrialRecord | None:
        """Run one trial.

        Args:
            sampler: Proposes the setting.
            seed: Of the sampler; mixed with the number of trials so far, so that a resumed study
                does not propose the same again.
            attempt: Tries a setting beside the points so far. Ctrl-C in it ends the trial as cut
                off, to be tried again.

        Returns:
            The trial; ``None`` where what was proposed had been tried before.

        Raises:
            RecordError: The storage failed.
        """
        mixed = None if seed is None else (seed * 10_007 + len(self.list_trials())) % 2**32
        self.study.sampler = make_sampler(
            sampler,
            self.question.space,
            mixed,
            self.list_tried,
            objectives=len(self.study.directions),
            start_seed=seed,
        )
        numbers: list[int] = []

        def objective(trial: Trial) -> float | Sequence[float]:
            numbers.append(trial.number)
            return self._objective(trial, attempt)

        with explaining(self.url), warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            try:
                self.study.optimize(objective, n_trials=1, catch=(_KnownError,))
            except KeyboardInterrupt:
                for number in numbers:
                    retry(self.study, self.study.get_trials(deepcopy=False)[number])
                raise
        return None if self.repeats else self.list_trials()[numbers[0]]

    def _objective(
        self, trial: Trial, attempt: Callable[[TrialSetting, Sequence[Point]], Tried]
    ) -> float | Sequence[float]:
        trial.set_user_attr(OWNER, describe_owner())
        setting = self.question.space.make_setting(suggest(trial, self.question.space))
        if setting in self.list_tried():
            self.repeats += 1
            raise _KnownError
        trial.set_user_attr(SETTING, format_record(setting))
        if setting in self.list_tried(before=trial.number):  # another process had the same idea
            self.repeats += 1
            raise _KnownError
        self.repeats = 0
        tried = attempt(setting, self.list_points())
        trial.set_user_attr(TRIED, format_record(tried))
        for name, violation in tried.violations.items():
            trial.set_constraint(name, min(max(violation, -_LARGEST), _LARGEST))
        if tried.state != "complete" or tried.seconds is None or tried.fidelity is None:
            raise TrialPruned
        values = {"seconds": tried.seconds, "likeness": tried.fidelity.ssim}
        aim = self.question.aim
        return tuple(values.values()) if aim == "front" else values[aim]

    def read_notes(self, kind: str) -> dict[str, Any]:
        """Return what was noted of a kind, by key."""
        with explaining(self.url):
            found = self.study.user_attrs
        prefix = f"{kind}:"
        return {
            name.removeprefix(prefix): value
            for name, value in found.items()
            if name.startswith(prefix)
        }

    def note(self, kind: str, key: str, value: Any) -> None:
        """Note something in the study."""
        with explaining(self.url):
            self.study.set_user_attr(f"{kind}:{key}", value)

    def compute_importances(self) -> dict[str, dict[str, float]]:
        """Say how much each dimension decides seconds and likeness, as shares of 1.

        From trials that were measured in full; empty with fewer than four of them.

        Source: PED-ANOVA (Watanabe, Bansal, Hutter, 2023), as in Optuna.
        """
        from optuna.importance import get_param_importances

        complete = [one for one in self.study.get_trials(deepcopy=False) if one.values is not None]
        if len(complete) < 4:
            return {}
        records = {one.number: one for one in self.list_trials()}

        def value_of(name: str) -> Callable[[FrozenTrial], float]:
            def find(one: FrozenTrial) -> float:
                tried = records[one.number].tried
                assert tried is not None
                assert tried.seconds is not None
                assert tried.fidelity is not None
                return tried.seconds if name == "seconds" else -tried.fidelity.ssim

            return find

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return {
                name: {
                    dimension: round(share, 4)
                    for dimension, share in get_param_importances(
                        self.study, target=value_of(name)
                    ).items()
                }
                for name in ("seconds", "ssim")
            }


def retry(study: Study, trial: FrozenTrial) -> None:
    """Have a cut-off trial's setting tried again, once."""
    if trial.params and RETRY_OF not in trial.user_attrs:
        study.enqueue_trial(trial.params, {RETRY_OF: trial.number})


def read_trial(trial: FrozenTrial) -> TrialRecord:
    """Read a trial back.

    Raises:
        RecordError: A record is none of ours.
    """
    endings: dict[TrialState, Ending] = {
        TrialState.RUNNING: "running",
        TrialState.WAITING: "waiting",
        TrialState.FAIL: "cut off",
    }
    attributes = trial.user_attrs
    setting = attributes.get(SETTING)
    tried = None
    if trial.state not in endings and TRIED in attributes:
        tried = parse_record(Tried, attributes[TRIED])
    owner = attributes.get(OWNER)
    duration = trial.duration
    ending: Ending = endings.get(trial.state, "cut off")
    return TrialRecord(
        trial.number,
        ending if tried is None else tried.state,
        None if setting is None else parse_record(TrialSetting, setting),
        tried,
        None
        if trial.datetime_start is None
        else trial.datetime_start.isoformat(timespec="seconds"),
        None if duration is None else duration.total_seconds(),
        str(owner["host"]) if isinstance(owner, dict) and "host" in owner else None,
    )
