"""What a comparison with the good end says of a step. Pure.

The bad end is compared first; what is worse there, and by how much, is what the search looks for.
A step is then asked one question only: is it like the good end or like the bad one? Halfway between
the two is where the error is smallest on both sides: `docs/bisect.md` has the simulation.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Literal, get_args

from sdperf.ab.verdict.comparison import CaseComparison
from sdperf.ab.verdict.judging import CaseVerdict
from sdperf.bisect.search import Answer
from sdperf.judging.resources.memory import MemoryLimits
from sdperf.record.verdict import Outcome
from sdperf.stats.paired import DEFAULT_LOOKS, Decision
from sdperf.units import format_bytes, format_change

Aspect = Literal["speed", "image", "memory"]
ASPECTS: Final[tuple[Aspect, ...]] = get_args(Aspect)

Peak = Literal["peak_rss_bytes", "peak_device_bytes"]
PEAKS: Final[tuple[Peak, ...]] = get_args(Peak)
_PEAK_NAMES: Final[dict[Peak, str]] = {
    "peak_rss_bytes": "peak RSS",
    "peak_device_bytes": "peak device memory",
}

LOOKS: Final = (*DEFAULT_LOOKS, 18)
"""As everywhere, and one more: a step that is undecided after the last look gets half as many
blocks again, once. Alpha is divided by all looks, so that the last one is paid for."""

MOST_OPEN_STEPS: Final = 2
"""The search goes around one step that stays open; with a second one the machine is too noisy."""

_SHARE_OF_LOSS: Final = 0.5
_ANSWERS: Final[dict[Decision, Answer]] = {Decision.FAIL: "bad", Decision.PASS: "good"}


@dataclass(frozen=True)
class Target:
    """Something that is worse at the bad end, and that the search looks for.

    Attributes:
        case: The case's name.
        aspect: What is worse.
        size: By how much: log ratio of speed, bytes of memory; 0 for images.
        peak: Which peak grew; ``None`` for what is no memory.
        clarity: Size over its standard error, for speed; decides which case is measured first.
    """

    case: str
    aspect: Aspect
    size: float = 0.0
    peak: Peak | None = None
    clarity: float = 0.0

    @property
    def half(self) -> float:
        """Half of what is worse at the bad end, in the unit of `size`."""
        return _SHARE_OF_LOSS * self.size

    def limit_log(self, max_slowdown: float) -> float:
        """Return the border between like good and like bad in speed, a log ratio.

        That is half of what is lost at the bad end, but not less than the limit: below it, good
        steps would take more blocks to be told from bad ones, and more would stay open.

        Args:
            max_slowdown: Tolerated slowdown as a fraction.
        """
        return max(math.log1p(max_slowdown), self.half)


@dataclass(frozen=True)
class CaseAnswer:
    """What one case says of a step.

    Attributes:
        case: Its name.
        answer: ``GOOD``, ``BAD`` or ``OPEN``.
        seen: What was seen, in a line.
        blocks: Blocks that the speed rests on.
        change_log: Trimmed mean of the log ratio against the good end; ``None`` unmeasured.
        lower_log: Its lower bound.
        upper_log: Its upper bound.
    """

    case: str
    answer: Answer
    seen: str
    blocks: int = 0
    change_log: float | None = None
    lower_log: float | None = None
    upper_log: float | None = None


def spend_alpha(alpha: float, planned: int, done: int) -> float:
    """Return what the next test may spend of the error of the whole search.

    A wrong turn takes a wrong test, so the chance of any wrong turn is at most the sum of what the
    tests spend. The bad end's test and those of the longest path share ``alpha`` equally, with one
    share left; tests beyond those, which skipped and open steps bring about, spend half of it, then
    a quarter, and so on, so that the sum never reaches ``alpha``.

    Args:
        alpha: Chance of naming a wrong step, over the whole search.
        planned: Tests on the longest path, the ends not counted.
        done: Tests that were made, the bad end's included.

    >>> [spend_alpha(0.04, 2, done) for done in range(5)]
    [0.01, 0.01, 0.01, 0.005, 0.0025]

    Source: Bonferroni's inequality; which test comes next may depend on all before it.
    """
    beyond = max(0, done - planned)
    return alpha / (planned + 2) / 2.0**beyond


def find_targets(
    verdicts: Iterable[CaseVerdict], aspects: Sequence[Aspect], limits: MemoryLimits
) -> tuple[Target, ...]:
    """Return what is worse at the bad end, of what was asked for."""
    targets: list[Target] = []
    for verdict in verdicts:
        name, outcomes = verdict.case.case.id, _outcomes(verdict)
        bounds = verdict.speed.bounds
        if "speed" in aspects and verdict.speed.decision is Decision.FAIL and bounds is not None:
            clarity = bounds.mean / bounds.standard_error
            targets.append(Target(name, "speed", bounds.mean, clarity=clarity))
        if "image" in aspects and outcomes & {Outcome.DEGRADED, Outcome.BROKEN}:
            targets.append(Target(name, "image"))
        if "memory" in aspects and Outcome.HEAVIER in outcomes:
            targets += [
                Target(name, "memory", growth, peak=peak)
                for peak in PEAKS
                if (growth := _compute_growth(verdict.case, peak, limits)) is not None
            ]
    return tuple(targets)


def is_undecided(verdicts: Iterable[CaseVerdict], aspects: Sequence[Aspect]) -> bool:
    """Tell whether the bad end's speed was asked for and not decided in some case."""
    return "speed" in aspects and any(
        verdict.speed.decision not in (Decision.PASS, Decision.FAIL) for verdict in verdicts
    )


