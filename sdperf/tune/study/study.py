"""A study: trials in a storage that several machines share and that outlives a kill.

Optuna keeps parameters, values and constraints. The results of a setting are kept beside them in
sdperf's own record, from which everything else is computed.
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
"""Bound of violations and values, which every database can store."""


class _KnownError(Exception):
    """Why a trial is a repeat: the setting was tried before."""


@dataclass
class TuningStudy:
    """An open study.

    Attributes:
        study: Optuna's study.
        url: The place of the study.
        question: Its question.
        machine: The kind of machine whose times it holds.
        storage: Its open storage.
        repeats: How many proposals in a row were known settings.
    """

    study: Study
    url: URL
    question: StudyQuestion
    machine: str
    storage: RDBStorage
    repeats: int = 0
    _known: dict[int, TrialRecord] = field(default_factory=dict)

    def close(self) -> None:
        """Close the storage's connections."""
        close_storage(self.storage)

    @property
    def name(self) -> str:
        """Its name in the storage."""
        return str(self.study.study_name)

    def list_trials(self) -> list[TrialRecord]:
        """Return all trials in order.

        Raises:
            RecordError: The storage failed, or holds a record that is not sdperf's.
        """
        with explaining(self.url):
            frozen = self.study.get_trials(deepcopy=False)
        for one in frozen:
            known = self._known.get(one.number)
            if known is None or known.ending in ("running", "waiting"):
                self._known[one.number] = read_trial(one)
        return [self._known[one.number] for one in frozen]

    def list_tried(self) -> set[TrialSetting]:
        """Return the settings that need no second try: finished ones and running ones."""
        return _find_tried(self.list_trials())

    def count_ended(self) -> int:
        """Return how many trials have ended with an answer."""
        return sum(one.tried is not None for one in self.list_trials())

    def count_running(self) -> int:
        """Return how many trials are running, here or on other machines."""
        return sum(one.ending == "running" for one in self.list_trials())

    def count_begun(self) -> int:
        """Return how many trials have ended with an answer or are running, here or elsewhere."""
        trials = self.list_trials()
        return sum(one.tried is not None or one.ending == "running" for one in trials)

    def enqueue(self, setting: TrialSetting, **attributes: Any) -> None:
        """Put a setting first in the queue."""
        with explaining(self.url):
            space = self.question.space
            parameters = find_parameters(space, space.find_point(setting))
            self.study.enqueue_trial(parameters, attributes)

    def take_up_cut_off(self) -> int:
        """End the trials of ended processes of this machine; their settings are tried again.

        A setting whose process died twice is not tried again, since it may have killed the process.

        Returns:
            How many such trials there were.
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
            seed: Seed of the sampler; it is mixed with the number of trials so far, so that a
                resumed study does not repeat its proposals.
            attempt: Tries a setting, given the points so far. Ctrl-C ends the trial as cut off, so
                that it is tried again.

        Returns:
            The trial; ``None`` where the proposal had been tried before.

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
        others = self.list_trials()
        if setting in _find_tried(others[: trial.number]):  # another process proposed the same
            self.repeats += 1
            raise _KnownError
        self.repeats = 0
        tried = attempt(setting, _find_points(others))
        trial.set_user_attr(TRIED, format_record(tried))
        for name, violation in tried.violations.items():
            trial.set_constraint(name, min(max(violation, -_LARGEST), _LARGEST))
        if tried.state != "complete" or tried.seconds is None or tried.fidelity is None:
            raise TrialPruned
        values = {"seconds": tried.seconds, "likeness": tried.fidelity.ssim}
        aim = self.question.aim
        return tuple(values.values()) if aim == "front" else values[aim]

    def read_notes(self, kind: str) -> dict[str, Any]:
        """Return the notes of a kind, by key."""
        with explaining(self.url):
            found = self.study.user_attrs
        prefix = f"{kind}:"
        return {
            name.removeprefix(prefix): value
            for name, value in found.items()
            if name.startswith(prefix)
        }

    def note(self, kind: str, key: str, value: Any) -> None:
        """Store a note in the study."""
        with explaining(self.url):
            self.study.set_user_attr(f"{kind}:{key}", value)

    def compute_importances(self) -> dict[str, dict[str, float]]:
        """Compute how much each dimension decides seconds and likeness, as shares of 1.

        It uses trials that were measured in full; the result is empty with fewer than four of them.

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
    """Queue the setting of a cut-off trial again, once."""
    if trial.params and RETRY_OF not in trial.user_attrs:
        study.enqueue_trial(trial.params, {RETRY_OF: trial.number})


def _find_points(trials: Sequence[TrialRecord]) -> list[Point]:
    """Return the points of the settings that were measured in full and keep every limit."""
    points = (one.tried.point for one in trials if one.tried is not None)
    return [point for point in points if point is not None]


def _find_tried(trials: Sequence[TrialRecord]) -> set[TrialSetting]:
    """Return the settings of trials that are finished or running."""
    return {one.setting for one in trials if one.setting is not None and one.ending != "cut off"}


def read_trial(trial: FrozenTrial) -> TrialRecord:
    """Read a trial back.

    Raises:
        RecordError: A record is not sdperf's.
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
