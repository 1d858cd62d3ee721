"""The verdict of sdperf on a case: one `Outcome`, with its reasons. Pure.

Speed and image are judged apart (`sdperf.judging.latency`, `judge_images`) and combined here:
faster but worse is a failure. Every collected case ends as exactly one outcome.
"""

from __future__ import annotations

import enum
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final


class Outcome(enum.Enum):
    """The answers, in the words that tables and JSON use; the worst of several comes first."""

    BROKEN = "BROKEN"
    """The image is flat, has the wrong shape or comes from non-finite numbers, or no image came."""
    DEGRADED = "DEGRADED"
    """The image fell below its floor against a reference."""
    SLOWER = "SLOWER"
    """Slower than the baseline by more than the limit."""
    HEAVIER = "HEAVIER"
    """Peak memory grew by more than the limits."""
    CHANGED = "CHANGED"
    """The image is no longer bit for bit what equal code has drawn here until now."""
    INCOMPARABLE = "INCOMPARABLE"
    """There is a baseline, but of another workload, machine or precision."""
    INCONCLUSIVE = "INCONCLUSIVE"
    """The measurements are too noisy to decide."""
    NO_BASELINE = "NO BASELINE"
    """Nothing to compare with; what could be judged without a baseline passed."""
    FASTER = "FASTER"
    """Faster than the baseline by more than the limit, and the image held."""
    PASS = "PASS"
    """Within all limits."""

    @property
    def is_failure(self) -> bool:
        """Whether the outcome makes the run exit 1."""
        return self in _FAILURES

    @property
    def is_always_told(self) -> bool:
        """Whether a finding is shown even where another finding decides the case."""
        return self is Outcome.CHANGED

    @property
    def is_open(self) -> bool:
        """Whether the outcome fails the run only where it is strict (the setting ``strict``)."""
        return self in _OPEN


_FAILURES: Final = frozenset({Outcome.BROKEN, Outcome.DEGRADED, Outcome.SLOWER, Outcome.HEAVIER})
_OPEN: Final = frozenset(
    {Outcome.CHANGED, Outcome.INCOMPARABLE, Outcome.INCONCLUSIVE, Outcome.NO_BASELINE}
)
EVIDENCE_PATH: Final = ".sdperf/evidence"
"""The folder in which a run saves failing images beside their references."""
_SEVERITY: Final = {outcome: rank for rank, outcome in enumerate(Outcome)}


_OTHERS: Final = {
    "plain": "the plain pipeline's image",
    "single-image": "the same image drawn alone",
    "other side": "the other side's image",
}
"""Words for names of other images that do not describe them by themselves."""


def describe_other(against: str) -> str:
    """Describe the image that another is compared with, from its name in a score.

    >>> describe_other("baseline"), describe_other("fp32-sync"), describe_other("plain")
    ('the baseline', 'the fp32-sync image', "the plain pipeline's image")
    >>> describe_other("other side")
    "the other side's image"
    """
    if against in ("baseline", "reference"):
        return f"the {against}"
    return _OTHERS.get(against, f"the {against} image")


def shorten_case(case: str) -> str:
    """Return a test id in the form of tables: without file and ``test_``.

    >>> shorten_case("benchmarks/test_latency.py::test_latency[fp32-sync-1w]")
    'latency[fp32-sync-1w]'
    """
    return case.rpartition("::")[2].removeprefix("test_")


def shorten_cases(
    cases: Iterable[str], shorten: Callable[[str], str] = shorten_case
) -> dict[str, str]:
    """Return test ids in a short form, by id; where that makes some equal, these say more.

    They get their class and whole name, else their file's name, else their whole id.

    >>> list(shorten_cases(["a.py::test_x", "a.py::A::test_x", "a.py::test_y"]).values())
    ['test_x', 'A::test_x', 'y']
    >>> list(shorten_cases(["b/a.py::test_x", "b/c.py::test_x"]).values())
    ['a.py::test_x', 'c.py::test_x']

    Args:
        cases: The test ids of one table or list.
        shorten: Returns the short form of one.
    """
    names = {case: shorten(case) for case in cases}
    for say_more in (_name_test, _name_file_and_test, str):
        counts = Counter(names.values())
        names = {
            case: name if counts[name] == 1 else say_more(case) for case, name in names.items()
        }
    return names if len(set(names.values())) == len(names) else {case: case for case in names}


