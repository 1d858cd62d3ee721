"""What the quality suite records of a worker, as frozen values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


Kernels = Literal["own", "without oneDNN", "plain attention"]
"""Which implementations torch takes: its own choice, no oneDNN (CPU), no fused attention."""


@dataclass(frozen=True)
class DenoiserCall:
    """One call of the denoising network with what it returned.

    Attributes:
        step: Index of the call, 0 first.
        steps: Calls that the scheduler plans.
        arguments: Positional arguments, with arrays where there were tensors.
        named: Named arguments, with arrays where there were tensors.
        output: Predicted noise (or velocity), float32, batch first; a list of equal shapes stacked.
    """

    step: int
    steps: int
    arguments: tuple[Any, ...]
    named: Mapping[str, Any]
    output: Floats


@dataclass(frozen=True)
class Recording:
    """One generation, opened up.

    Attributes:
        embeds: What text encoding gave, by argument name, or by its place in what `encode_prompt`
            returned; empty where it cannot be asked alone.
        calls: The denoiser's first, middle and last call.
        latents: The latents after each step; empty where the pipeline does not show them.
        pixels: (H, W, 3) float32 in [0, 1].
        decoded: What the VAE was given, of a pipeline that is called whole; ``None`` where decoding
            it again does not give the pixels.
    """

    embeds: Mapping[str, Floats]
    calls: tuple[DenoiserCall, ...]
    latents: tuple[Floats, ...]
    pixels: Floats
    decoded: Floats | None = None

    @property
    def nonfinite_step(self) -> int | None:
        """First step (0-based) whose latents hold NaN or infinity."""
        return next(
            (step for step, each in enumerate(self.latents) if not np.isfinite(each).all()), None
        )


@dataclass(frozen=True)
class Replay:
    """The components' outputs on the inputs of a recording; shapes as there.

    Attributes:
        embeds: By argument name.
        outputs: The denoiser's, one a recorded call.
        pixels: The VAE's, of the recording's last latents; ``None`` where it cannot be asked alone.
        nudged: The denoiser's outputs with a time step that is one rounding away, one a recorded
            call; ``None`` for a call that is near its recording, or takes no time step in floats.
    """

    embeds: Mapping[str, Floats]
    outputs: tuple[Floats, ...]
    pixels: Floats | None
    nudged: tuple[Floats | None, ...] = ()
