"""What a sweep came to: a curve over versions, its steps and what stays open. Pure values."""

from __future__ import annotations

import itertools
import json
import math
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, Literal

from sdperf.errors import RecordError
from sdperf.record.environment import Environment
from sdperf.record.json import check_format_version, decode_object, format_record, parse_record
from sdperf.sweep.judging import (
    CaseStep,
    SpeedAnswer,
    VersionFigures,
    refuse_absurd,
    refuse_figures,
)
from sdperf.sweep.state import SWEEP_FORMAT_VERSION, PairRecord, SweepQuestion, SweepState
from sdperf.sweep.sweeping import SweepConclusion, SweepEnding

KIND: Final = "sdperf sweep"
"""What a stored summary calls itself."""

MOST_NAMED: Final = 3
"""Steps that are told in words, of each kind."""

LARGEST_BYTES: Final = 64 * 2**20

PointState = Literal["measured", "failed", "open"]
"""In a comparison, not measurable at all, or not reached yet."""


@dataclass(frozen=True)
class VersionPoint:
    """One version on the curve of one case.

    Attributes:
        step: The step: requirements or a commit.
        name: What people know it by, short.
        state: Whether it was measured.
        reason: Why it cannot be measured or compared with the anchor; empty otherwise.
        seconds_per_image: The anchor's median times the ratio in turns, seconds; ``None`` unknown.
        figures: What it came to by itself.
        speed: Against the anchor; ``None`` for the anchor, and where that was not measured.
        change_log: Log ratio against the anchor; 0 for the anchor itself.
        lower_log: Its lower bound.
        upper_log: Its upper bound.
        conflicts: What pip named that does not fit together when it was installed.

    Raises:
        ValueError: A log ratio or a time is one that no machine can show.
    """

    step: str
    name: str
    state: PointState
    reason: str = ""
    seconds_per_image: float | None = None
    figures: VersionFigures = field(default_factory=VersionFigures)
    speed: SpeedAnswer | None = None
    change_log: float | None = None
    lower_log: float | None = None
    upper_log: float | None = None
    conflicts: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse what a damaged file may say."""
        refuse_absurd(self.change_log, self.lower_log, self.upper_log)
        refuse_figures(self.seconds_per_image)


@dataclass(frozen=True)
class VersionStep:
    """From one version that was measured to the next.

    Attributes:
        before: Name of the version before.
        after: Name of the version after.
        found: What their comparison says; ``None`` where it was not made.
        reason: Why it could not be made; empty otherwise.
    """

    before: str
    after: str
    found: CaseStep | None
    reason: str = ""


@dataclass(frozen=True)
class VersionCurve:
    """All versions of one case.

    Attributes:
        case: Its name.
        points: Oldest first.
        steps: Between each two neighbours that can be measured.
    """

    case: str
    points: tuple[VersionPoint, ...]
    steps: tuple[VersionStep, ...]

    def list_largest(self) -> list[VersionStep]:
        """List the largest settled steps in time, largest first."""
        return _rank(self.steps, _size_of_speed)

    def list_largest_memory(self) -> list[VersionStep]:
        """List the largest steps in peak memory beyond the limits, largest first."""
        return _rank(self.steps, _size_of_memory)

    def list_changed_pictures(self) -> list[VersionStep]:
        """List the steps whose pictures left the floors, worst first."""
        return _rank(self.steps, _size_of_pictures)

    def list_open(self) -> list[VersionStep]:
        """List the steps whose speed is not settled."""
        return [one for one in self.steps if one.found is None or one.found.speed == "open"]


@dataclass(frozen=True)
class SweepSummary:
    """All there is to say of a sweep.

    Attributes:
        question: What was asked.
        ending: How it ended.
        why: For a sweep that was void, why.
        started: When it began, UTC, ISO 8601.
        anchor: Name of the version that all are compared with; ``None`` where there is none.
        curves: One a case.
        comparisons: How many were made.
        left: How many are left, as far as that is known.
        took_s: How long those that were made took, seconds.
        environment: The machine of the first comparison; ``None`` where none was made.
        model_hash: Hash of the model's weights and configuration; empty where none was loaded.
        titles: What else people know steps by, by name: a commit's subject.
        command: What asks the same question again.
        version: Of sdperf.
        lost: How many comparisons could not be made.
        format_version: Version of this summary.
    """

    question: SweepQuestion
    ending: SweepEnding
    why: str | None
    started: str
    anchor: str | None
    curves: tuple[VersionCurve, ...]
    comparisons: int
    left: int
    took_s: float
    environment: Environment | None
    model_hash: str
    titles: Mapping[str, str]
    command: str
    version: str
    lost: int = 0
    format_version: int = SWEEP_FORMAT_VERSION

    def __post_init__(self) -> None:
        """Refuse what a damaged file may say.

        Raises:
            ValueError: A count or a time is one that no machine can show.
        """
        refuse_figures(self.comparisons, self.left, self.lost, self.took_s)


@dataclass(frozen=True)
class SweepContext:
    """What a summary says beside what the sweep kept.

    Attributes:
        names: What people know steps by, short.
        titles: What else, by name.
        environment: The machine.
        model_hash: Hash of the model.
        command: What asks the same question again.
        version: Of sdperf.
    """

    names: Mapping[str, str]
    titles: Mapping[str, str]
    environment: Environment | None
    model_hash: str
    command: str
    version: str


def summarise_sweep(conclusion: SweepConclusion, context: SweepContext) -> SweepSummary:
    """Compute a sweep's summary."""
    state = conclusion.state
    question, anchor = state.question, state.anchor
    return SweepSummary(
        question=question,
        ending=conclusion.ending,
        why=conclusion.why,
        started=state.started,
        anchor=None if anchor is None else context.names[anchor],
        curves=tuple(_make_curve(state, case.id, context.names) for case in question.cases),
        comparisons=sum(not one.reason for one in state.pairs),
        left=len(state.list_left()),
        took_s=math.fsum(one.took_s for one in state.pairs),
        environment=context.environment,
        model_hash=context.model_hash,
        titles=context.titles,
        command=context.command,
        version=context.version,
        lost=sum(bool(one.reason) for one in state.pairs),
    )


