"""The two sides of the README's picture: the embedded model's pipeline, and a damaged one."""

from __future__ import annotations

from typing import Any

from sdperf.models.subject import PipelineRequest


def plain(request: PipelineRequest) -> Any:
    """Return the model's pipeline as it is."""
    return request.load()


def damaged(request: PipelineRequest) -> Any:
    """Return one that computes each step's noise twice, and greys a tile of every picture."""
    pipeline = request.load()
    denoise, decode = pipeline.unet.forward, pipeline.vae.decode

    def denoise_twice(*arguments: Any, **named: Any) -> Any:
        denoise(*arguments, **named)
        return denoise(*arguments, **named)

    def decode_with_a_fault(*arguments: Any, **named: Any) -> Any:
        decoded = decode(*arguments, **named)
        decoded[0][..., 32:64, 64:96] *= 0.2
        return decoded

    pipeline.unet.forward, pipeline.vae.decode = denoise_twice, decode_with_a_fault
    return pipeline
