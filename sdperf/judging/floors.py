"""Sets floors: measured legal noise minus a margin, else published anchors. Pure.

`docs/image-gates.md` explains each number and what its gate cannot see.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from sdperf.engines.catalogue import ENGINES
from sdperf.pipeline.optimisations.catalogue import (
    APPROXIMATE_SSIM,
    EXACT_SSIM,
    choose_ssim_floor,
)
from sdperf.record.floors import ComponentFloor, Floors, PairNoise
from sdperf.record.observation import Rung
from sdperf.record.workload import Variant
from sdperf.units import format_quantity

SSIM_MARGIN: Final = 0.005
WORST_TILE_MARGIN: Final = 0.02
PSNR_MARGIN_DB: Final = 3.0
ENTROPY_MARGIN_BITS: Final = 0.05
COMPONENT_MARGIN_DB: Final = 6.0
"""Margin in dB below the worst legal change: twice its error."""

TRAJECTORY_FACTOR: Final = 2.0
CIEDE2000_FACTOR: Final = 2.0

STRICTEST_PSNR_DB: Final = 45.0
STRICTEST_WORST_TILE_PSNR_DB: Final = 38.0
STRICTEST_CIEDE2000: Final = 0.05
STRICTEST_WORST_TILE_CIEDE2000: Final = 0.15
STRICTEST_COMPONENT: Final = ComponentFloor(psnr_db=70.0, cosine=0.999999)
STRICTEST_TRAJECTORY_RMS: Final = 1e-3
"""No floor is stricter than these, however quiet the calibrated machine was: another processor's
kernels round differently."""

SAME_PATH_FLOORS: Final = Floors(
    ssim=0.98,
    worst_tile_ssim=0.95,
    entropy_drop_bits=0.2,
    psnr_db=40.0,
    worst_tile_psnr_db=30.0,
    ciede2000=0.5,
    worst_tile_ciede2000=1.0,
    evidence="equal code, seed and precision is near bit-exact: docs/image-gates.md",
)
"""Floors for two runs of one precision on one machine, and for a batch beside single images."""

EXACT_MACHINE_FLOORS: Final = Floors(
    ssim=0.995,
    worst_tile_ssim=0.98,
    entropy_drop_bits=0.05,
    psnr_db=STRICTEST_PSNR_DB,
    worst_tile_psnr_db=STRICTEST_WORST_TILE_PSNR_DB,
    ciede2000=STRICTEST_CIEDE2000,
    worst_tile_ciede2000=STRICTEST_WORST_TILE_CIEDE2000,
    evidence="equal code was bit-exact here; other kernels stay above these: docs/image-gates.md",
)
"""Floors for two runs in fp32 on a machine where equal code has been bit-exact until now."""

EXACT_FLOORS: Final = Floors(
    ssim=EXACT_SSIM,
    worst_tile_ssim=0.95,
    entropy_drop_bits=0.2,
    evidence="other kernels and another order of sums: docs/optimisations.md",
)
"""Floors for an exact optimisation beside the plain pipeline of the same precision."""

ENGINE_FLOORS: Final = Floors(
    ssim=0.99,
    worst_tile_ssim=0.95,
    entropy_drop_bits=0.2,
    evidence="the same arithmetic in fp32 on another engine: docs/engines.md",
)
"""Floors for another engine in fp32 beside torch in fp32."""

FEWER_BITS_FLOORS: Final = Floors(
    ssim=0.97,
    worst_tile_ssim=0.8,
    entropy_drop_bits=0.3,
    evidence="weights in fewer bits: docs/engines.md",
)
"""Floors for an engine that stores weights in fewer bits than the precision, for any reference."""

APPROXIMATE_FLOORS: Final = Floors(
    ssim=APPROXIMATE_SSIM,
    worst_tile_ssim=0.6,
    entropy_drop_bits=0.5,
    evidence="step caching leaves arithmetic out, quantised weights round: docs/optimisations.md",
)
"""Floors for an optimisation that leaves arithmetic out, for any reference."""

ACROSS_PRECISIONS_FLOORS: Final = Floors(
    ssim=0.95,
    worst_tile_ssim=0.8,
    entropy_drop_bits=0.3,
    evidence="a precision of its own: docs/optimisations.md",
)
"""Floors for an exact optimisation beside the plain pipeline of another precision."""

ANCHOR_COMPONENTS: Final[Mapping[str, ComponentFloor]] = {
    "fp32": ComponentFloor(psnr_db=60.0, cosine=0.99999),
    "fp16": ComponentFloor(psnr_db=35.0, cosine=0.999),
    "bf16": ComponentFloor(psnr_db=29.0, cosine=0.998),
}
"""Component floors for models without measured floors. Apple's ml-stable-diffusion and
coreml-diffusion-benchmarks require 35 dB and 0.999 of fp16 components. The mantissa of bf16 is
three bits shorter (18 dB), a third of which is allowed; fp32 differs by rounding only."""

ANCHOR_TRAJECTORY_RMS: Final[Mapping[str, float]] = {"fp32": 0.02, "fp16": 0.35, "bf16": 0.5}
"""Tolerances of latents for models without measured ones: guesses, wide since denoising
amplifies rounding."""


def choose_component_floor(precision: str, component: str, floors: Floors | None) -> ComponentFloor:
    """Choose a component's floor: the model's measured one, else the anchor of the precision."""
    measured = None if floors is None else floors.components.get(component)
    return ANCHOR_COMPONENTS[precision] if measured is None else measured


def choose_trajectory_rms(precision: str, floors: Floors | None) -> float:
    """Choose the tolerance of the latents: the model's measured one, else the anchor."""
    measured = None if floors is None else floors.trajectory_rms
    return ANCHOR_TRAJECTORY_RMS[precision] if measured is None else measured


