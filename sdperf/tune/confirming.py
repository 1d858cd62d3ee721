"""Measures the best settings of a study again beside the default: only this makes a winner.

It uses fresh processes, fresh seeds and mirrored blocks of the paired engine. The study decides
only the order of the settings, not the judgement of them.
"""

from __future__ import annotations

import dataclasses
import datetime
import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from sdperf.ab.sides.sides import MatrixCase, Side
from sdperf.ab.turns.bench import LiveBench
from sdperf.ab.turns.comparing import compare
from sdperf.ab.turns.view import View
from sdperf.ab.verdict.comparison import CaseComparison, Compared, CompareOptions
from sdperf.ab.verdict.judging import AbVerdict, judge_comparison
from sdperf.errors import SdperfError
from sdperf.record.json import format_record, parse_record
from sdperf.record.workload import Workload
from sdperf.tune.question.question import Fidelity, StudyQuestion
from sdperf.tune.question.setting import TrialSetting
from sdperf.tune.study.front import Point, find_front
from sdperf.tune.study.trials import TrialRecord
from sdperf.tune.trial.rig import Rig
from sdperf.tune.trial.scoring import find_faults, score_images
from sdperf.tune.trial.tuning import TuneView, draw_references
from sdperf.units import format_score, format_seconds

if TYPE_CHECKING:
    from sdperf.tune.study.study import TuningStudy

CONFIRMED: Final = "sdperf:confirmed"
"""Kind of a study's notes on confirmations, by trial."""

MOST_CANDIDATES: Final = 3
FRESH_SEEDS: Final = 10_000
"""Distance of a confirmation's seeds from the study's seeds, so that other images are drawn."""

Judgement = Literal["beats", "not faster", "unlike", "misses a limit", "failed", "void"]


@dataclass(frozen=True)
class WinnerConfirmation:
    """A setting of the front beside the default, on fresh measurements.

    Attributes:
        number: Number of its trial.
        setting: The setting that was measured.
        created: When it was measured, ISO 8601, UTC.
        judgement: The answer; only ``beats`` can be a winner.
        reason: The reason in words.
        fidelity: Its images of fresh seeds against the reference's; ``None`` without images.
        log_ratio: Log of its seconds over the default's; ``None`` where it was not timed.
        lower: Lower bound of ``log_ratio``.
        upper: Upper bound of ``log_ratio``.
        error: Chance that a setting which is not faster is called ``beats``, over all candidates.
        blocks: How many blocks of four executions count.
        default_s: The default's median seconds per image in those blocks.
        seconds: The setting's median seconds per image in those blocks.
        memory_bytes: The setting's peak memory in those blocks, bytes.
    """

    number: int
    setting: TrialSetting
    created: str
    judgement: Judgement
    reason: str
    fidelity: Fidelity | None = None
    log_ratio: float | None = None
    lower: float | None = None
    upper: float | None = None
    error: float | None = None
    blocks: int = 0
    default_s: float | None = None
    seconds: float | None = None
    memory_bytes: int | None = None

    @property
    def speedup(self) -> tuple[float, float, float] | None:
        """How many times as fast as the default: middle, at least, at most."""
        if self.log_ratio is None or self.lower is None or self.upper is None:
            return None
        return math.exp(-self.log_ratio), math.exp(-self.upper), math.exp(-self.lower)


def list_candidates(question: StudyQuestion, trials: Sequence[TrialRecord]) -> list[TrialRecord]:
    """Return the front's settings that could beat the default, the best first.

    These settings keep every limit and the floor of a winner, and were faster than the default.
    """
    measured = [
        (one, one.tried.point)
        for one in trials
        if one.tried is not None and one.tried.point is not None
    ]
    points = [point for _, point in measured if point is not None]
    default = find_default_point(question, trials)
    default_s = math.inf if default is None else default.seconds
    found: list[tuple[tuple[float, float], TrialRecord]] = []
    for at in find_front(points):
        trial, point = measured[at][0], points[at]
        fits = point.ssim >= question.winning_ssim and point.seconds < default_s
        if fits and trial.setting != question.default:
            found.append((question.rank(point), trial))
    return [trial for _, trial in sorted(found, key=lambda pair: pair[0])]


