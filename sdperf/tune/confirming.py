"""What a study found, measured again beside the default: only that makes a winner.

Fresh processes, fresh seeds, mirrored blocks of the paired engine. The order in which settings are
looked at comes from the study, what is said of them does not.
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
"""Notes of a study: what was measured again, by trial."""

MOST_CANDIDATES: Final = 3
FRESH_SEEDS: Final = 10_000
"""How far the seeds of a confirmation lie from the study's: other noise, so other images."""

Judgement = Literal["beats", "not faster", "unlike", "misses a limit", "failed", "void"]


@dataclass(frozen=True)
class WinnerConfirmation:
    """A setting of the front beside the default, on fresh measurements.

    Attributes:
        number: Its trial.
        setting: What was measured.
        created: When, UTC, ISO 8601.
        judgement: Only ``beats`` can be a winner.
        reason: In words.
        fidelity: Its images of fresh seeds against the reference's; ``None`` where there are none.
        log_ratio: Log of its seconds over the default's; ``None`` where it was not timed.
        lower: Lower bound of that.
        upper: Upper bound.
        error: Chance that ``beats`` is said of a setting that is not faster, over all candidates.
        blocks: Blocks of four executions that count.
        default_s: The default's median seconds per image in those blocks.
        seconds: The setting's.
        memory_bytes: The setting's peak there.
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

    They keep every limit and the floor of a winner, and were faster than the default.
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
    """Return the best candidate that beat the default; ``None`` where none did.

    Which one is best was decided by the study, so that nobody wins by the measurement that it is
    announced with.
    """
    known = {one.number: one for one in confirmations}
    for candidate in candidates:
        found = known.get(candidate.number)
        if found is not None and found.judgement == "beats":
            return found
    return None


def read_confirmations(study: TuningStudy) -> list[WinnerConfirmation]:
    """Return what was measured again, in the order of the trials.

    Raises:
        RecordError: The study holds something else there.
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

    What was measured before is not measured again: a setting has one chance, or chance would find
    a winner in time. A void comparison, on a machine that differs from itself, does not count.

    Args:
        study: The study.
        rig: Draws fresh images; its workers are ended before anything is timed.
        bench: Times.
        options: How is compared; its error is shared among the candidates.
        most: Candidates to measure at most.
        view: Shows how it goes.
        blocks_view: Shows the blocks.
        spell: Says what went wrong, with the options of the command that is typed.

    Returns:
        All confirmations, those of before included; a void one is among them, though not kept.

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
    """Make a side of the paired engine of a setting."""
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
    """Return a seed whose images are none of the study's."""
    return seed + FRESH_SEEDS if seed < 2**62 else seed - FRESH_SEEDS


def judge_likeness(question: StudyQuestion, fidelity: Fidelity) -> str | None:
    """Say why images are not like enough; ``None`` where they are."""
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
    """Say what a comparison with the default says of a setting. Pure."""
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
    """Return where the default stands in the study."""
    for one in trials:
        tried = one.tried
        if one.setting == question.default and tried is not None:
            if tried.seconds is None or tried.fidelity is None:
                return None
            return Point(tried.seconds, tried.fidelity.ssim)
    return None