def choose_gain_floors(variant: Variant, plain: Variant) -> Floors:
    """Choose the floors of an optimised pipeline's images beside the plain one's."""
    if choose_ssim_floor(variant.optimisations) < EXACT_SSIM:
        return APPROXIMATE_FLOORS
    if _takes_fewer_bits(variant):
        return FEWER_BITS_FLOORS
    if variant.engine != plain.engine and {variant.precision, plain.precision} == {"fp32"}:
        return ENGINE_FLOORS
    return EXACT_FLOORS if variant.precision == plain.precision else ACROSS_PRECISIONS_FLOORS


def loosen_for(variant: Variant, floors: Floors) -> Floors:
    """Return looser floors for a variant that leaves arithmetic out, else the given ones."""
    if choose_ssim_floor(variant.optimisations) < EXACT_SSIM:
        return APPROXIMATE_FLOORS
    return FEWER_BITS_FLOORS if _takes_fewer_bits(variant) else floors


def _takes_fewer_bits(variant: Variant) -> bool:
    choice = ENGINES.get(variant.engine)
    return choice is not None and choice.fewer_bits


def derive_floors(
    rungs: Sequence[Rung], precision: str, source: str, reference: str = "fp32"
) -> Floors:
    """Set a precision's floors a margin below the worst score of its legal noise.

    What is legal in the reference's precision is legal in every other. No floor becomes stricter
    than the ``STRICTEST_`` constants.

    Args:
        rungs: The measured ladder.
        precision: The precision whose floors are set.
        source: Where the ladder is kept, for the evidence.
        reference: Precision of the images that the ladder was compared with.

    Raises:
        ValueError: The ladder has no legal rung for this precision.
    """
    legal = [
        rung for rung in rungs if rung.sort == "legal" and rung.precision in (reference, precision)
    ]
    if not any(rung.precision == precision for rung in legal):
        raise ValueError(f"no legal noise was measured in {precision}")
    ssim = min(rung.ssim_min for rung in legal)
    tile = min(rung.worst_tile_ssim_min for rung in legal)
    drop_bits = max(rung.entropy_drop_bits_max for rung in legal)
    psnr_db = _least(rung.psnr_db_min for rung in legal)
    tile_psnr_db = _least(rung.worst_tile_psnr_db_min for rung in legal)
    rms = [rung.trajectory_rms for rung in legal if rung.trajectory_rms is not None]
    return Floors(
        ssim=round(ssim - SSIM_MARGIN, 4),
        worst_tile_ssim=round(tile - WORST_TILE_MARGIN, 4),
        entropy_drop_bits=round(max(drop_bits, 0.0) + ENTROPY_MARGIN_BITS, 4),
        psnr_db=_lower(psnr_db, PSNR_MARGIN_DB, STRICTEST_PSNR_DB),
        worst_tile_psnr_db=_lower(tile_psnr_db, PSNR_MARGIN_DB, STRICTEST_WORST_TILE_PSNR_DB),
        ciede2000=_raise(
            (rung.ciede2000_max for rung in legal), CIEDE2000_FACTOR, STRICTEST_CIEDE2000
        ),
        worst_tile_ciede2000=_raise(
            (rung.worst_tile_ciede2000_max for rung in legal),
            CIEDE2000_FACTOR,
            STRICTEST_WORST_TILE_CIEDE2000,
        ),
        components=_derive_component_floors(legal),
        trajectory_rms=(
            round(max(TRAJECTORY_FACTOR * max(rms), STRICTEST_TRAJECTORY_RMS), 6) if rms else None
        ),
        pairs=_derive_pair_noise(legal),
        evidence=(
            f"worst legal noise over {format_quantity(legal[0].images, 'image')} "
            f"({', '.join(rung.name for rung in legal)}): SSIM {ssim}, worst tile {tile}, "
            f"PSNR {psnr_db} dB, worst tile {tile_psnr_db} dB, entropy drop {drop_bits} bits; "
            f"margins {SSIM_MARGIN}, {WORST_TILE_MARGIN}, {PSNR_MARGIN_DB} dB, "
            f"{ENTROPY_MARGIN_BITS} bits; {source}"
            f"{'' if reference == 'fp32' else f', against {reference}'}"
        ),
    )


