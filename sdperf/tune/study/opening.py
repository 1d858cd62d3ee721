"""Opens studies by name: begins one, finds one, or joins one from a machine of the same kind."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

import optuna

from sdperf.errors import ConfigurationError, RecordError
from sdperf.record.json import format_record, parse_record
from sdperf.tune.question.question import Aim, StudyQuestion
from sdperf.tune.study.storage import (
    close_storage,
    closed_on_error,
    explaining,
    open_storage,
    repeat_collided,
)
from sdperf.tune.study.study import TuningStudy, retry

if TYPE_CHECKING:
    from optuna.storages import RDBStorage
    from optuna.study import Study
    from sqlalchemy import URL

QUESTION: Final = "sdperf:question"
MACHINE: Final = "sdperf:machine"

_DIRECTIONS: Final[dict[Aim, list[Literal["minimize", "maximize"]]]] = {
    "front": ["minimize", "maximize"],
    "seconds": ["minimize"],
    "likeness": ["maximize"],
}


def find_study(url: URL, name: str) -> TuningStudy | None:
    """Open an existing study.

    Returns:
        The study; ``None`` where no study has this name.

    Raises:
        RecordError: The storage failed, or the study is not one of sdperf.
    """
    if url.get_backend_name() == "sqlite" and not Path(str(url.database)).exists():
        return None
    storage = open_storage(url, create=False, on_silence=retry)
    with closed_on_error(storage), explaining(url):
        if name not in optuna.get_all_study_names(storage):
            close_storage(storage)
            return None
        return _read_study(optuna.load_study(storage=storage, study_name=name), url, storage)


def list_studies(url: URL) -> list[str]:
    """Return the names of all studies of a storage.

    Raises:
        ConfigurationError: The storage does not exist.
        RecordError: The storage failed.
    """
    storage = open_storage(url, create=False, on_silence=retry)
    try:
        with explaining(url):
            return list(optuna.get_all_study_names(storage))
    finally:
        close_storage(storage)


def begin_study(url: URL, name: str, question: StudyQuestion, machine: str) -> TuningStudy:
    """Begin a study; where another process began it at the same moment, join that one.

    Args:
        url: The place of the study.
        name: Its name.
        question: Its question.
        machine: The kind of machine whose times it will hold.

    Raises:
        ConfigurationError: The other process asked something else.
        RecordError: The storage failed, or a study of that name is not one of sdperf.
    """
    storage = open_storage(url, create=True, on_silence=retry)

    def begin() -> Study:
        study = optuna.create_study(
            storage=storage,
            study_name=name,
            directions=_DIRECTIONS[question.aim],
            load_if_exists=True,
        )
        if QUESTION not in study.user_attrs and not study.get_trials(deepcopy=False):
            study.set_user_attr(MACHINE, machine)
            study.set_user_attr(QUESTION, format_record(question))
        return study

    with closed_on_error(storage), explaining(url):
        begun = _read_study(repeat_collided(begin), url, storage)
        check_machine(begun, machine)
        check_question(begun, name, question, hint="begin another one with --study NAME")
    return begun


def check_machine(study: TuningStudy, machine: str) -> None:
    """Refuse to mix the times of two kinds of machine.

    Raises:
        ConfigurationError: The study's times are of another kind.
    """
    if machine != study.machine:
        raise ConfigurationError(
            "the study's seconds are of another kind of machine, and times of two kinds cannot be "
            "compared",
            got=machine,
            expected=study.machine,
            hint="--study NAME begins a study for this kind",
        )


def check_question(study: TuningStudy, name: str, asked: StudyQuestion, *, hint: str) -> None:
    """Refuse to continue a study with another question.

    Raises:
        ConfigurationError: The questions differ; the message names the first differences and ends
            with the hint.
    """
    difference = describe_difference(study.question, asked)
    if difference:
        raise ConfigurationError(
            f"the study {name!r} asks something else", got=difference, hint=hint
        )


def describe_difference(stored: StudyQuestion, asked: StudyQuestion) -> str:
    """Name the first fields in which two questions differ, without the place of the model."""
    one, other = _flatten(stored), _flatten(asked)
    return "; ".join(
        f"{name}: {json.dumps(one.get(name))[:60]} there, {json.dumps(other.get(name))[:60]} here"
        for name in [name for name in {**one, **other} if one.get(name) != other.get(name)][:3]
    )


def _flatten(question: StudyQuestion) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for name, value in format_record(question).items():
        inner = value.items() if isinstance(value, dict) else [("", value)]
        fields |= {f"{name}.{key}".strip("."): found for key, found in inner}
    del fields["workload.model"]
    return fields


def _read_study(study: Study, url: URL, storage: RDBStorage) -> TuningStudy:
    attributes = study.user_attrs
    if QUESTION not in attributes or MACHINE not in attributes:
        raise RecordError(
            "this study was not begun by sdperf",
            got=study.study_name,
            hint="--study NAME begins another",
        )
    question = parse_record(StudyQuestion, attributes[QUESTION])
    return TuningStudy(study, url, question, str(attributes[MACHINE]), storage)