def format_sweep_json(summary: SweepSummary) -> str:
    """Format a summary as JSON that `read_sweep` reads; docs/sweep.schema.json has every field.

    Raises:
        RecordError: A number is NaN or infinite.
    """
    document = {"kind": KIND} | format_record(summary)
    return json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def read_sweep(path: Path) -> SweepSummary:
    """Read a summary from a file, but for its command: no file says what is to be typed.

    Raises:
        RecordError: It is missing, too large, no JSON, no summary, or of another format.
    """
    hint = "sdperf sweep --json FILE writes a sweep's summary"
    try:
        if path.stat().st_size > LARGEST_BYTES:
            raise RecordError(f"{path} is too large", expected=f"at most {LARGEST_BYTES} bytes")
        content = path.read_bytes()
    except OSError as error:
        raise RecordError(f"{path} cannot be read", got=error.strerror, hint=hint) from error
    document = decode_object(content, str(path), hint)
    if document.get("kind") != KIND:
        raise RecordError(f"{path} is no sweep", expected="what sdperf sweep --json wrote")
    check_format_version(str(path), document.get("format_version"), SWEEP_FORMAT_VERSION, hint)
    summary = parse_record(SweepSummary, clean_texts(document))
    _refuse_repeated(path, "a case", [curve.case for curve in summary.curves], hint)
    for curve in summary.curves:
        names = [point.name for point in curve.points]
        _refuse_repeated(path, "a version", names, hint)
        _refuse_repeated(path, "a step", [(one.before, one.after) for one in curve.steps], hint)
        if not names or not {end for one in curve.steps for end in (one.before, one.after)} <= {
            *names
        }:
            raise RecordError(f"{path} names versions that it does not hold", hint=hint)
    if not summary.curves:
        raise RecordError(f"{path} holds no case", hint=hint)
    return replace(summary, command="")


def _refuse_repeated(path: Path, what: str, found: Sequence[object], hint: str) -> None:
    repeated = next((one for one in found if found.count(one) > 1), None)
    if repeated is not None:
        told = " -> ".join(repeated) if isinstance(repeated, tuple) else repeated
        raise RecordError(f"{path} holds {what} twice", got=told, hint=hint)


def clean_texts(value: Any) -> Any:
    """Return plain JSON values whose texts hold nothing that cannot be printed."""
    if isinstance(value, str):
        return "".join(one if one.isprintable() else " " if one.isspace() else "?" for one in value)
    if isinstance(value, list):
        return [clean_texts(one) for one in value]
    if isinstance(value, dict):
        return {clean_texts(key): clean_texts(one) for key, one in value.items()}
    return value