def _derive_component_floors(legal: Sequence[Rung]) -> dict[str, ComponentFloor]:
    floors = {}
    for component in sorted({name for rung in legal for name in rung.components}):
        seen = [rung.components[component] for rung in legal if component in rung.components]
        worst_db = min(one.psnr_db for one in seen)
        # Twice the error is four times the distance of the cosine from 1.
        worst_cosine = 1 - 4 * (1 - min(one.cosine for one in seen))
        floors[component] = ComponentFloor(
            psnr_db=round(min(worst_db - COMPONENT_MARGIN_DB, STRICTEST_COMPONENT.psnr_db), 1),
            cosine=round(min(worst_cosine, STRICTEST_COMPONENT.cosine), 7),
        )
    for component in ("text encoder", "denoiser", "vae"):
        measured = any(rung.trajectory_rms is not None for rung in legal)
        if measured and component not in floors:
            floors[component] = STRICTEST_COMPONENT
    return floors


def _derive_pair_noise(legal: Sequence[Rung]) -> tuple[PairNoise, ...]:
    """Keep each pair's lowest scores over all legal changes."""
    worst: dict[str, PairNoise] = {}
    for pair in (pair for rung in legal for pair in rung.pairs):
        before = worst.get(pair.key, pair)
        worst[pair.key] = PairNoise(
            pair.key,
            min(before.ssim, pair.ssim),
            min(before.worst_tile_ssim, pair.worst_tile_ssim),
            _most((before.ciede2000, pair.ciede2000)),
            _most((before.worst_tile_ciede2000, pair.worst_tile_ciede2000)),
        )
    return tuple(worst.values())


def _least(values: Iterable[float | None]) -> float | None:
    return min((value for value in values if value is not None), default=None)


def _most(values: Iterable[float | None]) -> float | None:
    return max((value for value in values if value is not None), default=None)


def _raise(values: Iterable[float | None], factor: float, strictest: float) -> float | None:
    worst = _most(values)
    return None if worst is None else round(max(factor * worst, strictest), 4)


def _lower(worst: float | None, margin: float, strictest: float) -> float:
    return strictest if worst is None else round(min(worst - margin, strictest), 1)
