"""Drops the half of a VAE that encodes images, which text to image never calls."""

from __future__ import annotations

from typing import Any, NoReturn

from torch import nn

from sdperf.errors import GenerationError


class ReleasedEncoder(nn.Module):
    """Replaces a VAE's encoder: it has no weights, and a call says which option dropped them.

    Args:
        optimisation: Name of the optimisation that dropped the encoder.
    """

    def __init__(self, optimisation: str) -> None:
        super().__init__()
        self._optimisation = optimisation

    def forward(self, *_args: Any, **_named: Any) -> NoReturn:
        """Refuse to encode an image.

        Raises:
            GenerationError: Always.
        """
        raise GenerationError(
            "this VAE can no longer encode an image",
            got=f"{self._optimisation}, which lets the encoder's weights go",
            expected="a pipeline from text to image, which only decodes",
            hint=f"leave {self._optimisation} out where images are encoded",
        )


def let_encoder_go(vae: Any, optimisation: str) -> None:
    """Drop an `AutoencoderKL`'s encoder and the convolution after it, in place.

    Decoding, ``config``, ``dtype`` and casts stay the same. Another kind of VAE is not changed.

    Args:
        vae: The pipeline's VAE.
        optimisation: Name of the optimisation that drops it, for the message.
    """
    from diffusers import AutoencoderKL

    if issubclass(type(vae), AutoencoderKL):
        vae.encoder = ReleasedEncoder(optimisation)
        vae.quant_conv = None