def find_winner(
    candidates: Sequence[TrialRecord], confirmations: Sequence[WinnerConfirmation]
) -> WinnerConfirmation | None:
    """Return the best candidate that beat the default; ``None`` where no candidate did.

    The study decided which candidate is best, so that no setting wins by a lucky confirmation.
    """
    known = {one.number: one for one in confirmations}
    for candidate in candidates:
        found = known.get(candidate.number)
        if found is not None and found.judgement == "beats":
            return found
    return None


def read_confirmations(study: TuningStudy) -> list[WinnerConfirmation]:
    """Return the confirmations, in the order of the trials.

    Raises:
        RecordError: The study's notes are not confirmations.
    """
    notes = study.read_notes(CONFIRMED)
    found = [parse_record(WinnerConfirmation, value) for value in notes.values()]
    return sorted(found, key=lambda one: one.number)


def confirm(
    study: TuningStudy,
    rig: Rig,
    bench: LiveBench,
    options: CompareOptions,
    *,
    most: int = MOST_CANDIDATES,
    view: TuneView,
    blocks_view: View,
    spell: Callable[[SdperfError], str] = str,
) -> list[WinnerConfirmation]:
    """Measure candidates beside the default until one beats it.

    A confirmed setting is not confirmed again: with several tries chance would find a winner in the
    end. A void comparison, on a machine that differs from itself, does not count.

    Args:
        study: The study.
        rig: Draws fresh images; its workers are ended before anything is timed.
        bench: Times the two sides.
        options: The options of the comparison; its error is shared among the candidates.
        most: The most candidates to measure.
        view: Shows the progress.
        blocks_view: Shows the blocks.
        spell: Formats an error with the options of the command that the user typed.

    Returns:
        All confirmations, including earlier ones; a void one is among them, although it is not
        kept.

    Raises:
        SdperfError: The default itself cannot be measured.
    """
    question = study.question
    options = dataclasses.replace(options, alpha=options.alpha / most, stages=False)
    known = {one.number: one for one in read_confirmations(study)}
    fresh = dataclasses.replace(question.workload, seed=choose_fresh_seed(question.workload.seed))
    references: list[bytes] = []
    for candidate in list_candidates(question, study.list_trials())[:most]:
        if candidate.number not in known:
            if not references:
                view.announce("drawing the reference with fresh seeds")
                references = draw_references(question, rig, fresh)
            found = _confirm_one(
                candidate, question, fresh, references, rig, bench, options, blocks_view, spell
            )
            known[found.number] = found
            if found.judgement == "void":
                break
            study.note(CONFIRMED, str(found.number), format_record(found))
            if found.log_ratio is not None:
                options = dataclasses.replace(options, null_control=False)
        if known[candidate.number].judgement == "beats":
            break
    return list(known.values())


def _confirm_one(
    candidate: TrialRecord,
    question: StudyQuestion,
    fresh: Workload,
    references: Sequence[bytes],
    rig: Rig,
    bench: LiveBench,
    options: CompareOptions,
    blocks_view: View,
    spell: Callable[[SdperfError], str],
) -> WinnerConfirmation:
    setting = candidate.setting
    assert setting is not None, "a candidate was measured"
    base = WinnerConfirmation(
        candidate.number,
        setting,
        datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "failed",
        "",
        error=options.alpha,
    )
    images = [fresh.image(index) for index in range(question.images)]
    try:
        rig.load(fresh, setting)
        drawn = rig.draw(fresh, setting, images)
        faults = find_faults(drawn.images)
        if faults:
            return dataclasses.replace(base, judgement="unlike", reason="; ".join(faults))
        fidelity = score_images(references, drawn.images)
    except SdperfError as error:
        return dataclasses.replace(base, reason=spell(error)[:300])
    finally:
        rig.close()
    base = dataclasses.replace(base, fidelity=fidelity)
    complaint = judge_likeness(question, fidelity)
    if complaint is not None:
        return dataclasses.replace(base, judgement="unlike", reason=complaint)
    a, b = (
        dataclasses.replace(make_side(label, one, question, fresh), pictures=rig.pictures)
        for label, one in (("default", question.default), ("candidate", setting))
    )
    case = MatrixCase("throughput", batch=question.images)
    compared = compare(a, b, (case,), options, bench=bench, view=blocks_view)
    if compared.record.was_interrupted:
        raise KeyboardInterrupt
    return judge_confirmation(base, question, compared, judge_comparison(compared.record))