def _name_test(case: str) -> str:
    return case.partition("::")[2] or case


def _name_file_and_test(case: str) -> str:
    file, colons, test = case.partition("::")
    return f"{file.rpartition('/')[2]}{colons}{test}"


@dataclass(frozen=True)
class Exhibit:
    """Two images to show side by side as the evidence of a finding.

    Attributes:
        prompt: The prompt of both.
        seed: The seed of both.
        against: What the first image is: ``reference``, ``baseline``, ``fp32-sync``, ...
        against_sha256: Its content hash.
        current_sha256: Content hash of the current image.
        tile_box: The tile to outline as (left, top, right, bottom), pixels.
        caption: What was found, in one line.
    """

    prompt: str
    seed: int
    against: str
    against_sha256: str
    current_sha256: str
    tile_box: tuple[int, int, int, int]
    caption: str

    @property
    def file_name(self) -> str:
        """Name of the picture; equal pairs of images share it."""
        return f"{self.current_sha256[:12]}-{self.against}-{self.against_sha256[:12]}.png"


@dataclass(frozen=True)
class Finding:
    """One judge's answer about one case.

    Attributes:
        outcome: The answer.
        gate: The judge that answered: ``latency``, ``image``, ``memory`` or ``worker``, for
            example.
        reason: What was found, against what, and by how much; one line.
        next_step: What to type or look at next, where there is something to do.
        exhibits: The images that fell below a floor, the worst first.
    """

    outcome: Outcome
    gate: str
    reason: str
    next_step: str | None = None
    exhibits: tuple[Exhibit, ...] = ()

    @property
    def can_be_settled(self) -> bool:
        """Whether it is an open answer, with what would settle it."""
        return self.outcome is Outcome.INCONCLUSIVE and self.next_step is not None


@dataclass(frozen=True)
class SettledCase:
    """A run's finding on a case's speed that its saved numbers alone do not give.

    The case was measured again, its fresh processes ran at two speeds, or the user named a check.

    Attributes:
        outcome: A value of `Outcome`.
        reason: The reason, one line.
        max_slowdown: Tolerated slowdown that it was judged with, as a fraction.
        gross_slowdown: Slowdown that failed with fewer than five sessions, as a fraction.
        history_s: Median seconds of the case in each compared session that counted, oldest first;
            a reader who compares with other sessions judges again.
        was_measured_again: Whether the run measured the case again; ``None`` where an older run did
            not keep that.
    """

    outcome: str
    reason: str
    max_slowdown: float | None = None
    gross_slowdown: float | None = None
    history_s: tuple[float, ...] = ()
    was_measured_again: bool | None = None


@dataclass(frozen=True)
class Verdict:
    """All findings of one case; the worst of them is the case's outcome."""

    case: str
    findings: tuple[Finding, ...]

    @property
    def outcome(self) -> Outcome:
        """The worst finding's outcome; NO BASELINE for a case without a finding."""
        outcomes = [finding.outcome for finding in self.findings]
        return min(outcomes, key=_SEVERITY.__getitem__, default=Outcome.NO_BASELINE)

    @property
    def told(self) -> tuple[Finding, ...]:
        """The findings to show: those that decide, other failures, and what is always shown.

        An open answer that something would settle is shown beside a worse one: what was measured
        for it would be lost. A broken case shows no other failure and no open answer, since they
        may only follow from what broke it.
        """
        is_broken = self.outcome is Outcome.BROKEN
        return tuple(
            finding
            for finding in self.findings
            if finding.outcome is self.outcome
            or finding.outcome.is_always_told
            or ((finding.outcome.is_failure or finding.can_be_settled) and not is_broken)
        )

    @property
    def decisive(self) -> tuple[Finding, ...]:
        """The findings that made the outcome."""
        return tuple(finding for finding in self.findings if finding.outcome is self.outcome)


def parse_finding(outcome: object, gate: object, reason: object) -> Finding:
    """Read one saved finding; an outcome of another version is INCONCLUSIVE."""
    try:
        return Finding(Outcome(outcome), str(gate), str(reason))
    except ValueError:
        unknown = f"{outcome!r} is no outcome that this version knows: {reason}"
        return Finding(Outcome.INCONCLUSIVE, str(gate), unknown)
