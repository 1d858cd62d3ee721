"""A case under measurement, and small decisions about it."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Final

from sdperf.ab.blocks import BlockSeries
from sdperf.ab.comparison import (
    CaseComparison,
    EnergyPair,
    ImagePair,
    ProfiledPair,
    SideMemory,
)
from sdperf.ab.pairing import Pairing
from sdperf.ab.sides import MatrixCase, Side
from sdperf.models.references import Floors
from sdperf.usage import ResourceUsage

EXECUTION_S: Final = 2.0
MOST_ROUNDS: Final = 5


@dataclass
class CaseState:
    """A case under measurement; becomes a `CaseComparison` at any moment."""

    case: MatrixCase
    a: Side
    b: Side
    alpha: float
    pairing: Pairing | None = None
    series: BlockSeries | None = None
    profiles: list[ProfiledPair] = field(default_factory=list)
    images: tuple[ImagePair, ...] = ()
    energy: EnergyPair | None = None
    floors: Floors | None = None
    unjudged: str | None = None
    rounds: int = 1
    notes: list[str] = field(default_factory=list)

    def finish(self) -> CaseComparison:
        """Return what there is."""
        pairing, series = self.pairing, self.series
        return CaseComparison(
            case=self.case,
            variant_a=self.a.variant_for(self.case),
            variant_b=self.b.variant_for(self.case),
            alpha=self.alpha,
            blocks=() if series is None else tuple(series.blocks),
            profiles=tuple(self.profiles),
            memory_a=SideMemory(() if pairing is None else tuple(pairing.a.lives)),
            memory_b=SideMemory(() if pairing is None else tuple(pairing.b.lives)),
            images=self.images,
            energy=self.energy,
            floors=self.floors,
            unjudged=self.unjudged,
            notes=tuple(self.notes),
        )


def choose_rounds(case: MatrixCase, image_s: float) -> int:
    """Choose how many rounds make an execution of about two seconds. Pure.

    Shorter ones would be at the mercy of whatever else the processor does in between.

    Args:
        case: What a round is.
        image_s: Seconds of one image.
    """
    if case.kind == "stage":
        return MOST_ROUNDS
    return min(MOST_ROUNDS, max(1, math.ceil(EXECUTION_S / (image_s * case.batch))))


def find_energy(usage: ResourceUsage) -> tuple[str, float] | None:
    """Return the widest known scope of energy with its joules per image; ``None`` without. Pure."""
    for scope in ("gpu_board", "gpu_soc"):
        energy_j = getattr(usage, f"{scope}_energy_per_image_j")
        if energy_j is not None:
            return scope, energy_j
    return None
