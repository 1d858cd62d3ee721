"""The question of a study: its workload, its default, its space and its limits. Pure.

It is kept in the study, so that everyone who joins asks the same question.
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
"""The floor of a winner's images where no floor was given: that of approximations."""

BROKEN: Final = "broken"
"""Name of the constraint that a setting without a usable image violates."""

BROKEN_VIOLATION: Final = 10.0
"""Violation of a setting without a usable image: larger than a limit can be missed by."""


@dataclass(frozen=True)
class Fidelity:
    """Scores of a setting's images against the reference; each is that of the worst image.

    Attributes:
        ssim: Lowest SSIM of a whole frame.
        mean_ssim: Mean SSIM over the images.
        worst_tile_ssim: Lowest SSIM of a tile.
        psnr_db: Lowest PSNR; ``None`` where every image is identical.
        entropy_drop_bits: Largest loss of entropy, bits.
    """

    ssim: float
    mean_ssim: float
    worst_tile_ssim: float
    psnr_db: float | None
    entropy_drop_bits: float


@dataclass(frozen=True)
class StudyLimits:
    """The limits that a setting has to keep; ``None`` is no limit.

    Attributes:
        min_ssim: Floor of every image's SSIM.
        max_seconds: Most seconds per image.
        max_memory_bytes: Most bytes of the device's own memory, else of the processes' memory.
        min_tile_ssim: Floor of every image's worst tile.
        min_psnr_db: Floor of every image's PSNR.
        max_entropy_drop_bits: Bits of entropy that an image may lose.
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
        """Compute by how much each limit is missed; 0 or less keeps it.

        Only limits that were given and whose quantity is known are judged. Memory that cannot be
        measured counts as keeping its limit.
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
    """The question of a study.

    Attributes:
        workload: The workload of the reference, at full steps, with one prompt per image of a
            round.
        model_hash: Hash of the weights.
        device_kind: The kind of device that it runs on.
        subject: ``module:function`` that makes the pipeline, or ``None``.
        default: The setting that a winner has to beat.
        space: The settings that may be tried.
        limits: The limits that a setting has to keep.
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
        """The aim: the fastest above a floor, the most similar within a time, or the front."""
        if self.limits.min_ssim is not None:
            return "seconds"
        return "front" if self.limits.max_seconds is None else "likeness"

    @property
    def reference(self) -> TrialSetting:
        """The setting of the reference images: full steps, fp32, plain."""
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
        """How many images a round has."""
        return len(self.workload.prompts)

    def describe_aim(self) -> str:
        """Describe the aim in words."""
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
        """Return the key that orders settings, the best first."""
        if self.aim == "likeness":
            return -point.ssim, point.seconds
        return point.seconds, -point.ssim
