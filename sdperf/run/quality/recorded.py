"""The recorded answers of a worker to the quality suite, as frozen values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


Kernels = Literal["own", "without oneDNN", "plain attention"]
"""Implementations that torch uses: its own choice, no oneDNN (CPU), or no fused attention."""


@dataclass(frozen=True)
class DenoiserCall:
    """One call of the denoising network with its output.

    Attributes:
        step: Index of the call, 0 first.
        steps: How many calls the scheduler plans.
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
class EncodedPicture:
    """One encoding of an input picture, or of the part that a mask keeps.

    Attributes:
        given: Input of the encoder, float32, batch first.
        latents: The mean of the distribution that it returned, float32, batch first.
    """

    given: Floats
    latents: Floats


@dataclass(frozen=True)
class Recording:
    """One generation with the values between its components.

    Attributes:
        embeds: Outputs of text encoding, by argument name, or by their place in the result of
            `encode_prompt`; empty where text encoding cannot run alone.
        calls: The denoiser's first, middle and last call.
        latents: The latents after each step; empty where the pipeline does not show them.
        pixels: (H, W, 3) float32 in [0, 1].
        decoded: Input of the VAE, for a pipeline that is called whole; ``None`` where decoding it
            again does not give the same pixels.
        encoded: Encodings of the input picture, in order; empty where there were none.
    """

    embeds: Mapping[str, Floats]
    calls: tuple[DenoiserCall, ...]
    latents: tuple[Floats, ...]
    pixels: Floats
    decoded: Floats | None = None
    encoded: tuple[EncodedPicture, ...] = ()

    @property
    def nonfinite_step(self) -> int | None:
        """First step (0-based) with NaN or infinity in its latents; ``None`` without one."""
        return next(
            (step for step, each in enumerate(self.latents) if not np.isfinite(each).all()), None
        )


@dataclass(frozen=True)
class Replay:
    """The components' outputs on the inputs of a recording, with the recording's shapes.

    Attributes:
        embeds: Outputs of text encoding, by argument name.
        outputs: Outputs of the denoiser, one per recorded call.
        pixels: Output of the VAE for the recording's last latents; ``None`` where the VAE cannot
            run alone.
        nudged: Outputs of the denoiser with a time step that is one rounding away, one per recorded
            call; ``None`` for a call that is near its recording, or takes no time step in floats.
        encoded: Outputs of the picture encoder, one per recorded encoding.
    """

    embeds: Mapping[str, Floats]
    outputs: tuple[Floats, ...]
    pixels: Floats | None
    nudged: tuple[Floats | None, ...] = ()
    encoded: tuple[Floats, ...] = ()
