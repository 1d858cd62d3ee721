"""Floors that pictures and components must not fall below, as frozen values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class PairNoise:
    """The effect of legal noise on one (prompt, seed) pair: the A/A floor of the paired test.

    Attributes:
        key: `Workload.image_key` of the request.
        ssim: Lowest mean SSIM against the reference over all legal changes.
        worst_tile_ssim: Lowest SSIM of any tile over all legal changes.
        ciede2000: Largest mean colour difference over all legal changes; ``None`` where unknown.
        worst_tile_ciede2000: Largest mean colour difference of any tile; ``None`` unknown.
    """

    key: str
    ssim: float
    worst_tile_ssim: float
    ciede2000: float | None = None
    worst_tile_ciede2000: float | None = None


@dataclass(frozen=True)
class ComponentFloor:
    """The lowest agreement of one component's outputs with fp32, on equal inputs.

    Attributes:
        psnr_db: Lowest PSNR; see `sdperf.images.compute_component_distance`.
        cosine: Lowest cosine.
    """

    psnr_db: float
    cosine: float


@dataclass(frozen=True)
class Floors:
    """The lowest scores that one precision may have; a score that is ``None`` is not judged.

    Attributes:
        ssim: Lowest mean SSIM against the reference.
        worst_tile_ssim: Lowest SSIM of the worst tile.
        entropy_drop_bits: Largest loss of entropy, bits.
        evidence: What was measured, and how the floor follows from it.
        psnr_db: Lowest PSNR of the whole frame.
        worst_tile_psnr_db: Lowest PSNR of the worst tile.
        ciede2000: Largest mean colour difference (CIEDE2000).
        worst_tile_ciede2000: Largest mean colour difference of any tile.
        components: Floors of ``text encoder``, ``denoiser`` and ``vae``, by that name.
        trajectory_rms: Largest relative RMS between the latents and fp32's after any step.
        pairs: The effect of legal noise on each pair, for the paired test.
    """

    ssim: float
    worst_tile_ssim: float
    entropy_drop_bits: float
    evidence: str
    psnr_db: float | None = None
    worst_tile_psnr_db: float | None = None
    ciede2000: float | None = None
    worst_tile_ciede2000: float | None = None
    components: Mapping[str, ComponentFloor] = field(default_factory=dict)
    trajectory_rms: float | None = None
    pairs: tuple[PairNoise, ...] = ()
