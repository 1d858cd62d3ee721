"""Tries one setting: draws, scores and times it for as long as it may still be good."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

from sdperf.errors import ConfigurationError, ImageError, SdperfError
from sdperf.pipeline.optimisations.catalogue import find_conflict
from sdperf.run.messages import DeliveredImage
from sdperf.stats.distributions import compute_student_t_quantile
from sdperf.tune.question.question import BROKEN, BROKEN_VIOLATION, Fidelity, StudyQuestion
from sdperf.tune.question.setting import TrialSetting
from sdperf.tune.study.front import Point, find_rival_s
from sdperf.tune.trial.rig import Rig, TrialStart
from sdperf.tune.trial.scoring import find_faults, make_thumbnail, score_images
from sdperf.units import format_score, format_seconds, shorten

State = Literal["complete", "pruned", "infeasible"]

FEWEST_ROUNDS: Final = 3
MOST_ROUNDS: Final = 5
SETTLED: Final = 0.05
"""Rounds continue until their mean is known within this share, with `CONFIDENCE`."""

CONFIDENCE: Final = 0.9
PROBE_MARGIN: Final = 1.5
"""A first image that takes this many times as long as a rival is hopeless: it is one sample."""

ROUND_MARGIN: Final = 1.2
"""A first round that takes this many times as long as the fastest round so far is hopeless."""

_MOST_REASON: Final = 300
_MOST_S: Final = 1e9
_MOST_BYTES: Final = 2**60


@dataclass(frozen=True)
class Tried:
    """The result of trying a setting.

    Attributes:
        state: ``complete`` was measured in full, ``pruned`` was given up early, ``infeasible``
            gave no usable image.
        seconds: Median seconds per image; for a setting that was given up, over the rounds so far.
        rounds_s: Seconds per image of each timed round.
        fidelity: Scores of its images against the reference; for a setting given up at its first
            images, an upper bound.
        memory_bytes: Peak memory of all rounds, as `sdperf.tune.trial.rig.Drawn` has it.
        reason: Why it was given up or is infeasible.
        violations: By how much limits are missed; a value above 0 misses a limit.
        thumbnail: The first image, small; base64 of a WebP.
        start_s: Seconds from the beginning of loading to the first images, as
            `sdperf.tune.trial.rig.TrialStart` has it; ``None`` is unknown.
        conversion_s: Seconds in which the engine converted the model, once; ``None`` where nothing
            is converted, or it is unknown.
    """

    state: State
    seconds: float | None = None
    rounds_s: tuple[float, ...] = ()
    fidelity: Fidelity | None = None
    memory_bytes: int | None = None
    reason: str | None = None
    violations: Mapping[str, float] = field(default_factory=dict)
    thumbnail: str | None = None
    start_s: float | None = None
    conversion_s: float | None = None

    def __post_init__(self) -> None:
        once = {"start_s": self.start_s, "conversion_s": self.conversion_s}
        drawing = [("seconds", self.seconds), *(("rounds_s", one) for one in self.rounds_s)]
        for name, seconds in (*drawing, *once.items()):
            if seconds is None or 0 < seconds <= _MOST_S or (seconds == 0 and name in once):
                continue
            raise ConfigurationError(
                f"a trial of a study has a {name} that no measurement gives",
                got=seconds,
                expected=f"more than 0 and at most {_MOST_S:g} seconds",
            )
        if self.memory_bytes is not None and not 0 <= self.memory_bytes <= _MOST_BYTES:
            raise ConfigurationError(
                "a trial of a study has a memory_bytes that no measurement gives",
                got=self.memory_bytes,
                expected="0 bytes or more, and no more than a machine has",
            )

    @property
    def point(self) -> Point | None:
        """Its point, if it was measured in full and keeps every limit; else ``None``."""
        if self.state != "complete" or self.seconds is None or self.fidelity is None:
            return None
        if any(violation > 0 for violation in self.violations.values()):
            return None
        return Point(self.seconds, self.fidelity.ssim)


class _GivenUpError(Exception):
    """Raised for a hopeless setting, with the reason and the limits that it misses."""

    def __init__(self, reason: str, violations: Mapping[str, float]) -> None:
        super().__init__(reason)
        self.reason = reason
        self.violations = violations


@dataclass
class _Attempt:
    """A setting that is being tried."""

    question: StudyQuestion
    setting: TrialSetting
    rig: Rig
    references: Sequence[bytes]
    rivals: Sequence[Point]
    may_prune: bool
    rounds_s: list[float] = field(default_factory=list)
    fidelity: Fidelity | None = None
    memory_bytes: int | None = None
    first: DeliveredImage | None = None
    start: TrialStart = field(default_factory=TrialStart)

    def run(self) -> Tried:
        """Draw a first image of each worker, then rounds."""
        workload = self.question.workload
        conflict = find_conflict(self.setting.variant.optimisations)
        if conflict is not None:
            raise ConfigurationError("the optimisations do not go together", got=conflict)
        images = [workload.image(index) for index in range(self.question.images)]
        self.start = self.rig.load(workload, self.setting)
        few = images[: self.setting.workers * self.setting.batch]
        probe = self.rig.draw(workload, self.setting, few)
        self._look_at(probe.images)
        self._give_up_if_hopeless(probe.seconds_per_image, PROBE_MARGIN)
        while len(self.rounds_s) < MOST_ROUNDS and not is_settled(self.rounds_s):
            drawn = self.rig.draw(workload, self.setting, images)
            self.rounds_s.append(drawn.seconds_per_image)
            if drawn.memory_bytes is not None:
                self.memory_bytes = max(drawn.memory_bytes, self.memory_bytes or 0)
            if len(self.rounds_s) == 1:
                self._look_at(drawn.images)
            self._give_up_if_hopeless(min(self.rounds_s), ROUND_MARGIN)
        seconds = statistics.median(self.rounds_s)
        return self._finish(
            "complete",
            None,
            self.question.limits.compute_violations(self.fidelity, seconds, self.memory_bytes),
        )

    def give_up(self, given_up: _GivenUpError) -> Tried:
        """Return the result of a hopeless setting."""
        return self._finish("pruned", given_up.reason, given_up.violations)

    def fail(self, reason: str) -> Tried:
        """Return the result of a setting without a usable image."""
        return self._finish("infeasible", shorten(reason, _MOST_REASON), {BROKEN: BROKEN_VIOLATION})

    def _finish(self, state: State, reason: str | None, violations: Mapping[str, float]) -> Tried:
        first = self.first
        return Tried(
            state,
            statistics.median(self.rounds_s) if self.rounds_s else None,
            tuple(self.rounds_s),
            self.fidelity,
            self.memory_bytes,
            reason,
            violations,
            None if first is None else make_thumbnail(first.png),
            self.start.seconds,
            self.start.conversion_s,
        )

    def _look_at(self, images: Sequence[DeliveredImage]) -> None:
        faults = find_faults(images)
        if faults:
            raise ImageError("a broken image", got="; ".join(faults))
        self.first = images[0]
        self.fidelity = score_images(self.references[: len(images)], images)

    def _give_up_if_hopeless(self, seconds: float, margin: float) -> None:
        """Give up a setting that certainly misses a limit, or is slower by more than noise.

        Args:
            seconds: Seconds per image so far.
            margin: The factor that noise may add.
        """
        if not self.may_prune or self.fidelity is None:
            return
        question, ssim = self.question, self.fidelity.ssim
        violations = question.limits.compute_violations(
            self.fidelity, seconds / margin, self.memory_bytes
        )
        missed = [name for name, violation in violations.items() if violation > 0]
        if missed:
            raise _GivenUpError(f"misses a limit: {', '.join(missed)}", violations)
        if question.aim == "likeness":
            best = max((rival.ssim for rival in self.rivals), default=-math.inf)
            if ssim <= best:
                reason = f"another setting is at SSIM {format_score(best)}"
                raise _GivenUpError(reason, violations)
            return
        floor = ssim if question.aim == "front" else -math.inf
        rival_s = find_rival_s(self.rivals, floor)
        if rival_s is not None and seconds > rival_s * margin:
            # Rounds tell their seconds themselves; the first image of each worker is no round.
            own = "" if self.rounds_s else f"{format_seconds(seconds)} an image at first, "
            reason = f"{own}one as good takes {format_seconds(rival_s)}"
            raise _GivenUpError(reason, violations)


def try_setting(
    question: StudyQuestion,
    setting: TrialSetting,
    rig: Rig,
    references: Sequence[bytes],
    rivals: Sequence[Point],
    *,
    may_prune: bool = True,
    spell: Callable[[SdperfError], str] = str,
) -> Tried:
    """Try a setting.

    Every failure of the setting is a result: out of memory, a worker that died or hung, a network
    that cannot be compiled, NaN, a flat image.

    Args:
        question: The study's question.
        setting: The setting to try.
        rig: Runs the setting.
        references: PNG bytes of the reference's images for the question.
        rivals: Settings that were measured in full and keep every limit.
        may_prune: Whether it may be given up; the default may not, since all are compared with it.
        spell: Formats an error with the options of the command that the user typed.
    """
    attempt = _Attempt(question, setting, rig, references, rivals, may_prune)
    try:
        return attempt.run()
    except _GivenUpError as given_up:
        return attempt.give_up(given_up)
    except SdperfError as error:
        rig.close()
        return attempt.fail(spell(error))


def is_settled(rounds_s: Sequence[float]) -> bool:
    """Tell whether the mean of rounds is known within `SETTLED`, by Student's t on their logs."""
    if len(rounds_s) < FEWEST_ROUNDS:
        return False
    logs = [math.log(seconds) for seconds in rounds_s]
    reach = compute_student_t_quantile((1 + CONFIDENCE) / 2, len(logs) - 1)
    return reach * statistics.stdev(logs) / math.sqrt(len(logs)) <= SETTLED
