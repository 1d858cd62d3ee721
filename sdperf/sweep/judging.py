"""What a comparison of two versions says of a case, in the terms of a curve over versions. Pure."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from typing import Final, Literal

from sdperf.ab.sides.sides import SideName
from sdperf.ab.verdict.comparison import CaseComparison, LifeStart, list_rounds_s
from sdperf.ab.verdict.images import AGAINST
from sdperf.ab.verdict.judging import CaseVerdict, StageChange
from sdperf.bisect.judging import PEAKS
from sdperf.judging.doubts.plausibility import GATE
from sdperf.judging.resources.memory import MemoryLimits
from sdperf.record.verdict import Outcome
from sdperf.stats.paired import Decision

SpeedAnswer = Literal["slower", "faster", "same", "open"]
"""Beyond the limit and certainly so, within the limit on both sides, or not settled here."""

MemoryAnswer = Literal["more", "less", "same", "unknown"]
"""Whether a peak changed beyond the limits."""

PictureAnswer = Literal["equal", "alike", "changed", "broken", "unknown"]
"""Byte for byte, within the floors, beyond a floor, damaged in itself, or not compared."""

LEAST_STAGE_LOG: Final = 0.01
"""A stage that changed by less, as a log ratio, is not told though its interval excludes none."""


LARGEST_LOG: Final = 100.0
"""No two versions differ by a larger log ratio; an exponential of more is none."""


LARGEST_FIGURE: Final = 1e18
"""No version takes so many seconds or bytes."""

LARGEST_SCORE: Final = 1.001
"""An SSIM is at most 1, but for what rounding adds."""


def refuse_absurd(*logs: float | None) -> None:
    """Refuse log ratios that no machine can show.

    Raises:
        ValueError: One is beyond `LARGEST_LOG`.
    """
    if any(log is not None and abs(log) > LARGEST_LOG for log in logs):
        raise ValueError(f"a log ratio lies beyond {LARGEST_LOG:g}")


def refuse_figures(*figures: float | None) -> None:
    """Refuse counts, times and sizes that no machine can show.

    Raises:
        ValueError: One is negative, or beyond `LARGEST_FIGURE`.
    """
    if any((figure or 0) < 0 for figure in figures):
        raise ValueError("a figure of a sweep is negative")
    if any((figure or 0) > LARGEST_FIGURE for figure in figures):
        raise ValueError(f"a figure of a sweep lies beyond {LARGEST_FIGURE:g}")


@dataclass(frozen=True)
class StageStep:
    """A stage whose time differs between two versions, from profiled rounds.

    Attributes:
        name: The stage.
        before_s: Median seconds an image at the reference.
        after_s: At the version that is judged.
        change_log: Trimmed mean of the log ratios.
        lower_log: Lower end of its 95 % interval, of this stage alone.
        upper_log: Upper end.
    """

    name: str
    before_s: float
    after_s: float
    change_log: float
    lower_log: float
    upper_log: float

    def __post_init__(self) -> None:
        """Refuse what a damaged file may say.

        Raises:
            ValueError: A log ratio or a time is one that no machine can show.
        """
        refuse_absurd(self.change_log, self.lower_log, self.upper_log)
        refuse_figures(self.before_s, self.after_s)


@dataclass(frozen=True)
class VersionFigures:
    """What a version came to in one comparison.

    Attributes:
        seconds_per_image: Median of its timed rounds, seconds an image; ``None`` untimed.
        peak_rss_bytes: Peak resident memory, median over its process lives.
        peak_device_bytes: Peak device memory, median over its process lives.
        load_s: Seconds of loading, median over its lives.
        first_call_s: Seconds of the first generation, median over its lives.
    """

    seconds_per_image: float | None = None
    peak_rss_bytes: int | None = None
    peak_device_bytes: int | None = None
    load_s: float | None = None
    first_call_s: float | None = None

    def __post_init__(self) -> None:
        """Refuse what a damaged file may say.

        Raises:
            ValueError: A figure is negative, or beyond what any machine has.
        """
        refuse_figures(*(getattr(self, one.name) for one in fields(self)))


@dataclass(frozen=True)
class CaseStep:
    """What one comparison says of one case.

    Attributes:
        case: Its name.
        speed: What the blocks settled.
        change_log: Trimmed mean of the log ratios, reference to version; ``None`` unmeasured.
        lower_log: Lower bound, at the share of the sweep's error that the comparison had.
        upper_log: Upper bound.
        contrasts: Log ratio of each block that counts.
        before: The reference's figures.
        after: The version's.
        memory: Whether a peak changed beyond the limits; the device's decides where both are known.
        pictures: How the pictures compare.
        ssim: Lowest SSIM of all prompts; ``None`` unknown.
        worst_tile_ssim: Lowest of their worst tiles.
        stages: Stages that differ.
        place: In which stage most of a difference lies, in words; ``None`` where none is named.
        line: The verdict in a line, as `sdperf ab` says it.
        notes: What people should know of how it went.
    """

    case: str
    speed: SpeedAnswer
    change_log: float | None = None
    lower_log: float | None = None
    upper_log: float | None = None
    contrasts: tuple[float, ...] = ()
    before: VersionFigures = field(default_factory=VersionFigures)
    after: VersionFigures = field(default_factory=VersionFigures)
    memory: MemoryAnswer = "unknown"
    pictures: PictureAnswer = "unknown"
    ssim: float | None = None
    worst_tile_ssim: float | None = None
    stages: tuple[StageStep, ...] = ()
    place: str | None = None
    line: str = ""
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse what a damaged file may say.

        Raises:
            ValueError: A log ratio is one that no machine can show, or a score is none.
        """
        refuse_absurd(self.change_log, self.lower_log, self.upper_log)
        if any(abs(one or 0.0) > LARGEST_SCORE for one in (self.ssim, self.worst_tile_ssim)):
            raise ValueError("an SSIM lies outside of -1 to 1")

    @property
    def is_eventful(self) -> bool:
        """Whether something happened: speed, memory or pictures beyond their limits."""
        return (
            self.speed in ("slower", "faster")
            or self.memory in ("more", "less")
            or self.pictures in ("changed", "broken")
        )

    @property
    def is_untimed(self) -> bool:
        """Whether no block was measured."""
        return self.speed == "open" and not self.contrasts

    @property
    def memory_log(self) -> float | None:
        """Log ratio of the peak that decides; ``None`` unknown."""
        for name in reversed(PEAKS):
            before, after = getattr(self.before, name), getattr(self.after, name)
            if before and after:
                return math.log(after / before)
        return None