def _make_curve(state: SweepState, case: str, names: Mapping[str, str]) -> VersionCurve:
    shown = _list_shown(state)
    anchor_s = _find_anchor_seconds(state, case)
    points = tuple(
        replace(
            _make_point(state, case, step, names[step], anchor_s),
            conflicts=state.conflicts.get(step, ()),
        )
        for step in shown
    )
    live = [step for step in shown if step not in state.reasons]
    steps = tuple(
        _make_step(state, case, before, after, names) for before, after in itertools.pairwise(live)
    )
    return VersionCurve(case, points, steps)


def _list_shown(state: SweepState) -> list[str]:
    """List the chosen steps, and those between that were measured or tried; oldest first."""
    plan = state.question.plan
    shown = {*plan.chosen, *state.reasons, *state.measured}
    return [step for step in plan.steps if step in shown]


def _make_step(
    state: SweepState, case: str, before: str, after: str, names: Mapping[str, str]
) -> VersionStep:
    record = next((one for one in state.pairs if (one.a, one.b) == (before, after)), None)
    return VersionStep(
        names[before],
        names[after],
        None if record is None else _find_case(record, case),
        "" if record is None else record.reason,
    )


def _make_point(
    state: SweepState, case: str, step: str, name: str, anchor_s: float | None
) -> VersionPoint:
    if step in state.reasons:
        return VersionPoint(step, name, "failed", state.reasons[step])
    figures = next(_list_figures(state, case, step), None)
    record = next((one for one in state.pairs if (one.a, one.b) == (state.anchor, step)), None)
    reason = "" if record is None else record.reason
    if figures is None:
        return VersionPoint(step, name, "open", reason)
    if step == state.anchor:
        return VersionPoint(step, name, "measured", "", anchor_s, figures, None, 0.0, 0.0, 0.0)
    found = None if record is None else _find_case(record, case)
    if found is None:
        return VersionPoint(step, name, "measured", reason, figures=figures)
    ratio = None if found.change_log is None else math.exp(found.change_log)
    return VersionPoint(
        step=step,
        name=name,
        state="measured",
        seconds_per_image=None if ratio is None or anchor_s is None else anchor_s * ratio,
        figures=figures,
        speed=found.speed,
        change_log=found.change_log,
        lower_log=found.lower_log,
        upper_log=found.upper_log,
    )


def _list_figures(state: SweepState, case: str, step: str) -> Iterator[VersionFigures]:
    """Yield what a step came to: judged against others first, then as a reference."""
    for side in ("after", "before"):
        for record in state.pairs:
            found = _find_case(record, case)
            if found is not None and step == (record.b if side == "after" else record.a):
                yield found.after if side == "after" else found.before


def _find_anchor_seconds(state: SweepState, case: str) -> float | None:
    """Return the median of what the anchor took beside all others: a night is long."""
    known = [
        found.before.seconds_per_image
        for record in state.pairs
        if record.a == state.anchor
        and (found := _find_case(record, case)) is not None
        and found.before.seconds_per_image is not None
    ]
    return statistics.median(known) if known else None


def _find_case(record: PairRecord, case: str) -> CaseStep | None:
    return next((one for one in record.cases if one.case == case), None)


def _rank(
    steps: Sequence[VersionStep], size: Callable[[VersionStep], float | None]
) -> list[VersionStep]:
    sized = [(found, one) for one in steps if (found := size(one)) is not None]
    return [one for _, one in sorted(sized, key=lambda pair: -pair[0])[:MOST_NAMED]]


def _size_of_speed(step: VersionStep) -> float | None:
    found = step.found
    if found is None or found.speed not in ("slower", "faster") or found.change_log is None:
        return None
    return abs(found.change_log)


def _size_of_memory(step: VersionStep) -> float | None:
    found = step.found
    if found is None or found.memory not in ("more", "less") or found.memory_log is None:
        return None
    return abs(found.memory_log)


def _size_of_pictures(step: VersionStep) -> float | None:
    found = step.found
    if found is None or found.pictures not in ("changed", "broken"):
        return None
    return 2.0 if found.worst_tile_ssim is None else 1.0 - found.worst_tile_ssim
