"""What one generation gives inside the worker."""

from __future__ import annotations

from dataclasses import dataclass

from sdperf.pipeline.stages import Pixels


@dataclass(frozen=True)
class Generated:
    """One delivered image, with the pixels it was made of.

    Attributes:
        png: The delivered bytes.
        latency_s: Seconds from the start of its generation to its delivery.
        pixels: (1, H, W, 3) float in [0, 1], before rounding; looked at after the timed border.
    """

    png: bytes
    latency_s: float
    pixels: Pixels
