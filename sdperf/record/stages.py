"""The stages of one image: their seconds, their work, and the device's limits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, get_args

SeparateStage = Literal["encode_prompt", "denoise", "decode_latents", "deliver"]
"""Stages that a ``stage`` case measures alone."""

StageName = Literal[
    "draw_noise",
    "tokenise",
    "encode_prompt",
    "encode_image",
    "denoise",
    "decode_latents",
    "whole",
    "deliver",
]
"""All stages of a generation in their order. Where the pipeline cannot be divided, ``whole`` stands
for the stages in between."""

Reading = Literal["compute-bound", "launch-bound", "starved"]
"""What limits a stage: arithmetic, the host's cost per operator, or something else."""

SEPARATE_STAGES: Final[tuple[SeparateStage, ...]] = get_args(SeparateStage)
STAGES: Final[tuple[StageName, ...]] = get_args(StageName)


@dataclass(frozen=True)
class StageTimes:
    """Seconds of each stage in one profiled round of one image; ``None`` is unknown.

    The round was synchronised at every border, so the sum can exceed an unprofiled round.

    Attributes:
        total_s: The whole profiled round, from its start to its delivery.
        tokenise_s: Prompt to token ids, on the CPU.
        encode_prompt_s: Token ids to prompt embeddings.
        denoise_s: All denoising steps.
        decode_latents_s: Latents to pixels.
        deliver_s: Pixels to PNG bytes, on the CPU.
        steps_s: Each denoising step; empty when unknown.
        draw_noise_s: Seed to starting noise on the device.
        whole_s: The plain call, of a pipeline that cannot be divided.
        encode_image_s: Input picture to latents, and all that follows up to the first step.
    """

    total_s: float
    tokenise_s: float | None = None
    encode_prompt_s: float | None = None
    denoise_s: float | None = None
    decode_latents_s: float | None = None
    deliver_s: float | None = None
    steps_s: tuple[float, ...] = ()
    draw_noise_s: float | None = None
    whole_s: float | None = None
    encode_image_s: float | None = None

    def by_name(self) -> dict[StageName, float]:
        """Seconds of each stage that is known, in the order in which they run."""
        seconds = {name: getattr(self, f"{name}_s") for name in STAGES}
        return {name: value for name, value in seconds.items() if value is not None}

    @property
    def rest_s(self) -> float:
        """Seconds that no stage explains: the whole minus all known stages."""
        return self.total_s - sum(self.by_name().values())

    def overlappable_share(self) -> float | None:
        """Share of a synchronous image that is not the device's work: the ceiling of async.

        Returns:
            A ratio in [0, 1]: tokenising and delivery over the whole; ``None`` when unknown.
        """
        if self.tokenise_s is None or self.deliver_s is None or self.total_s <= 0:
            return None
        return min(1.0, (self.tokenise_s + self.deliver_s) / self.total_s)


@dataclass(frozen=True)
class PeakRate:
    """The fastest matrix product that this device made in this session.

    Attributes:
        format: Number format of the factors. ``tf32`` where a precision of fp32 lets some
            operators (on CUDA: convolutions) round their factors to it.
        flop_per_s: Floating-point operations a second; an addition counts like a multiplication.
        size: The square matrices' side.
        threads: CPU threads that took part; ``None`` on a GPU.
    """

    format: str
    flop_per_s: float
    size: int
    threads: int | None = None


@dataclass(frozen=True)
class StageCost:
    """The operations of one stage of one image, counted in a separate round.

    Attributes:
        stage: Its name.
        flop: Floating-point operations of matrix products, convolutions and attention; those of
            everything else are not counted.
        operators: Calls of torch's operators, views included.
        flop_per_s: ``flop`` over the stage's seconds in the profiled round.
        share_of_peak: ``flop_per_s`` over the measured peak.
        reading: What limits the stage; see `sdperf.run.share`.
        fresh_flop: ``flop`` of a request that was never made before; counted only where a known
            request had none.
    """

    stage: StageName
    flop: int
    operators: int
    flop_per_s: float | None = None
    share_of_peak: float | None = None
    reading: Reading | None = None
    fresh_flop: int | None = None


@dataclass(frozen=True)
class DeviceLimits:
    """The stages compared with the device's limits, all measured in the same session.

    Attributes:
        peak: The fastest matrix product; ``None`` where it could not be measured.
        operator_s: Seconds of an operator that has almost nothing to compute.
        stages: The operations of each stage.
    """

    peak: PeakRate | None
    operator_s: float | None
    stages: tuple[StageCost, ...]
