"""What a study asks: on what, against what, within which limits. Pure.

It is kept in the study, so that whoever joins asks the same.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Literal

from sdperf.judging.floors import APPROXIMATE_FLOORS
from sdperf.pipeline.optimisations.catalogue import APPROXIMATE_SSIM
from sdperf.record.workload import Workload
from sdperf.tune.question.setting import TrialSetting, take_guidance
from sdperf.tune.question.space import Space
from sdperf.tune.study.front import Point

Aim = Literal["front", "seconds", "likeness"]

WINNING_SSIM: Final = APPROXIMATE_SSIM
"""What a winner's images are held to where no floor was given: the floor of approximations."""

BROKEN: Final = "broken"
"""The constraint that a setting violates which gives no usable image at all."""

BROKEN_VIOLATION: Final = 10.0
"""More than any limit can be missed by: those settings are the last to be tried again."""


@dataclass(frozen=True)
class Fidelity:
    """Images of a setting against the reference: the same prompts and seeds, each the worst one's.

    Attributes:
        ssim: Lowest SSIM of a whole frame.
        mean_ssim: Mean SSIM.
        worst_tile_ssim: Lowest SSIM of a tile.
        psnr_db: Lowest PSNR; ``None`` where every image is identical.
        entropy_drop_bits: Largest loss of entropy.
    """

    ssim: float
    mean_ssim: float
    worst_tile_ssim: float
    psnr_db: float | None
    entropy_drop_bits: float


@dataclass(frozen=True)
class StudyLimits:
    """What a setting has to keep; ``None`` asks nothing.

    Attributes:
        min_ssim: Floor of every image's SSIM.
        max_seconds: Seconds per image.
        max_memory_bytes: Peak of the device's memory where it has its own, else of the processes'.
        min_tile_ssim: Floor of every image's worst tile.
        min_psnr_db: Floor of every image's PSNR.
        max_entropy_drop_bits: Entropy that an image may lose.
    """

    min_ssim: float | None = None
    max_seconds: float | None = None
    max_memory_bytes: int | None = None
    min_tile_ssim: float | None = None
    min_psnr_db: float | None = None
    max_entropy_drop_bits: float = APPROXIMATE_FLOORS.entropy_drop_bits

    def compute_violations(
        self,
        fidelity: Fidelity | None = None,
        seconds: float | None = None,
        memory_bytes: int | None = None,
    ) -> dict[str, float]:
        """Say by how much each limit that can be judged is missed; 0 or less keeps it.

        A limit that was given and whose quantity is known takes part. Memory that cannot be
        measured cannot be held to a limit, and counts as keeping it.
        """
        found: dict[str, float] = {}
        if fidelity is not None:
            found["entropy"] = fidelity.entropy_drop_bits - self.max_entropy_drop_bits
            if self.min_ssim is not None:
                found["ssim"] = self.min_ssim - fidelity.ssim
            if self.min_tile_ssim is not None:
                found["tile"] = self.min_tile_ssim - fidelity.worst_tile_ssim
            if self.min_psnr_db is not None and fidelity.psnr_db is not None:
                found["psnr"] = (self.min_psnr_db - fidelity.psnr_db) / self.min_psnr_db
        if seconds is not None and self.max_seconds is not None:
            found["seconds"] = seconds / self.max_seconds - 1
        if memory_bytes is not None and self.max_memory_bytes is not None:
            found["memory"] = memory_bytes / self.max_memory_bytes - 1
        return found


@dataclass(frozen=True)
class StudyQuestion:
    """What a study asks.

    Attributes:
        workload: At full steps: the reference's. One prompt an image of a round.
        model_hash: The weights.
        device_kind: Where it runs.
        subject: ``module:function`` that makes the pipeline, or ``None``.
        default: What a winner has to beat.
        space: What may be tried.
        limits: What has to be kept.
    """

    workload: Workload
    model_hash: str
    device_kind: str
    subject: str | None
    default: TrialSetting
    space: Space
    limits: StudyLimits = field(default_factory=StudyLimits)

    @property
    def aim(self) -> Aim:
        """What is sought: the fastest above a floor, the likest within a time, or the front."""
        if self.limits.min_ssim is not None:
            return "seconds"
        return "front" if self.limits.max_seconds is None else "likeness"

    @property
    def reference(self) -> TrialSetting:
        """How the reference images are drawn: full steps, fp32, plain."""
        workload = self.workload
        return TrialSetting(
            workload.num_inference_steps, take_guidance(workload), scheduler=workload.scheduler
        )

    @property
    def winning_ssim(self) -> float:
        """The floor of a winner's images."""
        given = self.limits.min_ssim
        if given is not None:
            return given
        return WINNING_SSIM if self.aim == "front" else -1.0

    @property
    def images(self) -> int:
        """Images of a round."""
        return len(self.workload.prompts)

    def describe_aim(self) -> str:
        """Say what is sought, in words."""
        limits = self.limits
        if self.aim == "seconds":
            words = f"the fewest seconds an image at SSIM {limits.min_ssim:g} or better"
            if limits.max_seconds is not None:
                words += f", {limits.max_seconds:g} s at most"
            return words
        if self.aim == "likeness":
            return f"the likest images within {limits.max_seconds:g} s an image"
        return "the front of seconds an image against SSIM"

    def rank(self, point: Point) -> tuple[float, float]:
        """Return what settings are ordered by, the best first."""
        if self.aim == "likeness":
            return -point.ssim, point.seconds
        return point.seconds, -point.ssim