def read_case_step(
    verdict: CaseVerdict, limits: MemoryLimits, max_slowdown: float, place: str | None
) -> CaseStep:
    """Turn a case's verdict into what a sweep keeps of it.

    Args:
        verdict: Of a two-sided comparison.
        limits: Of memory.
        max_slowdown: The limit of speed, as a fraction.
        place: In which stage most of the difference lies, in words.
    """
    case, bounds = verdict.case, verdict.bounds
    before, after = read_figures(case, "A"), read_figures(case, "B")
    scores = [score for pair in case.images if (score := pair.b.score(AGAINST)) is not None]
    return CaseStep(
        case=case.case.id,
        speed=answer_speed(verdict, max_slowdown),
        change_log=None if bounds is None else bounds.mean,
        lower_log=None if bounds is None else bounds.lower,
        upper_log=None if bounds is None else bounds.upper,
        contrasts=case.contrasts,
        before=before,
        after=after,
        memory=answer_memory(before, after, limits),
        pictures=answer_pictures(verdict),
        ssim=min((score.ssim for score in scores), default=None),
        worst_tile_ssim=min((score.worst_tile_ssim for score in scores), default=None),
        stages=tuple(_list_stages(verdict.stages)),
        place=place,
        line=verdict.line,
        notes=(*case.notes, *_list_doubts(verdict)),
    )


def answer_speed(verdict: CaseVerdict, max_slowdown: float) -> SpeedAnswer:
    """Say what the blocks of a two-sided comparison settled; nothing where that cannot be."""
    result = verdict.speed
    bounds = result.bounds
    if bounds is None or result.decision not in (Decision.PASS, Decision.FAIL):
        return "open"
    if _list_doubts(verdict):
        return "open"
    if result.decision is Decision.FAIL:
        return "slower"
    is_gain = bounds.upper < 0 and bounds.mean < -math.log1p(max_slowdown)
    return "faster" if is_gain else "same"


def answer_memory(
    before: VersionFigures, after: VersionFigures, limits: MemoryLimits
) -> MemoryAnswer:
    """Say whether a peak changed by more than both limits; the device's peak goes first."""
    for name in reversed(PEAKS):
        one, other = getattr(before, name), getattr(after, name)
        if one and other:
            least = max(limits.max_growth * one, limits.max_growth_bytes)
            return "more" if other - one > least else "less" if one - other > least else "same"
    return "unknown"


def answer_pictures(verdict: CaseVerdict) -> PictureAnswer:
    """Say how the pictures compare."""
    found = {finding.outcome for finding in verdict.findings if finding.gate == "image"}
    if Outcome.BROKEN in found:
        return "broken"
    if Outcome.DEGRADED in found:
        return "changed"
    scores = [pair.b.score(AGAINST) for pair in verdict.case.images]
    known = [score for score in scores if score is not None]
    if not scores or len(known) < len(scores):
        return "unknown" if not scores else "changed"
    return "equal" if all(score.identical for score in known) else "alike"


def read_figures(case: CaseComparison, side: SideName) -> VersionFigures:
    """Read what one side came to."""
    rounds_s = list_rounds_s(case.blocks, side)
    memory = (case.memory_a if side == "A" else case.memory_b).median()
    starts = case.starts_a if side == "A" else case.starts_b
    images = case.case.batch if case.case.kind == "throughput" else 1
    return VersionFigures(
        seconds_per_image=statistics.median(rounds_s) / images if rounds_s else None,
        peak_rss_bytes=memory.peak_rss_bytes,
        peak_device_bytes=memory.peak_device_bytes,
        load_s=_median(start.load_s for start in starts),
        first_call_s=_median(_list_first_calls(starts)),
    )


def _list_doubts(verdict: CaseVerdict) -> list[str]:
    """List why the timed rounds cannot be believed: pictures from memory, unshown gains."""
    return [
        finding.reason
        for finding in verdict.findings
        if finding.gate == GATE and finding.outcome is not Outcome.PASS
    ]


def _list_first_calls(starts: Iterable[LifeStart]) -> list[float]:
    return [start.first_call_s for start in starts if start.first_call_s is not None]


def _median(values: Iterable[float]) -> float | None:
    known = list(values)
    return statistics.median(known) if known else None


def _list_stages(stages: Iterable[StageChange]) -> Iterable[StageStep]:
    for stage in stages:
        bounds = stage.bounds
        if bounds is None or bounds.lower <= 0 <= bounds.upper:
            continue
        if abs(bounds.mean) >= LEAST_STAGE_LOG:
            yield StageStep(
                stage.name, stage.a_s, stage.b_s, bounds.mean, bounds.lower, bounds.upper
            )