def make_side(
    label: str, setting: TrialSetting, question: StudyQuestion, workload: Workload
) -> Side:
    """Make a side of the paired engine from a setting."""
    return Side(
        label,
        setting.apply_to(workload),
        subject=question.subject,
        device=question.device_kind,
        variant_changes={
            field.name: getattr(setting.variant, field.name)
            for field in dataclasses.fields(setting.variant)
        },
    )


def choose_fresh_seed(seed: int) -> int:
    """Return a seed whose images are not in the study."""
    return seed + FRESH_SEEDS if seed < 2**62 else seed - FRESH_SEEDS


def judge_likeness(question: StudyQuestion, fidelity: Fidelity) -> str | None:
    """Say why images are not similar enough; ``None`` where they are."""
    if fidelity.ssim < question.winning_ssim:
        return (
            f"SSIM {format_score(fidelity.ssim)} on fresh images, "
            f"{question.winning_ssim:g} was asked for"
        )
    missed = [
        name
        for name, violation in question.limits.compute_violations(fidelity).items()
        if violation > 0
    ]
    return f"misses on fresh images: {', '.join(missed)}" if missed else None


def judge_confirmation(
    base: WinnerConfirmation, question: StudyQuestion, compared: Compared, verdict: AbVerdict
) -> WinnerConfirmation:
    """Judge a setting by its comparison with the default. Pure."""
    if verdict.void is not None:
        return dataclasses.replace(base, judgement="void", reason=verdict.void)
    case = compared.record.cases[0]
    bounds = verdict.cases[0].bounds
    if bounds is None:
        reason = "; ".join(case.notes) or "nothing was timed"
        return dataclasses.replace(base, reason=reason)
    default_s, seconds = (_median_s(case, side, question.images) for side in "AB")
    peaks = case.memory_b.median()
    memory_bytes = peaks.peak_device_bytes or peaks.peak_rss_bytes
    base = dataclasses.replace(
        base,
        log_ratio=bounds.mean,
        lower=bounds.lower,
        upper=bounds.upper,
        blocks=len(case.contrasts),
        default_s=default_s,
        seconds=seconds,
        memory_bytes=memory_bytes,
    )
    if bounds.upper >= 0:
        reason = "the interval of its speed reaches the default's"
        return dataclasses.replace(base, judgement="not faster", reason=reason)
    violations = question.limits.compute_violations(None, seconds, memory_bytes)
    missed = [name for name, violation in violations.items() if violation > 0]
    if missed:
        reason = f"on fresh measurements: {', '.join(missed)} ({format_seconds(seconds)} an image)"
        return dataclasses.replace(base, judgement="misses a limit", reason=reason)
    return dataclasses.replace(base, judgement="beats", reason="faster, and like enough")


def _median_s(case: CaseComparison, side: str, images: int) -> float:
    return statistics.median(
        execution.duration_s / images
        for block in case.blocks
        if block.discarded is None
        for execution in block.executions
        if execution.side == side
    )


def find_default_point(question: StudyQuestion, trials: Sequence[TrialRecord]) -> Point | None:
    """Return the default's seconds and likeness in the study."""
    for one in trials:
        tried = one.tried
        if one.setting == question.default and tried is not None:
            if tried.seconds is None or tried.fidelity is None:
                return None
            return Point(tried.seconds, tried.fidelity.ssim)
    return None