def judge_case(verdict: CaseVerdict, targets: Sequence[Target]) -> CaseAnswer:
    """Say whether a step is like the good end or like the bad one, in one case.

    It is like the bad one as soon as one target says so, and open while one cannot tell.

    Args:
        verdict: Of the step against the good end, with the speed's limit at the target's.
        targets: Those of this case, at least one.
    """
    answers: list[Answer] = []
    seen: list[str] = []
    for target in targets:
        answer, words = _judge_target(verdict, target)
        answers.append(answer)
        seen.append(words)
    return describe_case(verdict, join_answers(answers), "; ".join(seen))


def describe_case(verdict: CaseVerdict, answer: Answer, seen: str) -> CaseAnswer:
    """Return an answer with the speed that it was seen beside."""
    bounds = verdict.speed.bounds
    return CaseAnswer(
        case=verdict.case.case.id,
        answer=answer,
        seen=seen,
        blocks=verdict.speed.blocks,
        change_log=None if bounds is None else bounds.mean,
        lower_log=None if bounds is None else bounds.lower,
        upper_log=None if bounds is None else bounds.upper,
    )


def describe_verdict(verdict: CaseVerdict) -> str:
    """Return a verdict's line, without what nobody asked for where nothing was timed."""
    if verdict.case.blocks:
        return verdict.line
    untimed = verdict.line.removeprefix("speed unknown, ")
    return untimed.removesuffix(f": {Outcome.INCONCLUSIVE.value}")


def join_answers(answers: Iterable[Answer]) -> Answer:
    """Return what several answers say together: bad wins, then open."""
    given = set(answers)
    return "bad" if "bad" in given else "open" if "open" in given else "good"


def _judge_target(verdict: CaseVerdict, target: Target) -> tuple[Answer, str]:
    if target.aspect == "speed":
        return _judge_speed(verdict)
    if target.aspect == "memory":
        return _judge_memory(verdict.case, target)
    return _judge_image(verdict)


def _judge_speed(verdict: CaseVerdict) -> tuple[Answer, str]:
    result = verdict.speed
    if result.bounds is None:
        return "open", "speed unknown: too few blocks"
    answer = _ANSWERS.get(result.decision, "open")
    return answer, format_bounds(result.bounds.mean, result.bounds.lower, result.bounds.upper)


def _judge_image(verdict: CaseVerdict) -> tuple[Answer, str]:
    findings = [finding for finding in verdict.findings if finding.gate == "image"]
    worse = [one for one in findings if one.outcome in (Outcome.DEGRADED, Outcome.BROKEN)]
    if worse:
        return "bad", f"image: {worse[0].reason}"
    if findings and all(one.outcome is Outcome.PASS for one in findings):
        return "good", f"image: {findings[0].reason}"
    reason = findings[0].reason if findings else "not compared"
    return "open", f"image: {reason}"


def _judge_memory(case: CaseComparison, target: Target) -> tuple[Answer, str]:
    growth = None if target.peak is None else _compute_growth(case, target.peak)
    if growth is None or target.peak is None:
        return "open", "peak memory unknown"
    answer: Answer = "bad" if growth > target.half else "good"
    sign = "+" if growth >= 0 else "-"
    return answer, f"{_PEAK_NAMES[target.peak]} {sign}{format_bytes(abs(growth))}"


def format_bounds(mean: float, lower: float, upper: float) -> str:
    """Format log ratios as a change with its bounds.

    >>> format_bounds(0.0953, 0.08, 0.11)
    '+10.0 % (+8.3 to +11.6)'
    """
    low, high = (f"{math.expm1(bound) * 100:+.1f}" for bound in (lower, upper))
    return f"{format_change(math.exp(mean))} ({low} to {high})"


def _outcomes(verdict: CaseVerdict) -> set[Outcome]:
    return {finding.outcome for finding in verdict.findings}


def _compute_growth(
    case: CaseComparison, peak: Peak, above: MemoryLimits | None = None
) -> float | None:
    """Return the growth of a peak in bytes; ``None`` where it is unknown, or not above limits."""
    good, step = (getattr(side.median(), peak) for side in (case.memory_a, case.memory_b))
    if good is None or step is None:
        return None
    growth = float(step - good)
    if above is not None and growth <= max(above.max_growth * good, above.max_growth_bytes):
        return None
    return growth
